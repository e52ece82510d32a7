"""Whatever the table and the options, training ends in a result or in a declared error."""

from typing import Any

import numpy as np
import polars as pl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kfp_lifecycle.components.shared.errors import LifecycleError
from kfp_lifecycle.components.shared.inference.schema import Split
from kfp_lifecycle.components.train.crossval import cross_validate, predict
from kfp_lifecycle.components.train.fitting import fit_on, fit_transform
from kfp_lifecycle.components.train.folds import make_folds
from kfp_lifecycle.components.train.reference import reference_rows
from kfp_lifecycle.components.train.training import TrainingOptions, make_recipe, target_values
from tests.components.train.tables import Prepared, prepared
from tests.conftest import SOAK

ESTIMATORS: list[tuple[str, dict[str, Any]]] = [
    ("HistGradientBoosting", {"max_iter": 3}),
    ("HistGradientBoosting", {"max_iter": 3, "early_stopping": True}),
    ("HistGradientBoosting", {"max_iter": 3, "early_stopping": True, "validation_fraction": 0.9}),
    ("RandomForest", {"n_estimators": 2}),
    ("RandomForest", {"n_estimators": 0}),
    ("GradientBoosting", {"n_estimators": 2}),
    ("GradientBoosting", {"n_estimators": 2, "n_iter_no_change": 1}),
]


@st.composite
def tables(draw: st.DrawFn) -> Prepared:
    n = draw(st.integers(2, 30))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    task = draw(st.sampled_from(["binary", "multiclass", "regression"]))
    kinds = draw(st.integers(1, 12))
    numbers = [
        None if rng.random() < 0.2 else float(value)
        for value in rng.normal(size=n) * 10.0 ** rng.integers(0, 12)
    ]
    rows = pl.DataFrame(
        {
            "number": pl.Series(numbers, dtype=pl.Float64),
            "text": [None if rng.random() < 0.2 else f"t{value}" for value in rng.integers(0, kinds, n)],
            "when": rng.integers(0, kinds, n),
            "who": [f"g{value}" for value in rng.integers(0, kinds, n)],
        },
        schema_overrides={"text": pl.String},
    )
    labels = ["a", "b"] if task == "binary" else ["a", "b", "c", "d"]
    target = (
        rng.normal(size=n) if task == "regression" else [labels[i] for i in rng.integers(0, len(labels), n)]
    )
    split = draw(st.sampled_from([("random", ""), ("stratified", ""), ("time", "when"), ("group", "who")]))
    return prepared(
        rows.with_columns(y=pl.Series(target)),
        "y",
        task,
        split=Split(split[0], column=split[1]),
        roles={"when": "time", "who": "group"},
        encode=draw(st.sampled_from(["onehot", "ordinal", "target"])),
        impute=draw(st.sampled_from(["median", "none"])),
    )


@settings(max_examples=2000 if SOAK else 60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    table=tables(),
    estimator=st.sampled_from(ESTIMATORS),
    weight=st.sampled_from(["none", "none", "balanced", '{"b": 3}']),
    folds=st.integers(-1, 6),
)
def test_a_result_or_a_declared_error(
    table: Prepared, estimator: tuple[str, dict[str, Any]], weight: str, folds: int
) -> None:
    kind = "Regressor" if table.schema.task == "regression" else "Classifier"
    options = TrainingOptions(f"sklearn.ensemble.{estimator[0]}{kind}", estimator[1], weight, folds)
    try:
        recipe = make_recipe(options, table.schema, table.plan)
        y = target_values(table.rows, table.schema)
        found = cross_validate(recipe, table.rows, y, make_folds(table.rows, y, table.schema, folds, 1))
        features = fit_transform(table.plan, table.rows, table.schema)
        predicted, probabilities = predict(recipe, fit_on(recipe, table.rows, y, features), features)
        reference, positions = reference_rows(table.rows, found, table.schema, 10, 1)
    except LifecycleError:
        return
    assert len(predicted) == table.rows.height
    assert probabilities.shape == (table.rows.height, len(table.schema.classes))
    assert all(np.isfinite(value) for value in found.summary().values())
    assert reference.height == len(positions) <= 10
