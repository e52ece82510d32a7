"""The edges of a pipeline from task to task, through the borders of however many groups."""

from collections.abc import Iterator
from dataclasses import dataclass

from kfp_lifecycle.compiler.graph.model import GROUPS, Edge, Flow, Node

Path = tuple[str, ...]


@dataclass(frozen=True)
class FlowEdge:
    """What flows from one node to another.

    Args:
        source: Path of the node that it comes from.
        target: Path of the node that it goes to: a task, or a group that has a use for it itself.
        label: Name of the output, and of the input where that is another.
        flow: What flows.
        type: Its type.
    """

    source: Path
    target: Path
    label: str
    flow: Flow
    type: str


def flows(root: Node) -> Iterator[FlowEdge]:
    """Every flow, in the order of the edges that it begins with."""
    for path, node in [((), root), *root.walk()]:
        for edge in node.edges:
            if edge.source is not None and not _is_border(_child(node, edge.source), edge):
                source = (*path, edge.source)
                for target, name, kind in _onwards(root, path, node, edge):
                    label = _label(_child(node, edge.source), edge, name)
                    yield FlowEdge(source, target, label, edge.flow, kind)


def _is_border(source: Node, edge: Edge) -> bool:
    """Whether an edge goes on from one inside the group that it leaves."""
    return any(inner.target is None and inner.input == edge.output for inner in source.edges)


def _onwards(root: Node, path: Path, group: Node, edge: Edge) -> Iterator[tuple[Path, str, str]]:
    """Where an edge of a group ends, with the name of the input there and the type."""
    if edge.target is None:
        outer = _at(root, path[:-1])
        for after in outer.edges:
            if after.source == path[-1] and after.output == edge.input:
                yield from _onwards(root, path[:-1], outer, after)
        return
    target = _child(group, edge.target)
    inner = [after for after in target.edges if after.source is None and after.output == edge.input]
    for after in inner:
        yield from _onwards(root, (*path, edge.target), target, after)
    if target.kind not in GROUPS or not inner or edge.input in target.reads:
        name = next((port.label for port in target.inputs if port.id == edge.input), "")
        yield (*path, edge.target), "" if target.kind in GROUPS else name, edge.type


def _label(source: Node, edge: Edge, target: str) -> str:
    name = next((port.label for port in source.outputs if port.id == edge.output), "")
    return name if target in ("", name) else f"{name} → {target}" if name else target


def _child(group: Node, key: str) -> Node:
    return next(node for node in group.nodes if node.key == key)


def _at(root: Node, path: Path) -> Node:
    for key in path:
        root = _child(root, key)
    return root
