"""Which API server first knows a field or a feature of a compiled file, with the source of each statement.

A field that is not here was in KFP 2.0. Fields were compared between the releases of kfp-pipeline-spec (0.2.2
to 0.6.0, 2.14.0 to 2.17.0) and kfp-kubernetes (1.0.0 to 1.5.0, 2.14.0 to 2.17.0) on PyPI. Up to 2.14, the
server that first reads a field is the one whose release notes (CHANGELOG.md of kubeflow/pipelines) name the
change; from 2.14 on, server and packages are released under one number (kubeflow/pipelines#12105).
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from kfp_lifecycle.compiler.conform import Used, fields_in
from kfp_lifecycle.compiler.ir import Pipeline, constant
from kfp_lifecycle.compiler.safe_yaml import Map, texts
from kfp_lifecycle.components.shared.errors import ParameterError

Version = tuple[int, int]

#: The first server that reads compiled files of KFP 2, and the newest that this table speaks of.
FIRST, NEWEST = (2, 0), (2, 17)


@dataclass(frozen=True)
class Change:
    """Since when something can be used.

    Args:
        what: ``Message.field`` of the field tree, or a feature in words.
        since: The first server that knows it.
        source: Where that is written.
        until: The last server that knows it; None where it still does.
    """

    what: str
    since: Version
    source: str
    until: Version | None = None


def _notes(release: str, pull_request: int) -> str:
    return f"CHANGELOG {release}, kubeflow/pipelines#{pull_request}"


def _package(name: str, release: str, pull_request: int = 0) -> str:
    pull = f", kubeflow/pipelines#{pull_request}" if pull_request else ""
    return f"first in {name} {release} on PyPI{pull}"


_EXECUTOR = "KubernetesExecutorConfig"
_RESOURCES = "PipelineDeploymentConfig.PipelineContainerSpec.ResourceSpec"
_INPUT = _notes("2.5.0", 11770)
_DYNAMIC = _notes("2.3.0", 11075)
_PIPELINE_CONFIG = _notes("2.4.0", 11333)
_PLATFORM = _notes("2.4.0", 11299)
_WORKSPACE = _notes("2.14.0", 11921)
_TASK_CONFIG = _package("kfp-pipeline-spec", "2.15.0", 12185)
_TTL = _package("kfp-pipeline-spec", "2.17.0", 13184)

FIELDS: tuple[Change, ...] = (
    Change(f"{_EXECUTOR}.podMetadata", (2, 1), _notes("2.1.0", 10393)),
    Change(f"{_EXECUTOR}.imagePullPolicy", (2, 1), _notes("2.1.0", 10417)),
    Change(f"{_EXECUTOR}.imagePullSecret", (2, 1), _notes("2.1.0", 10427)),
    Change(f"{_EXECUTOR}.tolerations", (2, 1), _notes("2.1.0", 10471)),
    Change(f"{_EXECUTOR}.activeDeadlineSeconds", (2, 1), _notes("2.1.0", 10481)),
    Change(f"{_EXECUTOR}.configMapAsVolume", (2, 1), _notes("2.1.0", 10483)),
    Change(f"{_EXECUTOR}.configMapAsEnv", (2, 1), _notes("2.1.0", 10483)),
    Change(f"{_EXECUTOR}.fieldPathAsEnv", (2, 1), _notes("2.1.0", 10496)),
    Change(f"{_EXECUTOR}.genericEphemeralVolume", (2, 2), _notes("2.2.0", 10605)),
    Change(f"{_EXECUTOR}.nodeAffinity", (2, 2), _notes("2.2.0", 10583)),
    Change(f"{_EXECUTOR}.podAffinity", (2, 2), _notes("2.2.0", 10583)),
    Change("SecretAsVolume.optional", (2, 2), _notes("2.2.0", 10550)),
    Change(f"{_EXECUTOR}.enabledSharedMemory", (2, 3), _notes("2.3.0", 10703)),
    Change(f"{_EXECUTOR}.emptyDirMounts", (2, 3), _notes("2.3.0", 10913)),
    Change(f"{_RESOURCES}.resourceCpuLimit", (2, 3), _DYNAMIC),
    Change(f"{_RESOURCES}.resourceCpuRequest", (2, 3), _DYNAMIC),
    Change(f"{_RESOURCES}.resourceMemoryLimit", (2, 3), _DYNAMIC),
    Change(f"{_RESOURCES}.resourceMemoryRequest", (2, 3), _DYNAMIC),
    Change(f"{_RESOURCES}.AcceleratorConfig.resourceCount", (2, 3), _DYNAMIC),
    Change(f"{_RESOURCES}.AcceleratorConfig.resourceType", (2, 3), _DYNAMIC),
    Change("PipelineTaskSpec.CachingOptions.cacheKey", (2, 4), _notes("2.4.0", 11434)),
    Change("ComponentSpec.singlePlatformSpecs", (2, 4), _PLATFORM),
    Change("SinglePlatformSpec.platform", (2, 4), _PLATFORM),
    Change("SinglePlatformSpec.config", (2, 4), _PLATFORM),
    Change("SinglePlatformSpec.pipelineConfig", (2, 4), _PIPELINE_CONFIG),
    Change("ConfigMapAsEnv.configMapNameParameter", (2, 5), _INPUT),
    Change("ConfigMapAsVolume.configMapNameParameter", (2, 5), _INPUT),
    Change("ImagePullSecret.secretNameParameter", (2, 5), _INPUT),
    Change("NodeSelector.nodeSelectorJson", (2, 5), _INPUT),
    Change("PvcMount.pvcNameParameter", (2, 5), _INPUT),
    Change("SecretAsEnv.secretNameParameter", (2, 5), _INPUT),
    Change("SecretAsVolume.secretNameParameter", (2, 5), _INPUT),
    Change("Toleration.tolerationJson", (2, 5), _INPUT),
    Change("PipelineConfig.semaphoreKey", (2, 4), _notes("2.4.0", 11384), until=(2, 14)),
    Change("PipelineConfig.mutexName", (2, 4), _notes("2.4.0", 11384), until=(2, 14)),
    Change("PipelineConfig.resourceTtl", (2, 5), _notes("2.5.0", 11758), until=(2, 16)),
    Change("PipelineConfig.workspace", (2, 14), _WORKSPACE),
    Change("NodeAffinityTerm.nodeAffinityJson", (2, 14), _notes("2.14.0", 12028)),
    Change("ComponentSpec.taskConfigPassthroughs", (2, 15), _TASK_CONFIG),
    Change(
        "PipelineDeploymentConfig.ImporterSpec.downloadToWorkspace",
        (2, 15),
        _package("kfp-pipeline-spec", "2.15.0", 12353),
    ),
    Change("SecretAsEnv.optional", (2, 15), _package("kfp-kubernetes", "2.15.0")),
    Change("ConfigMapAsEnv.optional", (2, 15), _package("kfp-kubernetes", "2.15.0")),
    Change(
        "ComponentInputsSpec.ParameterSpec.literals", (2, 16), _package("kfp-pipeline-spec", "2.16.0", 12607)
    ),
    Change(f"{_EXECUTOR}.securityContext", (2, 16), _package("kfp-kubernetes", "2.16.0", 12832)),
    Change("PvcMount.subPath", (2, 16), _package("kfp-kubernetes", "2.16.0", 12595)),
    Change("PipelineConfig.resourceTtlOnCompletion", (2, 17), _TTL),
    Change("PipelineConfig.resourceTtlOnSuccess", (2, 17), _TTL),
    Change("PipelineConfig.resourceTtlOnFailure", (2, 17), _TTL),
    Change("PipelineConfig.activeDeadlineSeconds", (2, 17), _package("kfp-pipeline-spec", "2.17.0")),
)

#: A field that an older server does not know, and the older field that says the same to it.
INSTEAD = {
    "resourceCpuLimit": "cpuLimit",
    "resourceCpuRequest": "cpuRequest",
    "resourceMemoryLimit": "memoryLimit",
    "resourceMemoryRequest": "memoryRequest",
    "resourceType": "type",
    "resourceCount": "count",
    "secretNameParameter": "secretName",
    "configMapNameParameter": "configMapName",
    "pvcNameParameter": "constant",
}

#: Before, the driver failed on a field of the Kubernetes settings that it did not know.
LENIENT_DRIVER = Change("the driver drops fields that it does not know", (2, 5), _notes("2.5.0", 11662))


@dataclass(frozen=True)
class TooNew:
    """Something in a file that a server does not know, or no longer knows.

    Args:
        change: What, since when.
        line: Where.
        effect: What that server does with it.
    """

    change: Change
    line: int
    effect: str


def parse_version(text: str) -> Version:
    """A server's version, such as ``2.14`` or ``2.14.3``.

    Raises:
        ParameterError: It is none, or of KFP 1.
    """
    found = re.fullmatch(r"v?([0-9]{1,4})\.([0-9]{1,4})(\..{0,40})?", text)
    if found is None:
        raise ParameterError(f"{text!r} is no version of an API server.", "Give one such as 2.14.")
    version = int(found[1]), int(found[2])
    if version < FIRST:
        raise ParameterError(
            f"An API server of version {text} reads no compiled file of KFP 2.", "Upgrade it."
        )
    return version


def show_version(version: Version) -> str:
    """``2.14``."""
    return ".".join(map(str, version))


def too_new(pipeline: Pipeline, backend: Version) -> Iterator[TooNew]:
    """What in a pipeline the API server of version ``backend`` does not know."""
    changes = {change.what: change for change in FIELDS}
    for effect, used in _used(pipeline, backend):
        change = changes.get(f"{used.message}.{used.field}")
        if change is None or change.since <= backend:
            continue
        # What says the same to older servers, or says nothing but the default, may be dropped.
        if effect is _DROPS and (INSTEAD.get(used.field) in used.holder or not used.holder[used.field]):
            continue
        yield TooNew(change, used.line, effect)
    for change, lines in FEATURES:
        if change.since > backend:
            yield from (TooNew(change, line, "it does something else, or fails") for line in lines(pipeline))


_REFUSES = "it refuses the file"
_DROPS_ALL = "it leaves out the whole platform spec without a word"
_DROPS = "the setting has no effect"
_FAILS = "the task fails"


def _used(pipeline: Pipeline, backend: Version) -> Iterator[tuple[str, Used]]:
    spec = pipeline.file.spec
    places: list[tuple[str, Map, str]] = [
        (_REFUSES, spec, "PipelineSpec"),
        (_DROPS, spec["deploymentSpec"], "PipelineDeploymentConfig"),
        (_DROPS_ALL, pipeline.file.platform, "PlatformSpec"),
    ]
    in_driver = _DROPS if backend >= LENIENT_DRIVER.since else _FAILS
    places += [(in_driver, settings, _EXECUTOR) for settings in pipeline.file.kubernetes.values()]
    for effect, value, message in places:
        yield from ((effect, used) for used in fields_in(value, message))


def until(message: str, field: str) -> Change | None:
    """Until when servers knew a field that today's do not."""
    return next((c for c in FIELDS if c.what == f"{message}.{field}" and c.until is not None), None)


