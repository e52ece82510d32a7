"""The fitted transform: against scikit-learn's own transformers, on real tables, lazy against eager."""

import json
import pickle
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, OrdinalEncoder, StandardScaler

from kfp_lifecycle.components.shared.errors import ExpressionError, SchemaError
from kfp_lifecycle.components.shared.inference.encoders import LARGEST
from kfp_lifecycle.components.shared.inference.expressions import running
from kfp_lifecycle.components.shared.inference.featurizer import Featurizer
from kfp_lifecycle.components.shared.inference.transform import FeatureTransform
from tests.components.featurize.tables import churn, flights, schema_of, unfitted

Table = Callable[[str], pd.DataFrame]

DERIVE = {
    "total_value": "tenure * monthly_charges",
    "billed_share": "total_charges / total_value",
    "support": "case when tech_support = 'Yes' or online_backup = 'Yes' then 'supported' else contract end",
}


@pytest.fixture
def telco(table: Table) -> pl.DataFrame:
    return churn(table("churn"))


def fitted(frame: pl.DataFrame, target: str, task: str = "binary", **options: Any) -> FeatureTransform:
    transform = unfitted(frame, schema_of(frame, target, task), **options)
    return transform.fit(frame, frame[target])


def small(**columns: Any) -> pl.DataFrame:
    rows = len(next(iter(columns.values())))
    return pl.DataFrame({**columns, "y": ["a", "b"] * (rows // 2) + ["a"] * (rows % 2)})


def features(transform: FeatureTransform, rows: pl.DataFrame) -> dict[str, list[float]]:
    names = transform.get_feature_names_out().tolist()
    return dict(zip(names, transform.transform(rows).T.tolist(), strict=True))


# Against scikit-learn


@pytest.mark.parametrize("impute", ["median", "mean", "zero", "none"])
@pytest.mark.parametrize("scale", ["standard", "minmax", "none"])
def test_numbers_are_imputed_and_scaled_as_scikit_learn_does(table: Table, impute: str, scale: str) -> None:
    credit = pl.from_pandas(table("credit"))
    numbers = [name for name, dtype in credit.schema.items() if dtype.is_numeric()]
    ours = fitted(
        credit,
        "Status",
        impute_numeric=impute,
        scale=scale,
        exclude_columns=[name for name in credit.columns if name not in (*numbers, "Status")],
    ).transform(credit)
    imputer = {
        "zero": SimpleImputer(strategy="constant", fill_value=0),
        "none": "passthrough",
    }.get(impute, SimpleImputer(strategy=impute))
    scaler = {"standard": StandardScaler(), "minmax": MinMaxScaler(), "none": "passthrough"}[scale]
    theirs = make_pipeline(imputer, scaler).fit_transform(credit.select(numbers).to_numpy())
    np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-8)


def test_categories_are_encoded_as_scikit_learn_does(telco: pl.DataFrame) -> None:
    texts = ["contract", "payment_method", "internet_service"]
    rest = [name for name in telco.columns if name not in (*texts, "churn")]
    onehot = fitted(telco, "churn", encode="onehot", rare_share=0.0, exclude_columns=rest)
    ordinal = fitted(telco, "churn", encode="ordinal", rare_share=0.0, exclude_columns=rest)
    # In the table's order, as featurize has them.
    values = telco.select(name for name in telco.columns if name in texts).to_numpy()
    assert np.array_equal(onehot.transform(telco), OneHotEncoder(sparse_output=False).fit_transform(values))
    assert np.array_equal(ordinal.transform(telco), OrdinalEncoder().fit_transform(values))
    assert "contract=Month-to-month" in onehot.get_feature_names_out()


# One column at a time


def test_unseen_and_rare_categories() -> None:
    rows = small(c=["x"] * 50 + ["y"] * 40 + ["p"] * 6 + ["q"] * 4)
    serving = pl.DataFrame({"c": ["x", "q", "p", "never", None]})
    with_bucket = features(fitted(rows, "y", rare_share=0.1), serving)
    assert with_bucket == {
        "c=x": [1, 0, 0, 0, 0],
        "c=y": [0, 0, 0, 0, 0],
        "c=(rare)": [0, 1, 1, 1, 1],
    }
    without = features(fitted(rows, "y", rare_share=0.0), serving)
    assert without == {"c=p": [0, 0, 1, 0, 0], "c=q": [0, 1, 0, 0, 0], "c=x": [1, 0, 0, 0, 0], "c=y": [0] * 5}
    assert features(fitted(rows, "y", rare_share=0.1, encode="ordinal"), serving) == {"c": [0, 2, 2, 2, 2]}
    assert features(fitted(rows, "y", rare_share=0.0, encode="ordinal"), serving) == {"c": [2, 1, 0, -1, -1]}


def test_an_unseen_category_is_encoded_to_the_mean_of_the_target() -> None:
    rows = small(c=["x", "y"] * 20 + ["x"] * 10)
    encoded = features(fitted(rows, "y", encode="target"), pl.DataFrame({"c": ["x", "y", "never", None]}))
    x, y, unseen, missing = encoded["c=>target"]
    assert x < unseen < y
    assert unseen == missing == pytest.approx(0.5)


def test_missing_categories() -> None:
    rows = small(c=["x"] * 50 + ["y"] * 30 + [None] * 20)
    serving = pl.DataFrame({"c": ["x", None]})
    assert features(fitted(rows, "y"), serving) == {"c=x": [1, 0], "c=y": [0, 0], "c=(missing)": [0, 1]}
    assert features(fitted(rows, "y", impute_category="most_frequent"), serving) == {
        "c=x": [1, 1],
        "c=y": [0, 0],
    }
    # Rarer than allowed, it is taken with the rare; then unseen categories go there too.
    assert features(fitted(rows, "y", rare_share=0.25), serving) == {
        "c=x": [1, 0],
        "c=y": [0, 0],
        "c=(rare)": [0, 1],
    }


def test_imputing_comes_before_the_share_and_the_encoding() -> None:
    rows = small(c=["x"] * 6 + ["y"] * 5 + [None] * 89)
    transform = fitted(rows, "y", impute_category="most_frequent", rare_share=0.5)
    assert features(transform, pl.DataFrame({"c": ["x", "y", None]})) == {
        "c=x": [1, 0, 1],
        "c=(rare)": [0, 1, 0],
    }


def test_whole_numbers_and_booleans_are_categories_when_they_are_to_be_encoded() -> None:
    rows = small(zip=[10, 20, 10, 20], flag=[True, False, None, True])
    overrides = {
        "zip": {"encode": "onehot"},
        "flag": {"encode": "ordinal", "impute_category": "most_frequent"},
    }
    transform = fitted(rows, "y", rare_share=0.0, overrides=overrides)
    assert features(transform, rows) == {"zip=10": [1, 0, 1, 0], "zip=20": [0, 1, 0, 1], "flag": [1, 0, 1, 1]}


def test_booleans_are_0_and_1() -> None:
    rows = small(flag=[True, False, None, True])
    assert features(fitted(rows, "y"), rows) == {"flag": [1, 0, 1, 1]}
    kept = features(fitted(rows, "y", impute_numeric="none"), rows)["flag"]
    assert kept[:2] == [1, 0]
    assert np.isnan(kept[2])


def test_date_parts() -> None:
    moments = [datetime(2024, 2, 29, 13, 45, tzinfo=UTC), None, datetime(2023, 12, 31, tzinfo=UTC)]
    rows = small(
        seen=pl.Series(moments, dtype=pl.Datetime("us", "UTC")),
        day=[date(2024, 2, 29), date(2023, 1, 1), None],
    )
    parts = ["year", "month", "day", "weekday", "hour", "minute", "dayofyear"]
    transform = fitted(rows, "y", date_parts=parts, scale="none", impute_numeric="none")
    found = features(transform, rows)
    assert {name: values[0] for name, values in found.items() if name.startswith("seen")} == {
        "seen_year": 2024,
        "seen_month": 2,
        "seen_day": 29,
        "seen_weekday": 4,
        "seen_hour": 13,
        "seen_minute": 45,
        "seen_dayofyear": 60,
    }
    assert np.isnan(found["seen_hour"][1])
    # A date has no hour.
    assert "day_hour" not in found
    assert found["day_year"][:2] == [2024, 2023]


def test_an_all_null_column_in_a_fold_becomes_zero() -> None:
    rows = small(
        n=pl.Series([None] * 4, dtype=pl.Float64),
        c=pl.Series([None] * 4, dtype=pl.String),
        d=pl.Series([None] * 4, dtype=pl.Date),
    )
    for encode in ("onehot", "ordinal", "target"):
        transform = fitted(rows, "y", encode=encode, date_parts=["year"], impute_category="most_frequent")
        later = pl.DataFrame({"n": [5.0, None], "c": ["x", None], "d": [date(2024, 1, 1), None]})
        found = features(transform, later)
        assert found["n"] == [5, 0]
        assert found["d_year"] == [2024, 0]
        assert found.get("c", [-1, -1]) == [-1, -1]
        assert found.get("c=>target", [0.5, 0.5]) == [0.5, 0.5]
    kept = fitted(rows, "y", impute_numeric="none", exclude_columns=["c", "d"])
    assert np.isnan(kept.transform(rows)).all()


def test_constant_and_nearly_constant_columns_stay_finite() -> None:
    rows = small(same=[1 / 3] * 4, near=[1e9, 1e9 + 1e-6, 1e9, 1e9], tiny=[0.0, 5e-324, 0.0, 0.0])
    for scale in ("standard", "minmax"):
        found = fitted(rows, "y", scale=scale).transform(rows)
        assert np.isfinite(found).all()
        assert np.abs(found).max() < 10


def test_features_stay_within_32_bit_floats() -> None:
    rows = small(n=[-1.7e308, 1.7e308, 0.0, None])
    for options in ({"impute_numeric": "mean"}, {"scale": "minmax"}, {"scale": "none"}):
        values = fitted(rows, "y", **options).transform(rows)
        assert np.abs(values).max() <= LARGEST
        HistGradientBoostingClassifier().fit(np.float32(values), rows["y"])


def test_a_feature_never_takes_the_name_of_another() -> None:
    rows = small(
        **{"c": ["x", "z"] * 2, "c=x": [1.0, 2, 3, 4], "d": [date(2024, 1, 1)] * 4, "d_year": [1, 2, 3, 4]}
    )
    names = fitted(rows, "y", rare_share=0.0, date_parts=["year"]).get_feature_names_out().tolist()
    assert sorted(names) == ["c=x", "c=x_2", "c=z", "d_year", "d_year_2"]
    # Each is fitted on its own column, too.
    found = features(fitted(rows, "y", scale="minmax", date_parts=["year"]), rows)
    assert found["d_year"] == [0] * 4
    np.testing.assert_allclose(found["d_year_2"], [0, 1 / 3, 2 / 3, 1])
    renamed = rows.rename({"y": "c=x_2"})
    assert "c=x_2" not in fitted(renamed, "c=x_2", rare_share=0.0).get_feature_names_out()


# Target encoding


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_target_encoding_of_every_task(table: Table, task: str) -> None:
    diamonds = pl.from_pandas(table("diamonds")).gather_every(10)
    diamonds = diamonds.with_columns((pl.col("price") > 3000).alias("dear"))
    target = {"binary": "dear", "multiclass": "cut", "regression": "price"}[task]
    keep = {"color", "clarity", target}
    rest = [name for name in diamonds.columns if name not in keep]
    transform = fitted(diamonds, target, task, encode="target", exclude_columns=rest)
    found = features(transform, diamonds)
    if task == "multiclass":
        classes = sorted(diamonds["cut"].unique())
        assert list(found) == [f"{name}=>{label}" for name in ("color", "clarity") for label in classes]
        # Each class's share is a mean, so over the classes they come to one, but for the shrinking.
        shares = np.sum([found[f"clarity=>{label}"] for label in classes], axis=0)
        np.testing.assert_allclose(shares, 1, atol=0.1)
        return
    # With hundreds of rows in each category the encoding is near its mean.
    means = diamonds.group_by("clarity").agg(pl.col(target).cast(pl.Float64).mean())
    encoded = diamonds.with_columns(pl.Series("code", found["clarity=>target"]))
    joined = encoded.group_by("clarity").agg(pl.col("code").first()).join(means, on="clarity")
    np.testing.assert_allclose(joined["code"], joined[target], rtol=0.2)
    assert joined.select(pl.corr("code", target)).item() > 0.99


def test_a_training_rows_own_target_does_not_change_its_encoding(telco: pl.DataFrame) -> None:
    schema = schema_of(telco, "churn")
    rest = [name for name in telco.columns if name not in ("payment_method", "churn")]
    transform = unfitted(telco, schema, encode="target", exclude_columns=rest)
    before = transform.fit_transform(telco, telco["churn"])
    flipped = telco["churn"].to_numpy().copy()
    flipped[100] = "No" if flipped[100] == "Yes" else "Yes"
    after = transform.fit_transform(telco, flipped)
    assert after[100] == before[100]
    assert (after != before).any()
    assert len(np.unique(before)) == 20  # Four methods, five folds.
    assert len(np.unique(transform.transform(telco))) == 4


def test_the_seed_decides_the_folds(telco: pl.DataFrame) -> None:
    schema = schema_of(telco, "churn")
    runs = [
        unfitted(telco, schema, encode="target", seed=seed).fit_transform(telco, telco["churn"])
        for seed in (1, 1, 2)
    ]
    assert np.array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])


