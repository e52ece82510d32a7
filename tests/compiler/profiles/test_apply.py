"""Applying a profile: its settings are on every task that runs in a pod, and on nothing else."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from kfp_lifecycle.compiler.compile import compile_repository
from kfp_lifecycle.compiler.errors import CompileError, ProfileError
from kfp_lifecycle.compiler.profiles.find import read_profile
from kfp_lifecycle.compiler.repository import Repository
from tests.repositories import GOOD, OTHER, PIPELINE, tiny

EVERYTHING = """
images: {pull_policy: Always, pull_secrets: [login]}
run: {timeout_seconds: 7200, ttl_seconds: 86400}
defaults:
  resources: {requests: {cpu: 500m, memory: 1Gi}, limits: {cpu: 2, memory: 2Gi}}
  accelerator: {type: nvidia.com/gpu, count: 2}
  node_selector: {pool: a}
  tolerations: [{key: gpu, operator: Equal, value: "yes", effect: NoExecute, seconds: 30}]
  secrets: [{name: db, env: {pass: DB_PASS}, optional: true}]
  env: {LEVEL: info}
  volumes: [{claim: data, path: /data, sub_path: x}]
  shared_memory: 1Gi
  retry: {count: 3, backoff_seconds: 5, factor: 1.5, longest_seconds: 50}
  cache: false
  timeout_seconds: 600
  labels: {team: a}
  annotations: {example.com/who: me}
"""

#: Inside a condition, a loop and an exit handler; two tasks of one component; a nested pipeline.
GROUPS = '''
from kfp import dsl
from components.good.component import good
from components.bye.component import bye
from components.other.component import other

VERSION = "1.0.0"


@dsl.pipeline(name="inner")
def inner(name: str) -> None:
    other(table=dsl.importer(artifact_uri="gs://x/y", artifact_class=dsl.Dataset).output, name=name)


@dsl.pipeline(name="groups")
def groups(name: str = "b") -> None:
    """Groups.

    Args:
        name: Which.
    """
    start = dsl.importer(artifact_uri="gs://x/y", artifact_class=dsl.Dataset)
    with dsl.ExitHandler(bye(name=name)):
        with dsl.ParallelFor([1, 2]) as size:
            first = good(table=start.output, size=size, name=name)
            with dsl.If(first.outputs["Output"] == "x"):
                other(table=start.output, name=name)
    inner(name=name)
'''
BYE = GOOD.replace("def good", "def bye").replace("table: dsl.Input[dsl.Dataset], ", "")
COMPONENTS = {"good": GOOD, "other": OTHER, "bye": BYE.replace("        table: The table.\n", "")}


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return tiny(tmp_path / "r", COMPONENTS, {"flow": PIPELINE, "groups": GROUPS})


def compiled(repository: Repository, name: str, profile: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Spec and platform spec of one pipeline, from the file's text."""
    file = repository.root / "profile.yaml"
    file.write_text(profile)
    (one,) = compile_repository(repository, [name], read_profile(file))
    documents = list(yaml.safe_load_all(one.text))
    return documents[0], documents[1]["platforms"]["kubernetes"] if len(documents) > 1 else {}


def pod_tasks(spec: dict[str, Any]) -> list[dict[str, Any]]:
    dags = [d["dag"] for d in (spec["root"], *spec["components"].values()) if "dag" in d]
    found = [task for dag in dags for task in dag["tasks"].values()]
    executors = spec["deploymentSpec"]["executors"]
    labels = {n: c.get("executorLabel") for n, c in spec["components"].items()}
    return [t for t in found if "container" in executors.get(labels[t["componentRef"]["name"]], {})]


