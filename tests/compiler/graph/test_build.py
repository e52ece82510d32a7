"""Graphs: every task once, in its group, with everything that it depends on."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from kfp_lifecycle.compiler.graph import Edge, Flow, GraphError, Kind, Node, build
from kfp_lifecycle.compiler.graph.flows import flows

NAMES = ("chain", "conditions", "loops", "exits", "nested", "deep", "thirty-tasks", "wide", "fit")

Graph = Callable[[str], Node]


def at(root: Node, *path: str) -> Node:
    found = dict(root.walk())
    return found[path]


def tasks_of(spec: dict[str, Any]) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Every task with its path, as the spec has them."""

    def below(dag: dict[str, Any], path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
        for key, task in dag["tasks"].items():
            yield (*path, key), task
            component = spec["components"][task["componentRef"]["name"]]
            if "dag" in component:
                yield from below(component["dag"], (*path, key))

    yield from below(spec["root"]["dag"], ())


@pytest.mark.parametrize("name", NAMES)
def test_every_task_is_there_once_and_inside_its_groups(
    graph: Graph, compiled: Callable[[str], Path], name: str
) -> None:
    spec = next(yaml.safe_load_all(compiled(name).read_text()))
    real = [path for path, node in graph(name).walk() if node.kind not in (Kind.INPUT, Kind.OUTPUT)]
    assert sorted(real) == sorted(path for path, _ in tasks_of(spec))


@pytest.mark.parametrize("name", NAMES)
def test_every_dependency_is_an_edge(graph: Graph, compiled: Callable[[str], Path], name: str) -> None:
    spec = next(yaml.safe_load_all(compiled(name).read_text()))
    nodes = {(): graph(name)} | dict(graph(name).walk())
    for (*group, key), task in tasks_of(spec):
        edges = nodes[tuple(group)].edges
        for before in task.get("dependentTasks", []):
            assert any((e.source, e.target) == (before, key) for e in edges), (group, before, key)
        for given in task.get("inputs", {}).get("artifacts", {}).values():
            made = given.get("taskOutputArtifact", {})
            if made:
                output = f"artifact:{made['outputArtifactKey']}"
                assert any(
                    (e.source, e.output, e.target) == (made["producerTask"], output, key) for e in edges
                )


def test_branches_read_as_they_were_written(graph: Graph) -> None:
    branches = at(graph("conditions"), "condition-branches-1")
    assert (branches.kind, branches.lead) == (Kind.BRANCHES, "branches")
    assert [(node.kind, node.lead, node.title, node.notes) for node in branches.nodes] == [
        (Kind.CONDITION, "if", "heads branch", ("flip == 'heads'",)),
        (Kind.CONDITION, "else if", "", ("flip == 'tails'",)),
        (Kind.CONDITION, "else", "", ()),
    ]


def test_a_condition_on_a_parameter_names_it(graph: Graph) -> None:
    outer = at(graph("conditions"), "condition-5")
    assert (outer.lead, outer.notes) == ("if", ("deploy == true",))
    assert at(graph("conditions"), "condition-5", "condition-6").notes == ("limit > 3",)


def test_a_condition_on_an_output_of_a_nested_pipeline_names_both(graph: Graph) -> None:
    assert at(graph("nested"), "condition-1").notes == ("inner.score > 0.5",)


def test_one_of_several_outputs_comes_from_each_branch(graph: Graph) -> None:
    into = {edge.source for edge in flows(graph("conditions")) if edge.target == ("say-5",)}
    branches = "condition-branches-1"
    assert into == {
        (branches, "condition-2", "say"),
        (branches, "condition-3", "say-2"),
        (branches, "condition-4", "say-4"),
    }


def test_loops_say_what_they_iterate_over_and_how_many_at_a_time(graph: Graph) -> None:
    root = graph("loops")
    loops = {path: node.notes for path, node in root.walk() if node.kind is Kind.LOOP}
    assert loops == {
        ("for-loop-1",): ("item in items, 2 at a time",),
        ("for-loop-1", "for-loop-3"): ('item 2 in 2 values: [{"lr": 0.1, "n": 2}, {"lr": 0.2, "n": 3}]',),
        ("for-loop-1", "for-loop-5"): ('item 2 in 2 values: ["x", "y"]',),
        ("for-loop-6",): ("item in make",),
        ("for-loop-7",): ("item in rates",),
    }


def test_what_a_loop_iterates_over_flows_to_its_item_and_on_to_the_tasks(graph: Graph) -> None:
    found = [(e.source, e.target) for e in flows(graph("loops")) if "for-loop-6" in e.target]
    item = ("for-loop-6", "item")
    assert found == [(("make",), item), (item, ("for-loop-6", "say-3"))]


def test_an_exit_handler_holds_what_it_guards(graph: Graph) -> None:
    root = graph("exits")
    handler = at(root, "exit-handler-1")
    assert (handler.kind, handler.title) == (Kind.EXIT_HANDLER, "guarded work")
    assert {node.key for node in handler.nodes} == {"make", "fit", "say"}
    assert at(root, "notify").badges == ("runs in any case",)
    assert root.edges == (Edge("exit-handler-1", "order:", "notify", "order:", Flow.ORDER),)


def test_resources_and_what_kubernetes_adds_are_badges(graph: Graph) -> None:
    assert at(graph("exits"), "exit-handler-1", "fit").badges == (
        "2 - 4 CPU",
        "16G",
        "2 x nvidia.com/gpu",
        "retries 3",
        "not cached",
        "secret",
        "volume",
        "node selector",
        "at most 1 h",
    )


def test_an_order_alone_is_an_edge_of_its_own(graph: Graph) -> None:
    handler = at(graph("exits"), "exit-handler-1")
    assert Edge("fit", "order:", "say", "order:", Flow.ORDER) in handler.edges
    assert not any(e.flow is Flow.ORDER and e.source == "make" for e in handler.edges)


def test_importers_say_what_they_import(graph: Graph) -> None:
    node = at(graph("nested"), "importer")
    assert (node.kind, node.notes) == (Kind.IMPORTER, ("uri",))
    deep = [node for _, node in graph("deep").walk() if node.kind is Kind.IMPORTER]
    assert deep[0].notes == ("gs://b/x",)


def test_credentials_are_not_shown() -> None:
    importer = {"importer": {"artifactUri": {"constant": "s3://user:password@host/data"}}}
    spec = {
        "root": {"dag": {"tasks": {"importer": {"componentRef": {"name": "c"}}}}},
        "components": {"c": {"executorLabel": "e"}},
        "deploymentSpec": {"executors": {"e": importer}},
    }
    assert "password" not in repr(build(spec))


def test_artifacts_carry_their_types(graph: Graph) -> None:
    types = {(e.output, e.type) for e in at(graph("nested"), "inner").edges}
    assert ("artifact:model", "Model") in types
    assert ("parameter:Output", "float") in types
    collected = next(e for e in graph("loops").edges if e.target == "join" and e.flow is Flow.ARTIFACT)
    assert collected.type == "list of Model"


def test_a_component_file_shows_its_artifacts_as_inputs_and_outputs(graph: Graph) -> None:
    root = graph("fit")
    assert {(node.kind, node.title) for node in root.nodes} == {
        (Kind.TASK, "fit"),
        (Kind.INPUT, "data"),
        (Kind.OUTPUT, "model"),
        (Kind.OUTPUT, "Output"),
    }


def test_values_that_a_group_has_no_use_for_are_no_edges(graph: Graph) -> None:
    # KFP hands the coin down to every group inside a branch.
    inside = at(graph("deep"), "exit-handler-1", "condition-branches-2", "condition-7")
    assert [(e.source, e.target) for e in inside.edges] == []
    assert inside.reads == ("parameter:pipelinechannel--flip-Output",)


def test_outputs_that_nothing_uses_are_shown_as_long_as_they_are_few() -> None:
    outputs = {f"o{number}": {"parameterType": "STRING"} for number in range(30)}
    spec = {
        "root": {"dag": {"tasks": {"a": {"componentRef": {"name": "c"}}}}},
        "components": {"c": {"outputDefinitions": {"parameters": outputs}}},
    }
    assert len(build(spec).nodes[0].outputs) == 8


def nesting(levels: int, tasks: int) -> dict[str, Any]:
    """Components that each use the next one a number of times."""
    components: dict[str, Any] = {f"c{levels}": {"executorLabel": "e"}}
    for level in range(levels):
        uses = {f"t{number}": {"componentRef": {"name": f"c{level + 1}"}} for number in range(tasks)}
        components[f"c{level}"] = {"dag": {"tasks": uses}}
    return {"components": components, "root": components["c0"]}


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (nesting(levels=30, tasks=2), "more than 1000 tasks"),
        (nesting(levels=60, tasks=1), "more than 40 deep"),
        (nesting(levels=1, tasks=2000), "more than 1000 tasks"),
    ],
)
def test_more_than_a_picture_can_show_is_refused(spec: dict[str, Any], said: str) -> None:
    with pytest.raises(GraphError, match=said):
        build(spec)