Lines = Callable[[Pipeline], Iterator[int]]


def _image_parameters(pipeline: Pipeline) -> Iterator[int]:
    return (e.line_of("image") for e in pipeline.executors.values() if "{{$" in e.image)


def _resource_parameters(pipeline: Pipeline) -> Iterator[int]:
    for executor in pipeline.executors.values():
        if any("{{$" in text for _, text in texts(executor.resources)):
            yield executor.line_of("resources")


_JOB_PLACEHOLDER = re.compile(r"\{\{\$\.(pipeline_job|pipeline_task)_")


def _job_placeholders(pipeline: Pipeline) -> Iterator[int]:
    for task in pipeline.tasks:
        for name, argument in task.arguments("parameters").items():
            value = constant(argument)
            if isinstance(value, str) and _JOB_PLACEHOLDER.search(value[:1000]):
                yield task.arguments("parameters").line_of(name)
    for executor in pipeline.executors.values():
        for text in executor.command:
            if _JOB_PLACEHOLDER.search(text):
                yield executor.line_of("command")


def _parallelism(pipeline: Pipeline) -> Iterator[int]:
    return (t.data.line_of("iteratorPolicy") for t in pipeline.tasks if "iteratorPolicy" in t.data)


def _graph_outputs(pipeline: Pipeline) -> Iterator[int]:
    for component in pipeline.components.values():
        if component.dag is not None and component.outputs and component.name in pipeline.used:
            yield component.data.line_of("outputDefinitions")


