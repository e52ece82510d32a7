"""KL1: what the API server refuses, or cannot run."""

import re
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any

from kfp_lifecycle.compiler.ir import ROOT, Component, Pipeline, Port, Task, constant
from kfp_lifecycle.compiler.limits import MAX_TAG_LENGTH, MAX_TAGS, MAX_VERSION_LENGTH, NAME
from kfp_lifecycle.compiler.lint.rule import Hit, Options, Severity, rule
from kfp_lifecycle.compiler.safe_yaml import Map
from kfp_lifecycle.compiler.text import shown
from kfp_lifecycle.components.shared.errors import did_you_mean

_OBJECT_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_LONGEST_NAME = 128

#: Parameter type to how people call its values.
TYPES = {
    "STRING": "text",
    "NUMBER_INTEGER": "a whole number",
    "NUMBER_DOUBLE": "a number",
    "BOOLEAN": "true or false",
    "LIST": "a list",
    "STRUCT": "a mapping",
}
#: Types whose values the system gives, so that no default or argument is wanted.
GIVEN_BY_SYSTEM = {"TASK_FINAL_STATUS", "TASK_CONFIG"}


@rule(
    "KL101",
    "pipeline-name",
    Severity.ERROR,
    "The API server takes names of at most 128 lower-case letters, digits and dashes.",
    "Give the pipeline another name: @dsl.pipeline(name=…).",
)
def _pipeline_name(pipeline: Pipeline, options: Options) -> Iterator[Hit]:
    info = pipeline.file.spec["pipelineInfo"]
    if not NAME.fullmatch(pipeline.name):
        yield Hit(
            info.line_of("name"),
            f"The pipeline's name is {shown(pipeline.name) if pipeline.name else 'empty'}.",
        )


@rule(
    "KL102",
    "object-name",
    Severity.ERROR,
    "Kubernetes refuses an object whose name, namespace or version name breaks its rules.",
    "Use lower-case letters, digits and dashes; at most 127 for a version, 63 for a namespace.",
)
def _object_name(pipeline: Pipeline, options: Options) -> Iterator[Hit]:
    pipelines = {
        _text(_map(o, "metadata"), "name") for o in pipeline.file.objects if o.get("kind") == "Pipeline"
    }
    for found in pipeline.file.objects:
        metadata, spec = _map(found, "metadata"), _map(found, "spec")
        is_version = found.get("kind") == "PipelineVersion"
        longest = MAX_VERSION_LENGTH if is_version else _LONGEST_NAME
        names = [(metadata, "name", True)] + ([(spec, "versionName", False)] if is_version else [])
        for holder, key, required in names:
            name = _text(holder, key)
            if (name or required) and not (_OBJECT_NAME.fullmatch(name) and len(name) <= longest):
                yield Hit(
                    holder.line_of(key),
                    f"The {key} of this {shown(_text(found, 'kind'), 30)} is {shown(name)}.",
                )
        namespace = _text(metadata, "namespace")
        if "namespace" in metadata and not _NAMESPACE.fullmatch(namespace):
            yield Hit(metadata.line_of("namespace"), f"The namespace is {shown(namespace)}.")
        if is_version and pipelines and _text(spec, "pipelineName") not in pipelines:
            wanted = shown(_text(spec, "pipelineName"))
            yield Hit(
                spec.line_of("pipelineName"), f"The pipelineName is {wanted}, which no Pipeline here has."
            )


@rule(
    "KL103",
    "tags",
    Severity.ERROR,
    "The API server takes at most 20 tags, with keys and values of at most 63 characters.",
    "Use fewer or shorter tags.",
)
def _tags(pipeline: Pipeline, options: Options) -> Iterator[Hit]:
    for found in pipeline.file.objects:
        tags = _map(_map(found, "spec"), "tags")
        if len(tags) > MAX_TAGS:
            yield Hit(tags.line, f"There are {len(tags)} tags.")
        for key, value in tags.items():
            if not isinstance(value, str):
                yield Hit(tags.line_of(key), f"The tag {shown(key)} is no text.")
            elif not key or max(len(key), len(value)) > MAX_TAG_LENGTH:
                yield Hit(
                    tags.line_of(key), f"The tag {shown(key)} is empty, or longer than {MAX_TAG_LENGTH}."
                )


@rule(
    "KL104",
    "parameter-type",
    Severity.ERROR,
    "The API server refuses runs of a pipeline with an input parameter whose type it cannot check.",
    "Give the input a type of KFP: str, int, float, bool, list or dict.",
)
def _parameter_type(pipeline: Pipeline, options: Options) -> Iterator[Hit]:
    for port in pipeline.root.inputs.values():
        kind = port.data.get("parameterType", "")
        if not port.is_artifact and kind not in TYPES:
            said = "has no type" if kind in ("", "PARAMETER_TYPE_ENUM_UNSPECIFIED") else f"is a {kind}"
            yield Hit(port.line, f"The pipeline's input {shown(port.name)} {said}.")


