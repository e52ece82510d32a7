"""Values on their way through kfp.local, which fills in placeholders and makes 200 into 200.0."""

from collections.abc import Callable
from typing import Any

_PLACEHOLDER = "{{$"
#: Stands in a text where kfp.local would otherwise see a placeholder of its own.
_SHIELD = "{{(kfp-lifecycle)$"


def shield(value: Any) -> Any:
    """``value`` with every ``{{$`` in it hidden from kfp.local, which would fill it in or fail."""
    return _texts(value, lambda text: text.replace(_PLACEHOLDER, _SHIELD))


def unshield(value: Any) -> Any:
    """The inverse of :func:`shield`."""
    return _texts(value, lambda text: text.replace(_SHIELD, _PLACEHOLDER))


def _texts(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_texts(item, change) for item in value]
    if isinstance(value, dict):
        return {_texts(key, change): _texts(item, change) for key, item in value.items()}
    return value


def whole_numbers(value: Any) -> Any:
    """``value`` with 200 for each 200.0 inside lists and mappings, as a step on a cluster gets them.

    Protobuf keeps every number as a double; the API server's JSON writes a whole one without a fraction,
    Python's with one.
    """
    if isinstance(value, list):
        return [_whole(item) for item in value]
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    return value


def _whole(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return whole_numbers(value)
