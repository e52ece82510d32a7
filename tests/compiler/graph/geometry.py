"""What is wrong with a drawing: boxes on boxes, lines through boxes, texts on texts."""

from collections.abc import Iterator
from itertools import combinations, pairwise

from kfp_lifecycle.compiler.graph.cards import measure
from kfp_lifecycle.compiler.graph.drawing import FONTS, Box, Drawing, Label, Route
from kfp_lifecycle.compiler.graph.model import GROUPS

#: left, top, right, bottom
Rect = tuple[int, int, int, int]


def problems(drawing: Drawing) -> list[str]:
    """Everything that should not be."""
    return [*_boxes(drawing), *_ends(drawing), *_lines_and_boxes(drawing), *_texts(drawing)]


def lines_on_lines(drawing: Drawing) -> list[str]:
    """Parts of different edges that lie on each other; edges from one port, or into one, may."""
    found = []
    parts = [(route, part) for route in drawing.routes for part in pairwise(route.points)]
    for (a, first), (b, second) in combinations(parts, 2):
        same = a.path == b.path and (
            (a.edge.source, a.edge.output) == (b.edge.source, b.edge.output)
            or (a.edge.target, a.edge.input) == (b.edge.target, b.edge.input)
        )
        if not same and _length_in_common(first, second) > 0:
            found.append(f"{a.label} lies on {b.label}")
    return found


def rect(box: Box) -> Rect:
    return box.x, box.y, box.x + box.width, box.y + box.height


def inside(inner: Rect, outer: Rect) -> bool:
    return outer[0] <= inner[0] and outer[1] <= inner[1] and inner[2] <= outer[2] and inner[3] <= outer[3]


def overlap(a: Rect, b: Rect) -> bool:
    """Whether two rectangles have more in common than an edge."""
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _boxes(drawing: Drawing) -> Iterator[str]:
    whole = (0, 0, drawing.width, drawing.height)
    for box in drawing.boxes:
        if not inside(rect(box), whole):
            yield f"{box.path} is not in the picture"
    for a, b in combinations(drawing.boxes, 2):
        if b.path[: len(a.path)] == a.path:
            if not inside(rect(b), rect(a)):
                yield f"{b.path} is not inside {a.path}"
        elif a.path[: len(b.path)] != b.path and overlap(rect(a), rect(b)):
            yield f"{a.path} lies on {b.path}"


def _ends(drawing: Drawing) -> Iterator[str]:
    boxes = {box.path: rect(box) for box in drawing.boxes}
    for route in drawing.routes:
        for key, (x, y) in ((route.edge.source, route.points[0]), (route.edge.target, route.points[-1])):
            left, top, right, bottom = boxes[route.path if key is None else (*route.path, key)]
            on_side = x in (left, right) and top <= y <= bottom
            on_end = y in (top, bottom) and left <= x <= right
            if not (on_side or on_end):
                yield f"{route.label} does not end at {key}"
        for (ax, ay), (bx, by) in pairwise(route.points):
            if ax != bx and ay != by:
                yield f"{route.label} is slanted"


def _lines_and_boxes(drawing: Drawing) -> Iterator[str]:
    for route in drawing.routes:
        around = {route.path[:length] for length in range(len(route.path) + 1)}
        for box in drawing.boxes:
            if box.path not in around and _runs_through(route, rect(box)):
                yield f"{route.label} runs through {box.path}"


def _runs_through(route: Route, area: Rect) -> bool:
    return any(overlap(_line(part), area) for part in pairwise(route.points))


def _line(part: tuple[tuple[int, int], tuple[int, int]]) -> Rect:
    (ax, ay), (bx, by) = part
    return min(ax, bx), min(ay, by), max(ax, bx), max(ay, by)


def _texts(drawing: Drawing) -> Iterator[str]:
    lines = [(route, _line(part)) for route in drawing.routes for part in pairwise(route.points)]
    for box in drawing.boxes:
        areas = [(label.text, _text_area(label)) for label in box.labels]
        areas += [(b.text, (b.x, b.y, b.x + b.width, b.y + b.height)) for b in box.badges]
        for name, area in areas:
            if not inside(area, rect(box)):
                yield f"{name!r} is not inside {box.path}"
            if box.node.kind in GROUPS:
                for route, line in lines:
                    if overlap(line, area):
                        yield f"{route.label} runs through the text {name!r} of {box.path}"
        for (a, first), (b, second) in combinations(areas, 2):
            if overlap(first, second):
                yield f"{a!r} lies on {b!r} in {box.path}"
        for badge in box.badges:
            if measure(badge.text, "badge") > badge.width:
                yield f"{badge.text!r} is wider than its badge"


def _text_area(label: Label) -> Rect:
    wide, size = measure(label.text, label.style), FONTS[label.style][0]
    left = {"start": label.x, "middle": label.x - wide // 2, "end": label.x - wide}[label.anchor]
    return left, label.y - size * 3 // 4, left + wide, label.y + size // 5


def _length_in_common(a: tuple[tuple[int, int], ...], b: tuple[tuple[int, int], ...]) -> int:
    (al, at, ar, ab), (bl, bt, br, bb) = _line(a), _line(b)  # type: ignore[arg-type]
    if al == ar == bl == br:
        return min(ab, bb) - max(at, bt)
    if at == ab == bt == bb:
        return min(ar, br) - max(al, bl)
    return 0
