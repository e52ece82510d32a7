"""KL7: parts that nothing uses."""

import re
from collections.abc import Iterator

from kfp_lifecycle.compiler.ir import Component, Executor, Pipeline
from kfp_lifecycle.compiler.lint.rule import Hit, Options, Severity, rule
from kfp_lifecycle.compiler.lint.server import selectors
from kfp_lifecycle.compiler.safe_yaml import Map, texts
from kfp_lifecycle.compiler.text import shown

#: Inputs that the SDK makes for what crosses a graph's border.
_GENERATED = "pipelinechannel--"

#: Artifacts that are for people: the UI shows them.
_SHOWN = {
    f"system.{name}"
    for name in ("HTML", "Markdown", "Metrics", "ClassificationMetrics", "SlicedClassificationMetrics")
}

_NAMED_INPUT = re.compile(r"\$\.inputs\.(?:parameters|artifacts)\[['\"]([^'\"]{1,200})['\"]\]")


@rule(
    "KL701",
    "unused-input",
    Severity.WARNING,
    "Who sets an input that nothing reads waits for an effect that never comes.",
    "Remove the input, or use it.",
)
def _inputs(pipeline: Pipeline, options: Options) -> Iterator[Hit]:
    for component in (pipeline.root, *pipeline.components.values()):
        if component.name != pipeline.root.name and component.name not in pipeline.used:
            continue
        used = _graph_reads(component) if component.dag is not None else _command_reads(component)
        if used is None:
            continue
        for name, port in component.inputs.items():
            if name not in used and not name.startswith(_GENERATED):
                what = "The pipeline's input" if component is pipeline.root else "Its input"
                yield Hit(port.line, f"{what} {shown(name)} is used by nothing.", component.place)


def _graph_reads(component: Component) -> set[str]:
    read: set[str] = set()
    for task in component.tasks.values():
        for side in ("parameters", "artifacts"):
            for argument in task.arguments(side).values():
                read |= {argument.get(f"componentInput{kind}") for kind in ("Parameter", "Artifact")} - {None}
                read |= _named_inputs(argument)
        if task.executor is not None:
            read |= _setting_reads(task.executor)
    return read


def _setting_reads(executor: Executor) -> set[str]:
    """Inputs of the graph around a task that its Kubernetes settings take, such as a PVC's name."""
    return {text for place, text in texts(executor.kubernetes) if place.key == "componentInputParameter"}


def _named_inputs(value: Map) -> set[str]:
    return {name for _, text in texts(value) if "$.inputs" in text for name in _NAMED_INPUT.findall(text)}


def _command_reads(component: Component) -> set[str] | None:
    """The inputs that a container takes by name; None where it takes all of them, or none can be told."""
    executor = component.executor
    if executor is None or executor.container is None:
        return None
    command = executor.command
    if executor.is_stub or any("{{$}}" in part or "$.json" in part for part in command):
        return None
    return _named_inputs(executor.container) | _setting_reads(executor)


@rule(
    "KL702",
    "unused-output",
    Severity.NOTE,
    "An output that no task takes and the pipeline does not give is work, storage and a question.",
    "Remove the output, return it from the pipeline, or use it.",
)
def _outputs(pipeline: Pipeline, options: Options) -> Iterator[Hit]:
    for parent in (pipeline.root, *pipeline.components.values()):
        if parent is not pipeline.root and parent.name not in pipeline.used:
            continue
        taken = _taken(parent)
        for task in parent.tasks.values():
            if task.component is None or task.executor is None:
                continue
            for name, port in task.component.outputs.items():
                if (task.name, name) not in taken and port.type not in _SHOWN:
                    yield Hit(port.line, f"Its output {shown(name)} is used by nothing.", task.place)


def _taken(parent: Component) -> set[tuple[str, str]]:
    """The outputs in a graph that something takes: task and output."""
    taken = {
        (producer, output)
        for _, producer, output, _ in selectors((parent.dag or Map()).get("outputs", Map()))
    }
    for task in parent.tasks.values():
        for side, key, output in (
            ("parameters", "taskOutputParameter", "outputParameterKey"),
            ("artifacts", "taskOutputArtifact", "outputArtifactKey"),
        ):
            for argument in task.arguments(side).values():
                if key in argument:
                    taken.add((argument[key].get("producerTask", ""), argument[key].get(output, "")))
        if task.executor is not None:
            taken |= _setting_takes(task.executor)
    return taken


def _setting_takes(executor: Executor) -> set[tuple[str, str]]:
    """The same for its Kubernetes settings: a volume that an earlier task made."""
    found: dict[int, dict[str, str]] = {}
    for place, text in texts(executor.kubernetes):
        if place.parent is not None and place.parent.key == "taskOutputParameter":
            found.setdefault(id(place.parent.parent), {})[place.key] = text
    return {(item.get("producerTask", ""), item.get("outputParameterKey", "")) for item in found.values()}


@rule(
    "KL703",
    "unused-component",
    Severity.NOTE,
    "A component or executor that no task runs makes the file larger, and its readers wonder.",
    "Compile the pipeline again.",
)
def _components(pipeline: Pipeline, options: Options) -> Iterator[Hit]:
    labels = {pipeline.root.data.get("executorLabel")}
    for component in pipeline.components.values():
        if component.name in pipeline.used:
            labels.add(component.data.get("executorLabel"))
        else:
            yield Hit(component.line, f"Component {shown(component.name)} is run by no task.")
    for label in pipeline.executors.keys() - labels:
        yield Hit(pipeline.executors[label].line, f"Executor {shown(label)} is run by no task.")