def _collected(pipeline: Pipeline) -> Iterator[int]:
    for task in pipeline.tasks:
        for side, key in (("parameters", "taskOutputParameter"), ("artifacts", "taskOutputArtifact")):
            for name, argument in task.arguments(side).items():
                producer = task.parent.tasks.get(argument.get(key, {}).get("producerTask", ""))
                if producer is not None and producer.iterator is not None:
                    yield task.arguments(side).line_of(name)


def _final_status(pipeline: Pipeline) -> Iterator[int]:
    for task in pipeline.tasks:
        arguments = task.arguments("parameters")
        yield from (arguments.line_of(n) for n, a in arguments.items() if "taskFinalStatus" in a)


def _optional_in_nested(pipeline: Pipeline) -> Iterator[int]:
    for component in pipeline.components.values():
        if component.dag is not None and component.name in pipeline.used:
            yield from (port.line for port in component.inputs.values() if port.data.get("isOptional"))


def _retry_of_graph(pipeline: Pipeline) -> Iterator[int]:
    for task in pipeline.tasks:
        if "retryPolicy" in task.data and task.component is not None and task.component.dag is not None:
            yield task.data.line_of("retryPolicy")


def _oci_import(pipeline: Pipeline) -> Iterator[int]:
    for executor in pipeline.executors.values():
        uri: Any = executor.data.get("importer", Map()).get("artifactUri", Map()).get("constant")
        if isinstance(uri, str) and uri.startswith("oci://"):
            yield executor.line


