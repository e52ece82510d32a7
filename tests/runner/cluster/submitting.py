"""What tests of submissions share: small compiled files, and where they go."""

import copy
from pathlib import Path
from typing import Any

import yaml

from kfp_lifecycle.runner.cluster.connect import Server, connect
from kfp_lifecycle.runner.cluster.retry import Patience
from kfp_lifecycle.runner.load import RunnableFile, load
from tests.kfp_server import KfpServer

QUICK = Patience(seconds=10.0, first_s=0.01, most_s=0.1, settle_s=0.01)

_PARAMETERS = {
    "source": {"parameterType": "STRING"},
    "folds": {"parameterType": "NUMBER_INTEGER", "defaultValue": 5},
}


def spec_of(*tasks: str, name: str = "small", **changed: Any) -> dict[str, Any]:
    """A pipeline spec of tasks that follow each other; ``a/b`` is a task in a loop ``a``."""
    components: dict[str, Any] = {}
    graph: dict[str, Any] = {}
    before: list[str] = []
    for task in tasks:
        outer, _, inner = task.rpartition("/")
        component = f"comp-{inner}"
        components[component] = {"executorLabel": "exec"}
        shown = outer or inner
        if outer:
            inside = {"tasks": {inner: _task(inner, component, [])}}
            component = f"comp-{outer}"
            components[component] = {"dag": inside}
        graph[shown] = _task(shown, component, before)
        if outer.startswith("for-loop"):
            graph[shown]["parameterIterator"] = {"items": {"raw": "[1, 2, 3]"}, "itemInput": "item"}
        before = [shown]
    spec = {
        "pipelineInfo": {"name": name},
        "schemaVersion": "2.1.0",
        "sdkVersion": "kfp-2.17.0",
        "components": components,
        "deploymentSpec": {
            "executors": {"exec": {"container": {"image": "registry.test/steps:1", "command": ["true"]}}}
        },
        "root": {"dag": {"tasks": graph}, "inputDefinitions": {"parameters": copy.deepcopy(_PARAMETERS)}},
    }
    return spec | changed


def _task(name: str, component: str, before: list[str]) -> dict[str, Any]:
    task: dict[str, Any] = {
        "taskInfo": {"name": name}, "componentRef": {"name": component}, "cachingOptions": {},
    }  # fmt: skip
    return task | ({"dependentTasks": before} if before else {})


def compiled(
    folder: Path, *tasks: str, version: str = "1.0.0", platform: dict[str, Any] | None = None, **changed: Any
) -> RunnableFile:
    """A compiled file ``VERSION.yaml`` of such a pipeline."""
    folder.mkdir(parents=True, exist_ok=True)
    documents = [spec_of(*(tasks or ("prepare", "train")), **changed), *([platform] if platform else [])]
    path = folder / f"{version}.yaml"
    path.write_text(yaml.safe_dump_all(documents))
    return load(path)


def settings(memory: str) -> dict[str, Any]:
    """A platform spec."""
    executor = {"podMetadata": {"labels": {"memory": memory}}}
    return {"platforms": {"kubernetes": {"deploymentSpec": {"executors": {"exec": executor}}}}}


def to(double: KfpServer, patience: Patience = QUICK, **options: Any) -> Server:
    """A connection to the double."""
    return connect(host=double.url, patience=patience, **options)
