"""Cross-validation on real tables: what it finds, and that nothing leaks into it."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from kfp_lifecycle.components.shared.inference.schema import Split
from kfp_lifecycle.components.shared.scores import METRICS
from kfp_lifecycle.components.train.crossval import CrossValidation, cross_validate
from kfp_lifecycle.components.train.folds import make_folds
from kfp_lifecycle.components.train.training import TrainingOptions, make_recipe, target_values
from tests.components.train.tables import Prepared, prepared

LOGISTIC = "sklearn.linear_model.LogisticRegression"
Table = Callable[[str], pd.DataFrame]


def _validated(
    table: Prepared, estimator: str = "auto", folds: int = 3, **parameters: Any
) -> CrossValidation:
    options = TrainingOptions(estimator=estimator, estimator_parameters=parameters)
    recipe = make_recipe(options, table.schema, table.plan)
    y = target_values(table.rows, table.schema)
    return cross_validate(recipe, table.rows, y, make_folds(table.rows, y, table.schema, folds, 1))


@pytest.mark.parametrize(
    ("estimator", "parameters"),
    [
        ("auto", {"max_iter": 30}),
        ("sklearn.ensemble.RandomForestClassifier", {"n_estimators": 30, "max_depth": 6}),
        ("sklearn.ensemble.GradientBoostingClassifier", {"n_estimators": 20}),
        (LOGISTIC, {"max_iter": 200}),
    ],
)
def test_churn(table: Table, estimator: str, parameters: dict[str, Any]) -> None:
    churn = prepared(pl.from_pandas(table("churn")), "churn", "binary")
    found = _validated(churn, estimator, **parameters)
    summary = found.summary()
    assert set(summary) == {f"cv_{name}_{what}" for name in METRICS["binary"] for what in ("mean", "std")}
    assert 0.82 < summary["cv_roc_auc_mean"] < 0.86
    assert 0 < summary["cv_roc_auc_std"] < 0.03
    assert summary["cv_roc_auc_mean"] == pytest.approx(np.mean([fold["roc_auc"] for fold in found.folds]))
    assert summary["cv_roc_auc_std"] == pytest.approx(
        np.std([fold["roc_auc"] for fold in found.folds], ddof=1)
    )
    assert np.isfinite(found.predictions).all()
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1)
    assert found.probabilities.shape == (7043, 2)


@pytest.mark.parametrize(
    ("target", "task", "metric", "low", "high"),
    [("price", "regression", "r2", 0.85, 1.0), ("cut", "multiclass", "roc_auc_ovr", 0.85, 1.0)],
)
@pytest.mark.parametrize("kind", ["HistGradientBoosting", "RandomForest", "GradientBoosting"])
def test_diamonds(
    table: Table, target: str, task: str, metric: str, low: float, high: float, kind: str
) -> None:
    stones = prepared(pl.from_pandas(table("diamonds").sample(3000, random_state=1)), target, task)
    suffix = "Regressor" if task == "regression" else "Classifier"
    many = "max_iter" if kind == "HistGradientBoosting" else "n_estimators"
    found = _validated(stones, f"sklearn.ensemble.{kind}{suffix}", folds=2, **{many: 25})
    assert set(found.folds[0]) == set(METRICS[task])
    assert low < found.summary()[f"cv_{metric}_mean"] < high


def test_a_class_that_a_fold_has_not_seen_gets_probability_zero(table: Table) -> None:
    stones = table("diamonds").sample(400, random_state=1).sort_values("cut")
    rows = pl.from_pandas(stones).with_columns(when=pl.arange(400))
    by_time = prepared(rows, "cut", "multiclass", split=Split("time", column="when"), roles={"when": "time"})
    found = _validated(by_time, LOGISTIC, folds=3, max_iter=300)
    judged = np.isfinite(found.predictions)
    assert judged.sum() < 400
    np.testing.assert_allclose(found.probabilities[judged].sum(axis=1), 1)
    assert (found.probabilities[judged] == 0).any()
    assert all(math.isfinite(fold["log_loss"]) for fold in found.folds)


def test_without_folds_there_is_nothing_to_say(table: Table) -> None:
    churn = prepared(pl.from_pandas(table("churn").head(100)), "churn", "binary")
    found = _validated(churn, folds=0)
    assert found.summary() == {}
    assert np.isnan(found.predictions).all()


def _noise(n: int, seed: int) -> list[str]:
    return [f"n{category}" for category in np.random.default_rng(seed).integers(0, n // 3, n)]


@pytest.mark.parametrize(
    ("estimator", "parameters"),
    [
        ("auto", {"early_stopping": True, "max_iter": 50}),
        ("auto", {"max_iter": 50}),
        ("sklearn.ensemble.RandomForestClassifier", {"n_estimators": 50}),
        (LOGISTIC, {}),
    ],
)
def test_target_encoded_noise_says_nothing(estimator: str, parameters: dict[str, Any]) -> None:
    n = 3000
    y = np.where(np.random.default_rng(1).random(n) < 0.4, "yes", "no")
    rows = pl.DataFrame({"noise": _noise(n, 2), "more": _noise(n, 3), "y": y})
    found = _validated(prepared(rows, "y", "binary", encode="target"), estimator, folds=4, **parameters)
    assert found.summary()["cv_roc_auc_mean"] == pytest.approx(0.5, abs=0.035)


def test_target_encoded_noise_gives_no_lift_on_churn(table: Table) -> None:
    rows = pl.from_pandas(table("churn")).select("churn", "tenure", "contract", "monthly_charges")
    noisy = rows.with_columns(noise=pl.Series(_noise(rows.height, 4)))
    plain, more = (
        _validated(prepared(each, "churn", "binary", encode="target"), max_iter=40).summary()
        for each in (rows, noisy)
    )
    assert more["cv_roc_auc_mean"] < plain["cv_roc_auc_mean"] + 0.004


def test_the_transform_is_fitted_on_each_folds_own_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = pl.DataFrame({"x": np.arange(90.0), "y": ["a", "b", "b"] * 30})
    table = prepared(rows, "y", "binary")
    y = target_values(table.rows, table.schema)
    folds = make_folds(table.rows, y, table.schema, 3, 1)
    fitted: list[list[float]] = []
    kind = type(table.plan)
    original = kind.fit_transform
    monkeypatch.setattr(
        kind, "fit_transform", lambda self, X, y: fitted.append(X["x"].to_list()) or original(self, X, y)
    )
    recipe = make_recipe(TrainingOptions(estimator=LOGISTIC), table.schema, table.plan)
    cross_validate(recipe, table.rows, y, folds)
    assert fitted == [table.rows["x"][fold.fit].to_list() for fold in folds]
    assert not table.plan.__sklearn_is_fitted__()
