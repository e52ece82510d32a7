"""From a pipeline spec to the graph that is drawn."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from graphlib import CycleError, TopologicalSorter

from kfp_lifecycle.compiler.graph import badges, captions, words
from kfp_lifecycle.compiler.graph.access import (
    CHANNEL,
    Fields,
    component_name,
    condition,
    declared,
    fields,
    handed_down,
    inputs,
    iterated,
    iterator,
    made_by,
    outputs,
    port,
    port_id,
    text,
    texts,
)
from kfp_lifecycle.compiler.graph.errors import GraphError
from kfp_lifecycle.compiler.graph.model import GROUPS, ORDER, Edge, Flow, Kind, Node, Port

#: More than this is no picture; a few nested components that use each other twice would make millions.
MOST_NODES, MOST_EDGES, MOST_LEVELS = 1000, 5000, 40
#: Outputs of a task that nothing uses: the first of them are shown.
MOST_LOOSE = 8

_ITEM = "item"


def build(spec: Fields, platform: Fields | None = None) -> Node:
    """The graph of a compiled pipeline or component.

    Args:
        spec: The pipeline spec, a compiled file's first document.
        platform: The platform spec, its second document.

    Returns:
        The pipeline as a node that holds all others.

    Raises:
        GraphError: Tasks depend on each other in a circle, or there is more than a picture can show.
    """
    return _Builder(spec, platform or {}).pipeline()


@dataclass
class _Scope:
    """What is known of a group from outside.

    Args:
        live: Port id to type, of the inputs that something drawn flows into.
        names: Input parameter to how people know it.
        wanted: Port ids of the outputs that something outside uses.
        level: How many groups this is inside of.
        loops: How many of them are loops.
        item: The port of the current item, if the group is a loop.
        over: The id of the port that it iterates over.
    """

    live: dict[str, str] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    wanted: set[str] = field(default_factory=set)
    level: int = 0
    loops: int = 0
    item: Port | None = None
    over: str = ""


class _Builder:
    def __init__(self, spec: Fields, platform: Fields) -> None:
        self.components = fields(spec, "components")
        self.executors = fields(spec, "deploymentSpec", "executors")
        self.platform = fields(platform, "platforms", "kubernetes", "deploymentSpec", "executors")
        self.root = fields(spec, "root")
        self.name = text(spec, "pipelineInfo", "name")
        self.nodes = self.edges = 0
        self.outputs: dict[str, dict[str, Port]] = {}
        self.takers: dict[str, dict[str, list[tuple[Fields, Flow, str]]]] = {}
        self.used: dict[tuple[str, str], bool] = {}

    def pipeline(self) -> Node:
        given, made = (declared(self.root, side) for side in ("inputDefinitions", "outputDefinitions"))
        scope = _Scope(
            live={port: item.type for port, item in given.items() if item.flow is Flow.ARTIFACT},
            names={item.label: item.label for item in given.values() if item.flow is Flow.PARAMETER},
            wanted=set(made),
        )
        nodes, edges = self.dag(fields(self.root, "dag"), scope)
        ends, edges = _ends(given, made, {node.key for node in nodes}, edges)
        facts = tuple(captions.interface(self.root))
        return Node("", Kind.PIPELINE, self.name, facts=facts, nodes=(*nodes, *ends), edges=tuple(edges))

    def dag(self, dag: Fields, scope: _Scope) -> tuple[list[Node], list[Edge]]:
        """The nodes of one graph of the spec, and the edges between them."""
        tasks = {key: fields(task) for key, task in fields(dag, "tasks").items()}
        edges = [edge for key in tasks for edge in self.edges_to(key, tasks, scope)]
        edges += self.edges_out(dag, tasks, scope)
        self.check(len(tasks), edges)
        keys = sorted(tasks, key=words.natural)
        conditional = [key for key in keys if condition(tasks[key])]
        branches = dict(
            zip(conditional, words.branches([condition(tasks[key]) for key in conditional]), strict=True)
        )
        nodes = [self.node(key, tasks, edges, scope, branches.get(key, ("", ""))) for key in keys]
        item = _item_node(_item_key(tasks), scope)
        if item is not None and any(edge.source == item.key for edge in edges):
            nodes.insert(0, item)
            edges += [Edge(None, scope.over, item.key, p.id, p.flow, p.type) for p in item.inputs]
        return nodes, edges

    def check(self, tasks: int, edges: list[Edge]) -> None:
        """Refuses what no picture can show, before it is made."""
        self.nodes += tasks
        self.edges += len(edges)
        if self.nodes > MOST_NODES or self.edges > MOST_EDGES:
            problem = f"The pipeline has more than {MOST_NODES} tasks and groups or {MOST_EDGES} links."
            raise GraphError(problem, "Draw one of its parts instead.")
        before: dict[str, list[str]] = defaultdict(list)
        for edge in edges:
            if edge.source is not None and edge.target is not None:
                before[edge.target].append(edge.source)
        try:
            TopologicalSorter(before).prepare()
        except CycleError as error:
            circle = " -> ".join(error.args[1])
            problem = f"Tasks depend on each other in a circle: {circle}."
            raise GraphError(problem, "Compile the pipeline again.") from None

    # Edges ------------------------------------------------------------------------------------------------

    def edges_to(self, key: str, tasks: Mapping[str, Fields], scope: _Scope) -> Iterator[Edge]:
        """What flows into a task, and what only has to run before it."""
        task, linked = tasks[key], set()
        for flow, name, given in inputs(task):
            if not self.uses(task, flow, name):
                continue
            into, (producer, output) = port_id(flow, name), made_by(flow, given)
            outer = port_id(flow, handed_down(flow, given))
            if producer and producer in tasks:
                linked.add(producer)
                yield self.edge(producer, output, key, into, flow, tasks)
            elif not handed_down(flow, given):
                continue
            elif scope.item is not None and outer == scope.item.id:
                yield Edge(_item_key(tasks), _ITEM, key, into, flow, scope.item.type)
            elif outer in scope.live:
                yield Edge(None, outer, key, into, flow, scope.live[outer])
        for before in dict.fromkeys(texts(task, "dependentTasks")):
            if before in tasks and before not in linked:
                yield Edge(before, ORDER, key, ORDER, Flow.ORDER)

    def edges_out(self, dag: Fields, tasks: Mapping[str, Fields], scope: _Scope) -> Iterator[Edge]:
        """What flows from a group's tasks to its border, as far as something outside uses it."""
        for flow, name, producer, output in outputs(dag):
            if port_id(flow, name) in scope.wanted and producer in tasks:
                yield self.edge(producer, output, None, port_id(flow, name), flow, tasks)

    def edge(
        self,
        producer: str,
        output: str,
        target: str | None,
        into: str,
        flow: Flow,
        tasks: Mapping[str, Fields],
    ) -> Edge:
        out = port_id(flow, output)
        declared_there = self.declared_outputs(tasks[producer])
        kind = declared_there[out].type if out in declared_there else ""
        return Edge(producer, out, target, into, flow, kind)

    def declared_outputs(self, task: Fields) -> dict[str, Port]:
        name = component_name(task)
        if name not in self.outputs:
            self.outputs[name] = declared(self.component(task), "outputDefinitions")
        return self.outputs[name]

    def uses(self, task: Fields, flow: Flow, name: str) -> bool:
        """Whether an input matters to a task: KFP hands values down to groups that have no use for them."""
        if "dag" not in self.component(task):
            return True
        if name in (iterated(task)[1], *words.mentioned(condition(task))):
            return True
        place = component_name(task), port_id(flow, name)
        if place not in self.used:
            self.used[place] = False
            self.used[place] = any(self.uses(*taker) for taker in self.takers_of(task).get(place[1], []))
        return self.used[place]

    def takers_of(self, task: Fields) -> dict[str, list[tuple[Fields, Flow, str]]]:
        """Which tasks in a group take which of its inputs."""
        name = component_name(task)
        if name not in self.takers:
            self.takers[name] = defaultdict(list)
            for inner in fields(self.component(task), "dag", "tasks").values():
                for flow, key, given in inputs(fields(inner)):
                    outer = port_id(flow, handed_down(flow, given))
                    self.takers[name][outer].append((fields(inner), flow, key))
        return self.takers[name]

    # Nodes ------------------------------------------------------------------------------------------------

    def node(
        self, key: str, tasks: Mapping[str, Fields], edges: list[Edge], scope: _Scope, branch: tuple[str, str]
    ) -> Node:
        task = tasks[key]
        component = self.component(task)
        label = text(component, "executorLabel")
        executor = fields(self.executors, label)
        names = {name: self.name_of(given, tasks, scope) for _, name, given in inputs(task)}
        kind = _kind(key, task, component, executor)
        incoming, outgoing = _ports(key, edges)
        inner = self.inside(task, kind, scope, incoming, outgoing, names)
        nodes, inner_edges = self.dag(fields(component, "dag"), inner) if kind in GROUPS else ([], [])
        item = captions.item(inner.loops if kind is Kind.LOOP else inner.loops + 1)
        return Node(
            key=key,
            kind=kind,
            title=captions.title(key, task, kind),
            lead=captions.lead(kind, branch[0]),
            notes=tuple(filter(None, captions.notes(task, kind, executor, names, branch, item))),
            badges=badges.of_task(task, executor, fields(self.platform, label)),
            facts=tuple(captions.facts(key, task, executor, names)),
            inputs=tuple(incoming),
            outputs=tuple(outgoing if kind in GROUPS else self.all_outputs(task, outgoing)),
            reads=tuple(port_id(Flow.PARAMETER, name) for name in words.mentioned(condition(task))),
            nodes=tuple(nodes),
            edges=tuple(inner_edges),
        )

    def all_outputs(self, task: Fields, used: list[Port]) -> list[Port]:
        """The outputs of a task in their order; of those that nothing uses only the first."""
        known = self.declared_outputs(task)
        shown = {item.id: item for item in used}
        loose = [item for item in known.values() if item.id not in shown][:MOST_LOOSE]
        shown |= {item.id: item for item in loose}
        order = {port: number for number, port in enumerate(known)}
        return sorted(shown.values(), key=lambda item: order.get(item.id, len(order)))

    def inside(
        self,
        task: Fields,
        kind: Kind,
        scope: _Scope,
        incoming: list[Port],
        outgoing: list[Port],
        names: dict[str, str],
    ) -> _Scope:
        """What the graph inside a group has to know."""
        if scope.level >= MOST_LEVELS:
            raise GraphError(f"Groups are nested more than {MOST_LEVELS} deep.", "Draw one of them instead.")
        inner = _Scope(
            live={port.id: port.type for port in incoming if port.flow is not Flow.ORDER},
            names=dict(names),
            wanted={port.id for port in outgoing},
            level=scope.level + 1,
            loops=scope.loops + (kind is Kind.LOOP),
        )
        if kind is Kind.LOOP:
            flow, over = iterated(task)
            item = text((iterator(task) or (flow, {}))[1], "itemInput")
            known = declared(self.component(task), "inputDefinitions")
            inner.item = known.get(port_id(flow, item), port(flow, item, ""))
            inner.over = port_id(flow, over)
            inner.names[item] = captions.item(inner.loops)
        return inner

    def component(self, task: Fields) -> Fields:
        return fields(self.components, component_name(task))

    # Names ------------------------------------------------------------------------------------------------

    def name_of(self, given: Fields, tasks: Mapping[str, Fields], scope: _Scope) -> str:
        """How people know the value that an input is given."""
        selector = text(given, "parameterExpressionSelector")
        if "runtimeValue" in given:
            runtime = fields(given, "runtimeValue")
            return words.constant(runtime.get("constant", runtime.get("runtimeParameter")))
        if status := text(given, "taskFinalStatus", "producerTask"):
            return f"final status of {status}"
        for flow in (Flow.PARAMETER, Flow.ARTIFACT):
            if outer := handed_down(flow, given):
                return words.member(scope.names.get(outer, outer.removeprefix(CHANNEL)), selector)
            if made_by(flow, given)[0]:
                return words.member(self.output_name(flow, *made_by(flow, given), tasks), selector)
        return ""

    def output_name(self, flow: Flow, producer: str, key: str, tasks: Mapping[str, Fields]) -> str:
        """An output by the task that makes it, inside however many groups that is."""
        task = fields(tasks, producer)
        for _ in range(MOST_LEVELS):
            dag = fields(self.component(task), "dag")
            made = [found[2:] for found in outputs(dag) if found[:2] == (flow, key)]
            # The compiler's own names say less than the task inside does; others were chosen by a person.
            if not key.startswith(CHANNEL) or not made:
                break
            if len(made) > 1:
                return "the branch that ran"
            producer, key = made[0]
            task = fields(dag, "tasks", producer)
        return words.output(text(task, "taskInfo", "name") or producer, key.removeprefix(CHANNEL))