@pytest.mark.parametrize("name", ["flow", "groups", "good"])
def test_every_setting_is_on_every_task_that_runs_in_a_pod(name: str, repository: Repository) -> None:
    spec, platform = compiled(repository, name, EVERYTHING)
    containers = {
        label: e["container"] for label, e in spec["deploymentSpec"]["executors"].items() if "container" in e
    }
    assert len(containers) == {"flow": 2, "groups": 4, "good": 1}[name]
    for container in containers.values():
        resources = container["resources"]
        assert resources["resourceCpuRequest"] == "500m"
        assert resources["resourceCpuLimit"] == "2"
        assert resources["resourceMemoryRequest"] == "1Gi"
        assert resources["resourceMemoryLimit"] == "2Gi"
        accelerator = resources["accelerator"]
        assert (accelerator["resourceType"], accelerator["resourceCount"]) == ("nvidia.com/gpu", "2")
        assert container["env"] == [{"name": "LEVEL", "value": "info"}]
    for task in pod_tasks(spec):
        assert task["retryPolicy"] == {
            "maxRetryCount": 3,
            "backoffDuration": "5s",
            "backoffFactor": 1.5,
            "backoffMaxDuration": "50s",
        }
        assert task["cachingOptions"] == {}
    settings = platform["deploymentSpec"]["executors"]
    assert settings.keys() == containers.keys()
    for pod in settings.values():
        check_pod(pod)
    assert platform["pipelineConfig"] == {"activeDeadlineSeconds": 7200, "resourceTtlOnCompletion": 86400}


def check_pod(pod: dict[str, Any]) -> None:
    assert pod["nodeSelector"] == {"labels": {"pool": "a"}}
    toleration = {"key": "gpu", "operator": "Equal", "value": "yes", "effect": "NoExecute"}
    assert pod["tolerations"] == [toleration | {"tolerationSeconds": "30"}]
    (secret,) = pod["secretAsEnv"]
    assert secret["secretName"] == "db"
    assert secret["optional"] is True
    assert secret["keyToEnv"] == [{"secretKey": "pass", "envVar": "DB_PASS"}]
    (claim,) = pod["pvcMount"]
    assert (claim["constant"], claim["mountPath"], claim["subPath"]) == ("data", "/data", "x")
    assert pod["emptyDirMounts"] == [
        {"volumeName": "shared-memory", "mountPath": "/dev/shm", "medium": "Memory", "sizeLimit": "1Gi"}
    ]
    assert pod["activeDeadlineSeconds"] == "600"
    assert pod["podMetadata"] == {"labels": {"team": "a"}, "annotations": {"example.com/who": "me"}}
    assert pod["imagePullPolicy"] == "Always"
    assert [s["secretName"] for s in pod["imagePullSecret"]] == ["login"]


def test_a_component_has_its_own_settings(repository: Repository) -> None:
    profile = "defaults: {resources: {requests: {memory: 1Gi}}}\ncomponents:\n"
    profile += "  other: {resources: {requests: {memory: 9Gi}}, timeout_seconds: 60}"
    spec, platform = compiled(repository, "groups", profile)
    memory = {
        label: e["container"]["resources"]["resourceMemoryRequest"]
        for label, e in spec["deploymentSpec"]["executors"].items()
        if "container" in e
    }
    assert sorted(memory.values()) == ["1Gi", "1Gi", "9Gi", "9Gi"]
    assert {label for label, m in memory.items() if m == "9Gi"} == platform["deploymentSpec"][
        "executors"
    ].keys()


def test_what_the_code_says_itself_wins(tmp_path: Path) -> None:
    text = PIPELINE.replace('name="first")', 'name="first").set_memory_limit("7G").set_caching_options(True)')
    repository = tiny(tmp_path / "r", COMPONENTS, {"flow": text})
    profile = "defaults: {resources: {limits: {memory: 1Gi, cpu: 1}}}"
    spec, _ = compiled(repository, "flow", profile)
    limits = spec["deploymentSpec"]["executors"]["exec-good"]["container"]["resources"]
    assert (limits["resourceMemoryLimit"], limits["resourceCpuLimit"]) == ("7G", "1")
    assert spec["root"]["dag"]["tasks"]["good"]["cachingOptions"] == {"enableCache": True}


