"""Fitting one estimator on one set of rows, with early stopping on rows that it does not learn from.

scikit-learn's own early stopping takes its validation rows at random from rows that are features already.
Under a time or group split those rows share their moment or group with the ones that are fitted, and with
target encoding they carry their own target. So for estimators that take validation rows
(HistGradientBoosting), these are held out as prepare splits, the transform is fitted on the others alone,
and the number of iterations found is what all rows are then fitted with. Others are refused where it matters.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from sklearn.base import clone
from sklearn.utils.validation import has_fit_parameter

from kfp_lifecycle.components.shared.errors import EstimatorError, LifecycleError, SplitError
from kfp_lifecycle.components.shared.inference.schema import TableSchema
from kfp_lifecycle.components.shared.inference.transform import FeatureTransform
from kfp_lifecycle.components.train.folds import hold_out
from kfp_lifecycle.components.train.weights import ClassWeight, row_weights

log = logging.getLogger(__name__)

Floats = npt.NDArray[np.float64]
#: Prepared rows, or what reads them: early stopping alone looks at them.
Rows = pl.DataFrame | Callable[[], pl.DataFrame]

#: From this many rows HistGradientBoosting's ``early_stopping="auto"`` stops early (scikit-learn's rule).
AUTO_STOP_ROWS = 10_000


@dataclass(frozen=True)
class Recipe:
    """What every fold fits anew.

    Args:
        estimator: The unfitted estimator.
        path: Its dotted path, for messages.
        plan: The unfitted transform.
        schema: The schema of the rows.
        weight: Class weights; None weighs all rows the same.
        weigh_rows: Whether they go into ``fit`` as row weights, for an estimator without ``class_weight``.
        seed: Seed of the held-out rows.
    """

    estimator: Any
    path: str
    plan: FeatureTransform
    schema: TableSchema
    weight: ClassWeight = None
    weigh_rows: bool = False
    seed: int = 42


def check_early_stopping(recipe: Recipe) -> None:
    """Refuses an estimator that would stop early on rows that it, or the transform, has learned from.

    Raises:
        EstimatorError: Says why, and what to do.
    """
    if _takes_validation_rows(recipe.estimator) or not _splits_by_itself(recipe.estimator):
        return
    method = recipe.schema.split.method
    if method in ("time", "group"):
        why = f"the table is split by {method}, and its choice is at random"
    elif recipe.plan.encodes_target:
        why = "target encoding has used them already"
    else:
        return
    raise EstimatorError(
        f"{recipe.path} would stop early on validation rows that it takes from the features, and {why}.",
        "Switch that off (early_stopping: false, n_iter_no_change: null), or use HistGradientBoosting.",
    )


def fit_on(recipe: Recipe, rows: Rows, y: npt.NDArray[Any], features: Floats) -> Any:
    """The estimator, fitted on all the rows.

    Args:
        recipe: What to fit.
        rows: Prepared rows, ``n`` of them, or a function that reads them; early stopping holds some out and
            refits the transform without.
        y: Class positions, or the target's values, shape ``(n,)``.
        features: The rows' features, shape ``(n, features)``.

    Raises:
        EstimatorError: The estimator refuses its parameters or the features.
        SplitError: No rows can be held out for early stopping.
    """
    estimator = clone(recipe.estimator)
    if _takes_validation_rows(estimator) and _stops(estimator, len(y)):
        iterations = _iterations(recipe, rows() if callable(rows) else rows, y)
        log.info("early stopping: %d iterations", iterations)
        estimator.set_params(max_iter=iterations, early_stopping=False)
    more = {"sample_weight": row_weights(recipe.weight, y)} if recipe.weigh_rows else {}
    return _fit(estimator, recipe.path, features, y, **more)


def _takes_validation_rows(estimator: Any) -> bool:
    return has_fit_parameter(estimator, "X_val") and {"max_iter", "early_stopping"} <= set(
        estimator.get_params()
    )


def _stops(estimator: Any, rows: int) -> bool:
    stopping = estimator.get_params()["early_stopping"]
    on_training_loss = estimator.get_params().get("validation_fraction") is None
    return not on_training_loss and (rows > AUTO_STOP_ROWS if stopping == "auto" else stopping is True)


def _splits_by_itself(estimator: Any) -> bool:
    parameters = estimator.get_params(deep=False)
    if "validation_fraction" not in parameters:
        return False
    if "early_stopping" in parameters:
        return bool(parameters["early_stopping"])
    return parameters.get("n_iter_no_change") is not None


def _iterations(recipe: Recipe, rows: pl.DataFrame, y: npt.NDArray[Any]) -> int:
    """How many iterations early stopping finds, on rows held out as prepare splits."""
    share = recipe.estimator.get_params()["validation_fraction"]
    with estimator_errors(recipe.path, "fitted"):  # validation_fraction is the user's
        part = hold_out(rows, y, recipe.schema, share, recipe.seed)
    judge = part.judge
    if recipe.schema.task != "regression":  # a class that only the held-out rows have cannot be validated
        judge = judge[np.isin(y[judge], y[part.fit])]
    if not len(judge):
        raise SplitError(
            "No row held out for early stopping has a class that the other rows have.",
            "Set early_stopping to false in estimator_parameters.",
        )
    transform = clone(recipe.plan)
    features = fit_transform(transform, rows[part.fit], recipe.schema)
    more: dict[str, Any] = {"X_val": transform.transform(rows[judge]), "y_val": y[judge]}
    if recipe.weight is not None:
        more["sample_weight_val"] = row_weights(recipe.weight, y[judge])
    if recipe.weigh_rows:
        more["sample_weight"] = row_weights(recipe.weight, y[part.fit])
    estimator = clone(recipe.estimator).set_params(early_stopping=True)
    return int(_fit(estimator, recipe.path, features, y[part.fit], **more).n_iter_)


def fit_transform(transform: FeatureTransform, rows: pl.DataFrame, schema: TableSchema) -> Floats:
    """Fits the transform; the rows' features, shape ``(n, features)``, with target encoding cross-fitted."""
    return np.asarray(transform.fit_transform(rows, rows[schema.target]), dtype=np.float64)


def _fit(estimator: Any, path: str, features: Floats, y: npt.NDArray[Any], **more: Any) -> Any:
    with estimator_errors(path, "fitted"):
        return estimator.fit(features, y, **more)


@contextmanager
def estimator_errors(path: str, doing: str) -> Iterator[None]:
    """Turns whatever the estimator raises inside the block into an ``EstimatorError`` that names it."""
    try:
        yield
    except LifecycleError:
        raise
    except Exception as error:
        raise EstimatorError(
            f"{path} cannot be {doing}: {type(error).__name__}: {_first_lines(error)}", _fix(error)
        ) from error


def _first_lines(error: Exception) -> str:
    return " ".join(str(error).split("\n\n")[0].split())[:400]


def _fix(error: Exception) -> str:
    if "contains NaN" in str(error):
        return "Let featurize fill missing values (impute_numeric: median), or take an estimator that can."
    return "Correct estimator_parameters, or choose another estimator."