@rule(
    "KL105",
    "default-value",
    Severity.ERROR,
    "A run that relies on a default of the wrong type, or outside the literals allowed, fails.",
    "Give a default of the parameter's type, and one of its literals.",
)
def _default(pipeline: Pipeline, options: Options) -> Iterator[Hit]:
    for component in pipeline.all_components:
        for port in component.inputs.values():
            for value, what in _declared_values(port):
                if not _fits(value, port.data.get("parameterType", "")):
                    wanted = TYPES[port.data["parameterType"]]
                    yield _port_hit(component, port, f"{what} is {_kind(value)}, not {wanted}")
            literals = port.data.get("literals", [])
            if literals and "defaultValue" in port.data and port.data["defaultValue"] not in literals:
                yield _port_hit(component, port, "the default is none of its literals")


def _declared_values(port: Port) -> Iterator[tuple[Any, str]]:
    if port.is_artifact or port.data.get("parameterType") not in TYPES:
        return
    if "defaultValue" in port.data:
        yield port.data["defaultValue"], "the default"
    yield from ((literal, "the literal") for literal in port.data.get("literals", []))


def _kind(value: Any) -> str:
    # The value itself stays out of the message: it may be a secret.
    if value is None:
        return "nothing"
    names = {str: "STRING", bool: "BOOLEAN", int: "NUMBER_DOUBLE", float: "NUMBER_DOUBLE", Map: "STRUCT"}
    return TYPES[names.get(type(value), "LIST")]