def _kind(key: str, task: Fields, component: Fields, executor: Fields) -> Kind:
    if "dag" not in component:
        return Kind.IMPORTER if "importer" in executor else Kind.TASK
    if iterator(task):
        return Kind.LOOP
    if condition(task):
        return Kind.CONDITION
    if key.startswith("condition-branches-"):
        return Kind.BRANCHES
    if component_name(task).startswith("comp-exit-handler-"):
        return Kind.EXIT_HANDLER
    return Kind.PIPELINE


def _ports(key: str, edges: list[Edge]) -> tuple[list[Port], list[Port]]:
    """The ports of a node that something flows into, and those that something flows out of."""
    into = {e.input: _port(e.input, e) for e in edges if e.target == key}
    out = {e.output: _port(e.output, e) for e in edges if e.source == key}
    return list(into.values()), list(out.values())


def _port(port: str, edge: Edge) -> Port:
    return Port(port, port.partition(":")[2].removeprefix(CHANNEL), edge.flow, edge.type)


def _item_key(tasks: Mapping[str, Fields]) -> str:
    return _free(_ITEM, set(tasks))


def _item_node(key: str, scope: _Scope) -> Node | None:
    """The current item of the loop that a group is, as a node that its tasks' inputs come from."""
    if scope.item is None:
        return None
    flow = scope.item.flow
    items = (Port("items", "", flow, scope.live[scope.over]),) if scope.over in scope.live else ()
    outputs = (Port(_ITEM, "", flow, scope.item.type),)
    return Node(key, Kind.INPUT, captions.item(scope.loops), inputs=items, outputs=outputs)


