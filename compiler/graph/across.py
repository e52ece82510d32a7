"""Where each box lies in its layer: as near to what it is linked to as the order allows."""

from math import fsum

from kfp_lifecycle.compiler.graph.boxes import Segment, Side, Vertex, is_header

#: Least distances: between boxes, between the lanes of links, and between a box and a lane.
BOX_GAP, LANE_GAP, MIXED_GAP = 28, 14, 11
#: How much nearer than their sizes ports may come where that makes a link straight.
PORT_SLACK = 8
#: How near they may come to their box's ends then.
PORT_EDGE = 4


def place_across(layers: list[list[Vertex]]) -> None:
    """Puts boxes where their links are short, then where as many as can be are straight.

    Layer by layer, each time the best places for the layer alone: those with the least squares of the
    distances first, which balances, then those with the least distances, which aligns.
    """
    for layer in layers:
        at = 0
        for left, vertex in zip([None, *layer], layer, strict=False):
            vertex.across = at + (_gap(left, vertex) if left else 0)
            at = vertex.across + vertex.breadth
    for aligned in (False, True):
        for ends in ("before", "after", "before", "after", "both", "both", "both", "both"):
            for layer in reversed(layers) if ends == "after" else layers:
                _place_layer(layer, aligned, ends)
    everything = [vertex for layer in layers for vertex in layer]
    low, high = _span([vertex for vertex in everything if vertex.before or vertex.after])
    for layer in layers:
        _place_unlinked(layer, (low + high) // 2)
    for layer in layers[:1]:
        _place_header(layer, _span([vertex for vertex in everything if not is_header(vertex)])[0])
    low, _ = _span(everything)
    for vertex in everything:
        vertex.across -= low
        if vertex.item:
            vertex.item.across = vertex.across


def _span(vertices: list[Vertex]) -> tuple[int, int]:
    """From where to where the vertices reach."""
    return min((v.across for v in vertices), default=0), max(
        (v.across + v.breadth for v in vertices), default=0
    )


def _place_header(layer: list[Vertex], low: int) -> None:
    """A header begins where everything begins, if that is far enough from what follows it."""
    if layer and is_header(layer[0]):
        nearest = [after.across - _gap(layer[0], after) - layer[0].breadth for after in layer[1:2]]
        layer[0].across = min([low, *nearest])


def _place_unlinked(layer: list[Vertex], middle: int) -> None:
    """What no link holds goes next to what it follows; a port that nothing inside uses, to the middle."""
    loose = [not (vertex.before or vertex.after or is_header(vertex)) for vertex in layer]
    for index in reversed(range(len(layer))):
        vertex = layer[index]
        if loose[index]:
            vertex.across = vertex.across if vertex.solid else middle
            for after in layer[index + 1 : index + 2]:
                vertex.across = min(vertex.across, after.across - _gap(vertex, after) - vertex.breadth)
    for index in range(1, len(layer)):
        before, vertex = layer[index - 1], layer[index]
        if loose[index]:
            nearest = before.across + before.breadth + _gap(before, vertex)
            vertex.across = nearest if vertex.solid else max(nearest, vertex.across)


def _gap(left: Vertex, right: Vertex) -> int:
    if left.solid and right.solid:
        return BOX_GAP
    return MIXED_GAP if left.solid or right.solid else LANE_GAP


def _place_layer(layer: list[Vertex], aligned: bool, ends: str) -> None:
    """The best places in one layer for the order it has, the neighbours' places given."""
    offset, offsets, blocks = 0, [], []
    for left, vertex in zip([None, *layer], layer, strict=False):
        offset += (left.breadth + _gap(left, vertex)) if left else 0
        offsets.append(offset)
        wishes = [(wish - offset, weight) for wish, weight in _wishes(vertex, ends)]
        blocks.append(_Block(wishes or [(vertex.across - offset, 0.01)], 1, aligned))
        # Boxes that would overlap move as one.
        while len(blocks) > 1 and blocks[-2].place > blocks[-1].place:
            block = blocks.pop()
            blocks[-1] = _Block(blocks[-1].wishes + block.wishes, blocks[-1].count + block.count, aligned)
    places = [block.place for block in blocks for _ in range(block.count)]
    for vertex, place, offset in zip(layer, places, offsets, strict=True):
        vertex.across = place + offset


class _Block:
    """Boxes that lie as close as they may: where they begin if each wish has its weight."""

    def __init__(self, wishes: list[tuple[int, float]], count: int, aligned: bool) -> None:
        self.wishes, self.count = wishes, count
        if aligned:
            self.place = _median(wishes)
        else:
            total = fsum(weight for _, weight in wishes)
            self.place = round(fsum(wish * weight for wish, weight in wishes) / total)


def _median(wishes: list[tuple[int, float]]) -> int:
    half, passed = fsum(weight for _, weight in wishes) / 2, 0.0
    for wish, weight in sorted(wishes):
        passed += weight
        if passed >= half:
            return wish
    return wishes[-1][0]


def _wishes(vertex: Vertex, ends: str) -> list[tuple[int, float]]:
    """Where a box would have to begin for each of its links to be straight, and how much that counts."""
    found = []
    if ends != "after":
        for s in vertex.before:
            found.append((s.departure - s.in_offset, _weight(s)))
    if ends != "before":
        for s in vertex.after:
            found.append((s.arrival - s.out_offset, _weight(s)))
    return found


def _weight(segment: Segment) -> float:
    # Long links should be straight before short ones are.
    ends = (segment.source.item is None) + (segment.target.item is None)
    return (1.0, 2.0, 8.0)[ends]


def straighten(layers: list[list[Vertex]]) -> None:
    """Moves ports within their box to where their links are straight, as far as the others leave room."""
    for layer in layers:
        for vertex in layer:
            if vertex.item:
                _spread(vertex.item.outputs, [(s.output, s.arrival - vertex.across) for s in vertex.after])
                ends = [(s.input, s.departure - vertex.across) for s in vertex.before]
                _spread(vertex.item.inputs, ends)


def _spread(side: Side, ends: list[tuple[str, int]]) -> None:
    """Each port to where the nearest of its links is straight, or as near as its neighbours let it."""
    if not side.room:
        return
    wishes = dict(side.offsets)
    for port, end in sorted(ends, key=lambda e: -abs(e[1] - side.offsets[e[0]])):
        half = (side.sizes[port] - PORT_SLACK) // 2
        if PORT_EDGE + half <= end <= side.room - PORT_EDGE - half:
            wishes[port] = end
    # From the end, how far each may go; then from the start, where each wants to be within that.
    limits, at = {}, side.room - PORT_EDGE
    for port in reversed(side.sizes):
        at -= side.sizes[port] - PORT_SLACK
        limits[port] = at
    at = PORT_EDGE
    for port, size in side.sizes.items():
        half = (size - PORT_SLACK) // 2
        place = min(max(at, wishes[port] - half), limits[port])
        side.offsets[port] = place + half
        at = place + size - PORT_SLACK