def _objects(pipeline: Pipeline) -> Iterator[int]:
    return (found.line for found in pipeline.file.objects[:1])


#: Features that no field of their own shows.
FEATURES: tuple[tuple[Change, Lines], ...] = (
    (Change("an image that a parameter names", (2, 4), _notes("2.4.0", 11404)), _image_parameters),
    (Change("resources that a parameter sets", (2, 4), _notes("2.4.0", 11501)), _resource_parameters),
    (Change("a limit on a loop's parallel tasks", (2, 4), _notes("2.4.0", 10798)), _parallelism),
    (Change("outputs of a nested graph", (2, 4), _notes("2.4.0", 11196)), _graph_outputs),
    (Change("placeholders of the job or task", (2, 5), _notes("2.5.0", 11599)), _job_placeholders),
    (Change("an importer of an oci:// model", (2, 5), _notes("2.5.0", 11606)), _oci_import),
    (Change("dsl.Collected", (2, 14), _notes("2.14.0", 11725)), _collected),
    (Change("a PipelineTaskFinalStatus input", (2, 14), _notes("2.14.0", 11953)), _final_status),
    (Change("an optional input of a nested pipeline", (2, 14), _notes("2.14.0", 11980)), _optional_in_nested),
    (Change("retries of a nested pipeline", (2, 14), _notes("2.14.0", 11908)), _retry_of_graph),
    (Change("pipelines as Kubernetes objects", (2, 14), _notes("2.14.0", 11907)), _objects),
)
