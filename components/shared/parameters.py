"""Parameters that travel as one JSON string: KFP makes the 200 in a dict into 200.0."""

import json
from collections.abc import Callable
from typing import Any

from kfp_lifecycle.components.shared.errors import ParameterError


def json_object(text: str, parameter: str) -> dict[str, Any]:
    """The JSON object in ``text``; an empty text is an empty object.

    Raises:
        ParameterError: The text is not JSON, or is JSON of another kind. Names ``parameter``.
    """
    try:
        value = json.loads(text) if text.strip() else {}
    except json.JSONDecodeError as error:
        raise ParameterError(
            f"Parameter {parameter!r} is not JSON: {error.msg} at line {error.lineno}, column {error.colno}.",
            'Write it as one JSON object, such as {"max_depth": 5}.',
        ) from error
    if not isinstance(value, dict):
        raise ParameterError(
            f"Parameter {parameter!r} is JSON, but not an object: {text[:60]!r}.",
            'Write it as one JSON object, such as {"max_depth": 5}.',
        )
    return value


def one_of(value: str, allowed: tuple[str, ...], parameter: str) -> str:
    """``value``, if it is allowed. Raises ``ParameterError`` with the allowed values otherwise."""
    if value not in allowed:
        raise ParameterError(f"Parameter {parameter!r} is {value!r}.", f"Give one of: {', '.join(allowed)}.")
    return value


_TYPES: dict[Any, tuple[str, Callable[[Any], bool]]] = {
    str: ("a text", lambda value: isinstance(value, str)),
    bool: ("true or false", lambda value: isinstance(value, bool)),
    int: ("a whole number", lambda value: isinstance(value, int) and not isinstance(value, bool)),
    float: ("a number", lambda value: isinstance(value, (int, float)) and not isinstance(value, bool)),
    list[str]: (
        "a list of texts",
        lambda value: isinstance(value, list) and all(isinstance(item, str) for item in value),
    ),
    dict[str, str]: (
        "a text by column",
        lambda value: isinstance(value, dict) and all(isinstance(item, str) for item in value.values()),
    ),
}


def check_type(parameter: str, value: Any, kind: Any) -> None:
    """Raises ``ParameterError`` where ``value`` is not of the type that a component's signature has."""
    what, fits = _TYPES[kind]
    if not fits(value):
        raise ParameterError(f"Parameter {parameter!r} is {value!r}, which is not {what}.", f"Give {what}.")
