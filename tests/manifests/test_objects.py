"""Every object that the manifests build is one that the supported versions of Kubernetes take."""

import re
from typing import Any

import jsonschema
import kubernetes_validate
import pytest

from kfp_lifecycle.components.shared.flags import hyperparameters
from kfp_lifecycle.components.shared.image import REGISTRY, TAG
from kfp_lifecycle.components.train_gpu.flags import options_of
from kfp_lifecycle.components.train_gpu.options import NetworkOptions
from kfp_lifecycle.components.train_gpu.program import arguments
from kfp_lifecycle.components.train_gpu.trainjob import RUNTIME, RUNTIME_KIND, train_job
from tests.manifests.built import (
    APPLIED,
    MANIFESTS,
    OVERLAYS,
    all_pods,
    containers,
    distinct,
    label,
    objects,
    pod_templates,
    the,
)
from tests.manifests.custom_resources import check, is_custom
from tests.manifests.pod_security import violations

MODULE = "kfp_lifecycle.components.train_gpu"
#: Kubernetes' versions that the manifests are for: docs/cluster.md says so.
VERSIONS = ("1.32", "1.33", "1.34", "1.35", "1.36", "1.37")


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_every_object(version: str) -> None:
    for found in distinct():
        if not is_custom(found):
            kubernetes_validate.validate(found, version, strict=True)


def test_the_supported_versions_are_the_validators_newest() -> None:
    assert kubernetes_validate.latest_version().startswith(f"{VERSIONS[-1]}.")
    said = (MANIFESTS.parent / "docs/cluster.md").read_text()
    assert f"Kubernetes {VERSIONS[0]} to {VERSIONS[-1]}" in said


def test_the_validator_finds_what_is_wrong() -> None:
    deployment = the("overlays/dev", "Deployment", "mlflow")
    deployment["spec"]["template"]["spec"]["containers"][0]["imagePullPolcy"] = "Always"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, VERSIONS[0], strict=True)


def test_custom_resources_are_of_their_kinds() -> None:
    for found in filter(is_custom, distinct()):
        check(found)
        # The pods that are made of one are held to Kubernetes' own rules as well.
        for pod in pod_templates(found):
            plain = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": pod["spec"]}
            kubernetes_validate.validate(plain, VERSIONS[0], strict=True)


POD = ("template", "spec", "replicatedJobs", 0, "template", "spec", "template", "spec")


@pytest.mark.parametrize(
    ("kind", "place"),
    [
        ("TrainingRuntime", ()),
        ("TrainingRuntime", ("mlPolicy",)),
        ("TrainingRuntime", (*POD, "containers", 0, "securityContext")),
        ("ServiceMonitor", ("endpoints", 0)),
        ("PodMonitor", ("podMetricsEndpoints", 0)),
        ("PrometheusRule", ()),
        ("ExternalSecret", ("target",)),
        ("ExternalSecret", ("data", 0, "remoteRef")),
    ],
)
def test_a_misspelt_field_of_a_custom_resource_is_found(kind: str, place: tuple[Any, ...]) -> None:
    found = next(o for o in objects("overlays/production") if o["kind"] == kind)
    check(found)
    here = found["spec"]
    for step in place:
        here = here[step]
    here["misspelt"] = "x"
    with pytest.raises((AssertionError, jsonschema.ValidationError), match=r"misspelt|drops a field"):
        check(found)


@pytest.mark.parametrize("folder", APPLIED)
def test_no_object_is_there_twice(folder: str) -> None:
    named = [(o["apiVersion"].partition("/")[0], label(o)) for o in objects(folder)]
    assert len(named) == len(set(named))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_is_its_two_halves(overlay: str) -> None:
    halves = [o for half in ("platform", "runs") for o in objects(f"overlays/{overlay}/{half}")]
    assert sorted(map(label, halves)) == sorted(map(label, objects(f"overlays/{overlay}")))
    # Nothing of one half is in the other's namespace: each can be applied by whoever owns it.
    assert len({o["metadata"]["namespace"] for o in objects(f"overlays/{overlay}/runs")}) == 1
    platform = {o["metadata"].get("namespace") for o in objects(f"overlays/{overlay}/platform")}
    assert platform == {None, "ml-platform"}