def _fits(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "BOOLEAN"
    if isinstance(value, (int, float)):
        return kind == "NUMBER_DOUBLE" or (kind == "NUMBER_INTEGER" and float(value).is_integer())
    wanted = {"STRING": str, "LIST": list, "STRUCT": dict}.get(kind)
    return wanted is not None and isinstance(value, wanted)


@rule(
    "KL106",
    "missing-reference",
    Severity.ERROR,
    "The API server, or the first step that needs it, fails on a reference to something that is not there.",
    "Compile the pipeline again from its Python code.",
)
def _reference(pipeline: Pipeline, options: Options) -> Iterator[Hit]:
    for component in pipeline.all_components:
        yield from _implementation(component)
        for task in component.tasks.values():
            yield from _task_references(task)
        yield from _output_references(component)
    labels = {c.data.get("executorLabel") for c in pipeline.all_components}
    for label in pipeline.file.kubernetes.keys() - labels:
        line = pipeline.file.kubernetes.line_of(label)
        yield Hit(line, f"There are Kubernetes settings for {shown(label)}, which no component runs.")


def _implementation(component: Component) -> Iterator[Hit]:
    place, label = component.place, component.data.get("executorLabel", "")
    if component.dag is None and not label:
        yield Hit(
            component.line, f"Component {shown(component.name)} has neither a graph nor an executor.", place
        )
    elif label and component.executor is None:
        yield Hit(component.line, f"There is no executor {shown(label)}.", place)


def _task_references(task: Task) -> Iterator[Hit]:
    tasks, inputs, place = task.parent.tasks, task.parent.inputs, task.place
    if task.component is None:
        name = task.component_name
        said = f"There is no component {shown(name)}." if name else "The task names no component."
        yield Hit(
            task.line, said, place, did_you_mean(name[:100], list(task.parent.pipeline.components)[:1000])
        )
    for name in task.data.get("dependentTasks", []):
        if name not in tasks:
            yield Hit(
                task.data.line_of("dependentTasks"), f"It waits for {shown(name)}, which is no task.", place
            )
    for side in ("parameters", "artifacts"):
        arguments = task.arguments(side)
        for name, argument in arguments.items():
            for problem in _argument_problems(argument, tasks, inputs):
                yield Hit(arguments.line_of(name), f"Its input {shown(name)} takes {problem}.", place)
    items = (task.iterator or Map()).get("items", {})
    source = items.get("inputParameter", items.get("inputArtifact"))
    if source is not None and not any(source in task.arguments(side) for side in ("parameters", "artifacts")):
        yield Hit(task.line, f"It loops over {shown(source)}, which it is not given.", place)


def _argument_problems(argument: Map, tasks: Mapping[str, Task], inputs: Mapping[str, Port]) -> Iterator[str]:
    for key in ("componentInputParameter", "componentInputArtifact"):
        if (name := argument.get(key)) is not None and name not in inputs:
            yield f"{shown(name)}, which nothing around it has"
    for key, output_key in (
        ("taskOutputParameter", "outputParameterKey"),
        ("taskOutputArtifact", "outputArtifactKey"),
    ):
        if (source := argument.get(key)) is not None:
            yield from _output_problem(source.get("producerTask", ""), source.get(output_key, ""), tasks)
    status = argument.get("taskFinalStatus")
    if status is not None and status.get("producerTask", "") not in tasks:
        yield f"the status of {shown(status.get('producerTask', ''))}, which is no task"


def _output_problem(producer: str, output: str, tasks: Mapping[str, Task]) -> Iterator[str]:
    task = tasks.get(producer)
    if task is None:
        yield f"an output of {shown(producer)}, which is no task of this graph"
    elif task.component is not None and output not in task.component.outputs:
        yield f"{shown(output)} of {shown(producer)}, which has no such output"


def _output_references(component: Component) -> Iterator[Hit]:
    outputs = (component.dag or Map()).get("outputs", Map())
    for name, producer, output, line in selectors(outputs):
        for problem in _output_problem(producer, output, component.tasks):
            yield Hit(line, f"Output {shown(name)} is {problem}.", component.place)


def selectors(outputs: Map) -> Iterator[tuple[str, str, str, int]]:
    """Where a graph's outputs come from: output, task, the task's output, line."""
    for name, output in outputs.get("parameters", {}).items():
        several = output.get("valueFromOneof", {}).get("parameterSelectors", [])
        for one in [*several, *([output["valueFromParameter"]] if "valueFromParameter" in output else [])]:
            yield name, one.get("producerSubtask", ""), one.get("outputParameterKey", ""), output.line
    for name, output in outputs.get("artifacts", {}).items():
        for one in output.get("artifactSelectors", []):
            yield name, one.get("producerSubtask", ""), one.get("outputArtifactKey", ""), output.line


@rule(
    "KL107",
    "circular-tasks",
    Severity.ERROR,
    "Tasks that wait for each other never start.",
    "Remove one of the dependencies.",
)
def _circle(pipeline: Pipeline, options: Options) -> Iterator[Hit]:
    for component in pipeline.all_components:
        sorter = TopologicalSorter({name: _waits_for(task) for name, task in component.tasks.items()})
        try:
            sorter.prepare()
        except CycleError as error:
            names = [shown(name, 40, quote=False) for name in error.args[1][:10]]
            yield Hit(component.line, f"Tasks wait for each other: {' -> '.join(names)}.", component.place)


def _waits_for(task: Task) -> set[str]:
    names = set(task.data.get("dependentTasks", []))
    for side in ("parameters", "artifacts"):
        for argument in task.arguments(side).values():
            for key in ("taskOutputParameter", "taskOutputArtifact", "taskFinalStatus"):
                if key in argument:
                    names.add(argument[key].get("producerTask", ""))
    return names


@rule(
    "KL108",
    "unsupported-part",
    Severity.ERROR,
    "The API server runs graphs of containers and importers only.",
    "Compile the pipeline again for Kubeflow, not for another platform.",
)
def _unsupported(pipeline: Pipeline, options: Options) -> Iterator[Hit]:
    if pipeline.root.dag is None or not pipeline.root.tasks:
        yield Hit(pipeline.root.line, "The root component has no task.")
    if ROOT in pipeline.components:
        yield Hit(pipeline.components[ROOT].line, "A component is called root, which is reserved.")
    for executor in pipeline.executors.values():
        if not executor.data.keys() & {"container", "importer"}:
            kind = next(iter(executor.data), "nothing")
            yield Hit(
                executor.line, f"Executor {shown(executor.label)} is {kind}, neither container nor importer."
            )


@rule(
    "KL109",
    "missing-argument",
    Severity.ERROR,
    "A task fails that is not given an input without a default.",
    "Pass the input, or give it a default.",
)
def _missing_argument(pipeline: Pipeline, options: Options) -> Iterator[Hit]:
    for task in pipeline.tasks:
        if task.component is None:
            continue
        given = task.arguments("parameters").keys() | task.arguments("artifacts").keys()
        item = (task.iterator or Map()).get("itemInput")
        for name, port in task.component.inputs.items():
            if port.required and name not in given and name != item and port.type not in GIVEN_BY_SYSTEM:
                yield Hit(task.line, f"It is not given its input {shown(name)}.", task.place)


def _port_hit(component: Component, port: Port, said: str) -> Hit:
    return Hit(port.line, f"Input {shown(port.name)}: {said}.", component.place)


def _map(value: Map, key: str) -> Map:
    found = value.get(key)
    return found if isinstance(found, Map) else Map(value.line_of(key))


def _text(value: Map, key: str) -> str:
    found = value.get(key)
    return found if isinstance(found, str) else ""


def constants(task: Task) -> Iterator[tuple[str, Any, int]]:
    """The constants that a task is given: input, value, line."""
    arguments = task.arguments("parameters")
    for name, argument in arguments.items():
        if (value := constant(argument)) is not None:
            yield name, value, arguments.line_of(name)
