"""From a dotted path and JSON parameters to an unfitted estimator, with every mistake named early."""

import importlib
import inspect
import pkgutil
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

from sklearn.base import is_classifier, is_regressor

from kfp_lifecycle.components.shared.errors import EstimatorError, did_you_mean

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
    takes, anything = _parameters(cls)
    if not anything and (unknown := [name for name in parameters if name not in takes]):
        raise EstimatorError(
            f"{path} takes no parameter {unknown[0]!r}.", did_you_mean(unknown[0], takes) or "Leave it out."
        )
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
    module_path, _, name = path.rpartition(".")
    if not module_path or not all(part.isidentifier() for part in path.split(".")):
        raise EstimatorError(
            f"The estimator {path!r} is not a dotted path.",
            "Give module and class, such as sklearn.ensemble.RandomForestClassifier, or auto.",
        )
    found = getattr(_module(module_path, path), name, None)
    if found is None:
        near = did_you_mean(name, _estimator_names(importlib.import_module(module_path)))
        raise EstimatorError(
            f"The estimator {path!r} cannot be imported: no {name!r} in {module_path}.", near
        )
    if not inspect.isclass(found) or not callable(getattr(found, "fit", None)):
        raise EstimatorError(
            f"{path!r} is not an estimator: it is no class with a fit method.",
            "Give the class of a scikit-learn-compatible estimator.",
        )
    return found


def _module(module_path: str, path: str) -> ModuleType:
    parent: ModuleType | None = None
    known = ""
    for part in module_path.split("."):
        below = f"{known}.{part}" if known else part
        try:
            parent = importlib.import_module(below)
        except Exception as error:
            missing = isinstance(error, ModuleNotFoundError) and error.name == below
            said = f"there is no module {below!r}" if missing else f"{type(error).__name__}: {error}"
            near = did_you_mean(part, _submodules(parent)) if missing and parent else ""
            raise EstimatorError(
                f"The estimator {path!r} cannot be imported: {said}.",
                near or "Correct the path, or train in an image that has its package.",
            ) from error
        known = below
    assert parent is not None
    return parent


def _submodules(package: ModuleType) -> list[str]:
    return [
        found.name for found in pkgutil.iter_modules(getattr(package, "__path__", [])) if found.name[0] != "_"
    ]


def _estimator_names(module: ModuleType) -> list[str]:
    names = [name for name in getattr(module, "__all__", dir(module)) if not name.startswith("_")]
    return [name for name in names if callable(getattr(getattr(module, name, None), "fit", None))]


def _parameters(cls: type[Any]) -> tuple[list[str], bool]:
    """Names of the constructor's parameters, and whether it takes any others as well."""
    parameters = list(inspect.signature(cls).parameters.values())
    kinds = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    names = [parameter.name for parameter in parameters if parameter.kind not in kinds]
    return names, any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters)


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
