"""A small compiled pipeline as plain data, on which no lint rule finds anything, to be changed by tests."""

import copy
from collections.abc import Callable
from typing import Any

import yaml

Spec = dict[str, Any]

#: What a test does to a pipeline: its spec and its platform spec, in place.
Change = Callable[[Spec, Spec], object]

DIGEST = "sha256:" + "0123456789abcdef" * 4
IMAGE = f"registry.example/python-steps:1.2.3@{DIGEST}"

SOURCE = "\nimport kfp\nfrom kfp import dsl\n\ndef step(text: str) -> str:\n    return text\n"


def container(name: str) -> Spec:
    """A Python component's container, as KFP's SDK writes it."""
    launch = 'program_path=$(mktemp -d)\n_KFP_RUNTIME=true python3 -m kfp.dsl.executor_main "$@"\n'
    return {
        "args": ["--executor_input", "{{$}}", "--function_to_execute", name],
        "command": ["sh", "-ec", launch, SOURCE],
        "image": IMAGE,
        "resources": {
            "cpuRequest": 1.0,
            "memoryRequest": 1.0,
            "resourceCpuRequest": "1",
            "resourceMemoryRequest": "1G",
        },
    }


def component(name: str, inputs: Spec, outputs: Spec) -> Spec:
    """A component with parameters of these types."""
    return {
        "executorLabel": f"exec-{name}",
        "inputDefinitions": {"parameters": {key: {"parameterType": kind} for key, kind in inputs.items()}},
        "outputDefinitions": {"parameters": {key: {"parameterType": kind} for key, kind in outputs.items()}},
    }


def task(name: str, parameters: Spec, after: list[str] | None = None) -> Spec:
    """A task that runs the component of its own name."""
    return {
        "cachingOptions": {},
        "componentRef": {"name": f"comp-{name}"},
        "inputs": {"parameters": parameters},
        "retryPolicy": {"backoffDuration": "60s", "backoffFactor": 2.0, "maxRetryCount": 2},
        "taskInfo": {"name": name},
    } | ({"dependentTasks": after} if after else {})


def pipeline() -> Spec:
    """Two tasks: ``make`` gives a text, ``use`` takes it and gives the pipeline's output."""
    given = {"taskOutputParameter": {"outputParameterKey": "Output", "producerTask": "make"}}
    return {
        "components": {
            "comp-make": component("make", {"text": "STRING"}, {"Output": "STRING"}),
            "comp-use": component("use", {"text": "STRING"}, {"Output": "STRING"}),
        },
        "deploymentSpec": {
            "executors": {
                "exec-make": {"container": container("make")},
                "exec-use": {"container": container("use")},
            }
        },
        "pipelineInfo": {"name": "small", "description": "Small."},
        "root": {
            "dag": {
                "outputs": {
                    "parameters": {
                        "result": {
                            "valueFromParameter": {"outputParameterKey": "Output", "producerSubtask": "use"}
                        }
                    }
                },
                "tasks": {
                    "make": task("make", {"text": {"componentInputParameter": "text"}}),
                    "use": task("use", {"text": given}, ["make"]),
                },
            },
            "inputDefinitions": {
                "parameters": {
                    "text": {"defaultValue": "hello", "isOptional": True, "parameterType": "STRING"}
                }
            },
            "outputDefinitions": {"parameters": {"result": {"parameterType": "STRING"}}},
        },
        "schemaVersion": "2.1.0",
        "sdkVersion": "kfp-2.17.0",
    }


def settings(platform: Spec, executor: str) -> Spec:
    """The Kubernetes settings of an executor in a platform spec, made where they are not there."""
    kubernetes = platform.setdefault("platforms", {}).setdefault("kubernetes", {})
    found: Spec = (
        kubernetes.setdefault("deploymentSpec", {}).setdefault("executors", {}).setdefault(executor, {})
    )
    return found


def changed(*changes: Change) -> bytes:
    """The small pipeline's file after ``changes``."""
    spec, platform = pipeline(), Spec()
    for change in changes:
        change(spec, platform)
    return to_bytes(spec, platform)


def to_bytes(spec: Spec, platform: Spec | None = None) -> bytes:
    """A compiled file, as KFP's SDK writes it."""
    documents = [spec, platform] if platform else [spec]
    return yaml.dump_all(
        documents, Dumper=yaml.CSafeDumper, sort_keys=True, encoding="utf-8", allow_unicode=True
    )


def nested(spec: Spec, platform: Spec) -> None:
    """Puts the two tasks into a nested pipeline, ``inside``, that the root's one task runs."""
    root = spec["root"]
    inner = {key: root[key] for key in ("dag", "inputDefinitions", "outputDefinitions")}
    spec["components"]["comp-inside"] = copy.deepcopy(inner)
    outputs = {"outputParameterKey": "result", "producerSubtask": "inside"}
    root["dag"] = {
        "outputs": {"parameters": {"result": {"valueFromParameter": outputs}}},
        "tasks": {"inside": task("inside", {"text": {"componentInputParameter": "text"}})},
    }
