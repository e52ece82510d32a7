"""How large the box of a node is, and where its texts and ports are in it."""

from collections.abc import Iterator, Sequence

from kfp_lifecycle.compiler.graph.boxes import Item, Side
from kfp_lifecycle.compiler.graph.drawing import FONTS, Anchor, Badge, Direction, Dot, Label
from kfp_lifecycle.compiler.graph.model import ORDER, Kind, Node, Port
from kfp_lifecycle.compiler.graph.text import clean, fit, width, wrap

PAD = 12
TITLE_LINE, NOTE_LINE, BADGE_LINE, BADGE_HEIGHT = 18, 16, 23, 18
PORT_ROW = 24
TERMINAL = 26
HEADER_TOP, HEADER_BOTTOM = 8, 8

_MOST_TITLE, _MOST_NOTE, _MOST_PORT, _MOST_BADGES = 210, 280, 150, 240
_LEAST_WIDTH = 96


def measure(text: str, style: str) -> int:
    """How wide a text in one of the styles is."""
    size, bold = FONTS[style]
    return width(text, size, bold)


class Card:
    """The box of a task, or the small one of an input or output.

    Args:
        node: The task.
        direction: Decides on which sides the ports are.
    """

    def __init__(self, node: Node, direction: Direction) -> None:
        self.node, self.direction = node, direction
        self.terminal = node.kind in (Kind.INPUT, Kind.OUTPUT)
        self.title = _lines(node.title, "note", 1) if self.terminal else _lines(node.title, "title", 2)
        self.notes = [line for note in node.notes for line in _lines(note, "note", 2)]
        self.badges = _badge_rows(node.badges)
        self.ports = {"in": _texts(node.inputs), "out": _texts(node.outputs)}
        self.width, self.height = self._terminal_size() if self.terminal else self._size()

    def item(self) -> Item:
        """The box for the layout."""
        sides = {side: self._side(side) for side in ("in", "out")}
        across = self.width if self.direction is Direction.TB else self.height
        along = self.height if self.direction is Direction.TB else self.width
        return Item(self.node.key, along, across, sides["in"], sides["out"])

    def labels(self, item: Item, x: int, y: int) -> Iterator[Label]:
        """The texts, when the box begins at ``x`` and ``y``."""
        if self.terminal:
            yield Label(x + self.width // 2, y + TERMINAL // 2 + 4, self.title[0], "note", "middle")
            return
        yield from self._body(x, y)
        for side, offsets in (("in", item.inputs.offsets), ("out", item.outputs.offsets)):
            for port, text in _named(self.ports[side]).items():
                yield self._port_label(side, offsets[port], text, x, y)

    def drawn_badges(self, x: int, y: int) -> Iterator[Badge]:
        """The badges, when the box begins at ``x`` and ``y``."""
        top = y + self._body_top() + self._text_height() + 3
        for row in self.badges:
            left = x + (PAD if self.direction is Direction.LR else (self.width - _row_width(row)) // 2)
            for text, size in row:
                yield Badge(left, top, size, BADGE_HEIGHT, text)
                left += size + 5
            top += BADGE_LINE

    def dots(self, item: Item, x: int, y: int) -> Iterator[Dot]:
        """The outputs, when the box begins at ``x`` and ``y``; inputs have arrows."""
        for port in self.node.outputs:
            at = item.outputs.offsets[port.id]
            place = (x + at, y + self.height) if self.direction is Direction.TB else (x + self.width, y + at)
            yield Dot(*place, port.flow, port.type, port.label)

    def _terminal_size(self) -> tuple[int, int]:
        return measure(self.title[0], "note") + 2 * PAD, TERMINAL

    def _size(self) -> tuple[int, int]:
        lines = [measure(line, "title") for line in self.title] + [
            measure(note, "note") for note in self.notes
        ]
        lines += [_row_width(row) for row in self.badges]
        sides = [[_port_width(text) for text in self.ports[side].values()] for side in ("in", "out")]
        body = self._text_height() + len(self.badges) * BADGE_LINE
        if self.direction is Direction.TB:
            rows = sum(PORT_ROW if _named(side) else PAD for side in self.ports.values())
            return max(
                _LEAST_WIDTH, *(line + 2 * PAD for line in lines), *(sum(s) + 8 for s in sides)
            ), body + rows
        columns = sum(max(side, default=0) for side in sides)
        height = 8 + body + (self._rows() * PORT_ROW + 4 if self._rows() else 6)
        return max(_LEAST_WIDTH, *(line + 2 * PAD for line in lines), columns + 16), height

    def _text_height(self) -> int:
        return 2 + len(self.title) * TITLE_LINE + len(self.notes) * NOTE_LINE

    def _side(self, side: str) -> Side:
        texts = self.ports[side]
        if self.terminal:
            middle = (self.width if self.direction is Direction.TB else self.height) // 2
            return Side(offsets=dict.fromkeys(texts, middle))
        if self.direction is Direction.LR:
            # What is nothing but order goes from title to title.
            first = self.height - 2 - PORT_ROW * self._rows()
            return Side(dict.fromkeys(_named(texts), PORT_ROW), first, {ORDER: 8 + TITLE_LINE // 2})
        sizes = {port: _port_width(text) for port, text in texts.items()}
        return Side(sizes, (self.width - sum(sizes.values())) // 2, room=self.width)

    def _rows(self) -> int:
        return max(len(_named(side)) for side in self.ports.values())

    def _body_top(self) -> int:
        if self.direction is Direction.LR:
            return 8
        return PORT_ROW if _named(self.ports["in"]) else PAD

    def _body(self, x: int, y: int) -> Iterator[Label]:
        centred = self.direction is Direction.TB
        left, top = x + (self.width // 2 if centred else PAD), y + self._body_top()
        anchor: Anchor = "middle" if centred else "start"
        for line, text in enumerate(self.title):
            yield Label(left, top + line * TITLE_LINE + 15, text, "title", anchor)
        top += len(self.title) * TITLE_LINE
        for line, text in enumerate(self.notes):
            yield Label(left, top + line * NOTE_LINE + 14, text, "note", anchor)

    def _port_label(self, side: str, offset: int, text: str, x: int, y: int) -> Label:
        if self.direction is Direction.TB:
            return Label(x + offset, y + 18 if side == "in" else y + self.height - 10, text, "port", "middle")
        if side == "in":
            return Label(x + PAD, y + offset + 4, text, "port", "start")
        return Label(x + self.width - PAD, y + offset + 4, text, "port", "end")


def header(node: Node) -> list[tuple[str, str]]:
    """The lines in a group's corner, as text and style."""
    lines = [(node.lead.upper(), "kind")]
    if node.title:
        lines += [(line, "title") for line in _lines(node.title, "title", 2)]
    for note in node.notes:
        lines += [(line, "note") for line in _lines(note, "note", 2)]
    badges = ", ".join(node.badges)
    return [*lines, *([(fit(clean(badges), *_limits("port", _MOST_NOTE)), "port")] if badges else [])]


def header_size(lines: Sequence[tuple[str, str]]) -> tuple[int, int]:
    """Width and height of a group's header."""
    return max(measure(*line) for line in lines), HEADER_TOP + len(lines) * NOTE_LINE + HEADER_BOTTOM


def _lines(text: str, style: str, most: int) -> list[str]:
    size, bold = FONTS[style]
    return wrap(clean(text), size, _MOST_TITLE if style == "title" else _MOST_NOTE, most, bold)


def _limits(style: str, limit: int) -> tuple[int, int, bool]:
    size, bold = FONTS[style]
    return size, limit, bold


def _texts(ports: Sequence[Port]) -> dict[str, str]:
    return {port.id: fit(clean(port.label), *_limits("port", _MOST_PORT)) for port in ports}


def _named(texts: dict[str, str]) -> dict[str, str]:
    return {port: text for port, text in texts.items() if port != ORDER}


def _port_width(text: str) -> int:
    return max(measure(text, "port") + 16, 22)


def _badge_rows(badges: Sequence[str]) -> list[list[tuple[str, int]]]:
    rows: list[list[tuple[str, int]]] = []
    for badge in badges:
        text = fit(clean(badge), *_limits("badge", _MOST_BADGES - 12))
        size = measure(text, "badge") + 12
        if not rows or _row_width(rows[-1]) + size + 5 > _MOST_BADGES:
            rows.append([])
        rows[-1].append((text, size))
    return rows


def _row_width(row: Sequence[tuple[str, int]]) -> int:
    return sum(size for _, size in row) + 5 * (len(row) - 1)