@pytest.mark.parametrize("y", [None, [1, 2]])
def test_target_encoding_needs_one_target_a_row(y: list[int] | None) -> None:
    rows = small(c=["x", "y", "x"])
    with pytest.raises(SchemaError, match="encodes the target"):
        unfitted(rows, schema_of(rows, "y"), encode="target").fit(rows, y)


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_a_gap_in_the_target_is_refused(task: str) -> None:
    rows = pl.DataFrame({"c": ["x", "y", "x"], "y": [0.0, 1.0, None]})
    with pytest.raises(SchemaError, match="'y' has missing values"):
        fitted(rows, "y", task, encode="target")


def test_no_target_is_needed_without_target_encoding(telco: pl.DataFrame) -> None:
    transform = unfitted(telco, schema_of(telco, "churn"))
    assert not transform.encodes_target
    assert np.array_equal(transform.fit(telco).transform(telco), transform.fit_transform(telco))


# Rows


def test_one_row_many_rows_and_none(telco: pl.DataFrame) -> None:
    transform = fitted(telco, "churn", derive=DERIVE, encode="target")
    whole = transform.transform(telco)
    assert np.array_equal(transform.transform(telco[7:8]), whole[7:8])
    assert transform.transform(telco.clear()).shape == (0, whole.shape[1])
    assert whole.dtype == np.float64
    texts = fitted(telco.select("contract", "churn"), "churn")
    for empty in (transform, texts):
        with pytest.raises(SchemaError, match="no row"):
            empty.fit(telco.clear(), [])


