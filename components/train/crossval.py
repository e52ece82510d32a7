"""Cross-validation: every fold fits its own transform and estimator, and is judged on rows of others."""

import logging
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
from kfp_lifecycle.components.shared.scores import MAIN_METRIC, scores
from kfp_lifecycle.components.train.fitting import Recipe, estimator_errors, fit_on, fit_transform
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
        for name in dict.fromkeys(name for fold in self.folds for name in fold):
            each = [fold[name] for fold in self.folds if name in fold]
            values[f"cv_{name}_mean"] = float(np.mean(each))
            values[f"cv_{name}_std"] = float(np.std(each, ddof=1)) if len(each) > 1 else 0.0
        return values


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
        predicted, probabilities = _judge(recipe, rows, y, fold)
        result.predictions[fold.judge] = predicted
        result.probabilities[fold.judge] = probabilities
        found = scores(
            schema.task, y[fold.judge], predicted, probabilities, schema.classes, schema.positive_class
        )
        result.folds.append(found)
        main = MAIN_METRIC[schema.task]
        log.info(
            "fold %d of %d: %d rows fitted, %d judged, %s %s",
            *(number + 1, len(folds), len(fold.fit), len(fold.judge), main),
            f"{found[main]:.4f}" if main in found else "not defined",
        )
    return result


def _judge(recipe: Recipe, rows: pl.DataFrame, y: npt.NDArray[Any], fold: Fold) -> tuple[Floats, Floats]:
    transform = clone(recipe.plan)
    fitted_rows = rows[fold.fit]
    features = fit_transform(transform, fitted_rows, recipe.schema)
    estimator = fit_on(recipe, fitted_rows, y[fold.fit], features)
    judged = np.asarray(transform.transform(rows[fold.judge]), dtype=np.float64)
    return predict(recipe, estimator, judged)


def predict(recipe: Recipe, estimator: Any, features: Floats) -> tuple[Floats, Floats]:
    """Predictions (class positions or values, as floats, shape ``(n,)``) and probabilities ``(n, classes)``.

    Raises:
        EstimatorError: The estimator fails, or predicts something that is not a finite number.
    """
    with estimator_errors(recipe.path, "asked for predictions"):
        if recipe.schema.task == "regression":
            predicted, probabilities = predict_values(estimator, features), np.zeros((len(features), 0))
        else:
            probabilities = predict_probabilities(estimator, features, recipe.schema.classes)
            predicted = most_probable(probabilities).astype(np.float64)
    if not (np.isfinite(predicted).all() and np.isfinite(probabilities).all()):
        raise EstimatorError(
            f"{recipe.path} predicts values that are not finite numbers.",
            "Change estimator_parameters (a lower learning rate, more regularization) or scale the features.",
        )
    return predicted, probabilities
