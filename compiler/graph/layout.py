"""Where everything in the picture of a pipeline goes: each group by itself, the innermost first."""

from dataclasses import dataclass, field, replace

from kfp_lifecycle.compiler.graph import cards
from kfp_lifecycle.compiler.graph.boxes import Item, Layout, Link, Side
from kfp_lifecycle.compiler.graph.cards import Card
from kfp_lifecycle.compiler.graph.drawing import Box, Direction, Dot, Drawing, Label, Route
from kfp_lifecycle.compiler.graph.layered import arrange
from kfp_lifecycle.compiler.graph.model import GROUPS, Edge, Flow, Node, Port

#: Between a group's border and what is in it.
GROUP_PAD = 18

# Keys of the layout's boxes that are no nodes; a node's key begins with a point.
_HEADER, _IN, _OUT = "header", "in ", "out "


#: Width and height of the page that a picture should fit.
_PAGE = (1000, 1400)


def lay_out(root: Node, direction: Direction | None = None) -> Drawing:
    """Places all nodes of a pipeline and routes its edges.

    Args:
        root: The pipeline, from ``build``.
        direction: Left to right, top to bottom, or whichever fits a page better.
    """
    if direction is None:
        return min((lay_out(root, each) for each in (Direction.TB, Direction.LR)), key=_pages)
    group = _Group(root, direction, bordered=False)
    drawn = _Drawn()
    group.draw(group.item(), 0, 0, (), drawn)
    return Drawing(root, direction, group.width, group.height, tuple(drawn.boxes), tuple(drawn.routes))


def _pages(drawing: Drawing) -> float:
    return max(drawing.width / _PAGE[0], drawing.height / _PAGE[1])


@dataclass
class _Drawn:
    boxes: list[Box] = field(default_factory=list)
    routes: list[Route] = field(default_factory=list)


class _Leaf:
    """A task, input or output."""

    def __init__(self, node: Node, direction: Direction) -> None:
        self.node, self.card = node, Card(node, direction)
        self.width, self.height = self.card.width, self.card.height

    def item(self) -> Item:
        return self.card.item()

    def draw(self, item: Item, x: int, y: int, path: tuple[str, ...], drawn: _Drawn) -> None:
        labels, badges = tuple(self.card.labels(item, x, y)), tuple(self.card.drawn_badges(x, y))
        dots = tuple(self.card.dots(item, x, y))
        drawn.boxes.append(Box(path, self.node, x, y, self.width, self.height, labels, badges, dots))


