"""Rows held out, the plan fitted on the others, and both feature tables on disk."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from kfp_lifecycle.components.shared.errors import (
    LifecycleError,
    ParameterError,
    SchemaError,
    SplitError,
    StorageError,
    TargetError,
)
from kfp_lifecycle.components.shared.inference.schema import ROW_HASH, Split, TableSchema
from kfp_lifecycle.components.shared.inference.transform import FeatureTransform
from kfp_lifecycle.components.train_gpu.features import (
    POSITION,
    TARGET,
    FeatureSpec,
    Tables,
    make_tables,
)
from tests.components.featurize.tables import churn, flights, schema_of, splits, unfitted, write
from tests.components.train.tables import Prepared, prepared

Table = Callable[[str], pd.DataFrame]


def made(table: Prepared, folder: Path, share: float = 0.2, seed: int = 3) -> tuple[Tables, Path]:
    """The feature tables of a prepared table, and the folder of its rows."""
    rows = write(table.rows, folder / "rows")
    return make_tables(rows, table.schema, table.plan, share, seed, folder / "scratch"), rows


def small(rows: int = 100, split: Split | None = None, **columns: pl.Series) -> Prepared:
    """Two numbers, two categories and a binary target, as ordinal codes."""
    random = np.random.default_rng(0)
    frame = pl.DataFrame(
        {
            "number": random.normal(size=rows),
            "gappy": pl.Series(np.where(random.random(rows) < 0.3, np.nan, 1.5)).fill_nan(None),
            "letter": random.choice(list("abcd"), rows),
            "y": np.arange(rows) % 2,
        }
    ).with_columns(*(values.alias(name) for name, values in columns.items()))
    roles = {split.column: split.method} if split and split.column else None
    return prepared(frame, "y", "binary", split=split, roles=roles, encode="ordinal", impute="none")


def read(path: Path | None) -> pl.DataFrame:
    assert path is not None
    return pl.read_parquet(path / "*.parquet")


@pytest.mark.parametrize("encode", ["ordinal", "onehot", "target"])
def test_tables_hold_what_the_transform_gives(table: Table, tmp_path: Path, encode: str) -> None:
    rows, _ = splits(flights(table("flights"), 4000))
    schema = schema_of(rows, "late", tailnum="key")
    plan = unfitted(rows, schema, encode=encode, impute_numeric="none", scale="none", max_onehot=1000)
    tables = make_tables(
        write(rows, tmp_path / "rows"), schema, plan, 0.25, seed=1, scratch=tmp_path / "scratch"
    )
    fit, judge = read(tables.fit), read(tables.judge)
    assert (tables.fit_rows, tables.judge_rows) == (fit.height, judge.height)
    assert tables.judge_rows == pytest.approx(rows.height / 4, abs=1)
    where = np.concatenate([fit[POSITION].to_numpy(), judge[POSITION].to_numpy()])
    assert np.array_equal(np.sort(where), np.arange(rows.height))
    for side in (fit, judge):
        assert side[POSITION].is_sorted()
        theirs = rows[side[POSITION].to_numpy()]
        assert side[ROW_HASH].equals(theirs[ROW_HASH])
        assert side[TARGET].to_list() == [int(late) for late in theirs["late"]]
    # Fitted on the rows to fit on alone, as anyone would.
    theirs = rows[fit[POSITION].to_numpy()]
    again = FeatureTransform(plan.plan, plan.seed)
    fit_features = again.fit_transform(theirs, theirs["late"])
    judge_features = again.transform(rows[judge[POSITION].to_numpy()])
    assert tables.transform.to_dict() == again.to_dict()
    spec = tables.spec
    assert set(spec.numbers) | set(spec.codes) == set(again.get_feature_names_out())
    for side, features in ((fit, fit_features), (judge, judge_features)):
        expected = pl.DataFrame(features, schema=list(again.get_feature_names_out()))
        for name, column in zip(spec.numbers, spec.number_columns, strict=True):
            assert side.schema[column] == pl.Float32
            np.testing.assert_array_equal(side[column].to_numpy(), expected[name].to_numpy().astype("f4"))
        for name, column in zip(spec.codes, spec.code_columns, strict=True):
            assert side.schema[column] == pl.Int32
            np.testing.assert_array_equal(side[column].to_numpy(), expected[name].to_numpy() + 1)


def test_ordinal_features_are_codes_and_the_others_numbers(tmp_path: Path) -> None:
    rows = small()
    tables, _ = made(rows, tmp_path)
    assert tables.spec == FeatureSpec(("number", "gappy"), ("letter",), (5,))
    fit = read(tables.fit)
    assert sorted(fit["c0"].unique()) == [1, 2, 3, 4]
    gaps = rows.rows["gappy"].is_null().to_numpy()[fit[POSITION].to_numpy()]
    assert gaps.any()
    np.testing.assert_array_equal(np.isnan(fit["n1"].to_numpy()), gaps)
    assert fit["n1"].null_count() == 0


def test_a_category_that_no_row_to_fit_on_has_is_code_0(tmp_path: Path) -> None:
    groups = pl.Series([f"g{i // 10}" for i in range(100)])
    # Each group has letters of its own.
    table = small(split=Split("group", column="who"), who=groups, letter=groups.str.replace("g", "letter "))
    tables, _ = made(table, tmp_path)
    assert set(read(tables.judge)["c0"]) == {0}
    assert read(tables.fit)["c0"].min() == 1
    assert tables.spec.cardinalities == (read(tables.fit)["c0"].n_unique() + 1,)


def test_rows_are_held_out_as_prepare_splits(tmp_path: Path) -> None:
    times = pl.Series(np.random.default_rng(1).permutation(100))
    when = times.cast(pl.Datetime("us"))
    by_time, _ = made(small(split=Split("time", column="when"), when=when), tmp_path / "time")
    fit, judge = read(by_time.fit), read(by_time.judge)
    assert times[fit[POSITION].to_numpy()].max() < times[judge[POSITION].to_numpy()].min()  # type: ignore[operator]
    groups = pl.Series([f"g{i % 10}" for i in range(100)])
    rare = pl.Series([int(i % 5 == 0) for i in range(100)])
    by_group, _ = made(small(split=Split("group", column="who"), who=groups, y=rare), tmp_path / "group")
    sides = [set(groups[read(side)[POSITION].to_numpy()]) for side in (by_group.fit, by_group.judge)]
    assert not sides[0] & sides[1]
    by_class, _ = made(small(y=rare), tmp_path / "class")
    assert read(by_class.judge)[TARGET].sum() == 4
    assert by_class.class_counts == (64, 16)


def test_the_same_call_gives_the_same_tables(table: Table, tmp_path: Path) -> None:
    rows, _ = splits(churn(table("churn")))
    schema = schema_of(rows, "churn")
    plan = unfitted(rows, schema, encode="target")
    place = write(rows, tmp_path / "rows")
    first, second, other = (
        make_tables(place, schema, plan, 0.1, seed, tmp_path / name)
        for seed, name in ((5, "first"), (5, "second"), (6, "other"))
    )
    for name in ("fit/part-0.parquet", "judge/part-0.parquet", "transform.json", "tables.json"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes(), name
    assert not read(first.judge)[ROW_HASH].equals(read(other.judge)[ROW_HASH])
    assert second.class_counts == first.class_counts


def test_another_process_loads_the_tables(tmp_path: Path) -> None:
    tables, _ = made(small(), tmp_path)
    loaded = Tables.load(tmp_path / "scratch")
    assert dataclasses.replace(loaded, transform=tables.transform) == tables
    assert loaded.transform.to_dict() == tables.transform.to_dict()


def test_the_sample_is_of_held_out_rows(tmp_path: Path) -> None:
    tables, rows = made(small(), tmp_path)
    sample, features = tables.judged_sample(rows, 7, seed=1)
    assert sample.height == features.height == 7
    assert sample[ROW_HASH].equals(features[ROW_HASH])
    assert set(features[ROW_HASH]) <= set(read(tables.judge)[ROW_HASH])
    assert_frame_equal(features, tables.judged_sample(rows, 7, seed=1)[1])
    everything, _ = tables.judged_sample(rows, 1000, seed=1)
    assert everything[ROW_HASH].equals(read(tables.judge)[ROW_HASH])


def test_without_held_out_rows_the_sample_is_of_those_fitted_on(tmp_path: Path) -> None:
    tables, rows = made(small(), tmp_path, share=0)
    assert tables.judge is None
    assert (tables.fit_rows, tables.judge_rows) == (100, 0)
    sample, features = tables.judged_sample(rows, 5, seed=1)
    assert sample[ROW_HASH].equals(features[ROW_HASH])
    assert Tables.load(tmp_path / "scratch").judge is None


def test_row_groups_are_small_enough_to_shuffle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kfp_lifecycle.components.train_gpu.features.ROW_GROUP_BYTES", 1024)
    tables, _ = made(small(rows=5000), tmp_path, share=0)
    import pyarrow.parquet as pq

    about = pq.ParquetFile(tables.fit / "part-0.parquet").metadata
    assert [about.row_group(group).num_rows for group in range(about.num_row_groups)] == [1024] * 4 + [904]


@pytest.mark.parametrize(
    ("values", "centre", "scale"),
    [
        ([1.0, 2.0, 3.0, 4.0], 2.5, np.sqrt(1.25)),
        ([1e9, 1e9 + 1, 1e9 + 2, 1e9 + 3], 1e9 + 1.5, np.sqrt(1.25)),
        ([7.0, 7.0, 7.0, 7.0], 7.0, 1.0),
        ([0.0, 0.0, 0.0, 0.0], 0.0, 1.0),
        ([1e300, -1e300, 1e300, -1e300], 0.0, 1e300),
    ],
)
def test_a_regression_says_where_its_target_lies(
    tmp_path: Path, values: list[float], centre: float, scale: float
) -> None:
    frame = pl.DataFrame({"x": [1.0, 2.0, 3.0, 4.0], "y": values})
    tables, _ = made(prepared(frame, "y", "regression"), tmp_path, share=0)
    assert tables.centre == pytest.approx(centre)
    assert tables.scale == pytest.approx(scale, rel=1e-6)
    assert read(tables.fit)[TARGET].to_list() == values
    assert tables.class_counts == ()


def test_one_row_of_a_regression_can_be_fitted_on_and_not_held_out(tmp_path: Path) -> None:
    one = prepared(pl.DataFrame({"x": [1.0], "y": [2.0]}), "y", "regression")
    tables, _ = made(one, tmp_path / "fit", share=0)
    assert tables.fit_rows == 1
    with pytest.raises(SplitError, match=r"there are 1 rows. Set validation_share to 0"):
        made(one, tmp_path / "judge")


def test_a_class_of_held_out_rows_alone_is_not_judged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = late_class(5)
    tables, _ = made(table, tmp_path, share=0.2)
    assert (tables.fit_rows, tables.judge_rows) == (80, 15)
    assert set(read(tables.judge)[TARGET]) == {0, 1}
    assert tables.class_counts == (40, 40, 0)
    assert "5 held-out rows are not judged: no row to fit on has the class 'new'" in caplog.text


def late_class(last: int, others: tuple[str, ...] = ("a", "b")) -> Prepared:
    """Rows in time, the last of which have a class of their own."""
    kinds = pl.Series([others[i % len(others)] if i < 100 - last else "new" for i in range(100)])
    when = pl.Series(range(100)).cast(pl.Datetime("us"))
    frame = pl.DataFrame({"x": np.arange(100.0), "when": when, "y": kinds})
    split = Split("time", column="when")
    return prepared(frame, "y", "multiclass", split=split, roles={"when": "time"})


def with_rows(table: Prepared, *changes: pl.Expr) -> Prepared:
    return dataclasses.replace(table, rows=table.rows.with_columns(*changes))


BAD: dict[str, tuple[Callable[[], Prepared], float, type[LifecycleError], str]] = {
    "share of 1": (small, 1.0, ParameterError, "'validation_share' is 1"),
    "share below 0": (small, -0.1, ParameterError, "Give a share from 0 to below 1"),
    "share of nothing": (small, float("nan"), ParameterError, "'validation_share' is nan"),
    "a row of each class": (
        lambda: dataclasses.replace(small(), rows=small().rows[:2]),
        0.5,
        SplitError,
        r"No rows can be held out .*the 2 rows are too few for every class to keep one",
    ),
    "one class in the table": (
        lambda: with_rows(small(), pl.lit(0).alias("y")),
        0.1,
        TargetError,
        "have one class of 'y' only, '0'",
    ),
    "one class to fit on": (
        lambda: late_class(20, ("a",)),
        0.2,
        TargetError,
        "one class of 'y' only, 'a'. Give more data, or set validation_share lower",
    ),
    "one moment": (
        lambda: with_rows(
            small(split=Split("time", column="t"), t=pl.Series(range(100)).cast(pl.Datetime("us"))),
            pl.lit(0).cast(pl.Datetime("us")).alias("t"),
        ),
        0.1,
        SplitError,
        "'t' has one value. Set validation_share to 0",
    ),
    "one group": (
        lambda: small(split=Split("group", column="who"), who=pl.Series(["a"] * 100)),
        0.1,
        SplitError,
        "'who' has one value",
    ),
    "rows that are all equal": (
        lambda: with_rows(small(), pl.lit(5, pl.UInt64).alias(ROW_HASH)),
        0.1,
        SplitError,
        "No rows can be held out .* all have one hash",
    ),
    "no held-out row can be judged": (
        lambda: late_class(10),
        0.1,
        SplitError,
        "Every held-out row is of a class that no other row has: 'new'",
    ),
    "a label of no class": (
        lambda: with_rows(small(), pl.when(pl.col("number") > 0).then(7).otherwise(0).alias("y")),
        0.1,
        SchemaError,
        "label 7",
    ),
    "no row": (lambda: dataclasses.replace(small(), rows=small().rows.clear()), 0.1, SchemaError, "no row"),
    "no target": (
        lambda: dataclasses.replace(small(), rows=small().rows.drop("y")),
        0.1,
        SchemaError,
        "no column 'y'",
    ),
    "no row hash": (
        lambda: dataclasses.replace(small(), rows=small().rows.drop(ROW_HASH)),
        0.1,
        SchemaError,
        "no column '_row_hash'",
    ),
    "no feature": (
        lambda: dataclasses.replace(small(), rows=small().rows.drop("number")),
        0.1,
        SchemaError,
        "no column 'number'",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_tables_are_refused(tmp_path: Path, name: str) -> None:
    table, share, error, said = BAD[name]
    with pytest.raises(error, match=said):
        made(table(), tmp_path, share=share)


@pytest.mark.parametrize(
    ("value", "error", "said"),
    [
        (None, TargetError, "'y' is missing in 1 rows"),
        (float("nan"), TargetError, "'y' is missing in 1 rows"),
        (float("inf"), SchemaError, "'y' .* is infinite"),
    ],
)
def test_a_target_that_is_no_number_is_refused(
    tmp_path: Path, value: float | None, error: type[LifecycleError], said: str
) -> None:
    frame = pl.DataFrame({"x": [1.0, 2.0, 3.0], "y": [1.0, value, 2.0]}, strict=False)
    with pytest.raises(error, match=said):
        made(prepared(frame, "y", "regression"), tmp_path)


def test_a_full_disk_is_said(small_disk: Path, tmp_path: Path) -> None:
    table = small(rows=50_000)
    rows = write(table.rows, tmp_path / "rows")
    with pytest.raises(StorageError, match="no space left"):
        make_tables(rows, table.schema, table.plan, 0.1, 0, small_disk / "scratch")
    assert not list(small_disk.rglob("part-*"))


def test_rows_may_lie_in_several_files(tmp_path: Path) -> None:
    table = small(rows=90)
    rows = write(table.rows[:40], tmp_path / "rows")
    table.rows[40:].write_parquet(rows / "part-1.parquet")
    tables = make_tables(rows, table.schema, table.plan, 0.2, 0, tmp_path / "scratch")
    together = pl.concat([read(tables.fit), read(tables.judge)]).sort(POSITION)
    assert together[ROW_HASH].equals(table.rows[ROW_HASH])
    schema: TableSchema = table.schema
    assert together[TARGET].to_list() == table.rows[schema.target].to_list()
