"""Reads YAML that nobody vouches for: bounded in time and memory, with the line of every key.

It works on libyaml's events and builds plain data itself, so that nothing is built before its size is known:
an alias shares what its anchor holds, and what it stands for is counted as if it were written out.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

import yaml

from kfp_lifecycle.compiler.errors import CompiledFileError
from kfp_lifecycle.compiler.limits import MAX_FILE_BYTES
from kfp_lifecycle.compiler.text import shown

#: Values in one file with its anchors expanded. A pipeline that fits a Workflow object has some 40,000.
MAX_VALUES = 100_000
#: A compiled file is some 15 levels deep.
MAX_DEPTH = 100
MAX_DOCUMENTS = 10

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_CORE_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "map", "seq")}
_TEXT_TAGS = {"tag:yaml.org,2002:str", "!"}

# Scalars that Python (YAML 1.1) and the API server (Go, YAML 1.2) read alike …
_CONSTANTS: dict[str, Any] = {"": None, "~": None, "null": None, "Null": None, "NULL": None}
_CONSTANTS |= {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9_]*)")
_BASED_INTEGER = re.compile(r"([-+]?)0(x[0-9a-fA-F_]+|b[01_]+|[0-7_]+)")
_FLOAT = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+)([eE][-+][0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
# … and those that they read differently: old booleans, 0o17, 09, 12:30, 1e3, dates. Kept as text, and noted.
_AMBIGUOUS = re.compile(
    r"yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF|="
    r"|[-+]?0o[0-7]+|[-+]?0[0-9]+|[-+]?[0-9]+(:[0-5]?[0-9])+(\.[0-9]*)?"
    r"|[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+"
    r"|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt \t].*)?"
)
_PLAIN_TEXT_STARTS = frozenset("abcdeghijklmpqrsuvwxzABCDEGHIJKLMPQRSUVWXZ_/{[(<>$@%*&|\"'`")


class Map(dict[str, Any]):
    """A mapping that knows the line it starts on and the line of each key."""

    __slots__ = ("line", "lines")

    def __init__(self, line: int = 0) -> None:
        super().__init__()
        self.line = line
        self.lines: dict[str, int] = {}

    def line_of(self, key: str) -> int:
        """The line of ``key``, or of the mapping where there is no such key."""
        return self.lines.get(key, self.line)


class Items(list[Any]):
    """A sequence that knows the line it starts on and the line of each item."""

    __slots__ = ("line", "lines")

    def __init__(self, line: int = 0) -> None:
        super().__init__()
        self.line = line
        self.lines: list[int] = []


@dataclass(frozen=True)
class Note:
    """A scalar that is read differently by others, or that JSON cannot hold."""

    line: int
    text: str
    finite: bool = True


@dataclass
class Document:
    """One YAML document as plain data."""

    value: Any
    line: int
    notes: list[Note] = field(default_factory=list)


@dataclass(slots=True)
class _Frame:
    """A mapping or sequence that is being filled, with the values and characters in it so far."""

    container: Map | Items
    anchor: str | None
    line: int
    values: int = 1
    characters: int = 0
    key: str | None = None
    key_line: int = 0
    merge: list[Map] = field(default_factory=list)


def load_documents(data: bytes, file: str) -> list[Document]:
    """The documents in ``data``; empty ones are left out, as the API server does.

    Args:
        data: The file's content.
        file: Its name, for messages.

    Raises:
        CompiledFileError: It is too large, not UTF-8, not YAML, has duplicate keys, tags or keys that are no
            text, or its anchors contain themselves or expand to too much. Names the line where there is one.
    """
    if len(data) > MAX_FILE_BYTES:
        raise too_large(file, len(data))
    _check_encoding(data, file)
    builder = _Builder(file)
    try:
        for event in yaml.parse(data, Loader=_Loader):
            builder.take(event)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        position = getattr(error, "position", None)
        line = mark.line + 1 if mark else data.count(b"\n", 0, position) + 1 if position else 0
        said = getattr(error, "problem", None) or getattr(error, "reason", None) or "it cannot be parsed"
        # libyaml puts what is missing at the end into the line after the last.
        line = min(line, data.rstrip().count(b"\n") + 1)
        raise CompiledFileError(
            file, f"This is not YAML: {shown(str(said), quote=False)}.", line=line
        ) from None
    return [d for d in builder.documents if d.value is not None]


def too_large(file: str, size: int) -> CompiledFileError:
    """The error for a file of more than ``MAX_FILE_BYTES``."""
    return CompiledFileError(
        file, f"The file has {size / 2**20:.1f} MiB; the API server takes 32.", "Split the pipeline."
    )


def _check_encoding(data: bytes, file: str) -> None:
    try:
        data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise CompiledFileError(file, "The file is not UTF-8 text.", "Compile it again.", line) from None
    # libyaml compares every %TAG line with all before it.
    if data.startswith(b"%") or b"\n%" in data:
        at = 0 if data.startswith(b"%") else data.index(b"\n%") + 1
        line = data.count(b"\n", 0, at) + 1
        raise CompiledFileError(file, "A compiled file has no %-directives.", "Remove them.", line)


class _Builder:
    """Turns events into documents."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.documents: list[Document] = []
        self._values = 0
        self._characters = 0
        self._start()
        self._take: dict[type[Any], Any] = {
            yaml.ScalarEvent: self._scalar,
            yaml.AliasEvent: self._alias,
            yaml.MappingStartEvent: self._open,
            yaml.SequenceStartEvent: self._open,
            yaml.MappingEndEvent: self._close,
            yaml.SequenceEndEvent: self._close,
            yaml.DocumentStartEvent: self._document,
        }

    def _start(self) -> None:
        self._stack: list[_Frame] = []
        # What an anchor holds with its values and characters; None while it is being filled.
        self._anchors: dict[str, tuple[Any, int, int] | None] = {}

    def take(self, event: Any) -> None:
        """Takes the next event."""
        handle = self._take.get(type(event))
        if handle is not None:
            handle(event, event.start_mark.line + 1)

    def _fail(self, problem: str, line: int, fix: str = "") -> NoReturn:
        raise CompiledFileError(self.file, problem, fix, line)

    def _document(self, event: Any, line: int) -> None:
        if len(self.documents) == MAX_DOCUMENTS:
            self._fail(
                f"The file has more than {MAX_DOCUMENTS} documents; a compiled pipeline has one or two.", line
            )
        self._start()
        self.documents.append(Document(None, line))

    def _open(self, event: Any, line: int) -> None:
        self._check_tag(event.tag, line)
        if len(self._stack) == MAX_DEPTH:
            self._fail(f"Values are nested more than {MAX_DEPTH} levels deep.", line)
        self._count(1, 0, line)
        if event.anchor:
            self._anchors[event.anchor] = None
        container = Map(line) if type(event) is yaml.MappingStartEvent else Items(line)
        self._stack.append(_Frame(container, event.anchor, line))

    def _close(self, event: Any, line: int) -> None:
        frame = self._stack.pop()
        for merged in frame.merge:
            assert isinstance(frame.container, Map)
            for key in merged.keys() - frame.container.keys():
                frame.container[key] = merged[key]
                frame.container.lines[key] = merged.lines[key]
        self._add(frame.container, frame.line, frame.values, frame.characters, frame.anchor)

    def _scalar(self, event: Any, line: int) -> None:
        self._check_tag(event.tag, line)
        text: str = event.value
        self._count(1, len(text), line)
        frame = self._stack[-1] if self._stack else None
        if frame is not None and frame.key is None and type(frame.container) is Map:
            self._key(frame, event, line)
            return
        plain = event.implicit[0] and event.tag not in _TEXT_TAGS
        self._add(self._resolve(text, line) if plain else text, line, 1, len(text), event.anchor)

    def _key(self, frame: _Frame, event: Any, line: int) -> None:
        key: str = event.value
        if event.implicit[0] and not isinstance(self._resolve(key, line, note=False), str):
            self._fail(
                f"The key {shown(key)} is no text; the API server refuses it.", line, "Put it in quotes."
            )
        if event.anchor:
            self._anchors[event.anchor] = (key, 1, len(key))
        if key in frame.container:
            assert isinstance(frame.container, Map)
            first = frame.container.lines[key]
            self._fail(f"The key {shown(key)} is there twice, first on line {first}.", line, "Remove one.")
        frame.key, frame.key_line = key, line
        frame.values += 1
        frame.characters += len(key)

    def _alias(self, event: Any, line: int) -> None:
        name = event.anchor
        if name not in self._anchors:
            self._fail(f"The alias {shown('*' + name)} has no anchor.", line)
        held = self._anchors[name]
        if held is None:
            self._fail(f"The anchor {shown('&' + name)} contains itself.", line)
        value, values, characters = held
        self._count(values, characters, line)
        frame = self._stack[-1] if self._stack else None
        if frame is not None and frame.key is None and type(frame.container) is Map:
            self._fail("A key is an alias; a compiled file has none of these.", line)
        self._add(value, line, values, characters, None)

    def _add(self, value: Any, line: int, values: int, characters: int, anchor: str | None) -> None:
        if anchor:
            self._anchors[anchor] = (value, values, characters)
        if not self._stack:
            self.documents[-1].value = value
            return
        frame = self._stack[-1]
        frame.values += values
        frame.characters += characters
        container = frame.container
        if isinstance(container, Items):
            container.append(value)
            container.lines.append(line)
        elif frame.key is None:
            self._fail("A key is a mapping or a list; the API server refuses it.", line)
        else:
            self._set(frame, container, value)

    def _set(self, frame: _Frame, container: Map, value: Any) -> None:
        key, frame.key = frame.key, None
        assert key is not None
        if key == "<<":
            merged = value if isinstance(value, list) else [value]
            if not all(isinstance(item, Map) for item in merged):
                self._fail("A merge key (<<) needs a mapping or a list of them.", frame.key_line)
            frame.merge += merged
            return
        container[key] = value
        container.lines[key] = frame.key_line

    def _count(self, values: int, characters: int, line: int) -> None:
        self._values += values
        self._characters += characters
        if self._values > MAX_VALUES:
            self._fail(f"The file holds more than {MAX_VALUES:,} values with its anchors expanded.", line)
        if self._characters > MAX_FILE_BYTES:
            self._fail("The file has more than 32 MiB with its anchors expanded.", line)

    def _check_tag(self, tag: str | None, line: int) -> None:
        if tag is not None and tag != "!" and tag not in _CORE_TAGS:
            self._fail(f"The tag {shown(tag)} has no place in a compiled file.", line, "Remove it.")

    def _resolve(self, text: str, line: int, note: bool = True) -> Any:
        """A plain scalar's value."""
        if text[:1] in _PLAIN_TEXT_STARTS:
            return text
        if text in _CONSTANTS:
            return _CONSTANTS[text]
        if _INTEGER.fullmatch(text):
            return int(text) if len(text) < 20 else self._float(text, line, note)
        if len(text) < 70 and (based := _BASED_INTEGER.fullmatch(text)):
            digits = based[2].replace("_", "")
            base = {"x": 16, "b": 2}.get(digits[:1], 8)
            return int(f"{based[1]}{digits.lstrip('xb') or 0}", base)
        if _FLOAT.fullmatch(text):
            return self._float(text, line, note)
        finite = _NOT_FINITE.fullmatch(text) is None
        if note and (not finite or _AMBIGUOUS.fullmatch(text)):
            self.documents[-1].notes.append(Note(line, text, finite))
        return text

    def _float(self, text: str, line: int, note: bool) -> Any:
        value = float(text)
        if math.isinf(value) and note:
            self.documents[-1].notes.append(Note(line, text, finite=False))
        return text if math.isinf(value) else value


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a document a text is.

    It becomes a path only in a message: a hostile key may be megabytes long.
    """

    key: str
    line: int
    parent: "Place | None" = None

    def __str__(self) -> str:
        keys: list[str] = []
        place: Place | None = self
        while place is not None:
            keys.append(shown(place.key, 60, quote=False))
            place = place.parent
        return ".".join(reversed(keys)).replace(".[", "[")


def texts(value: Map) -> Iterator[tuple[Place, str]]:
    """Every text in ``value``, keys as well as values, with its place."""
    pending: list[tuple[Any, Place | None]] = [(value, None)]
    while pending:
        item, place = pending.pop()
        if isinstance(item, Map):
            for key in reversed(item):
                inner = Place(key, item.line_of(key), place)
                pending += [(item[key], inner), (key, inner)]
        elif isinstance(item, Items):
            line = item.line
            pending += [(item[at], Place(f"[{at}]", line, place)) for at in reversed(range(len(item)))]
        elif isinstance(item, str) and place is not None:
            yield place, item