class _Group:
    """A group and all that is in it.

    Its border is a first and a last layer of ports. With links from top to bottom, the header lies in the
    first layer too, so that no link runs through it; with links from left to right it lies above all.
    """

    def __init__(self, node: Node, direction: Direction, bordered: bool = True) -> None:
        self.node, self.direction, self.bordered = node, direction, bordered
        self.parts = {f".{n.key}": _part(n, direction) for n in node.nodes}
        self.items = {key: replace(part.item(), key=key) for key, part in self.parts.items()}
        self.lines = cards.header(node) if bordered else []
        self.header = cards.header_size(self.lines) if bordered else (0, 0)
        self.links = [_link(edge) for edge in node.edges]
        self.layout = self._arrange()
        self.width, self.height = self._place(self._length(), self._breadth())

    def item(self) -> Item:
        along, across = (
            (self.width, self.height) if self.direction is Direction.LR else (self.height, self.width)
        )
        return Item(
            self.node.key,
            along,
            across,
            self._side(_IN, self.node.inputs),
            self._side(_OUT, self.node.outputs),
        )

    def _side(self, name: str, ports: tuple[Port, ...]) -> Side:
        return Side(offsets={p.id: self._offset() + self.items[name + p.id].across for p in ports})

    def draw(self, item: Item, x: int, y: int, path: tuple[str, ...], drawn: _Drawn) -> None:
        if self.bordered:
            labels, dots = tuple(self._header_labels(x, y)), tuple(self._dots(item, x, y))
            drawn.boxes.append(Box(path, self.node, x, y, self.width, self.height, labels, (), dots))
        before, offset = self._before(), self._offset()
        for key, part in self.parts.items():
            inner = self.items[key]
            left, top = self._place(before + inner.along, offset + inner.across)
            part.draw(inner, x + left, y + top, (*path, part.node.key), drawn)
        for edge, bends in zip(self.node.edges, self.layout.routes, strict=True):
            places = [self._place(before + along, offset + across) for along, across in bends]
            points = tuple((x + left, y + top) for left, top in places)
            drawn.routes.append(Route(path, edge, points, self._arrow(edge), self._words(edge)))

    # Layout -----------------------------------------------------------------------------------------------

    def _arrange(self) -> Layout:
        width, height = self.header
        if self.bordered and self.direction is Direction.TB:
            self.items[_HEADER] = Item(_HEADER, height, width, layer="first", pinned=True)
        for name, ports, layer in ((_IN, self.node.inputs, "first"), (_OUT, self.node.outputs, "last")):
            for port in ports if self.bordered else ():
                key = name + port.id
                point = Side(offsets={port.id: 0})
                sides = (Side(), point) if name == _IN else (point, Side())
                self.items[key] = Item(key, 0, 0, *sides, layer=layer)
        least = (
            width + 2 * GROUP_PAD - self._before() - self._after() if self.direction is Direction.LR else 0
        )
        return arrange(list(self.items.values()), self.links, min_length=least if self.bordered else 0)

    def _before(self) -> int:
        """What lies along before the first layer: nothing where that is the border."""
        borderless = self.direction is Direction.TB or bool(self.node.inputs) or not self.bordered
        return 0 if borderless else GROUP_PAD

    def _after(self) -> int:
        return 0 if self.node.outputs or not self.bordered else GROUP_PAD

    def _offset(self) -> int:
        """What lies across before all boxes."""
        if not self.bordered:
            return 0
        return GROUP_PAD if self.direction is Direction.TB else self.header[1]

    def _length(self) -> int:
        return self._before() + self.layout.length + self._after()

    def _breadth(self) -> int:
        return self._offset() + self.layout.breadth + (GROUP_PAD if self.bordered else 0)

    def _place(self, along: int, across: int) -> tuple[int, int]:
        return (along, across) if self.direction is Direction.LR else (across, along)

    # Drawing ----------------------------------------------------------------------------------------------

    def _header_labels(self, x: int, y: int) -> list[Label]:
        top = y + cards.HEADER_TOP + 11
        # Of all in the first layer the header lies first, and so nothing is to the left of it.
        return [
            Label(x + GROUP_PAD, top + line * cards.NOTE_LINE, text, style)
            for line, (text, style) in enumerate(self.lines)
        ]

    def _dots(self, item: Item, x: int, y: int) -> list[Dot]:
        found = []
        along = self.width if self.direction is Direction.LR else self.height
        for ports, side, at in ((self.node.inputs, item.inputs, 0), (self.node.outputs, item.outputs, along)):
            for port in ports:
                left, top = self._place(at, side.offsets[port.id])
                if at or self._goes_on(port.id):
                    found.append(Dot(x + left, y + top, port.flow, port.type, port.label))
        return found

    def _goes_on(self, port: str) -> bool:
        return any(edge.source is None and edge.output == port for edge in self.node.edges)

    def _arrow(self, edge: Edge) -> bool:
        """Whether an edge ends at its target: at a task, or at a group where nothing goes on inside."""
        if edge.target is None:
            return False
        target = self.parts[f".{edge.target}"]
        return not (isinstance(target, _Group) and target._goes_on(edge.input))

    def _words(self, edge: Edge) -> str:
        source, target = (
            self._end(key, port) for key, port in ((edge.source, edge.output), (edge.target, edge.input))
        )
        if edge.flow is Flow.ORDER:
            return f"{source} before {target}"
        return f"{source} → {target}: {edge.type}" if edge.type else f"{source} → {target}"

    def _end(self, key: str | None, port: str) -> str:
        node = self.node if key is None else self.parts[f".{key}"].node
        ports: tuple[Port, ...] = (*node.inputs, *node.outputs)
        label = next((p.label for p in ports if p.id == port), "")
        return ".".join(filter(None, (node.title or node.key, label)))


def _part(node: Node, direction: Direction) -> _Leaf | _Group:
    return _Group(node, direction) if node.kind in GROUPS else _Leaf(node, direction)


def _link(edge: Edge) -> Link:
    source = _IN + edge.output if edge.source is None else f".{edge.source}"
    target = _OUT + edge.input if edge.target is None else f".{edge.target}"
    return Link(source, edge.output, target, edge.input)
