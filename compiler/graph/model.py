"""What a picture of a pipeline shows: tasks, the groups that hold them, and what flows between them.

A graph is a tree of nodes. A group (condition, loop, exit handler, nested pipeline) holds its own nodes and
the edges between them; an edge that crosses the group's border ends at one of its ports, and goes on inside
from there, just as the pipeline spec has it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What a node is."""

    TASK = "task"
    IMPORTER = "importer"
    PIPELINE = "pipeline"
    CONDITION = "condition"
    BRANCHES = "branches"
    LOOP = "loop"
    EXIT_HANDLER = "exit handler"
    INPUT = "input"
    OUTPUT = "output"


#: The kinds that hold other nodes.
GROUPS = frozenset({Kind.PIPELINE, Kind.CONDITION, Kind.BRANCHES, Kind.LOOP, Kind.EXIT_HANDLER})


class Flow(StrEnum):
    """What goes along an edge; ``ORDER`` is nothing but "this before that"."""

    ARTIFACT = "artifact"
    PARAMETER = "parameter"
    ORDER = "order"


#: The port, on either side, of what is nothing but order.
ORDER = "order:"


@dataclass(frozen=True)
class Port:
    """Where an edge leaves or enters a node.

    Args:
        id: Unique among the ports on the same side of the node.
        label: The name that is shown.
        flow: What goes through.
        type: Type of the artifact (``Dataset``) or parameter (``float``); empty for an order.
    """

    id: str
    label: str
    flow: Flow
    type: str = ""


@dataclass(frozen=True)
class Edge:
    """Something that flows between two nodes of the same group.

    Args:
        source: Key of the node that it comes from; None for the border of the group that the edge is in.
        output: Id of the port there: an output of the node, or an input of the group.
        target: Key of the node that it goes to; None for the border.
        input: Id of the port there.
        flow: What flows.
        type: Its type, as of a port.
    """

    source: str | None
    output: str
    target: str | None
    input: str
    flow: Flow
    type: str = ""


@dataclass(frozen=True)
class Node:
    """A task, a group, or an input or output of the pipeline.

    Args:
        key: Unique within the group that holds it; the task's key in the spec.
        kind: What it is.
        title: Its name for people.
        lead: What a group is in a word or two: ``if``, ``else``, ``for each``, ``exit handler``.
        notes: What else is shown: the condition, what a loop iterates over, what an importer imports.
        badges: Short facts that are shown: resources, retries, caching.
        facts: Longer facts, one a line, that are shown on hovering.
        inputs: Ports that something drawn flows into.
        outputs: Ports that something flows out of, or could: a task shows all its outputs.
        reads: Ids of the inputs that decide whether a group runs.
        nodes: What a group holds.
        edges: What flows between those.
    """

    key: str
    kind: Kind
    title: str
    lead: str = ""
    notes: tuple[str, ...] = ()
    badges: tuple[str, ...] = ()
    facts: tuple[str, ...] = ()
    inputs: tuple[Port, ...] = ()
    outputs: tuple[Port, ...] = ()
    reads: tuple[str, ...] = ()
    nodes: tuple["Node", ...] = ()
    edges: tuple[Edge, ...] = ()

    def walk(self, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], "Node"]]:
        """Every node below this one, with its path, parents first."""
        for node in self.nodes:
            yield (*path, node.key), node
            yield from node.walk((*path, node.key))