def test_only_the_columns_that_are_read_are_needed(telco: pl.DataFrame) -> None:
    transform = fitted(
        telco, "churn", derive={"value": "tenure * monthly_charges"}, exclude_columns=["tenure"]
    )
    assert "tenure" in transform.input_columns
    assert "churn" not in transform.input_columns
    assert np.array_equal(
        transform.transform(telco.select(reversed(transform.input_columns))), transform.transform(telco)
    )


def test_rows_of_the_wrong_kind_are_refused(telco: pl.DataFrame) -> None:
    transform = fitted(telco, "churn")
    with pytest.raises(SchemaError, match=r"no column 'tenure'.*Did you mean 'tenures'"):
        transform.transform(telco.rename({"tenure": "tenures"}))
    with pytest.raises(SchemaError, match="'tenure' comes as String"):
        transform.transform(telco.cast({"tenure": pl.String}))
    with pytest.raises(SchemaError, match="ndarray"):
        transform.transform(telco.to_numpy())


def test_narrower_types_of_the_same_kind_are_widened(telco: pl.DataFrame) -> None:
    transform = fitted(telco, "churn", derive=DERIVE)
    narrow = telco.cast({"tenure": pl.Int8, "contract": pl.Categorical})
    assert np.array_equal(transform.transform(narrow), transform.transform(telco))
    empty = telco.with_columns(pl.lit(None).alias("total_charges"))
    assert np.array_equal(
        transform.transform(empty), transform.transform(empty.cast({"total_charges": pl.Float64}))
    )


