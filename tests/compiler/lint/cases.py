"""For each rule, a change to the small pipeline that breaks it, and a near one that does not."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from kfp_lifecycle.compiler.lint import Options
from tests.compiler.specs import (
    IMAGE,
    SOURCE,
    Change,
    Spec,
    changed,
    component,
    container,
    nested,
    settings,
    task,
)


@dataclass(frozen=True)
class Case:
    """Two files for one rule.

    Args:
        bad: A file that breaks it.
        good: A file that is near to breaking it.
        said: Part of the message.
        options: What is asked of both.
    """

    bad: bytes
    good: bytes
    said: str
    options: Options = field(default_factory=Options)


def case(bad: Change, good: Change, said: str, options: Options | None = None) -> Case:
    return Case(changed(bad), changed(good), said, options or Options())


def put(path: str, value: Any) -> Change:
    """Sets what a dotted path names in the spec."""

    def change(spec: Spec, platform: Spec) -> None:
        *keys, last = path.split("/")
        holder: Any = spec
        for key in keys:
            holder = holder[key] if isinstance(holder, dict) and key in holder else holder.setdefault(key, {})
        holder[last] = value

    return change


def drop(path: str) -> Change:
    """Removes what a path names."""

    def change(spec: Spec, platform: Spec) -> None:
        *keys, last = path.split("/")
        holder: Any = spec
        for key in keys:
            holder = holder[key]
        del holder[last]

    return change


def kubernetes(**values: Any) -> Change:
    """Sets Kubernetes settings of ``use``."""
    return lambda spec, platform: settings(platform, "exec-use").update(values)


def both(*changes: Change) -> Change:
    def change(spec: Spec, platform: Spec) -> None:
        for one in changes:
            one(spec, platform)

    return change


def nothing(spec: Spec, platform: Spec) -> None:
    """Leaves the small pipeline as it is."""


def raw(change: Callable[[bytes], bytes]) -> bytes:
    """The small pipeline's file after a change of its text."""
    return change(changed())


USE = "deploymentSpec/executors/exec-use/container"
TASK = "root/dag/tasks/use"
TEXT = "root/inputDefinitions/parameters/text"


def objects(version: Spec, metadata: Spec | None = None, name: str = "small") -> bytes:
    """The small pipeline as Kubernetes objects."""
    import yaml

    spec = yaml.safe_load(changed())
    documents = [
        {
            "apiVersion": "pipelines.kubeflow.org/v2beta1",
            "kind": "Pipeline",
            "metadata": {"name": name},
            "spec": {"displayName": "Small"},
        },
        {
            "apiVersion": "pipelines.kubeflow.org/v2beta1",
            "kind": "PipelineVersion",
            "metadata": {"name": "small-1.0.0", "namespace": "team", **(metadata or {})},
            "spec": {"pipelineName": "small", "pipelineSpec": spec, **version},
        },
    ]
    return yaml.safe_dump_all(documents).encode()


def container_component(command: list[str], *names: str) -> Change:
    """Makes ``use`` a container component whose inputs are these."""

    def change(spec: Spec, platform: Spec) -> None:
        spec["deploymentSpec"]["executors"]["exec-use"]["container"] |= {"command": command, "args": []}
        spec["components"]["comp-use"]["inputDefinitions"]["parameters"] = {
            name: {"parameterType": "STRING", "isOptional": name != "text"} for name in names
        }

    return change


def python_source(line: str) -> Change:
    return put(f"{USE}/command", [*container("use")["command"][:-1], SOURCE + line])


def accelerator(spec: Spec, platform: Spec) -> None:
    put(f"{USE}/resources/accelerator", {"resourceType": "nvidia.com/gpu", "resourceCount": "1"})(
        spec, platform
    )


def loop(spec: Spec, platform: Spec) -> None:
    """Runs the two tasks, nested, once for each item of a list."""
    nested(spec, platform)
    inside = spec["root"]["dag"]["tasks"]["inside"]
    inside["inputs"]["parameters"] = {}
    inside["parameterIterator"] = {"itemInput": "text", "items": {"raw": '["a", "b"]'}}
    del spec["root"]["dag"]["outputs"], spec["root"]["outputDefinitions"], spec["root"]["inputDefinitions"]
    del spec["components"]["comp-inside"]["dag"]["outputs"]
    del spec["components"]["comp-inside"]["outputDefinitions"]