def test_components_in_a_circle_are_refused() -> None:
    spec = {"components": {"c": {"dag": {"tasks": {"t": {"componentRef": {"name": "c"}}}}}}}
    with pytest.raises(GraphError, match="40 deep"):
        build(spec | {"root": spec["components"]["c"]})


def test_tasks_in_a_circle_are_refused_and_named() -> None:
    tasks = {key: {"dependentTasks": [other]} for key, other in (("a", "b"), ("b", "c"), ("c", "a"))}
    with pytest.raises(GraphError, match=r"circle: \w -> \w -> \w -> \w"):
        build({"root": {"dag": {"tasks": tasks}}})


@pytest.mark.parametrize("broken", [None, [], "text", 3, {"x": None}, {"tasks": []}, {"tasks": {"a": None}}])
def test_broken_parts_are_left_out(broken: Any) -> None:
    for spec in (
        {"root": broken},
        {"root": {"dag": broken}},
        {"root": {"dag": {"tasks": {"a": {"inputs": broken, "componentRef": broken}}}}},
        {"root": {"dag": {"tasks": {"a": {}}, "outputs": broken}}, "components": broken},
        {"root": {"inputDefinitions": broken, "dag": {}}, "deploymentSpec": broken, "pipelineInfo": broken},
    ):
        build(spec, {"platforms": broken})
