"""Early stopping on rows that nothing has learned from, and what estimators refuse."""

from typing import Any

import numpy as np
import polars as pl
import pytest

from kfp_lifecycle.components.shared.errors import EstimatorError
from kfp_lifecycle.components.shared.inference.schema import Split
from kfp_lifecycle.components.train import fitting
from kfp_lifecycle.components.train.crossval import predict
from kfp_lifecycle.components.train.fitting import Recipe, fit_on, fit_transform
from kfp_lifecycle.components.train.training import TrainingOptions, make_recipe, target_values
from tests.components.train.tables import Prepared, prepared

BOOSTING = "sklearn.ensemble.HistGradientBoostingClassifier"


def _table(n: int = 600, split: Split | None = None, encode: str = "onehot") -> Prepared:
    rng = np.random.default_rng(0)
    signal = rng.normal(size=n)
    rows = pl.DataFrame(
        {
            "signal": signal,
            "gaps": np.where(rng.random(n) < 0.1, np.nan, rng.normal(size=n)),
            "kind": [f"k{kind}" for kind in rng.integers(0, 40, n)],
            "when": np.arange(n),
            "who": [f"g{group}" for group in rng.integers(0, 30, n)],
            "y": np.where(signal + rng.normal(size=n) > 0, "yes", "no"),
        }
    ).with_columns(pl.col("gaps").fill_nan(None))
    roles = {"when": "time", "who": "group"}
    return prepared(rows, "y", "binary", split=split, roles=roles, encode=encode)


def _recipe(table: Prepared, estimator: str, **parameters: Any) -> Recipe:
    options = TrainingOptions(estimator=estimator, estimator_parameters=parameters, seed=3)
    return make_recipe(options, table.schema, table.plan)


def _fit(table: Prepared, recipe: Recipe) -> Any:
    y = target_values(table.rows, table.schema)
    return fit_on(recipe, table.rows, y, fit_transform(table.plan, table.rows, table.schema))


@pytest.mark.parametrize("method", ["stratified", "random", "time", "group"])
def test_boosting_stops_on_rows_held_out_as_the_split_says(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = Split(method, column={"time": "when", "group": "who"}.get(method, ""))
    table = _table(split=split, encode="target")
    held_out: list[tuple[Any, Any]] = []
    original = fitting.hold_out
    monkeypatch.setattr(
        fitting, "hold_out", lambda *given: held_out.append((given, original(*given))) or held_out[-1][1]
    )
    estimator = _fit(table, _recipe(table, BOOSTING, early_stopping=True, max_iter=300))
    assert len(held_out) == 1
    part = held_out[0][1]
    if method == "time":
        assert part.fit.max() < part.judge.min()
    if method == "group":
        groups = table.rows["who"].to_numpy()
        assert not set(groups[part.fit]) & set(groups[part.judge])
    # Fitted on all rows, with the iterations found and no more stopping.
    assert estimator.early_stopping is False
    assert estimator.n_iter_ == estimator.max_iter < 300


def test_auto_stops_early_above_ten_thousand_rows_alone() -> None:
    small, large = _table(2000), _table(10_500)
    assert _fit(small, _recipe(small, BOOSTING, max_iter=60)).n_iter_ == 60
    assert _fit(large, _recipe(large, BOOSTING, max_iter=60)).n_iter_ < 60
    off = _recipe(large, BOOSTING, max_iter=60, early_stopping=False)
    assert _fit(large, off).n_iter_ == 60
    on_training_loss = _recipe(large, BOOSTING, max_iter=20, validation_fraction=None)
    assert _fit(large, on_training_loss).n_iter_ == 20


def test_early_stopping_weighs_classes_on_both_sides() -> None:
    table = _table()
    options = TrainingOptions(
        estimator=BOOSTING,
        estimator_parameters={"early_stopping": True, "max_iter": 40},
        class_weight='{"yes": 20}',
    )
    recipe = make_recipe(options, table.schema, table.plan)
    predicted, _ = predict(recipe, _fit(table, recipe), fit_transform(table.plan, table.rows, table.schema))
    assert predicted.mean() > 0.8


@pytest.mark.parametrize(
    ("split", "encode", "why"),
    [
        (Split("time", column="when"), "onehot", "split by time"),
        (Split("group", column="who"), "onehot", "split by group"),
        (Split("stratified"), "target", "target encoding"),
    ],
)
@pytest.mark.parametrize(
    ("estimator", "parameters"),
    [
        ("sklearn.ensemble.GradientBoostingClassifier", {"n_iter_no_change": 3}),
        ("sklearn.neural_network.MLPClassifier", {"early_stopping": True}),
        ("sklearn.linear_model.SGDClassifier", {"early_stopping": True, "loss": "log_loss"}),
    ],
)
def test_an_estimator_that_would_stop_on_rows_it_knows_is_refused(
    split: Split, encode: str, why: str, estimator: str, parameters: dict[str, Any]
) -> None:
    table = _table(100, split, encode)
    with pytest.raises(EstimatorError, match=why) as caught:
        _recipe(table, estimator, **parameters)
    assert "n_iter_no_change: null" in str(caught.value)
    off = {"early_stopping": False} if "early_stopping" in parameters else {"n_iter_no_change": None}
    _recipe(table, estimator, **{**parameters, **off})


def test_where_nothing_leaks_it_may_stop_by_itself() -> None:
    table = _table()
    recipe = _recipe(
        table, "sklearn.ensemble.GradientBoostingClassifier", n_iter_no_change=3, n_estimators=200
    )
    assert _fit(table, recipe).n_estimators_ < 200


@pytest.mark.parametrize(
    ("estimator", "parameters", "said"),
    [
        ("sklearn.ensemble.RandomForestClassifier", {"max_depth": "five"}, "'max_depth' parameter"),
        ("sklearn.ensemble.RandomForestClassifier", {"n_estimators": 20.0}, "'n_estimators' parameter"),
        ("sklearn.linear_model.LogisticRegression", {"l1_ratio": 1.0, "solver": "lbfgs"}, "lbfgs"),
        (BOOSTING, {"early_stopping": True, "validation_fraction": "much"}, "cannot be fitted"),
        (BOOSTING, {"early_stopping": True, "validation_fraction": 1000}, "cannot be fitted"),
        (BOOSTING, {"early_stopping": "yes"}, "'early_stopping' parameter"),
    ],
)
def test_a_parameter_of_the_wrong_type_or_value_is_named(
    estimator: str, parameters: dict[str, Any], said: str
) -> None:
    table = _table(100)
    with pytest.raises(EstimatorError) as caught:
        _fit(table, _recipe(table, estimator, **parameters))
    assert said in str(caught.value)
    assert estimator in str(caught.value)


def test_missing_values_that_the_estimator_cannot_take_are_explained() -> None:
    table = _table(200)
    gaps = prepared(table.rows.drop("_row_hash", "kind", "who", "when"), "y", "binary", impute="none")
    with pytest.raises(EstimatorError, match="impute_numeric: median"):
        _fit(gaps, _recipe(gaps, "sklearn.linear_model.LogisticRegression"))
    _fit(gaps, _recipe(gaps, BOOSTING, max_iter=5))


def test_predictions_that_are_no_numbers_are_refused() -> None:
    table = _table(100)
    rows = table.rows.select("signal", price=pl.col("signal") * 2)
    numbers = prepared(rows, "price", "regression")
    recipe = _recipe(numbers, "tests.components.train.doubles.Diverging")
    estimator = _fit(numbers, recipe)
    with pytest.raises(EstimatorError, match="not finite"):
        predict(recipe, estimator, np.zeros((3, 1)))
