"""A pipeline as a Mermaid flowchart, which GitHub and many wikis draw inside Markdown."""

import json
import re
from collections import defaultdict
from collections.abc import Iterator

from kfp_lifecycle.compiler.graph import style
from kfp_lifecycle.compiler.graph.drawing import Direction
from kfp_lifecycle.compiler.graph.flows import FlowEdge, flows
from kfp_lifecycle.compiler.graph.model import GROUPS, Flow, Kind, Node
from kfp_lifecycle.compiler.graph.text import clean

# Signs that could mean something to Mermaid; letters of other alphabets do not.
_SIGNS = re.compile(r"[!\"#$%&';<>?@\[\\\]^`{|}~]")

#: What a node's text stands between.
_SHAPES = {
    Kind.IMPORTER: ('[/"', '"/]'),
    Kind.INPUT: ('(["', '"])'),
    Kind.OUTPUT: ('(["', '"])'),
}


def to_mermaid(root: Node, direction: Direction | None = None) -> str:
    """The text of a flowchart.

    Args:
        root: The pipeline, from ``build``.
        direction: Left to right or top to bottom, which is the default.
    """
    ids = {path: f"n{number}" for number, (path, _) in enumerate(root.walk(), 1)}
    lines = [
        "---",
        f"title: {json.dumps(clean(root.title))}",
        "---",
        f"flowchart {direction or Direction.TB}",
    ]
    lines += _nodes(root, (), ids)
    styles = defaultdict(list)
    for number, (edge, text) in enumerate(_merged(root)):
        arrow = "-.->" if edge.flow is Flow.ORDER else "-->"
        label = f'|"{text}"|' if text else ""
        lines.append(f"  {ids[edge.source]} {arrow}{label} {ids[edge.target]}")
        styles[style.family(edge.flow, edge.type)].append(str(number))
    for family, numbers in styles.items():
        lines.append(f"  linkStyle {','.join(numbers)} stroke:{style.COLOURS[family][0]}")
    lines += _classes(root, ids)
    return "\n".join(lines) + "\n"


def _nodes(group: Node, path: tuple[str, ...], ids: dict[tuple[str, ...], str]) -> Iterator[str]:
    indent = "  " * (len(path) + 1)
    for node in group.nodes:
        inner = (*path, node.key)
        texts = [text for text in (node.lead, node.title, *node.notes, ", ".join(node.badges)) if text]
        text = "<br/>".join(map(_escape, texts))
        if node.kind in GROUPS:
            # Mermaid gives the name of a group one line's room.
            yield f'{indent}subgraph {ids[inner]}["{_escape(" ".join(texts), 60)}"]'
            yield from _nodes(node, inner, ids)
            yield f"{indent}end"
        else:
            opening, closing = _SHAPES.get(node.kind, ('["', '"]'))
            yield f"{indent}{ids[inner]}{opening}{text}{closing}"


def _merged(root: Node) -> Iterator[tuple[FlowEdge, str]]:
    """The edges; those of one colour between the same two nodes as one, with all their names."""
    same: dict[tuple[tuple[str, ...], tuple[str, ...], str], list[FlowEdge]] = defaultdict(list)
    for edge in flows(root):
        same[edge.source, edge.target, style.family(edge.flow, edge.type)].append(edge)
    for edges in same.values():
        yield edges[0], "<br/>".join(dict.fromkeys(_escape(_label(edge)) for edge in edges))


def _label(edge: FlowEdge) -> str:
    return f"{edge.label}: {edge.type}" if edge.flow is Flow.ARTIFACT else edge.label


def _classes(root: Node, ids: dict[tuple[str, ...], str]) -> Iterator[str]:
    for kind in sorted(GROUPS):
        if numbers := [ids[path] for path, node in root.walk() if node.kind is kind]:
            name = style.name(kind)
            colour = style.COLOURS[name][0]
            yield f"  classDef {name} fill:{colour}14,stroke:{colour}"
            yield f"  class {','.join(numbers)} {name}"


def _escape(text: str, most: int = 160) -> str:
    """Text that means nothing to Mermaid: every sign that could, as its number."""
    short = clean(text)
    short = short if len(short) <= most else f"{short[: most - 1]}…"
    return _SIGNS.sub(lambda found: f"#{ord(found[0])};", short)
