"""A drawing as SVG: one file that needs nothing else, for light and dark, the same bytes everywhere."""

from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise
from xml.etree import ElementTree as ET

from kfp_lifecycle.compiler.graph import style
from kfp_lifecycle.compiler.graph.drawing import Badge, Box, Dot, Drawing, Label, Route
from kfp_lifecycle.compiler.graph.flows import flows
from kfp_lifecycle.compiler.graph.model import GROUPS, Flow, Kind, Node
from kfp_lifecycle.compiler.graph.text import clean, fit, width

MARGIN = 24
HEADING = 70
LEGEND_LINE = 22
LEAST_WIDTH = 320
RADIUS = 7

Point = tuple[int, int]


def to_svg(drawing: Drawing) -> str:
    """The text of an SVG file.

    Args:
        drawing: From ``lay_out``.
    """
    total = max(drawing.width, LEAST_WIDTH) + 2 * MARGIN
    legend = list(_legend(drawing, total - MARGIN))
    bottom = HEADING + drawing.height + MARGIN
    height = bottom + (legend[-1][1] + 1) * LEGEND_LINE + 12 if legend else bottom
    name = clean(drawing.root.title) or "pipeline"
    root = ET.Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "class": "kfp-graph",
            "width": str(total),
            "height": str(height),
            "viewBox": f"0 0 {total} {height}",
            "role": "img",
        },
    )
    _add(root, "title", text=f"Pipeline {name}")
    _add(root, "desc", text=_description(drawing))
    _add(root, "style", text=style.sheet())
    _add(root, "rect", text="", **{"class": "ground"}, width=total, height=height, rx=10)
    _add(root, "text", fit(name, 19, total - 2 * MARGIN, bold=True), x=MARGIN, y=33, **{"class": "heading"})
    _add(root, "text", fit(_counts(drawing), 12, total - 2 * MARGIN), x=MARGIN, y=51, **{"class": "note"})
    left = (total - drawing.width) // 2
    content = _add(root, "g", transform=f"translate({left} {HEADING})")
    _contents(content, drawing)
    for item, line, x in legend:
        _legend_entry(root, item, x, bottom + line * LEGEND_LINE)
    ET.indent(root, " ")
    return ET.tostring(root, encoding="unicode") + "\n"


def _contents(parent: ET.Element, drawing: Drawing) -> None:
    groups = [box for box in drawing.boxes if box.node.kind in GROUPS]
    for box in groups:
        _box(parent, box, f"group {style.name(box.node.kind)}", radius=10)
    for route, points in _without_common_ways(drawing.routes):
        _route(parent, route, points)
    for box in drawing.boxes:
        if box.node.kind not in GROUPS:
            terminal = box.node.kind in (Kind.INPUT, Kind.OUTPUT)
            _box(
                parent,
                box,
                f"end {_end_family(box.node)}" if terminal else style.name(box.node.kind),
                radius=8,
            )
    for box in groups:
        for dot in box.dots:
            _dot(parent, dot)


def _box(parent: ET.Element, box: Box, kind: str, radius: int) -> None:
    group = _add(parent, "g", **{"class": kind, "data-path": "/".join(map(clean, box.path))})
    _add(group, "title", text="\n".join(map(clean, (*box.node.facts, *box.node.notes, *box.node.badges))))
    corner = box.height // 2 if kind.startswith("end") else radius
    rect = _add(group, "rect", x=box.x, y=box.y, width=box.width, height=box.height, rx=corner)
    if box.node.kind not in GROUPS:
        rect.set("class", "card")
    for label in box.labels:
        _label(group, label)
    for badge in box.badges:
        _badge(group, badge)
    if box.node.kind not in GROUPS:
        for dot in box.dots:
            _dot(group, dot)


def _label(parent: ET.Element, label: Label) -> None:
    anchor = {} if label.anchor == "start" else {"text-anchor": label.anchor}
    _add(parent, "text", label.text, x=label.x, y=label.y, **{"class": label.style}, **anchor)


