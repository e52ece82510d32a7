"""Comparing and showing values of two files."""

import json
from typing import Any

from kfp_lifecycle.compiler.safe_yaml import Map
from kfp_lifecycle.compiler.secrets import hidden, names_secret
from kfp_lifecycle.compiler.text import shown


def same(one: Any, other: Any) -> bool:
    """Whether two values are the same in JSON: 5 and 5.0 are, true and 1 are not."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(isinstance(one, bool) == isinstance(other, bool) and one == other)


def said(name: str | None, value: Any, limit: int = 60) -> str:
    """``value`` for a message, as JSON in one line; ``name`` tells whether it is a secret's."""
    text = hidden(name or "", value if isinstance(value, str) else plain(name, value))
    return shown(text, limit, quote=isinstance(value, str))


def plain(name: str | None, value: Any) -> Any:
    """``value`` for the JSON report: stars where it looks like a secret, and whole numbers as such.

    Args:
        name: The name of what has the value; None where the names in it say nothing about secrets.
        value: Anything that JSON can hold.
    """
    if isinstance(value, dict):
        return {key: plain(_inner(name, key), item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(name, item) for item in value]
    if isinstance(value, str):
        return hidden(name or "", value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _inner(name: str | None, key: str) -> str | None:
    """The name that tells about the value of ``key`` in a mapping called ``name``."""
    return key if name is not None and names_secret(key) else name


def source(argument: Map | None, name: str) -> str:
    """Where a task's input comes from, in words."""
    if argument is None:
        return "nothing"
    if "runtimeValue" in argument:
        return said(name, argument["runtimeValue"].get("constant", argument["runtimeValue"]))
    for kind in ("Parameter", "Artifact"):
        if (given := argument.get(f"componentInput{kind}")) is not None:
            return f"the input {shown(given)}{_selected(argument)}"
        if (output := argument.get(f"taskOutput{kind}")) is not None:
            key, task = output.get(f"output{kind}Key", ""), output.get("producerTask", "")
            return f"{shown(key)} of {shown(task)}{_selected(argument)}"
    return shown(json.dumps(argument), 60, quote=False)


def _selected(argument: Map) -> str:
    selector = argument.get("parameterExpressionSelector")
    return f", of which {shown(selector)}" if selector else ""
