"""An order of the boxes in each layer, and of the ports of each box, with few crossings.

K. Sugiyama, S. Tagawa, M. Toda, Methods for Visual Understanding of Hierarchical System Structures, IEEE
Transactions on Systems, Man and Cybernetics 11(2), 1981: each layer is sorted by the middle of what its boxes
are linked to in the layer before, back and forth.
"""

from bisect import bisect_right, insort
from collections import defaultdict
from math import fsum

from kfp_lifecycle.compiler.graph.boxes import Segment, Side, Vertex, is_header, number

_SWEEPS, _EXCHANGES = 12, 8
# Layers with more than this are sorted only.
_MOST_EXCHANGED = 150


def reduce_crossings(layers: list[list[Vertex]]) -> None:
    """Sorts the layers and ports back and forth; the best order that was seen stays."""
    segments = sum(len(v.after) for layer in layers for v in layer)
    best, order = _crossings(layers), _snapshot(layers)
    # Large graphs get fewer sweeps: the time goes with their number times the segments.
    for sweep in range(max(2, min(_SWEEPS, 60_000 // (segments + 1)))):
        if best == 0 and sweep > 1:
            break
        onwards = sweep % 2 == 0
        for layer in layers if onwards else reversed(layers):
            _sort_layer(layer, onwards)
        _sort_ports(layers)
        _exchange(layers)
        if (count := _crossings(layers)) < best:
            best, order = count, _snapshot(layers)
    _restore(layers, order)


def _sort_layer(layer: list[Vertex], onwards: bool) -> None:
    def middle(vertex: Vertex) -> float:
        ends = [_start(s) for s in vertex.before] if onwards else [_end(s) for s in vertex.after]
        return fsum(ends) / len(ends) if ends else float(vertex.index)

    layer.sort(key=lambda v: (not is_header(v), middle(v)))
    number(layer)


def _start(segment: Segment) -> float:
    """Where a segment starts, counted in boxes of its layer; ports lie between one box and the next."""
    return segment.source.index + (segment.out_offset + 1) / (segment.source.breadth + 2)


def _end(segment: Segment) -> float:
    return segment.target.index + (segment.in_offset + 1) / (segment.target.breadth + 2)


def _sort_ports(layers: list[list[Vertex]]) -> None:
    for layer in layers:
        for vertex in layer:
            if vertex.item:
                inputs, outputs = defaultdict(list), defaultdict(list)
                for segment in vertex.before:
                    inputs[segment.input].append(_start(segment))
                for segment in vertex.after:
                    outputs[segment.output].append(_end(segment))
                _sort_side(vertex.item.inputs, inputs)
                _sort_side(vertex.item.outputs, outputs)


def _sort_side(side: Side, ends: dict[str, list[float]]) -> None:
    """The linked ports by the middle of where they go; the others after them."""
    middles = {port: fsum(found) / len(found) for port, found in ends.items()}
    side.arrange(sorted(side.sizes, key=lambda port: (port not in middles, middles.get(port, 0.0))))


def _exchange(layers: list[list[Vertex]]) -> None:
    """Exchanges neighbours where that takes crossings away."""
    for layer in layers:
        for _ in range(_EXCHANGES if len(layer) < _MOST_EXCHANGED else 0):
            improved = False
            for left in range(len(layer) - 1):
                a, b = layer[left], layer[left + 1]
                if not is_header(a) and _between(b, a) < _between(a, b):
                    layer[left], layer[left + 1] = b, a
                    a.index, b.index = left + 1, left
                    improved = True
            if not improved:
                break


def _between(left: Vertex, right: Vertex) -> int:
    """Crossings between the links of two neighbours in this order."""
    count = 0
    before = [sorted(_start(segment) for segment in vertex.before) for vertex in (left, right)]
    after = [sorted(_end(segment) for segment in vertex.after) for vertex in (left, right)]
    for first, second in (before, after):
        count += sum(len(first) - bisect_right(first, end) for end in second)
    return count


def _crossings(layers: list[list[Vertex]]) -> int:
    count = 0
    for layer in layers:
        pairs = sorted((_start(s), _end(s)) for vertex in layer for s in vertex.after)
        seen: list[float] = []
        for _, end in pairs:
            count += len(seen) - bisect_right(seen, end)
            insort(seen, end)
    return count


_Order = list[list[tuple[Vertex, list[str], list[str]]]]


def _snapshot(layers: list[list[Vertex]]) -> _Order:
    return [
        [(v, [*v.item.inputs.sizes], [*v.item.outputs.sizes]) if v.item else (v, [], []) for v in layer]
        for layer in layers
    ]


def _restore(layers: list[list[Vertex]], order: _Order) -> None:
    for layer, kept in zip(layers, order, strict=True):
        layer[:] = [vertex for vertex, _, _ in kept]
        number(layer)
        for vertex, inputs, outputs in kept:
            if vertex.item:
                vertex.item.inputs.arrange(inputs)
                vertex.item.outputs.arrange(outputs)
