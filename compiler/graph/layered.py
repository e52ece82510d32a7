"""Layered layout of boxes with ports.

Four steps: every box gets a layer, the boxes of each layer their order (``crossings``) and places
(``across``), and the links their bends (``tracks``). Nothing here knows of pipelines or of left and right:
links run *along*, layers lie *across*.

All results are whole pixels, and every sum is one of integers or exact, so that they are the same on every
machine and with every version of Python.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter

from kfp_lifecycle.compiler.graph.across import place_across, straighten
from kfp_lifecycle.compiler.graph.boxes import Item, Layout, Link, Segment, Vertex, is_header, number
from kfp_lifecycle.compiler.graph.crossings import reduce_crossings
from kfp_lifecycle.compiler.graph.tracks import Net, assign

#: In the space between two layers: least length, distance to the layers, distance of parallel links.
LAYER_GAP, GAP_END, TRACK_GAP = 44, 18, 10
#: Length of a space that no link crosses; next to a border, and behind a header.
EMPTY_GAP, SHORT_GAP = 18, 10


def arrange(items: Sequence[Item], links: Sequence[Link], min_length: int = 0) -> Layout:
    """Places the boxes and routes the links; links must not run in circles.

    Args:
        items: The boxes; their places and the order of their free ports are set.
        links: What connects them.
        min_length: Least size along; what is in the last layer goes to its end.
    """
    vertices, paths = _split(items, links, _layers(items, links))
    layers = _in_layers(vertices)
    reduce_crossings(layers)
    place_across(layers)
    straighten(layers)
    gaps = [_route(layer) for layer in layers]
    starts, length = _place_along(layers, gaps, min_length)
    breadth = max((v.across + v.breadth for v in vertices), default=0)
    return Layout(length, breadth, [_bends(path, gaps, starts) for path in paths])


# Layers ---------------------------------------------------------------------------------------------------


def _layers(items: Sequence[Item], links: Sequence[Link]) -> dict[str, int]:
    """The layer of every box: each link goes at least one further, and none further than it must."""
    before: dict[str, set[str]] = {item.key: set() for item in items}
    after: dict[str, set[str]] = {item.key: set() for item in items}
    for link in links:
        before[link.target].add(link.source)
        after[link.source].add(link.target)
    first = {item.key for item in items if item.layer == "first"}
    found: dict[str, int] = {}
    order = list(TopologicalSorter({key: sorted(found) for key, found in before.items()}).static_order())
    for key in order:
        least = 0 if key in first or not first else 1
        found[key] = max([least, *(found[other] + 1 for other in before[key])])
    # What has more links onwards than back comes as late as it can, next to where it is needed.
    for key in reversed(order):
        if key not in first and after[key] and len(after[key]) > len(before[key]):
            found[key] = min(found[other] for other in after[key]) - 1
    last = [item.key for item in items if item.layer == "last"]
    end = max([found[item.key] + (item.layer != "last") for item in items], default=0)
    return found | dict.fromkeys(last, end)


def _split(
    items: Sequence[Item], links: Sequence[Link], layers: dict[str, int]
) -> tuple[list[Vertex], list[list[Segment]]]:
    """The boxes as vertices, and every link as segments from layer to layer.

    Links from the same port share their way as long as it is the same.
    """
    vertices = [Vertex(item, layers[item.key]) for item in items]
    by_key = {item.key: vertex for item, vertex in zip(items, vertices, strict=True)}
    shared: dict[tuple[str, str, int], Segment] = {}
    paths: list[list[Segment]] = []
    for link in links:
        vertex, output, path = by_key[link.source], link.output, []
        target = by_key[link.target]
        while vertex.layer < target.layer - 1:
            place = (link.source, link.output, vertex.layer)
            if place not in shared:
                vertices.append(Vertex(None, vertex.layer + 1))
                shared[place] = _connect(vertex, output, vertices[-1], "")
            path.append(shared[place])
            vertex, output = shared[place].target, ""
        path.append(_connect(vertex, output, target, link.input))
        paths.append(path)
    return vertices, paths


def _connect(source: Vertex, output: str, target: Vertex, end: str) -> Segment:
    segment = Segment(source, output, target, end)
    source.after.append(segment)
    target.before.append(segment)
    return segment


def _in_layers(vertices: Sequence[Vertex]) -> list[list[Vertex]]:
    layers: list[list[Vertex]] = [[] for _ in range(max((v.layer for v in vertices), default=-1) + 1)]
    for vertex in vertices:
        layers[vertex.layer].append(vertex)
    for layer in layers:
        layer.sort(key=lambda vertex: not is_header(vertex))
        number(layer)
    return layers


# Places along, and bends ----------------------------------------------------------------------------------


@dataclass
class _Gap:
    """The space after a layer.

    Args:
        tracks: Segment to the track on which it goes across; without those that are straight.
        count: How many tracks there are.
        crossed: Whether any link goes through.
        after_header: Whether the layer is the one with the header.
    """

    tracks: dict[Segment, int]
    count: int
    crossed: bool
    after_header: bool

    @property
    def length(self) -> int:
        if not self.crossed:
            return SHORT_GAP if self.after_header else EMPTY_GAP
        return max(LAYER_GAP, 2 * GAP_END + max(0, self.count - 1) * TRACK_GAP)


def _route(layer: list[Vertex]) -> _Gap:
    nets: dict[tuple[Vertex, str], list[Segment]] = defaultdict(list)
    for vertex in layer:
        for segment in vertex.after:
            nets[vertex, segment.output].append(segment)
    shapes = [Net(s[0].departure, tuple(segment.arrival for segment in s)) for s in nets.values()]
    tracks, count = assign(shapes)
    found = {
        segment: track
        for segments, track in zip(nets.values(), tracks, strict=True)
        for segment in segments
        if track is not None
    }
    return _Gap(found, count, bool(nets), any(map(is_header, layer)))


def _place_along(
    layers: list[list[Vertex]], gaps: list[_Gap], min_length: int
) -> tuple[list[tuple[int, int]], int]:
    """Where each layer begins and ends, and the length of all."""
    at, starts = 0, []
    for layer, gap in zip(layers, gaps, strict=True):
        length = max((v.item.length for v in layer if v.item), default=0)
        starts.append((at, at + length))
        at += length + gap.length
    end = max(starts[-1][1], min_length) if starts else min_length
    if starts and any(v.item and v.item.layer == "last" for v in layers[-1]):
        starts[-1] = (end - (starts[-1][1] - starts[-1][0]), end)
    for layer, (start, stop) in zip(layers, starts, strict=True):
        for vertex in layer:
            if vertex.item:
                # What only begins links lies next to where they go.
                late = vertex.after and not vertex.before and layer is not layers[0]
                vertex.item.along = stop - vertex.item.length if late else start
    return starts, end


def _bends(path: list[Segment], gaps: list[_Gap], starts: list[tuple[int, int]]) -> list[tuple[int, int]]:
    first, last = path[0].source, path[-1].target
    assert first.item is not None
    assert last.item is not None
    points = [(first.item.along + first.item.length, path[0].departure)]
    for segment in path:
        here, there = segment.departure, segment.arrival
        if here != there:
            layer = segment.source.layer
            gap = gaps[layer]
            # The tracks lie in the middle of the gap.
            room = starts[layer + 1][0] - starts[layer][1] - (gap.count - 1) * TRACK_GAP
            along = starts[layer][1] + room // 2 + gap.tracks[segment] * TRACK_GAP
            points += [(along, here), (along, there)]
    return [*points, (last.item.along, path[-1].arrival)]
