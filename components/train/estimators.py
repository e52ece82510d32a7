"""From a dotted path and JSON parameters to an unfitted estimator, with every mistake named early."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from sklearn.base import is_classifier, is_regressor

from kfp_lifecycle.components.shared.dotted import check_parameters, load_dotted
from kfp_lifecycle.components.shared.errors import EstimatorError

#: What ``auto`` stands for, by task.
AUTO = {
    "binary": "sklearn.ensemble.HistGradientBoostingClassifier",
    "multiclass": "sklearn.ensemble.HistGradientBoostingClassifier",
    "regression": "sklearn.ensemble.HistGradientBoostingRegressor",
}


def build_estimator(path: str, parameters: Mapping[str, Any], *, task: str, seed: int) -> Any:
    """An unfitted estimator for the task.

    Args:
        path: Dotted path of its class.
        parameters: Its constructor's parameters. Integers stay integers.
        task: ``binary``, ``multiclass`` or ``regression``.
        seed: Its ``random_state``, where it takes one and ``parameters`` has none.

    Raises:
        EstimatorError: The path cannot be imported or is no estimator for the task, or it takes no such
            parameter. Names the path or the parameter, and the nearest right one.
    """
    cls = load_class(path)
    takes = check_parameters(cls, path, parameters)
    given = dict(parameters)
    if "random_state" in takes:
        given.setdefault("random_state", seed)
    try:
        estimator = cls(**given)
    except Exception as error:
        raise EstimatorError(
            f"{path} cannot be built: {type(error).__name__}: {error}", "Correct estimator_parameters."
        ) from error
    _check_task(estimator, path, task)
    return estimator


def load_class(path: str) -> type[Any]:
    """The estimator class that ``path`` names. Raises as :func:`build_estimator` does."""
    example = "sklearn.ensemble.RandomForestClassifier, or auto"
    found = load_dotted(path, "estimator", example, _can_fit)
    if not inspect.isclass(found) or not _can_fit(found):
        raise EstimatorError(
            f"{path!r} is not an estimator: it is no class with a fit method.",
            "Give the class of a scikit-learn-compatible estimator.",
        )
    return found


def _can_fit(thing: Any) -> bool:
    return callable(getattr(thing, "fit", None))


def _check_task(estimator: Any, path: str, task: str) -> None:
    classifies = task != "regression"
    if not (is_classifier(estimator) if classifies else is_regressor(estimator)):
        kind = _kind(estimator)
        raise EstimatorError(
            f"{path} is {kind}, but the task is {task}.",
            f"Give a {'classifier' if classifies else 'regressor'}, such as {AUTO[task]}, or set task.",
        )
    if classifies and not hasattr(estimator, "predict_proba"):
        raise EstimatorError(
            f"{path} with these parameters has no predict_proba, and predictions carry probabilities.",
            "Choose a classifier that has it, or parameters that give it (for SGDClassifier loss: log_loss).",
        )


def _kind(estimator: Any) -> str:
    if is_classifier(estimator):
        return "a classifier"
    return "a regressor" if is_regressor(estimator) else "neither a classifier nor a regressor"


def json_parameters(estimator: Any) -> dict[str, Any]:
    """The parameters that the estimator runs with, defaults included, as JSON values."""
    return {name: _json(value) for name, value in estimator.get_params(deep=False).items()}


def _json(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping):
        return {str(key): _json(item) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [_json(item) for item in value]
    return repr(value)