def test_what_the_code_says_of_the_run_wins(tmp_path: Path) -> None:
    config = "pipeline_config=dsl.PipelineConfig(active_deadline_seconds=5)"
    text = PIPELINE.replace('name="flow"', f'name="flow", {config}')
    repository = tiny(tmp_path / "r", COMPONENTS, {"flow": text})
    _, platform = compiled(repository, "flow", "run: {timeout_seconds: 7, ttl_seconds: 8}")
    assert platform["pipelineConfig"] == {"activeDeadlineSeconds": 5, "resourceTtlOnCompletion": 8}


def test_the_servers_own_tasks_get_nothing(tmp_path: Path) -> None:
    text = PIPELINE.replace("from kfp import dsl", "from kfp import dsl, kubernetes").replace(
        "    start = dsl",
        "    kubernetes.CreatePVC(access_modes=['ReadWriteOnce'], size='1Gi')\n    start = dsl",
    )
    repository = tiny(tmp_path / "r", COMPONENTS, {"flow": text})
    spec, platform = compiled(repository, "flow", EVERYTHING)
    container = spec["deploymentSpec"]["executors"]["exec-createpvc"]["container"]
    assert container == {"image": "argostub/createpvc"}
    assert "exec-createpvc" not in platform["deploymentSpec"]["executors"]


def test_one_profile_leaves_nothing_behind_for_the_next(repository: Repository) -> None:
    before = [c.text for c in compile_repository(repository)]
    compiled(repository, "groups", EVERYTHING)
    assert [c.text for c in compile_repository(repository)] == before


def test_nothing_said_is_no_cache(repository: Repository) -> None:
    spec, platform = compiled(repository, "groups", "")
    assert [task["cachingOptions"] for task in pod_tasks(spec)] == [{}] * 4
    assert platform == {}


@pytest.mark.parametrize("chosen", ["flow", "good"])
def test_a_component_that_is_not_there(chosen: str, repository: Repository) -> None:
    with pytest.raises(ProfileError) as raised:
        compiled(repository, chosen, "components:\n  good: {}\n  othr: {}\n")
    assert str(raised.value).endswith("profile.yaml:3: There is no component 'othr'. Did you mean 'other'?")


def test_the_librarys_components_and_those_from_elsewhere_may_be_named(tmp_path: Path) -> None:
    elsewhere = OTHER.replace("def other", "def far_away")
    text = PIPELINE.replace("components.other.component import other", "far import far_away as other")
    repository = tiny(tmp_path / "r", COMPONENTS, {"flow": text})
    (repository.root / "far.py").write_text(elsewhere)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(repository.root)
        profile = "components: {train: {}, far_away: {timeout_seconds: 5}, good: {}}"
        _, platform = compiled(repository, "flow", profile)
        assert list(platform["deploymentSpec"]["executors"]) == ["exec-far-away"]
        compiled(repository, "good", profile)  # it is in a pipeline that was not asked for


def test_the_cache_needs_an_image_with_a_digest(tmp_path: Path) -> None:
    repository = tiny(tmp_path / "r", COMPONENTS, {"flow": PIPELINE})
    with pytest.raises(CompileError, match=r"caches 'good', whose image registry/python-x:1 has no digest"):
        compiled(repository, "flow", "components: {good: {cache: true}}")
    digest = f"registry/python-x@sha256:{'a' * 64}"
    profile = f"images: {{replace: {{registry/python-x: '{digest}'}}}}\ncomponents: {{good: {{cache: true}}}}"
    spec, _ = compiled(repository, "flow", profile)
    tasks = {task["componentRef"]["name"]: task["cachingOptions"] for task in pod_tasks(spec)}
    assert tasks == {"comp-good": {"enableCache": True}, "comp-other": {}}
