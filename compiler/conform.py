"""Holds data against KFP's field tree, as the API server's JSON parser does, and gives it back clean.

What comes out has only known fields, under their JSON names, of the types that the tree says; whoever reads
on need not look again. What was wrong is told in a list.
"""

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from kfp_lifecycle.compiler.safe_yaml import Items, Map
from kfp_lifecycle.compiler.spec_fields import ENUMS, MESSAGES, VERSION
from kfp_lifecycle.compiler.text import shown
from kfp_lifecycle.components.shared.errors import did_you_mean

_DURATION = re.compile(r"-?[0-9]{1,12}(\.[0-9]{1,9})?s")
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?")


#: Keys that lead to a value. Joined only for a message: a hostile key may be megabytes long.
Path = tuple[str, ...]


class Kind(StrEnum):
    """What is wrong with a field."""

    UNKNOWN = "unknown"
    WRONG = "wrong"


@dataclass(frozen=True)
class Problem:
    """A field that is not as the tree says.

    Args:
        kind: Whether the field is unknown or its value is wrong.
        message: The message of the tree that it is in.
        field: The field's name as it was written.
        where: Dotted path from the document's top.
        line: Its line.
        text: What is wrong.
        fix: What to do.
    """

    kind: Kind
    message: str
    field: str
    where: str
    line: int
    text: str
    fix: str = ""


def conform(value: Any, message: str, where: Path = (), line: int = 0) -> tuple[Map, list[Problem]]:
    """``value`` as a ``message`` of the field tree.

    Args:
        value: Data as :mod:`~kfp_lifecycle.compiler.safe_yaml` gives it; not changed.
        message: Name of the message in ``MESSAGES``.
        where: The keys that lead to ``value`` from the document's top, for messages.
        line: Its line.

    Returns:
        A clean copy, and what was wrong. A value of the wrong type is left out of the copy.
    """
    check = _Check()
    clean = check.message(value, message, where, line)
    return (clean if isinstance(clean, Map) else Map(line)), check.problems


def json_names(message: str) -> dict[str, str]:
    """The names that a field of ``message`` may be written under (JSON or proto) to its JSON name."""
    names = _NAMES.get(message)
    if names is None:
        fields = MESSAGES[message]
        names = {_snake(field): field for field in fields} | {field: field for field in fields}
        _NAMES[message] = names
    return names


_NAMES: dict[str, dict[str, str]] = {}


def _snake(name: str) -> str:
    return re.sub(r"[A-Z]", lambda letter: "_" + letter[0].lower(), name)


#: A file with more problems than this is no better understood by reading on about them.
MOST_PROBLEMS = 200


class _Check:
    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def message(self, value: Any, message: str, where: Path, line: int) -> Map | None:
        if not isinstance(value, Map):
            return None
        clean = Map(value.line)
        names, fields = json_names(message), MESSAGES[message]
        taken: dict[str, str] = {}
        for written, item in value.items():
            path, at = (*where, written), value.lines[written]
            field = names.get(written)
            if field is None:
                if written != "@type":
                    self._unknown(message, path, at)
                continue
            if item is None and "protobuf.Value" not in fields[field]:
                continue
            shape, kind, *oneof = fields[field].split(" ")
            if oneof and (other := taken.setdefault(oneof[0], written)) != written:
                self._wrong(message, path, at, f"only one of {other} and {written} may be set")
                continue
            found = self._shape(shape, item, kind, path, at)
            if found is None and item is not None:
                self._unfit(message, path, at, _SHAPES[shape] + _name(kind), item)
                continue
            clean[field] = found
            clean.lines[field] = at
        return clean

    def _shape(self, shape: str, item: Any, kind: str, path: Path, line: int) -> Any:
        if shape == "one":
            return self._one(item, kind, path, line)
        if shape == "map":
            return self._map(item, kind, path) if isinstance(item, Map) else None
        return self._list(item, kind, path) if isinstance(item, Items) else None

    def _map(self, value: Map, kind: str, where: Path) -> Map:
        clean = Map(value.line)
        for key, item in value.items():
            path, line = (*where, key), value.lines[key]
            found = self._one(item, kind, path, line)
            if found is None and kind != "protobuf.Value":
                self._unfit(kind, path, line, _name(kind), item)
                continue
            clean[key] = found
            clean.lines[key] = line
        return clean

    def _list(self, value: Items, kind: str, where: Path) -> Items:
        clean = Items(value.line)
        for at, (item, line) in enumerate(zip(value, value.lines, strict=True)):
            path = (*where, f"[{at}]")
            found = self._one(item, kind, path, line)
            if found is None and kind != "protobuf.Value":
                self._unfit(kind, path, line, _name(kind), item)
                continue
            clean.append(found)
            clean.lines.append(line)
        return clean

    def _one(self, value: Any, kind: str, where: Path, line: int) -> Any:
        """``value`` as one ``kind``, or None where it is none."""
        if kind in MESSAGES:
            return self.message(value, kind, where, line)
        if kind in ENUMS:
            return _enum(value, kind)
        return _SCALARS[kind](value)

    def _unknown(self, message: str, where: Path, line: int) -> None:
        if len(self.problems) < MOST_PROBLEMS:
            fix = did_you_mean(where[-1][:100], MESSAGES[message])
            text = f"{_path(where[-1:])} is no field of {message} in KFP {VERSION}."
            self.problems.append(Problem(Kind.UNKNOWN, message, where[-1], _path(where), line, text, fix))

    def _unfit(self, message: str, where: Path, line: int, wanted: str, item: Any) -> None:
        self._wrong(message, where, line, f"{wanted} is wanted, not {_is(item)}")

    def _wrong(self, message: str, where: Path, line: int, what: str) -> None:
        if len(self.problems) < MOST_PROBLEMS:
            text = f"{_path(where)}: {what}."
            self.problems.append(Problem(Kind.WRONG, message, where[-1], _path(where), line, text))


