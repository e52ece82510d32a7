"""Cross-validation: every fold fits its own transform and estimator, and is judged on rows of others."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from sklearn.base import clone

from kfp_lifecycle.components.shared.errors import EstimatorError
from kfp_lifecycle.components.shared.inference.predict import (
    most_probable,
    predict_probabilities,
    predict_values,
)
from kfp_lifecycle.components.shared.inference.schema import TableSchema
from kfp_lifecycle.components.shared.inference.transform import FeatureTransform
from kfp_lifecycle.components.shared.scores import MAIN_METRIC, scores
from kfp_lifecycle.components.train.fitting import Recipe, Rows, estimator_errors, fit_on, fit_transform
from kfp_lifecycle.components.train.folds import Fold

log = logging.getLogger(__name__)

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class CrossValidation:
    """What the folds gave.

    Args:
        folds: The metrics of each fold, in order.
        predictions: Out-of-fold predictions by row, shape ``(n,)``: class positions (as floats), or values.
            NaN where no fold has judged the row: the earliest under a time split, all without folds.
        probabilities: Out-of-fold probabilities, shape ``(n, classes)``; NaN likewise; for regression none.
    """

    folds: list[dict[str, float]]
    predictions: Floats
    probabilities: Floats

    def summary(self) -> dict[str, float]:
        """``cv_<metric>_mean`` and ``cv_<metric>_std``, the sample standard deviation over the folds."""
        values: dict[str, float] = {}
        for name, each in _by_metric(self.folds).items():
            values[f"cv_{name}_mean"] = float(np.mean(each))
            values[f"cv_{name}_std"] = float(np.std(each, ddof=1)) if len(each) > 1 else 0.0
        return values


def means(folds: Iterable[dict[str, float]]) -> dict[str, float]:
    """The mean of each metric over the folds that define it."""
    return {name: float(np.mean(each)) for name, each in _by_metric(folds).items()}


def _by_metric(folds: Iterable[dict[str, float]]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for fold in folds:
        for name, value in fold.items():
            found.setdefault(name, []).append(value)
    return found


@dataclass(frozen=True)
class FoldData:
    """What a fold is fitted and judged on, with the features of its own transform.

    Args:
        rows: The prepared rows that it is fitted on, ``n`` of them, or what reads them.
        y: Their class positions, or the target's values, shape ``(n,)``.
        features: Their features, shape ``(n, features)``.
        truth: As ``y``, of the ``m`` rows that it is judged on.
        judged: Their features, shape ``(m, features)``.
    """

    rows: Rows
    y: npt.NDArray[Any]
    features: Floats
    truth: npt.NDArray[Any]
    judged: Floats


def fold_data(
    plan: FeatureTransform, schema: TableSchema, rows: pl.DataFrame, y: npt.NDArray[Any], fold: Fold
) -> FoldData:
    """Fits the fold's own transform on the rows that it fits on, and makes the features of both sides."""
    transform, fitted = clone(plan), rows[fold.fit]
    features = fit_transform(transform, fitted, schema)
    judged = np.asarray(transform.transform(rows[fold.judge]), dtype=np.float64)
    return FoldData(fitted, y[fold.fit], features, y[fold.judge], judged)


def judge(recipe: Recipe, data: FoldData) -> tuple[Floats, Floats, dict[str, float]]:
    """Fits the recipe's estimator on a fold: its predictions and probabilities of the judged rows, metrics.

    Raises:
        EstimatorError: As :func:`cross_validate`.
    """
    schema = recipe.schema
    estimator = fit_on(recipe, data.rows, data.y, data.features)
    predicted, probabilities = predict(recipe, estimator, data.judged)
    found = scores(schema.task, data.truth, predicted, probabilities, schema.classes, schema.positive_class)
    return predicted, probabilities, found


def cross_validate(
    recipe: Recipe, rows: pl.DataFrame, y: npt.NDArray[Any], folds: list[Fold]
) -> CrossValidation:
    """Fits and judges the recipe on each fold.

    Args:
        recipe: The unfitted transform and estimator.
        rows: Prepared training rows, ``n`` of them.
        y: Class positions, or the target's values, shape ``(n,)``.
        folds: Positions in ``rows``; none gives a result without metrics.

    Raises:
        EstimatorError: The estimator refuses its parameters or the features, or predicts no number.
    """
    schema = recipe.schema
    result = CrossValidation([], np.full(len(y), np.nan), np.full((len(y), len(schema.classes)), np.nan))
    for number, fold in enumerate(folds):
        predicted, probabilities, found = judge(recipe, fold_data(recipe.plan, schema, rows, y, fold))
        result.predictions[fold.judge] = predicted
        result.probabilities[fold.judge] = probabilities
        result.folds.append(found)
        main = MAIN_METRIC[schema.task]
        log.info(
            "fold %d of %d: %d rows fitted, %d judged, %s %s",
            *(number + 1, len(folds), len(fold.fit), len(fold.judge), main),
            f"{found[main]:.4f}" if main in found else "not defined",
        )
    return result


def predict(recipe: Recipe, estimator: Any, features: Floats) -> tuple[Floats, Floats]:
    """As :func:`finite_predictions`, of the recipe's estimator."""
    return finite_predictions(recipe.path, estimator, features, recipe.schema)


def finite_predictions(
    path: str, estimator: Any, features: Floats, schema: TableSchema
) -> tuple[Floats, Floats]:
    """Predictions (class positions or values, as floats, shape ``(n,)``) and probabilities ``(n, classes)``.

    Args:
        path: What the estimator is called in messages.
        estimator: A fitted classifier or regressor.
        features: Shape ``(n, features)``.
        schema: The schema, for its task and classes.

    Raises:
        EstimatorError: The estimator fails, or predicts something that is not a finite number.
    """
    with estimator_errors(path, "asked for predictions"):
        if schema.task == "regression":
            predicted, probabilities = predict_values(estimator, features), np.zeros((len(features), 0))
        else:
            probabilities = predict_probabilities(estimator, features, schema.classes)
            predicted = most_probable(probabilities).astype(np.float64)
    if not (np.isfinite(predicted).all() and np.isfinite(probabilities).all()):
        raise EstimatorError(
            f"{path} predicts values that are not finite numbers.",
            "Change estimator_parameters (a lower learning rate, more regularization) or scale the features.",
        )
    return predicted, probabilities
