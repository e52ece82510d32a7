"""The metrics of a prediction by task: one place, for cross-validation, evaluation and tuning alike."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from sklearn import metrics

from kfp_lifecycle.components.shared.errors import ParameterError

Array = npt.NDArray[np.generic]
Floats = npt.NDArray[np.float64]

#: Every metric by task; True where higher is better.
METRICS: dict[str, dict[str, bool]] = {
    "binary": {
        "roc_auc": True,
        "average_precision": True,
        "log_loss": False,
        "accuracy": True,
        "f1": True,
        "precision": True,
        "recall": True,
        "brier": False,
    },
    "multiclass": {"roc_auc_ovr": True, "log_loss": False, "accuracy": True, "f1_macro": True},
    "regression": {"rmse": False, "mae": False, "r2": True},
}

#: The metric that two models of a task are compared by, unless another is named.
MAIN_METRIC = {"binary": "roc_auc", "multiclass": "roc_auc_ovr", "regression": "rmse"}

#: What people call the metrics, in the order of a report.
LABELS = {
    "roc_auc": "Area under the ROC curve",
    "roc_auc_ovr": "Area under the ROC curve, mean over classes",
    "average_precision": "Average precision",
    "accuracy": "Accuracy",
    "f1": "F1",
    "f1_macro": "F1, mean over classes",
    "precision": "Precision",
    "recall": "Recall",
    "log_loss": "Log loss",
    "brier": "Brier score",
    "rmse": "Root mean squared error",
    "mae": "Mean absolute error",
    "r2": "R²",
}


def scores(
    task: str,
    y: Array,
    predictions: Array,
    probabilities: Floats | None = None,
    classes: Sequence[str] = (),
    positive: str = "",
) -> dict[str, float]:
    """The metrics of :data:`METRICS` for one set of rows.

    A metric that these rows do not define is left out: a ROC curve needs rows of both kinds, R² at least
    two values.

    Args:
        task: ``binary``, ``multiclass`` or ``regression``.
        y: What was true, shape ``(n,)``: positions in ``classes``, or numbers for regression.
        predictions: What was predicted, likewise.
        probabilities: Shape ``(n, len(classes))``, columns in the order of ``classes``. Classification only.
        classes: The labels in sorted order.
        positive: For binary, the label that the metrics are about; empty is the last of ``classes``.

    Returns:
        Metric to value. ``log_loss`` is in nats; ``rmse`` and ``mae`` are in the target's unit.
    """
    if task == "regression":
        return _regression(y.astype(float), predictions.astype(float))
    if probabilities is None:
        raise ParameterError("Classification metrics need probabilities.", "Pass one column per class.")
    if task == "multiclass":
        return _multiclass(y.astype(int), predictions.astype(int), probabilities)
    index = list(classes).index(positive) if positive else len(classes) - 1
    return _binary(y == index, predictions == index, probabilities[:, index])


def _binary(y: Array, predicted: Array, probability: Floats) -> dict[str, float]:
    both = bool(y.any() and not y.all())
    values = {
        "roc_auc": metrics.roc_auc_score(y, probability) if both else None,
        "average_precision": metrics.average_precision_score(y, probability) if both else None,
        "log_loss": metrics.log_loss(y, probability, labels=[False, True]),
        "accuracy": np.mean(y == predicted),
        "f1": metrics.f1_score(y, predicted, zero_division=0.0),
        "precision": metrics.precision_score(y, predicted, zero_division=0.0),
        "recall": metrics.recall_score(y, predicted, zero_division=0.0),
        "brier": np.mean((probability - y.astype(float)) ** 2),
    }
    return {name: float(value) for name, value in values.items() if value is not None}


def _multiclass(y: npt.NDArray[np.intp], predicted: Array, probabilities: Floats) -> dict[str, float]:
    # One against the rest, the plain mean over the classes that these rows have.
    areas = [metrics.roc_auc_score(y == code, probabilities[:, code]) for code in _both_kinds(y)]
    values = {
        "log_loss": metrics.log_loss(y, probabilities, labels=list(range(probabilities.shape[1]))),
        "accuracy": np.mean(y == predicted),
        "f1_macro": metrics.f1_score(y, predicted, average="macro", zero_division=0.0),
    }
    named = {"roc_auc_ovr": np.mean(areas)} if areas else {}
    return {name: float(value) for name, value in {**named, **values}.items()}


def _both_kinds(y: npt.NDArray[np.intp]) -> list[int]:
    counts = np.bincount(y)
    return [code for code, count in enumerate(counts) if 0 < count < len(y)]


def _regression(y: Floats, predictions: Floats) -> dict[str, float]:
    error = predictions - y
    values = {"rmse": float(np.sqrt(np.mean(error**2))), "mae": float(np.mean(np.abs(error)))}
    if len(y) > 1 and np.ptp(y) > 0:
        values["r2"] = float(metrics.r2_score(y, predictions))
    return values