def test_a_cast_that_fails_later_names_the_derived_column() -> None:
    rows = small(code=["1", "2", "3"])
    transform = fitted(rows, "y", derive={"number": "cast(code as integer)"}, exclude_columns=["code"])
    later = pl.DataFrame({"code": ["4", "four"]})
    with pytest.raises(ExpressionError, match=r"Derived column number = .*four"):
        transform.transform(later)
    with pytest.raises(ExpressionError, match="four"), running(transform.featurizer_.plan.derive):
        transform.transform_lazy(later.lazy()).collect(engine="streaming")


def test_pandas_rows_give_the_same_features(table: Table) -> None:
    frame = flights(table("flights"), 2000)
    transform = fitted(frame, "late", derive={"speed": "distance / air_time"}, encode="target")
    np.testing.assert_array_equal(transform.transform(frame.to_pandas()), transform.transform(frame))


def test_too_many_categories_are_refused() -> None:
    rows = small(c=[f"v{number}" for number in range(1_001)])
    with pytest.raises(SchemaError, match="'c' would become 1,001 columns"):
        fitted(rows, "y", encode="onehot", rare_share=0.0)
    many = pl.DataFrame({"c": pl.int_range(100_001, eager=True).cast(pl.String), "y": [True] * 100_001})
    with pytest.raises(SchemaError, match="'c' has 100,001 categories"):
        fitted(many, "y", encode="target")