@pytest.mark.parametrize("folder", ["base/platform", "base/runs"])
def test_the_bases_build_alone(folder: str) -> None:
    assert objects(folder)


def test_images_are_named_in_one_place() -> None:
    found = {c["image"] for _, _, pod in all_pods() for c in containers(pod)}
    ours = {image for image in found if image.startswith(f"{REGISTRY}/")}
    assert ours == {f"{REGISTRY}/python-{name}:{TAG}" for name in ("cli", "mlflow", "serve", "torch")}
    # Third parties' images have a version, and none is "latest".
    others = {re.sub(r":v?\d+\.\d+(\.\d+)?$", "", image) for image in found - ours}
    assert others == {"postgres", "prom/pushgateway"}


def test_config_maps_that_pods_name_are_there() -> None:
    for folder in APPLIED:
        there = {o["metadata"]["name"] for o in objects(folder) if o["kind"] == "ConfigMap"}
        for found in objects(folder):
            for pod in pod_templates(found):
                assert _references(pod, "configMapKeyRef") | _volumes(pod) <= there, label(found)


def test_the_gpu_job() -> None:
    spec = the("jobs/train-gpu", "Job", "train-gpu")["spec"]
    pod = spec["template"]["spec"]
    assert spec["backoffLimit"] == 3
    assert pod["nodeSelector"] == {"nvidia.com/gpu.present": "true"}
    assert pod["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    resources = pod["containers"][0]["resources"]
    # Kubernetes refuses a GPU whose request is not its limit.
    assert resources["requests"]["nvidia.com/gpu"] == resources["limits"]["nvidia.com/gpu"] == "1"
    assert "/dev/shm" in {m["mountPath"] for m in pod["containers"][0]["volumeMounts"]}


def test_the_gpu_jobs_arguments_are_train_gpus() -> None:
    args = the("jobs/train-gpu", "Job", "train-gpu")["spec"]["template"]["spec"]["containers"][0]["args"]
    assert args[:3] == ["python3", "-m", MODULE]
    given, rest = arguments().parse_known_args(args[3:])
    assert options_of(hyperparameters(rest)).require_gpu
    assert given.result


def test_a_train_job_of_train_gpu_runs_on_the_runtime() -> None:
    """The pod that Kubeflow Trainer makes of both is a pod of Kubernetes, and restricted."""
    runtime = the("overlays/production", RUNTIME_KIND.name, RUNTIME)
    assert runtime["apiVersion"] == RUNTIME_KIND.api_version
    options = NetworkOptions(nodes=2, require_gpu=True, epochs=3)
    inputs = {name: f"s3://data/{name}" for name in ("train", "schema", "plan")}
    job = train_job("train-gpu-1", inputs, "s3://data/model-trainjob", options)
    reference, trainer = job["spec"]["runtimeRef"], job["spec"]["trainer"]
    assert (reference["kind"], reference["name"]) == (runtime["kind"], runtime["metadata"]["name"])
    (node,) = runtime["spec"]["template"]["spec"]["replicatedJobs"]
    # The names by which Trainer knows the container that it gives the arguments to.
    assert node["name"] == "node"
    assert node["template"]["metadata"]["labels"]["trainer.kubeflow.org/trainjob-ancestor-step"] == "trainer"
    (pod,) = pod_templates(runtime)
    (container,) = pod["spec"]["containers"]
    assert (container["name"], container["command"][-2:]) == ("node", ["-m", MODULE])
    given, rest = arguments().parse_known_args(trainer["args"])
    assert options_of(hyperparameters(rest)).epochs == 3
    assert given.model == "s3://data/model-trainjob/model"
    container |= {"args": trainer["args"], "resources": trainer["resourcesPerNode"]}
    container["env"] = [*container["env"], *trainer.get("env", [])]
    pod["spec"]["restartPolicy"] = "Never"
    whole = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "node-0"}, "spec": pod["spec"]}
    kubernetes_validate.validate(whole, VERSIONS[0], strict=True)
    assert violations(whole) == []


