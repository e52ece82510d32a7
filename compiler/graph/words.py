"""How people read what the spec says in expressions: conditions, loops, where values come from."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from kfp_lifecycle.compiler.graph.access import CHANNEL

_VALUE = re.compile(
    r"(?:(?:int|double|string|bool)\()?"
    r"inputs\.(?:parameter_values\['(?P<value>[^']*)'\]|parameters\['(?P<typed>[^']*)'\]\.\w+_value)"
    r"(?(value)\)?|\)?)"
)
_MEMBER = re.compile(r"parseJson\(string_value\)\[[\"'](?P<member>[^\"']*)[\"']\]")


def condition(expression: str, names: Mapping[str, str]) -> str:
    """A trigger condition with the names that people gave, such as ``flip == 'heads'``.

    Args:
        expression: As it is in the spec.
        names: Input parameter of the conditional task to how people know it.
    """
    return _VALUE.sub(lambda found: _named(found, names), expression)


def _named(found: re.Match[str], names: Mapping[str, str]) -> str:
    parameter = found["value"] if found["value"] is not None else found["typed"]
    name = names.get(parameter, parameter.removeprefix(CHANNEL))
    # The bracket belongs to a conversion, which is left out, or to something that was there before.
    unopened = found[0].endswith(")") and not found[0].startswith(("int(", "double(", "string(", "bool("))
    return f"{name})" if unopened else name


def mentioned(expression: str) -> list[str]:
    """The input parameters that a trigger condition asks for."""
    return [found["value"] or found["typed"] or "" for found in _VALUE.finditer(expression)]


def branches(expressions: Sequence[str]) -> list[tuple[str, str]]:
    """The branches of an If as they were written.

    In the spec every later branch repeats the earlier ones, negated.

    Args:
        expressions: The trigger conditions, in order.

    Returns:
        For each of them ``if``, ``else if`` or ``else``, and the condition that is its own.
    """
    found: list[tuple[str, str]] = []
    for expression in expressions:
        own = expression
        for _, earlier in found:
            own = own.removeprefix(f"!({earlier})").removeprefix(" && ")
        word = "else" if not own else "else if" if own != expression else "if"
        found.append((word, own))
    return found


def member(name: str, selector: str) -> str:
    """``item`` and the selector of its field ``lr``: ``item.lr``."""
    chosen = _MEMBER.search(selector)
    return f"{name}.{chosen['member']}" if chosen else name


def output(task: str, key: str) -> str:
    """A task's output: KFP names the only one ``Output``, which says nothing."""
    return task if key == "Output" else f"{task}.{key}"


def constant(value: Any) -> str:
    """A literal as JSON, whole numbers without their fraction, which protobuf adds."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, ensure_ascii=False, default=str)


def loop_over(raw: str) -> str:
    """The literal list of a loop, with how many values it has."""
    try:
        values = json.loads(raw)
    except (ValueError, RecursionError):
        return raw
    if not isinstance(values, list):
        return raw
    return f"{len(values)} {'value' if len(values) == 1 else 'values'}: {constant(values)}"


def natural(key: str) -> list[tuple[int, str]]:
    """Sorts condition-2 before condition-10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d{1,9})", key)]