# As scikit-learn and the disk see it


def test_unfitted_and_fitted_survive_json_clone_and_pickle(telco: pl.DataFrame, tmp_path: Path) -> None:
    plan = unfitted(telco, schema_of(telco, "churn"), derive=DERIVE, encode="target")
    plan.save(tmp_path / "plan")
    loaded = FeatureTransform.load(tmp_path / "plan")
    assert loaded.to_dict() == plan.to_dict()
    with pytest.raises(NotFittedError):
        loaded.transform(telco)
    expected = plan.fit_transform(telco, telco["churn"])
    assert np.array_equal(loaded.fit_transform(telco, telco["churn"]), expected)
    plan.save(tmp_path / "one")
    FeatureTransform.load(tmp_path / "one").save(tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    for copy in (FeatureTransform.load(tmp_path / "one"), pickle.loads(pickle.dumps(plan))):
        assert np.array_equal(copy.transform(telco), plan.transform(telco))
    assert not hasattr(clone(plan), "featurizer_")


def test_the_same_rows_give_the_same_file(telco: pl.DataFrame, tmp_path: Path) -> None:
    # Threads add floats in any order; the file must not show it.
    many = pl.concat([telco] * 40)
    for name in ("one", "two"):
        fitted(many, "churn", derive=DERIVE, encode="target").save(tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"inputs": {}}', '{"columns": [{"kind": "x"}]}', "\x00"])
def test_a_file_of_another_kind_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text(text)
    with pytest.raises(SchemaError, match="not"):
        FeatureTransform.load(tmp_path / "file")
    with pytest.raises(SchemaError, match="not a transform"):
        FeatureTransform.load(tmp_path / "absent")


def test_an_unfitted_plan_has_no_names(telco: pl.DataFrame) -> None:
    with pytest.raises(SchemaError, match="not fitted"):
        _ = Featurizer.from_dict(unfitted(telco, schema_of(telco, "churn")).to_dict()).names


@pytest.mark.parametrize("kind", ["polars", "pandas"])
def test_in_a_pipeline_under_cross_validation(telco: pl.DataFrame, kind: str) -> None:
    transform = unfitted(telco, schema_of(telco, "churn"), derive=DERIVE, encode="target")
    X: Any = telco.drop("churn") if kind == "polars" else telco.drop("churn").to_pandas()
    y: Any = telco["churn"] if kind == "polars" else telco["churn"].to_pandas()
    scores = cross_val_score(
        make_pipeline(transform, LogisticRegression(max_iter=500)), X, y, cv=3, scoring="roc_auc"
    )
    assert scores.mean() > 0.83


@pytest.mark.parametrize(("container", "frame"), [("pandas", pd.DataFrame), ("polars", pl.DataFrame)])
def test_set_output(telco: pl.DataFrame, container: str, frame: type[Any]) -> None:
    transform = unfitted(telco, schema_of(telco, "churn")).set_output(transform=container)
    named = transform.fit_transform(telco)
    assert isinstance(named, frame)
    assert list(named.columns) == transform.get_feature_names_out().tolist()


def test_beside_other_transformers(telco: pl.DataFrame) -> None:
    transform = unfitted(telco, schema_of(telco, "churn"))
    both = make_column_transformer((transform, transform.input_columns), ("passthrough", ["tenure"]))
    together = both.fit_transform(telco)
    assert np.array_equal(together[:, :-1], clone(transform).fit_transform(telco))


# Lazy and eager

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
_COLUMNS = {
    "n": (pl.Float64, st.floats(allow_nan=False, allow_infinity=False)),
    "i": (pl.Int64, st.integers(-(2**63), 2**63 - 1)),
    "b": (pl.Boolean, st.booleans()),
    "s": (pl.String, _TEXT),
    "d": (pl.Date, st.dates(date(1, 1, 1), date(9999, 12, 31))),
    "t": (pl.Datetime("us", "UTC"), st.datetimes(timezones=st.just(UTC))),
}


@st.composite
def tables(draw: st.DrawFn) -> pl.DataFrame:
    height = draw(st.integers(1, 12))
    columns = {}
    for name, (dtype, values) in _COLUMNS.items():
        cells = draw(st.lists(st.one_of(st.none(), values), min_size=height, max_size=height))
        columns[name] = pl.Series(cells, dtype=dtype)
    target = draw(st.lists(st.integers(0, 2), min_size=height, max_size=height))
    return pl.DataFrame({**columns, "y": target})


@settings(max_examples=150, deadline=None)
@given(
    tables(),
    tables(),
    st.sampled_from(["median", "mean", "zero", "none"]),
    st.sampled_from(["missing", "most_frequent"]),
    st.sampled_from(["onehot", "ordinal", "target"]),
    st.sampled_from(["standard", "minmax", "none"]),
    st.sampled_from([0.0, 0.3, 1.0]),
    st.sampled_from(["binary", "multiclass", "regression"]),
)
def test_every_table_gives_finite_features_the_same_lazy_and_eager(
    train: pl.DataFrame,
    later: pl.DataFrame,
    impute_numeric: str,
    impute_category: str,
    encode: str,
    scale: str,
    rare_share: float,
    task: str,
) -> None:
    transform = unfitted(
        train,
        schema_of(train, "y", task),
        derive={"r": "n / i", "k": "s || '!'", "age": "t - d", "w": "i * i"},
        impute_numeric=impute_numeric,
        impute_category=impute_category,
        encode=encode,
        scale=scale,
        rare_share=rare_share,
        overrides={"i": {"scale": "none"}},
    )
    training = transform.fit_transform(train, train["y"])
    eager = transform.transform(later)
    lazy = transform.transform_lazy(later.lazy(), keep=("y",)).collect(engine="streaming")
    assert lazy.columns == [*transform.get_feature_names_out(), "y"]
    # Polars divides by a constant (as for the seconds of "age") with another last bit, eager or lazy: of
    # millions of seconds that is 1e-9, and all that is left of two that are scaled to their difference.
    np.testing.assert_allclose(lazy.drop("y").to_numpy().astype(float), eager, rtol=1e-13, atol=1e-8)
    again = clone(transform).fit_lazy(train.rename({"y": "z"}).lazy(), "z")
    assert again.to_dict() == transform.to_dict()
    json.dumps(transform.to_dict(), allow_nan=False)
    for values in (training, eager):
        checked = values if impute_numeric != "none" else values[~np.isnan(values)]
        assert np.isfinite(checked).all()
        assert np.abs(checked).max(initial=0) <= LARGEST
