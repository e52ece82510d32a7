"""From YAML to dataclasses, with the file, the line and the nearest name for whatever does not fit."""

import re
from dataclasses import MISSING, dataclass, fields, is_dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, NoReturn, Union, get_args, get_origin, get_type_hints

from kfp_lifecycle.compiler.errors import CompiledFileError, ProfileError
from kfp_lifecycle.compiler.safe_yaml import Document, Items, Map, load_documents
from kfp_lifecycle.compiler.text import shown
from kfp_lifecycle.components.shared.errors import did_you_mean


@dataclass(frozen=True)
class Text:
    """What a text must be.

    Args:
        pattern: The whole text.
        what: In words, with an example.
        numbers: Whether YAML's numbers count as text too: ``cpu: 2``.
    """

    pattern: str
    what: str
    numbers: bool = False


@dataclass(frozen=True)
class Number:
    """The least and the most that a number may be."""

    least: int
    most: int


_WORDS = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}


def read_typed(data: bytes, file: str, kind: type[Any]) -> tuple[Any, Map]:
    """The dataclass ``kind`` from a YAML file of one document.

    Returns:
        The dataclass, and the plain data with the lines.

    Raises:
        ProfileError: A key is unknown or missing, or a value of the wrong type; says where.
    """
    try:
        documents = load_documents(data, file)
    except CompiledFileError as error:
        raise ProfileError(file, error.detail, error.fix, error.line) from None
    if len(documents) > 1:
        raise ProfileError(file, "The file has several documents.", "Write one file each.", documents[1].line)
    document = documents[0] if documents else Document(Map(1), 1)
    if not isinstance(document.value, Map):
        raise ProfileError(file, "The file holds no mapping.", "Write key: value.", document.line)
    return _Reader(file).record(kind, document.value, ""), document.value


class _Reader:
    def __init__(self, file: str) -> None:
        self.file = file

    def record(self, kind: type[Any], value: Map, where: str) -> Any:
        """A dataclass; ``where`` is the path of its key, such as ``defaults.retry``."""
        hints = get_type_hints(kind, include_extras=True)
        for key in value:
            if key not in hints:
                self._fail(
                    f"There is no setting {shown(_join(where, key))}.",
                    value.line_of(key),
                    did_you_mean(key, hints),
                )
        for item in fields(kind):
            if item.name not in value and item.default is MISSING and item.default_factory is MISSING:
                self._fail(f"{where or 'The file'} has no {item.name!r}.", value.line, "Add it.")
        return kind(
            **{
                key: self._value(hints[key], item, value.line_of(key), _join(where, key))
                for key, item in value.items()
            }
        )

    def _value(self, hint: Any, value: Any, line: int, where: str) -> Any:
        if get_origin(hint) in (Union, UnionType):  # … or None, which only the default can be
            hint = get_args(hint)[0]
        if get_origin(hint) is Annotated:
            kind, rule = get_args(hint)
            return self._checked(kind, rule, value, line, where)
        if get_origin(hint) is tuple:
            if not isinstance(value, Items):
                self._wrong(where, "a list", value, line)
            inner = get_args(hint)[0]
            return tuple(
                self._value(inner, item, at, f"{where}[{number}]")
                for number, (item, at) in enumerate(zip(value, value.lines, strict=True))
            )
        if get_origin(hint) is dict:
            return self._mapping(hint, value, line, where)
        if is_dataclass(hint):
            if not isinstance(value, Map):
                self._wrong(where, "a mapping", value, line)
            return self.record(hint, value, where)  # type: ignore[arg-type]
        return self._checked(hint, None, value, line, where)

    def _mapping(self, hint: Any, value: Any, line: int, where: str) -> dict[str, Any]:
        if not isinstance(value, Map):
            self._wrong(where, "a mapping", value, line)
        keys, values = get_args(hint)
        return {
            self._value(keys, key, value.line_of(key), f"the key {shown(key)} of {where}"): self._value(
                values, item, value.line_of(key), _join(where, key)
            )
            for key, item in value.items()
        }

    def _checked(self, kind: type[Any], rule: Any, value: Any, line: int, where: str) -> Any:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if isinstance(rule, Text) and rule.numbers and is_number:
            value = str(value)
        if kind is float and is_number:
            value = float(value)
        what = rule.what if isinstance(rule, Text) else _WORDS[kind]
        if type(value) is not kind:
            self._wrong(where, what, value, line)
        if isinstance(rule, Text) and not re.fullmatch(rule.pattern, value):
            self._wrong(where, what, value, line)
        if isinstance(rule, Number) and not rule.least <= value <= rule.most:
            self._wrong(where, f"between {rule.least} and {rule.most}", value, line)
        return value

    def _wrong(self, where: str, what: str, value: Any, line: int) -> NoReturn:
        said = {Map: "a mapping", Items: "a list", NoneType: "nothing"}.get(type(value))
        self._fail(f"{where} must be {what}, but is {said or shown(str(value))}.", line)

    def _fail(self, problem: str, line: int, fix: str = "") -> NoReturn:
        raise ProfileError(self.file, problem, fix, line)


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key