def loop_over_output(key: str) -> Change:
    """The same for each item that an earlier task gives under ``key``."""

    def change(spec: Spec, platform: Spec) -> None:
        loop(spec, platform)
        spec["components"]["comp-list"] = component("list", {}, {key: "LIST"})
        spec["deploymentSpec"]["executors"]["exec-list"] = {"container": container("list")}
        tasks = spec["root"]["dag"]["tasks"]
        tasks["list"] = task("list", {})
        given = {"taskOutputParameter": {"outputParameterKey": key, "producerTask": "list"}}
        tasks["inside"]["inputs"]["parameters"] = {"items": given}
        tasks["inside"]["parameterIterator"]["items"] = {"inputParameter": "items"}
        spec["components"]["comp-inside"]["inputDefinitions"]["parameters"]["items"] = {
            "parameterType": "LIST"
        }

    return change


def outer_value_in_loop(source: Spec) -> Change:
    """Gives the loop a second input."""

    def change(spec: Spec, platform: Spec) -> None:
        loop(spec, platform)
        inner = spec["components"]["comp-inside"]
        inner["inputDefinitions"]["parameters"]["outer"] = {"parameterType": "STRING"}
        inner["dag"]["tasks"]["use"]["inputs"]["parameters"]["text"] = {"componentInputParameter": "outer"}
        spec["components"]["comp-say"] = component("say", {}, {"Output": "STRING"})
        spec["deploymentSpec"]["executors"]["exec-say"] = {"container": container("say")}
        spec["root"]["dag"]["tasks"]["say"] = task("say", {})
        spec["root"]["inputDefinitions"] = {"parameters": {"text": {"parameterType": "STRING"}}}
        spec["root"]["dag"]["tasks"]["inside"]["inputs"]["parameters"] = {"outer": source}

    return change


def condition(key: str) -> Change:
    """Runs ``use`` only if an output of ``make`` says so."""

    def change(spec: Spec, platform: Spec) -> None:
        spec["components"]["comp-make"]["outputDefinitions"]["parameters"] = {
            key: {"parameterType": "STRING"}
        }
        use = spec["root"]["dag"]["tasks"]["use"]
        use["inputs"]["parameters"]["text"]["taskOutputParameter"]["outputParameterKey"] = key
        use["triggerPolicy"] = {"condition": "inputs.parameter_values['text'] == 'a'"}

    return change


def artifact_output(title: str) -> Change:
    return put(
        "components/comp-use/outputDefinitions/artifacts/page",
        {"artifactType": {"schemaTitle": title, "schemaVersion": "0.0.1"}},
    )


def one_of_artifacts(number: int) -> Change:
    """Lets a nested pipeline give one of several artifacts."""

    def change(spec: Spec, platform: Spec) -> None:
        nested(spec, platform)
        kind = {"artifactType": {"schemaTitle": "system.Model", "schemaVersion": "0.0.1"}}
        for name in ("make", "use"):
            spec["components"][f"comp-{name}"]["outputDefinitions"]["artifacts"] = {"model": kind}
        inner = spec["components"]["comp-inside"]
        inner["outputDefinitions"]["artifacts"] = {"model": kind}
        chosen = [{"outputArtifactKey": "model", "producerSubtask": name} for name in ("make", "use")]
        inner["dag"]["outputs"]["artifacts"] = {"model": {"artifactSelectors": chosen[:number]}}

    return change


def nested_artifact(parameter: bool) -> Change:
    """Gives a nested pipeline an artifact, and a parameter too or not."""

    def change(spec: Spec, platform: Spec) -> None:
        nested(spec, platform)
        kind = {"artifactType": {"schemaTitle": "system.Dataset", "schemaVersion": "0.0.1"}}
        spec["components"]["comp-first"] = component("first", {}, {}) | {
            "outputDefinitions": {"artifacts": {"data": kind}}
        }
        spec["deploymentSpec"]["executors"]["exec-first"] = {"container": container("first")}
        tasks = spec["root"]["dag"]["tasks"]
        tasks["first"] = task("first", {})
        spec["components"]["comp-inside"]["inputDefinitions"]["artifacts"] = {"data": kind}
        given = {"taskOutputArtifact": {"outputArtifactKey": "data", "producerTask": "first"}}
        tasks["inside"]["inputs"]["artifacts"] = {"data": given}
        if not parameter:
            del tasks["inside"]["inputs"]["parameters"]

    return change


def importer(uri: str) -> Change:
    """Adds an importer."""

    def change(spec: Spec, platform: Spec) -> None:
        kind = {"schemaTitle": "system.Dataset", "schemaVersion": "0.0.1"}
        spec["components"]["comp-importer"] = {
            "executorLabel": "exec-importer",
            "inputDefinitions": {"parameters": {"uri": {"parameterType": "STRING"}}},
            "outputDefinitions": {"artifacts": {"artifact": {"artifactType": kind}}},
        }
        spec["deploymentSpec"]["executors"]["exec-importer"] = {
            "importer": {"artifactUri": {"constant": uri}, "typeSchema": kind}
        }
        given = {"uri": {"runtimeValue": {"constant": uri}}}
        spec["root"]["dag"]["tasks"]["importer"] = task("importer", given)

    return change


