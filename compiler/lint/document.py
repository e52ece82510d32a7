"""KL0: the file as a file."""

from collections.abc import Iterator

from kfp_lifecycle.compiler import backends
from kfp_lifecycle.compiler.conform import Kind, Problem, fields_in
from kfp_lifecycle.compiler.ir import Pipeline
from kfp_lifecycle.compiler.lint.rule import Hit, Options, Severity, rule
from kfp_lifecycle.compiler.spec_fields import DEPRECATED
from kfp_lifecycle.compiler.text import shown

#: The rule of a file that cannot be read at all: its hits come from the reader.
UNREADABLE = "KL001"

SCHEMA_VERSION = "2.1.0"


@rule(
    UNREADABLE,
    "unreadable-file",
    Severity.ERROR,
    "What is no compiled KFP v2 pipeline can be neither uploaded nor checked.",
    "Compile the pipeline with kfp 2.x, and leave what it writes as it is.",
)
def _unreadable(pipeline: Pipeline, options: Options) -> Iterator[Hit]:
    return iter(())


@rule(
    "KL002",
    "unknown-field",
    Severity.ERROR,
    "With a field that it does not know, the API server refuses a pipeline spec and drops a platform spec.",
    "Correct the name or remove the field.",
)
def _unknown(pipeline: Pipeline, options: Options) -> Iterator[Hit]:
    for problem in pipeline.file.refused:
        if problem.kind is Kind.UNKNOWN:
            known = backends.until(problem.message, problem.field)
            if known is None:
                yield _hit(problem)
            elif options.backend is None or options.backend > (known.until or backends.FIRST):
                last = backends.show_version(known.until or backends.FIRST)
                yield Hit(problem.line, f"{problem.text} Only API servers up to {last} know it.")


@rule(
    "KL003",
    "wrong-type",
    Severity.ERROR,
    "The API server refuses a value that is not of the type its field has.",
    "Correct the value, or compile the pipeline again.",
)
def _wrong(pipeline: Pipeline, options: Options) -> Iterator[Hit]:
    for problem in (*pipeline.file.refused, *pipeline.file.dropped):
        if problem.kind is Kind.WRONG:
            yield _hit(problem)
    for note in pipeline.file.notes:
        if not note.finite:
            yield Hit(note.line, f"{shown(note.text, 30)} is no number that JSON can hold.")


@rule(
    "KL004",
    "ignored-field",
    Severity.WARNING,
    "In executors and their Kubernetes settings an unknown field is dropped without a word.",
    "Correct the name or remove the field.",
)
def _dropped(pipeline: Pipeline, options: Options) -> Iterator[Hit]:
    return (_hit(problem) for problem in pipeline.file.dropped if problem.kind is Kind.UNKNOWN)


@rule(
    "KL005",
    "schema-version",
    Severity.ERROR,
    "The API server takes one version of the schema only.",
    f"Compile with kfp 2.x, which writes schemaVersion {SCHEMA_VERSION}.",
)
def _schema_version(pipeline: Pipeline, options: Options) -> Iterator[Hit]:
    spec = pipeline.file.spec
    if (version := spec.get("schemaVersion")) != SCHEMA_VERSION:
        said = (
            "There is no schemaVersion." if version is None else f"The schemaVersion is {shown(version, 30)}."
        )
        yield Hit(spec.line_of("schemaVersion"), said)


@rule(
    "KL006",
    "ignored-document",
    Severity.WARNING,
    "The API server drops a document that is neither a pipeline spec nor a platform spec for Kubernetes.",
    "Remove the document, or name its platform kubernetes.",
)
def _ignored(pipeline: Pipeline, options: Options) -> Iterator[Hit]:
    yield from (
        Hit(document.line, f"This document is {document.text}.") for document in pipeline.file.ignored
    )
    platform = pipeline.file.platform
    if platform and "kubernetes" not in platform.get("platforms", {}):
        yield Hit(platform.line, "This platform spec has no settings for kubernetes.")


@rule(
    "KL007",
    "ambiguous-value",
    Severity.WARNING,
    "kfp (YAML 1.1) and the API server (YAML 1.2) read such a value differently.",
    "Put it in quotes, or write true, false or a plain number.",
)
def _ambiguous(pipeline: Pipeline, options: Options) -> Iterator[Hit]:
    for note in pipeline.file.notes:
        if note.finite:
            yield Hit(note.line, f"{shown(note.text, 40)} is text to one and something else to the other.")


_RESOURCES = "PipelineDeploymentConfig.PipelineContainerSpec.ResourceSpec"

#: A deprecated field, and what the SDK writes beside it for newer servers: then there is nothing to say.
_SUCCESSOR = {
    "ArtifactTypeSchema.schemaUri": "schemaTitle",
    "ComponentInputsSpec.ParameterSpec.type": "parameterType",
    "ComponentOutputsSpec.ArtifactSpec.customProperties": "metadata",
    "ComponentOutputsSpec.ArtifactSpec.properties": "metadata",
    "ComponentOutputsSpec.ParameterSpec.type": "parameterType",
    "ConfigMapAsEnv.configMapName": "configMapNameParameter",
    "ConfigMapAsVolume.configMapName": "configMapNameParameter",
    "ImagePullSecret.secretName": "secretNameParameter",
    "PipelineDeploymentConfig.ImporterSpec.customProperties": "metadata",
    "PipelineDeploymentConfig.ImporterSpec.properties": "metadata",
    f"{_RESOURCES}.AcceleratorConfig.count": "resourceCount",
    f"{_RESOURCES}.AcceleratorConfig.type": "resourceType",
    f"{_RESOURCES}.cpuLimit": "resourceCpuLimit",
    f"{_RESOURCES}.cpuRequest": "resourceCpuRequest",
    f"{_RESOURCES}.memoryLimit": "resourceMemoryLimit",
    f"{_RESOURCES}.memoryRequest": "resourceMemoryRequest",
    "PvcMount.componentInputParameter": "pvcNameParameter",
    "PvcMount.constant": "pvcNameParameter",
    "PvcMount.taskOutputParameter": "pvcNameParameter",
    "SecretAsEnv.secretName": "secretNameParameter",
    "SecretAsVolume.secretName": "secretNameParameter",
    "ValueOrRuntimeParameter.constantValue": "constant",
}


@rule(
    "KL008",
    "deprecated-field",
    Severity.WARNING,
    "A deprecated field goes away in some later release of the API server.",
    "Compile the pipeline again with a current SDK, which writes its successor.",
)
def _deprecated(pipeline: Pipeline, options: Options) -> Iterator[Hit]:
    places = [(pipeline.file.spec, "PipelineSpec")]
    places.append((pipeline.file.spec["deploymentSpec"], "PipelineDeploymentConfig"))
    places += [(settings, "KubernetesExecutorConfig") for settings in pipeline.file.kubernetes.values()]
    for value, message in places:
        for used in fields_in(value, message):
            name = f"{used.message}.{used.field}"
            successor = _SUCCESSOR.get(name, "")
            if name in DEPRECATED and successor not in used.holder:
                instead = f"; {successor} takes its place" if successor else ""
                yield Hit(used.line, f"{used.field} of {used.message} is deprecated{instead}.")


def _hit(problem: Problem) -> Hit:
    return Hit(problem.line, problem.text, fix=problem.fix)