def _ends(
    given: dict[str, Port], made: dict[str, Port], taken: set[str], edges: list[Edge]
) -> tuple[list[Node], list[Edge]]:
    """The pipeline's own inputs and outputs as nodes, as far as something flows, and the edges to them."""
    nodes: list[Node] = []
    keys: dict[tuple[Kind, str], str] = {}
    used = {(Kind.INPUT, e.output) for e in edges if e.source is None}
    used |= {(Kind.OUTPUT, e.input) for e in edges if e.target is None}
    for ports, kind in ((given, Kind.INPUT), (made, Kind.OUTPUT)):
        for item in (item for item in ports.values() if (kind, item.id) in used):
            key = keys[kind, item.id] = _free(item.label, taken)
            taken.add(key)
            bare = (replace(item, label=""),)
            incoming, outgoing = ((), bare) if kind is Kind.INPUT else (bare, ())
            facts = (f"{kind}: {item.type}",)
            nodes.append(Node(key, kind, item.label, facts=facts, inputs=incoming, outputs=outgoing))
    moved = [
        replace(
            edge,
            source=keys[Kind.INPUT, edge.output] if edge.source is None else edge.source,
            target=keys[Kind.OUTPUT, edge.input] if edge.target is None else edge.target,
        )
        for edge in edges
    ]
    return nodes, moved


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "'"
    return name
