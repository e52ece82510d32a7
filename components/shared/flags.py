"""Hyperparameters as flags of a command: which text stands for which value.

A text stands for itself, anything else for its JSON, so that ``--max_depth=5`` gives an integer and
``--criterion=gini`` a text. A text that would be read as JSON (``1``, ``true``, ``null``) has ``text:``
before it.
"""

import json
from typing import Any

_TEXT = "text:"


def flag_text(value: Any) -> str:
    """How a JSON value is written in a flag; :func:`flag_value` reads it back."""
    if not isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return value if not value.startswith(_TEXT) and flag_value(value) == value else f"{_TEXT}{value}"


def flag_value(text: str) -> Any:
    """The value that a flag's text stands for. ``nan`` and ``inf`` are texts: they are no JSON."""
    if text.startswith(_TEXT):
        return text.removeprefix(_TEXT)
    try:
        return json.loads(text, parse_constant=_refuse)
    except ValueError:
        return text


def _refuse(constant: str) -> Any:
    raise ValueError(constant)