def constant(value: Any) -> Change:
    """Gives ``use`` a constant."""
    return put(f"{TASK}/inputs/parameters/text", {"runtimeValue": {"constant": value}})


LIST = {"parameterType": "LIST", "isOptional": True}

CASES = {
    "KL001": Case(b"a: [1", changed(), "This is not YAML"),
    "KL002": case(put("root/dagg", {}), put("root/dag/tasks/use/taskInfo/name", "dagg"), "'dag'"),
    "KL003": case(
        put("root/inputDefinitions/parameters/text/isOptional", "yes"),
        put("root/inputDefinitions/parameters/text/isOptional", value=True),
        "true or false is wanted",
    ),
    "KL004": case(put(f"{USE}/imagee", "x"), put(f"{USE}/env", []), "imagee is no field"),
    "KL005": case(put("schemaVersion", "2.0.0"), nothing, "'2.0.0'"),
    "KL006": Case(changed() + b"---\n{a: 1}\n", changed() + b"---\n---\n", "neither a pipeline spec nor"),
    "KL007": Case(
        raw(lambda text: text.replace(b"defaultValue: hello", b"defaultValue: 2024-01-01")),
        raw(lambda text: text.replace(b"defaultValue: hello", b"defaultValue: '2024-01-01'")),
        "'2024-01-01' is text to one",
    ),
    "KL008": case(
        put(f"{USE}/resources", {"cpuLimit": 1.0, "memoryLimit": 1.0}),
        put(f"{USE}/resources", {"cpuLimit": 1.0, "resourceCpuLimit": "1", "resourceMemoryLimit": "1G"}),
        "resourceCpuLimit takes its place",
    ),
    "KL101": case(
        put("pipelineInfo/name", "My_Pipeline"), put("pipelineInfo/name", "a" * 128), "'My_Pipeline'"
    ),
    "KL102": Case(
        objects({"versionName": "1_0"}),
        objects({"versionName": "1.0.0"}),
        "The versionName of this 'PipelineVersion' is '1_0'",
    ),
    "KL103": Case(
        objects({"tags": {f"t{n}": "x" for n in range(21)}}),
        objects({"tags": {f"t{n}": "x" * 63 for n in range(20)}}),
        "21 tags",
    ),
    "KL104": case(put(f"{TEXT}/parameterType", "TASK_FINAL_STATUS"), nothing, "is a TASK_FINAL_STATUS"),
    "KL105": case(put(f"{TEXT}/defaultValue", 5), put(f"{TEXT}/defaultValue", "5"), "a number, not text"),
    "KL106": case(
        put(f"{TASK}/inputs/parameters/text", {"componentInputParameter": "texd"}),
        put(f"{TASK}/inputs/parameters/text", {"componentInputParameter": "text"}),
        "'texd', which nothing around it has",
    ),
    "KL107": case(put("root/dag/tasks/make/dependentTasks", ["use"]), nothing, "wait for each other"),
    "KL108": case(
        put("deploymentSpec/executors/exec-use", {"resolver": {}}), nothing, "neither container nor importer"
    ),
    "KL109": case(
        drop(f"{TASK}/inputs/parameters/text"),
        both(
            drop(f"{TASK}/inputs/parameters/text"),
            put("components/comp-use/inputDefinitions/parameters/text/isOptional", value=True),
        ),
        "not given its input 'text'",
    ),
    "KL201": case(
        put(f"{USE}/env", [{"name": "A", "value": "x" * 300_000}]),
        put(f"{USE}/env", [{"name": "A", "value": "x" * 100_000}]),
        "KiB",
    ),
    "KL202": case(constant("x" * 100_001), constant("x" * 100_000), "100,001 bytes"),
    "KL203": case(
        put("pipelineInfo/description", "Ein kleines Stück."),
        put("pipelineInfo/description", "Ein kleines St\\u00fcck."),
        "'\\xfc'",
    ),
    "KL301": case(
        put(f"{USE}/image", "registry:5000/python-steps"),
        put(f"{USE}/image", "registry:5000/python:1"),
        "no tag",
    ),
    "KL302": case(
        put(f"{USE}/image", "python:Latest"), put(f"{USE}/image", IMAGE.replace("1.2.3", "latest")), "moves"
    ),
    "KL303": case(put(f"{USE}/image", "python:3.11"), nothing, "has no digest"),
    "KL304": case(
        put(
            f"{USE}/command", ["sh", "-c", "python3 -m pip install --quiet kfp", *container("use")["command"]]
        ),
        python_source("    subprocess.run('pip install kfp')\n"),
        "installed when its pod starts",
    ),
    "KL401": case(
        put(f"{USE}/env", [{"name": "DB_PASSWORD", "value": "hunter22"}]),
        put(
            f"{USE}/env",
            [{"name": "DB_PASSWORD", "value": "$(SECRET)"}, {"name": "TOKENS", "value": "hunter22"}],
        ),
        "'DB_PASSWORD' is given what looks like a secret",
    ),
    "KL501": case(
        put(f"{USE}/resources", {"resourceCpuLimit": "1"}),
        put(f"{USE}/resources", {"resourceCpuLimit": "1", "resourceMemoryRequest": "1G"}),
        "no memory",
    ),
    "KL502": case(
        drop(f"{TASK}/retryPolicy"),
        both(nested, drop("components/comp-inside/dag/tasks/use/retryPolicy")),
        "",
    ),
    "KL503": case(
        both(put(f"{TASK}/cachingOptions", {"enableCache": True}), put(f"{USE}/image", "python-small:1.0.0")),
        put(f"{TASK}/cachingOptions", {"enableCache": True}),
        "has no digest",
    ),
    "KL504": case(
        accelerator,
        both(accelerator, kubernetes(tolerations=[{"key": "nvidia.com/gpu", "operator": "Exists"}])),
        "no toleration",
    ),
    "KL505": case(
        put(f"{USE}/resources/accelerator", {"resourceType": "nvidia.com/gpu"}),
        accelerator,
        "without a count",
    ),
    "KL601": case(
        container_component(["echo", "{{$.inputs.parameters['text']}}"], "text"), nothing, "container"
    ),
    "KL602": case(put(f"{USE}/command", ["python3", "-m", "kfp.dsl.executor_main"]), nothing, "target_image"),
    "KL603": case(nested_artifact(parameter=False), nested_artifact(parameter=True), "loses the artifacts"),
    "KL604": case(one_of_artifacts(2), one_of_artifacts(1), "OneOf of artifacts"),
    "KL605": case(loop_over_output("names"), loop_over_output("Output"), "named output 'names'"),
    "KL606": case(
        outer_value_in_loop({"taskOutputParameter": {"outputParameterKey": "Output", "producerTask": "say"}}),
        outer_value_in_loop({"componentInputParameter": "text"}),
        "puts the loop's own item",
    ),
    "KL607": case(condition("flag"), condition("Output"), "named output 'flag'"),
    "KL608": case(drop(f"{TEXT}/defaultValue"), put(f"{TEXT}/defaultValue", ""), "default None"),
    "KL609": case(
        put("root/inputDefinitions/artifacts/data", {"artifactType": {"schemaTitle": "system.Dataset"}}),
        put(
            "root/inputDefinitions/artifacts/data",
            {"artifactType": {"schemaTitle": "system.Dataset"}, "isOptional": True},
        ),
        "cannot be given",
    ),
    "KL610": case(importer("gs://bucket/data"), importer("/data"), "not downloaded"),
    "KL611": case(
        kubernetes(tolerations=[{"operator": "Exists"}]),
        both(drop(f"{USE}/resources"), drop("deploymentSpec/executors/exec-make/container/resources")),
        "tolerations",
    ),
    "KL612": case(constant("{{$.mine}}"), constant("{{$.pipeline_job_name}}"), "holds {{$"),
    "KL613": case(constant("python3 -V"), constant("python -V"), "holds python3"),
    "KL614": case(
        put(TEXT, LIST | {"defaultValue": [1.5, 20.0]}),
        put(TEXT, LIST | {"defaultValue": [1.5, "20"]}),
        "its list",
    ),
    "KL615": case(
        both(
            put("components/comp-use/inputDefinitions/parameters/more", {"parameterType": "STRING"}),
            constant("x" * 90_000),
            put(f"{TASK}/inputs/parameters/more", {"runtimeValue": {"constant": "x" * 90_000}}),
        ),
        constant("x" * 90_000),
        "bytes",
    ),
    "KL616": case(
        put(f"{USE}/image", "steps:1"), put(f"{USE}/image", "python-steps:1"), "no python in its name"
    ),
    "KL701": case(
        put("root/inputDefinitions/parameters/more", LIST | {"defaultValue": []}), nothing, "'more'"
    ),
    "KL702": case(
        put("components/comp-use/outputDefinitions/parameters/more", {"parameterType": "STRING"}),
        artifact_output("system.HTML"),
        "'more'",
    ),
    "KL703": case(put("components/comp-more", component("use", {}, {})), nothing, "'comp-more'"),
    "KL801": case(
        put(f"{TASK}/cachingOptions", {"cacheKey": "v1"}),
        nothing,
        "cacheKey, which came with 2.4",
        Options((2, 3)),
    ),
}
