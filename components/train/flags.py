"""Hyperparameters that arrive as text, as a job's flags do, given the type that the estimator wants."""

import inspect
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from sklearn.utils._param_validation import InvalidParameterError, validate_parameter_constraints


def typed_parameters(cls: type[Any], texts: Mapping[str, str]) -> dict[str, Any]:
    """The estimator's parameters from texts: ``"5"`` is 5 where it wants a number, ``"5"`` where a text.

    A text may mean several values: ``5.0`` a number, or (services that search write them so) the integer 5.
    The first that the estimator accepts holds. What it accepts is said by scikit-learn's parameter
    constraints, or for other estimators by the type of the parameter's default. A text that means nothing
    acceptable is passed on in its first meaning, for the estimator to refuse in its own words.

    Args:
        cls: The estimator's class.
        texts: Parameter to text.
    """
    return {name: _typed(cls, name, text) for name, text in texts.items()}


def complaint(cls: type[Any], name: str, value: Any) -> str:
    """Why the estimator does not take ``value`` for a parameter; empty where it does, or does not say.

    Args:
        cls: The estimator's class.
        name: The parameter.
        value: The value, already typed.
    """
    constraints = getattr(cls, "_parameter_constraints", None)
    if not isinstance(constraints, Mapping) or name not in constraints:
        return ""
    try:
        validate_parameter_constraints({name: constraints[name]}, {name: value}, cls.__name__)
    except InvalidParameterError as error:
        return str(error)
    return ""


def _typed(cls: type[Any], name: str, text: str) -> Any:
    meanings = list(_meanings(text))
    constrained = name in getattr(cls, "_parameter_constraints", {})
    fits = _accepted if constrained else _of_default
    return next((value for value in meanings if fits(cls, name, value)), meanings[0])


def _meanings(text: str) -> Iterator[Any]:
    """What a text may mean, the likeliest first."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        value = {"true": True, "false": False, "none": None}.get(text.lower(), text)
    yield value
    if isinstance(value, float) and math.isfinite(value) and value == int(value):
        yield int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        yield float(value)
    if value != text:
        yield text


def _accepted(cls: type[Any], name: str, value: Any) -> bool:
    return not complaint(cls, name, value)


def _of_default(cls: type[Any], name: str, value: Any) -> bool:
    """Whether ``value`` is of the type of the parameter's default; a default of None says nothing."""
    parameter = inspect.signature(cls).parameters.get(name)
    default = parameter.default if parameter else inspect.Parameter.empty
    return default is None or default is inspect.Parameter.empty or type(value) is type(default)