@pytest.mark.parametrize("overlay", ["dev", "production"])
def test_the_retraining_cron_job(overlay: str) -> None:
    spec = the(f"overlays/{overlay}", "CronJob", "retraining")["spec"]
    assert spec["schedule"] == "0 2 * * *"
    assert spec["concurrencyPolicy"] == "Forbid"
    assert (spec["successfulJobsHistoryLimit"], spec["failedJobsHistoryLimit"]) == (3, 3)


@pytest.mark.parametrize("overlay", ["dev", "production"])
def test_the_model_server_scales(overlay: str) -> None:
    folder = f"overlays/{overlay}"
    scaler = the(folder, "HorizontalPodAutoscaler", "model-server")["spec"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (2, 20)
    assert scaler["metrics"][0]["resource"]["target"]["averageUtilization"] == 70
    server = the(folder, "Deployment", "model-server")["spec"]
    assert server["replicas"] == 3
    (container,) = server["template"]["spec"]["containers"]
    assert {"startupProbe", "readinessProbe", "livenessProbe"} <= set(container)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_selects_pods_selects_some(overlay: str) -> None:
    folder = f"overlays/{overlay}"
    there = [*objects(folder), *objects("jobs/train-gpu")]
    pods = [pod["metadata"]["labels"] for o in there for pod in pod_templates(o)]
    # Selected from outside these manifests.
    others = {"object-store-from-mlflow", "predictors", "pushgateway"}
    for found in objects(folder):
        spec, name = found.get("spec", {}), found["metadata"]["name"]
        if found["kind"] == "Service":
            wanted = spec["selector"]
        elif found["kind"] in ("NetworkPolicy", "PodDisruptionBudget"):
            selector = spec.get("selector") or spec["podSelector"]
            wanted = selector.get("matchLabels", {})
        else:
            continue
        if name not in others:
            assert any(wanted.items() <= labels.items() for labels in pods), label(found)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_disruptions_leave_a_node_drainable(overlay: str) -> None:
    for found in objects(f"overlays/{overlay}"):
        if found["kind"] == "PodDisruptionBudget":
            assert found["spec"]["maxUnavailable"] == 1


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_quota_has_room_for_what_is_installed(overlay: str) -> None:
    folder = f"overlays/{overlay}"
    hard = the(folder, "ResourceQuota", "platform")["spec"]["hard"]
    claims = [o for o in objects(f"{folder}/platform") if o["kind"] == "PersistentVolumeClaim"]
    asked = [o["spec"]["resources"]["requests"]["storage"] for o in claims]
    for found in objects(f"{folder}/platform"):
        if found["kind"] == "StatefulSet":
            asked += [
                c["spec"]["resources"]["requests"]["storage"] for c in found["spec"]["volumeClaimTemplates"]
            ]
    assert len(asked) <= int(hard["persistentvolumeclaims"])
    assert sum(map(_gib, asked)) <= _gib(hard["requests.storage"])


def _gib(amount: str) -> int:
    return int(amount[:-2]) * {"Gi": 1, "Ti": 1024}[amount[-2:]]


def _references(pod: Any, kind: str) -> set[str]:
    """Names in required references of a kind, such as configMapKeyRef."""
    found = set()
    for mapping in _mappings(pod):
        if kind in mapping and not mapping[kind].get("optional"):
            found.add(mapping[kind]["name"])
    return found


def _volumes(pod: Any) -> set[str]:
    return {v["configMap"]["name"] for v in pod["spec"].get("volumes", []) if "configMap" in v}


def _mappings(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [value, *(m for child in value.values() for m in _mappings(child))]
    return [m for child in value for m in _mappings(child)] if isinstance(value, list) else []
