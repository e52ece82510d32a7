"""What a user names by its dotted path, with every mistake named: estimators, networks."""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from kfp_lifecycle.components.shared.errors import EstimatorError, did_you_mean


def load_dotted(path: str, what: str, example: str, fits: Callable[[Any], bool]) -> Any:
    """The object that ``path`` names.

    Args:
        path: Module and name, such as ``sklearn.ensemble.RandomForestClassifier``.
        what: What it is to be, for messages: ``estimator``, ``network``.
        example: What could be given instead, for messages.
        fits: Whether an object of the module could be meant.

    Raises:
        EstimatorError: It is not a dotted path, or cannot be imported. Names the nearest right one.
    """
    module_path, _, name = path.rpartition(".")
    if not module_path or not all(part.isidentifier() for part in path.split(".")):
        raise EstimatorError(
            f"The {what} {path!r} is not a dotted path.", f"Give module and class, such as {example}."
        )
    module = _module(module_path, path, what)
    found = getattr(module, name, None)
    if found is None:
        names = [name for name in getattr(module, "__all__", dir(module)) if not name.startswith("_")]
        near = did_you_mean(name, [name for name in names if fits(getattr(module, name, None))])
        raise EstimatorError(f"The {what} {path!r} cannot be imported: no {name!r} in {module_path}.", near)
    return found


def check_parameters(cls: type[Any], path: str, parameters: Mapping[str, Any]) -> list[str]:
    """The names of the parameters that the constructor takes.

    Raises:
        EstimatorError: It takes none of one of these names. Names the nearest right one.
    """
    known = list(inspect.signature(cls).parameters.values())
    kinds = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    names = [parameter.name for parameter in known if parameter.kind not in kinds]
    anything = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in known)
    if not anything and (unknown := [name for name in parameters if name not in names]):
        raise EstimatorError(
            f"{path} takes no parameter {unknown[0]!r}.", did_you_mean(unknown[0], names) or "Leave it out."
        )
    return names


def _module(module_path: str, path: str, what: str) -> ModuleType:
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
                f"The {what} {path!r} cannot be imported: {said}.",
                near or "Correct the path, or train in an image that has its package.",
            ) from error
        known = below
    assert parent is not None
    return parent


def _submodules(package: ModuleType) -> list[str]:
    return [
        found.name for found in pkgutil.iter_modules(getattr(package, "__path__", [])) if found.name[0] != "_"
    ]
