"""A pipeline spec (KFP's intermediate representation) as plain data, and ways to walk it.

Everything here works on the dict that a compiled file's first YAML document holds, ours or not.
"""

from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any

from kfp_lifecycle.compiler.errors import CompileError

Spec = dict[str, Any]

#: Parameter types of the IR as Python names them, and the Python types that a default may have.
PARAMETER_TYPES: dict[str, tuple[str, tuple[type, ...]]] = {
    "STRING": ("str", (str,)),
    "NUMBER_INTEGER": ("int", (int,)),
    "NUMBER_DOUBLE": ("float", (float, int)),
    "BOOLEAN": ("bool", (bool,)),
    "LIST": ("list", (list,)),
    "STRUCT": ("dict", (dict,)),
    "TASK_FINAL_STATUS": ("PipelineTaskFinalStatus", ()),
    "TASK_CONFIG": ("TaskConfig", ()),
}


def plain(component: Any) -> Spec:
    """The spec of a KFP component or pipeline as plain data with sorted keys.

    Integers stay integers: protobuf holds every number as a double, and would show 42 as 42.0.
    """
    from google.protobuf import json_format

    spec: Spec = _sorted(json_format.MessageToDict(component.pipeline_spec))
    for definition in (spec["root"], *spec.get("components", {}).values()):
        for parameter in parameters(definition, "inputDefinitions").values():
            if _is_integer(parameter) and "defaultValue" in parameter:
                parameter["defaultValue"] = _whole(parameter["defaultValue"])
    for _, task in tasks(spec):
        wanted = parameters(component_of(spec, task), "inputDefinitions")
        for name, value in task_parameters(task).items():
            runtime = value.get("runtimeValue", {})
            if _is_integer(wanted.get(name, {})) and "constant" in runtime:
                runtime["constant"] = _whole(runtime["constant"])
    return spec


def _is_integer(parameter: Mapping[str, Any]) -> bool:
    return parameter.get("parameterType") == "NUMBER_INTEGER"


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value


def dags(spec: Spec) -> Iterator[Spec]:
    """The root's graph and those of conditions, loops and nested pipelines."""
    for definition in (spec.get("root", {}), *spec.get("components", {}).values()):
        if "dag" in definition:
            yield definition["dag"]


def tasks(spec: Spec) -> Iterator[tuple[str, Spec]]:
    """Every task of every graph, with its name."""
    for dag in dags(spec):
        yield from dag.get("tasks", {}).items()


def in_order(dag: Spec) -> list[tuple[str, Spec]]:
    """The tasks of one graph, each after those it depends on, and by name where nothing else decides."""
    found: Spec = dag.get("tasks", {})
    sorter = TopologicalSorter({name: task.get("dependentTasks", []) for name, task in found.items()})
    order: list[str] = []
    try:
        sorter.prepare()
    except CycleError as error:
        raise CompileError(
            f"Tasks depend on each other in a circle: {' -> '.join(error.args[1])}."
        ) from error
    while sorter.is_active():
        ready = sorted(sorter.get_ready())
        order += ready
        sorter.done(*ready)
    return [(name, found[name]) for name in order if name in found]


def component_of(spec: Spec, task: Spec) -> Spec:
    """The component that a task runs."""
    definition: Spec = spec.get("components", {}).get(task.get("componentRef", {}).get("name"), {})
    return definition


def parameters(definition: Spec, side: str) -> Spec:
    """The parameters of a component by name; ``side`` is inputDefinitions or outputDefinitions."""
    found: Spec = definition.get(side, {}).get("parameters", {})
    return found


def artifacts(definition: Spec, side: str) -> Spec:
    """The artifacts of a component, likewise."""
    found: Spec = definition.get(side, {}).get("artifacts", {})
    return found


def task_parameters(task: Spec) -> Spec:
    """What a task's input parameters are given: name to constant, pipeline parameter or task output."""
    found: Spec = task.get("inputs", {}).get("parameters", {})
    return found


def executors(spec: Spec) -> Spec:
    """The executors: what runs in a container, name to definition."""
    found: Spec = spec.get("deploymentSpec", {}).get("executors", {})
    return found


def images(spec: Spec) -> list[str]:
    """The container images that a spec names, sorted."""
    named = {executor.get("container", {}).get("image", "") for executor in executors(spec).values()}
    return sorted(named - {""})
