"""What the pictures read in a pipeline spec.

A field that a damaged or foreign file has with another type is taken as missing: pictures show what is there,
``lint`` says what is wrong.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from kfp_lifecycle.compiler.graph.model import Flow, Port
from kfp_lifecycle.compiler.spec import PARAMETER_TYPES

Fields = Mapping[str, Any]

#: What the compiler's own names begin with; a person chose the others.
CHANNEL = "pipelinechannel--"


def fields(owner: object, *path: str) -> Fields:
    """The mapping at a path."""
    for key in path:
        owner = owner.get(key) if isinstance(owner, Mapping) else None
    return owner if isinstance(owner, Mapping) else {}


def text(owner: object, *path: str) -> str:
    """The text at a path."""
    value = fields(owner, *path[:-1]).get(path[-1])
    return value if isinstance(value, str) else ""


def texts(owner: object, *path: str) -> list[str]:
    """The texts in the list at a path."""
    value = fields(owner, *path[:-1]).get(path[-1])
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def component_name(task: Fields) -> str:
    """The key of the component that a task runs."""
    return text(task, "componentRef", "name")


def condition(task: Fields) -> str:
    """The condition under which a task runs."""
    return text(task, "triggerPolicy", "condition")


def iterator(task: Fields) -> tuple[Flow, Fields] | None:
    """What a task is run for each of, if it is a loop: parameters or artifacts, and the iterator's spec."""
    for flow in (Flow.PARAMETER, Flow.ARTIFACT):
        if found := fields(task, f"{flow}Iterator"):
            return flow, found
    return None


def iterated(task: Fields) -> tuple[Flow, str]:
    """The input that a loop iterates over; its name is empty for a list that is written out."""
    flow, found = iterator(task) or (Flow.PARAMETER, {})
    return flow, text(found, "items", "inputParameter") or text(found, "items", "inputArtifact")


def inputs(task: Fields) -> Iterator[tuple[Flow, str, Fields]]:
    """What a task is given: artifacts, then parameters, each with its name and where it comes from."""
    for flow in (Flow.ARTIFACT, Flow.PARAMETER):
        for name, given in fields(task, "inputs", f"{flow}s").items():
            yield flow, name, fields(given)


def made_by(flow: Flow, given: Fields) -> tuple[str, str]:
    """The task that an input is an output of, and the output; empty where it comes from elsewhere."""
    made = fields(given, f"taskOutput{flow.title()}")
    return text(made, "producerTask"), text(made, f"output{flow.title()}Key")


def handed_down(flow: Flow, given: Fields) -> str:
    """The input of the group around a task that its own input is."""
    return text(given, f"componentInput{flow.title()}")


def outputs(dag: Fields) -> Iterator[tuple[Flow, str, str, str]]:
    """What a group gives out: the name, the task inside and its output; one of several more than once."""
    for flow in (Flow.ARTIFACT, Flow.PARAMETER):
        for name, given in fields(dag, "outputs", f"{flow}s").items():
            for selected in _selectors(fields(given)):
                yield (
                    flow,
                    name,
                    text(selected, "producerSubtask"),
                    text(selected, f"output{flow.title()}Key"),
                )


def _selectors(given: Fields) -> Iterator[Fields]:
    if one := fields(given, "valueFromParameter"):
        yield one
    for several in (
        given.get("artifactSelectors"),
        fields(given, "valueFromOneof").get("parameterSelectors"),
    ):
        yield from map(fields, several if isinstance(several, list) else [])


def port_id(flow: Flow, name: str) -> str:
    """Artifacts and parameters may have the same name, ports may not."""
    return f"{flow}:{name}"


def port(flow: Flow, name: str, kind: str) -> Port:
    """The port of an input or output."""
    return Port(port_id(flow, name), name.removeprefix(CHANNEL), flow, kind)


def declared(component: Fields, side: str) -> dict[str, Port]:
    """The artifacts, then the parameters that a component declares, by port id.

    Args:
        component: Its spec.
        side: ``inputDefinitions`` or ``outputDefinitions``.
    """
    found = []
    for name, given in fields(component, side, "artifacts").items():
        # Other namespaces than KFP's own are shown.
        kind = (text(given, "artifactType", "schemaTitle") or "Artifact").removeprefix("system.")
        listed = fields(given).get("isArtifactList") is True
        found.append(port(Flow.ARTIFACT, name, f"list of {kind}" if listed else kind))
    for name, given in fields(component, side, "parameters").items():
        kind = text(given, "parameterType")
        known = PARAMETER_TYPES.get(kind)
        found.append(port(Flow.PARAMETER, name, known[0] if known else kind))
    return {item.id: item for item in found}
