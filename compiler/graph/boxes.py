"""What the layered layout works on: boxes with ports, the links between them, and both cut into layers."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field


@dataclass
class Side:
    """The ports on one side of a box.

    Args:
        sizes: Port to its size across, in order, of those whose order is free.
        start: Where the first of these begins, from the start of the box.
        offsets: Port to the place of its middle; given for the ports with fixed places.
        room: Free ports may move apart from ``0`` up to here, so that links become straight; 0 if not.
    """

    sizes: dict[str, int] = field(default_factory=dict)
    start: int = 0
    offsets: dict[str, int] = field(default_factory=dict)
    room: int = 0

    def __post_init__(self) -> None:
        self.arrange(self.sizes)

    def arrange(self, order: Iterable[str]) -> None:
        """Puts the free ports into this order."""
        self.sizes = {port: self.sizes[port] for port in order}
        at = self.start
        for port, size in self.sizes.items():
            self.offsets[port] = at + size // 2
            at += size


@dataclass
class Item:
    """A box.

    Args:
        key: Its name; unique.
        length: Size along the links.
        breadth: Size across.
        inputs: Where links end.
        outputs: Where links begin.
        layer: ``first`` or ``last`` for what has to be there; free otherwise.
        pinned: Whether it is a header, which stays in front of its layer.
        along: Where it begins; a result, as is ``across``.
    """

    key: str
    length: int
    breadth: int
    inputs: Side = field(default_factory=Side)
    outputs: Side = field(default_factory=Side)
    layer: str = ""
    pinned: bool = False
    along: int = 0
    across: int = 0


@dataclass(frozen=True)
class Link:
    """From a port of one box to a port of another.

    Args:
        source: Key of the one.
        output: The port.
        target: Key of the other.
        input: The port.
    """

    source: str
    output: str
    target: str
    input: str


@dataclass
class Layout:
    """Where everything is.

    Args:
        length: Size along, of all together.
        breadth: Size across.
        routes: For every link, in their order, its bends as (along, across), ends included.
    """

    length: int
    breadth: int
    routes: list[list[tuple[int, int]]]


@dataclass(eq=False)
class Vertex:
    """A box, or a place in a layer that a long link passes through.

    Args:
        item: The box; none for a place.
        layer: Number of the layer.
        before: What comes from the layer before.
        after: What goes to the layer after.
        index: Number within the layer.
        across: Where it begins.
    """

    item: Item | None
    layer: int
    before: list["Segment"] = field(default_factory=list)
    after: list["Segment"] = field(default_factory=list)
    index: int = 0
    across: int = 0

    @property
    def breadth(self) -> int:
        """Size across."""
        return self.item.breadth if self.item else 0

    @property
    def solid(self) -> bool:
        """Whether it is a box, and not a point that links go through."""
        return self.breadth > 0


@dataclass(eq=False)
class Segment:
    """A link's part between two neighbouring layers.

    Args:
        source: Where it comes from.
        output: The port there.
        target: Where it goes to.
        input: The port there.
    """

    source: Vertex
    output: str
    target: Vertex
    input: str

    @property
    def out_offset(self) -> int:
        """From where the source begins to where it begins."""
        return self.source.item.outputs.offsets[self.output] if self.source.item else 0

    @property
    def in_offset(self) -> int:
        """From where the target begins to where it ends."""
        return self.target.item.inputs.offsets[self.input] if self.target.item else 0

    @property
    def departure(self) -> int:
        """Where it begins, across."""
        return self.source.across + self.out_offset

    @property
    def arrival(self) -> int:
        """Where it ends, across."""
        return self.target.across + self.in_offset


def is_header(vertex: Vertex) -> bool:
    """Whether a vertex is a group's header, which keeps its place."""
    return vertex.item is not None and vertex.item.pinned


def number(layer: Sequence[Vertex]) -> None:
    """Tells the vertices of a layer their order."""
    for index, vertex in enumerate(layer):
        vertex.index = index