def _path(where: Path) -> str:
    return ".".join(shown(key, 60, quote=False) for key in where).replace(".[", "[")


_SHAPES = {"one": "", "list": "a list of ", "map": "a mapping to "}


def _enum(value: Any, kind: str) -> str | None:
    if isinstance(value, str):
        return value if value in ENUMS[kind] else None
    if isinstance(value, int) and not isinstance(value, bool):
        return next((name for name, number in ENUMS[kind].items() if number == value), None)
    return None


def _integer(bits: int) -> Callable[[Any], int | None]:
    def convert(value: Any) -> int | None:
        number = _double(value)
        if number is None or not number.is_integer() or abs(number) > 2 ** (bits - 1):
            return None
        return (
            int(value) if isinstance(value, (int, str)) and str(value).lstrip("-").isdigit() else int(number)
        )

    return convert


def _double(value: Any) -> float | None:
    # Protobuf's JSON takes numbers in quotes.
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or math.isinf(value):
        return None
    return float(value)


def _of_type(kind: type[Any]) -> Callable[[Any], Any]:
    return lambda value: value if isinstance(value, kind) else None


def _duration(value: Any) -> str | None:
    return value if isinstance(value, str) and _DURATION.fullmatch(value) else None


_SCALARS: dict[str, Callable[[Any], Any]] = {
    "string": _of_type(str),
    "bool": _of_type(bool),
    "int32": _integer(32),
    "int64": _integer(64),
    "double": _double,
    "protobuf.Struct": _of_type(Map),
    "protobuf.Duration": _duration,
    "protobuf.Value": lambda value: value,
}

_NAMED = {
    "string": "text",
    "bool": "true or false",
    "int32": "a whole number",
    "int64": "a whole number",
    "double": "a number",
    "protobuf.Struct": "a mapping",
    "protobuf.Duration": 'a time such as "60s"',
}


def _name(kind: str) -> str:
    if kind in ENUMS:
        return f"one of {', '.join(ENUMS[kind])}"
    return _NAMED.get(kind, f"a mapping ({kind})")


def _is(value: Any) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    return "nothing" if value is None else shown(str(value), 40)


@dataclass(frozen=True)
class Used:
    """A field that data has.

    Args:
        message: The message of the tree that it is in.
        field: Its JSON name.
        holder: The mapping that holds it.
        line: Its line.
    """

    message: str
    field: str
    holder: Map
    line: int


def fields_in(value: Map, message: str) -> Iterator[Used]:
    """Every field in clean data, down to where data is free.

    Args:
        value: What :func:`conform` gave.
        message: The message that it was held against.
    """
    for name, item in value.items():
        yield Used(message, name, value, value.line_of(name))
        shape, kind, *_ = MESSAGES[message][name].split(" ")
        if kind not in MESSAGES:
            continue
        for inner in [item] if shape == "one" else item.values() if shape == "map" else item:
            yield from fields_in(inner, kind)