def _badge(parent: ET.Element, badge: Badge) -> None:
    group = _add(parent, "g", **{"class": "badge"})
    _add(group, "rect", x=badge.x, y=badge.y, width=badge.width, height=badge.height, rx=9)
    middle = {"text-anchor": "middle"}
    _add(group, "text", badge.text, x=badge.x + badge.width // 2, y=badge.y + 13, **middle)


def _dot(parent: ET.Element, dot: Dot) -> None:
    if dot.flow is Flow.ORDER:
        return
    family = style.family(dot.flow, dot.type)
    if dot.flow is Flow.PARAMETER:
        shape = _add(parent, "rect", x=dot.x - 3, y=dot.y - 3, width=6, height=6, rx=1)
    else:
        shape = _add(parent, "circle", cx=dot.x, cy=dot.y, r=4)
    shape.set("class", f"dot {family}")
    _add(shape, "title", text=clean(f"{dot.name}: {dot.type}"))


def _without_common_ways(routes: Sequence[Route]) -> Iterator[tuple[Route, list[Point]]]:
    """The routes, each from where it parts from all those before it that begin at the same port.

    What is drawn twice looks bolder than what is drawn once, and dashes on dashes are no dashes.
    """
    drawn: dict[tuple[object, ...], list[tuple[Point, ...]]] = {}
    for route in routes:
        same = drawn.setdefault((route.path, route.edge.source, route.edge.output), [])
        ways = [_after_parting(route.points, other) for other in same] or [[*route.points]]
        yield route, min(ways, key=_length)
        same.append(route.points)


def _after_parting(points: Sequence[Point], other: Sequence[Point]) -> list[Point]:
    """What is left of a route where it leaves another, from shortly before, as corners are round."""
    parted = next((at for at, (a, b) in enumerate(zip(points, other, strict=False)) if a != b), None)
    if not parted:
        return [*points]
    start, here, there = points[parted - 1], points[parted], other[parted]
    if _towards(start, here, 1) == _towards(start, there, 1):
        shared = min(_distance(start, here), _distance(start, there))
        parting = _towards(start, here, shared)
        back = _towards(parting, start, min(RADIUS, shared))
    else:
        parting = start
        back = _towards(start, points[parted - 2], RADIUS) if parted > 1 else start
    return [point for point, _ in groupby([back, parting, *points[parted:]])]


def _length(points: Sequence[Point]) -> int:
    return sum(_distance(a, b) for a, b in pairwise(points))


def _route(parent: ET.Element, route: Route, points: list[Point]) -> None:
    family = style.family(route.edge.flow, route.edge.type)
    group = _add(parent, "g", **{"class": "edge"})
    _add(group, "title", text=clean(route.label))
    (x, y), (before_x, before_y) = points[-1], points[-2]
    if route.arrow:
        right, down = _sign(x - before_x), _sign(y - before_y)
        points[-1] = (x - 5 * right, y - 5 * down)
    _add(group, "path", **{"class": f"line {family}"}, d=_path(points))
    if route.arrow:
        sides = [
            (x - 8 * right + 4 * down, y - 8 * down + 4 * right),
            (x - 8 * right - 4 * down, y - 8 * down - 4 * right),
        ]
        corners = " ".join(f"L{a} {b}" for a, b in sides)
        _add(group, "path", **{"class": f"arrow {family}"}, d=f"M{x} {y} {corners}Z")


def _path(points: Sequence[Point]) -> str:
    """A line with rounded corners."""
    parts = [f"M{points[0][0]} {points[0][1]}"]
    for at, (before, here, after) in enumerate(zip(points, points[1:], points[2:], strict=False)):
        # A part between two corners is shared by both.
        first, last = at == 0, at == len(points) - 3
        room = min(RADIUS, _distance(before, here) // (2 - first), _distance(here, after) // (2 - last))
        (ax, ay), (bx, by) = _towards(here, before, room), _towards(here, after, room)
        parts.append(f"L{ax} {ay}Q{here[0]} {here[1]} {bx} {by}")
    return "".join([*parts, f"L{points[-1][0]} {points[-1][1]}"])


def _towards(here: Point, there: Point, far: int) -> Point:
    return here[0] + far * _sign(there[0] - here[0]), here[1] + far * _sign(there[1] - here[1])


def _distance(a: Point, b: Point) -> int:
    return abs(a[0] - b[0]) + abs(a[1] - b[1])


def _sign(number: int) -> int:
    return (number > 0) - (number < 0)


# Around the picture ---------------------------------------------------------------------------------------


def _legend(drawing: Drawing, limit: int) -> Iterator[tuple[str, int, int]]:
    """The families that are in the picture, each with its line and where it begins there."""
    ports = [(dot.flow, dot.type) for box in drawing.boxes for dot in box.dots]
    ports += [(route.edge.flow, route.edge.type) for route in drawing.routes]
    used = {style.family(flow, kind) for flow, kind in ports}
    line, x = 0, MARGIN
    for key in (key for key in style.LEGEND if key in used):
        size = 30 + width(style.LEGEND[key], 11) + 16
        if x > MARGIN and x + size > limit:
            line, x = line + 1, MARGIN
        yield key, line, x
        x += size


def _legend_entry(root: ET.Element, key: str, x: int, y: int) -> None:
    group = _add(root, "g")
    _add(group, "path", **{"class": f"line {key}"}, d=f"M{x} {y}h22")
    if key not in ("order", "parameter"):
        _add(group, "circle", **{"class": f"dot {key}"}, cx=x + 11, cy=y, r=4)
    if key == "parameter":
        _add(group, "rect", **{"class": f"dot {key}"}, x=x + 8, y=y - 3, width=6, height=6, rx=1)
    _add(group, "text", style.LEGEND[key], **{"class": "legend"}, x=x + 28, y=y + 4)


def _counts(drawing: Drawing) -> str:
    """How much of what the pipeline has."""
    nodes = [node for _, node in drawing.root.walk()]
    kinds = {
        "task": [Kind.TASK, Kind.IMPORTER],
        "condition": [Kind.CONDITION],
        "loop": [Kind.LOOP],
        "exit handler": [Kind.EXIT_HANDLER],
        "nested pipeline": [Kind.PIPELINE],
    }
    inputs = sum(fact.startswith("input ") for fact in drawing.root.facts)
    counts = {word: sum(node.kind in of for node in nodes) for word, of in kinds.items()} | {"input": inputs}
    return ", ".join(f"{count} {word}{'' if count == 1 else 's'}" for word, count in counts.items() if count)


def _description(drawing: Drawing) -> str:
    """The picture in words."""
    names = {path: _name(node) for path, node in drawing.root.walk()}
    links = [
        f"{names[edge.source]} → {names[edge.target]} ({edge.label or 'order'})"
        for edge in flows(drawing.root)
    ]
    return clean(f"{_counts(drawing)}. Contains: {'; '.join(names.values())}. Flows: {'; '.join(links)}.")


def _name(node: Node) -> str:
    return " ".join(filter(None, (node.lead, node.title, *node.notes))) or node.key


def _end_family(node: Node) -> str:
    port = (*node.outputs, *node.inputs)[0]
    return style.family(port.flow, port.type)


def _add(parent: ET.Element, tag: str, text: str = "", **attributes: str | int) -> ET.Element:
    element = ET.SubElement(parent, tag, {key: str(value) for key, value in attributes.items()})
    element.text = text or None
    return element
