"""Every pod meets the restricted Pod Security Standard."""

from typing import Any

import pytest

from tests.manifests.built import OVERLAYS, all_pods, containers, label, the
from tests.manifests.pod_security import violations


def test_every_pod_meets_the_restricted_standard() -> None:
    found = {f"{folder}: {label(o)}": violations(pod) for folder, o, pod in all_pods()}
    assert len(found) > 10
    assert {where: what for where, what in found.items() if what} == {}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_namespace_enforces_it(overlay: str) -> None:
    labels = the(f"overlays/{overlay}", "Namespace", "ml-platform")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_what_no_pod_of_ours_needs() -> None:
    """Beyond the standard: a root file system that is read-only, and no token of Kubernetes."""
    for folder, o, pod in all_pods():
        where = f"{folder}: {label(o)}"
        assert pod["spec"]["automountServiceAccountToken"] is False, where
        for container in containers(pod):
            assert container["securityContext"]["readOnlyRootFilesystem"], where
            assert "/tmp" in {mount["mountPath"] for mount in container["volumeMounts"]}, where


def test_every_container_names_what_it_uses() -> None:
    for folder, o, pod in all_pods():
        if o["kind"] == "TrainingRuntime":  # the TrainJob brings them
            continue
        for container in containers(pod):
            resources = container["resources"]
            assert {"cpu", "memory"} <= set(resources["requests"]), f"{folder}: {label(o)}"
            assert {"cpu", "memory"} <= set(resources["limits"]), f"{folder}: {label(o)}"


def test_shared_memory_fits_into_the_memory_limit() -> None:
    """Files in /dev/shm count as the container's memory: a larger one would get it killed."""
    job = the("jobs/train-gpu", "Job", "train-gpu")["spec"]["template"]["spec"]
    (shared,) = [v["emptyDir"] for v in job["volumes"] if v["name"] == "shared-memory"]
    assert shared == {"medium": "Memory", "sizeLimit": "8Gi"}
    assert int(job["containers"][0]["resources"]["limits"]["memory"].removesuffix("Gi")) > 8


def good_pod() -> dict[str, Any]:
    return {
        "spec": {
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [
                {
                    "name": "main",
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                    },
                }
            ],
            "volumes": [{"name": "tmp", "emptyDir": {}}],
        }
    }


def test_a_good_pod_is_allowed() -> None:
    assert violations(good_pod()) == []
    bind = good_pod()
    bind["spec"]["containers"][0]["securityContext"]["capabilities"]["add"] = ["NET_BIND_SERVICE"]
    assert violations(bind) == []


CONTEXT = ("spec", "securityContext")
MAIN = ("spec", "containers", 0)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("spec", "hostNetwork"), True, "hostNetwork"),
        (("spec", "hostPID"), True, "hostPID"),
        (("spec", "hostIPC"), True, "hostIPC"),
        (("spec", "volumes"), [{"name": "h", "hostPath": {"path": "/"}}], "hostPath"),
        (("spec", "volumes"), [{"name": "n", "nfs": {"server": "a", "path": "/"}}], "nfs"),
        ((*CONTEXT, "runAsNonRoot"), None, "may run as root"),
        ((*CONTEXT, "runAsNonRoot"), False, "runAsNonRoot is false"),
        ((*CONTEXT, "runAsUser"), 0, "runAsUser is 0"),
        ((*CONTEXT, "seccompProfile"), {"type": "Unconfined"}, "seccompProfile is Unconfined"),
        ((*CONTEXT, "seccompProfile"), {}, "no seccompProfile"),
        ((*CONTEXT, "sysctls"), [{"name": "kernel.msgmax", "value": "1"}], "kernel.msgmax"),
        ((*CONTEXT, "appArmorProfile"), {"type": "Unconfined"}, "appArmorProfile"),
        ((*CONTEXT, "windowsOptions"), {"hostProcess": True}, "hostProcess"),
        ((*CONTEXT, "seLinuxOptions"), {"user": "system_u"}, "seLinuxOptions"),
        ((*CONTEXT, "seLinuxOptions"), {"type": "spc_t"}, "seLinuxOptions"),
        ((*MAIN, "securityContext", "privileged"), True, "privileged"),
        ((*MAIN, "securityContext", "allowPrivilegeEscalation"), None, "allowPrivilegeEscalation"),
        ((*MAIN, "securityContext", "capabilities"), {}, "does not drop ALL"),
        ((*MAIN, "securityContext", "capabilities", "add"), ["SYS_ADMIN"], "adds SYS_ADMIN"),
        ((*MAIN, "securityContext", "procMount"), "Unmasked", "procMount"),
        ((*MAIN, "securityContext", "runAsUser"), 0, "runAsUser is 0"),
        ((*MAIN, "securityContext", "runAsNonRoot"), False, "may run as root"),
        ((*MAIN, "ports"), [{"containerPort": 80, "hostPort": 80}], "hostPort 80"),
        ((*MAIN, "livenessProbe"), {"httpGet": {"host": "10.0.0.1"}}, "asks another host"),
        ((*MAIN, "lifecycle"), {"preStop": {"tcpSocket": {"host": "a"}}}, "asks another host"),
        (("metadata",), {"annotations": {
            "container.apparmor.security.beta.kubernetes.io/main": "unconfined"}}, "apparmor"),
    ],
)  # fmt: skip
def test_what_the_standard_forbids_is_found(path: tuple[Any, ...], value: Any, said: str) -> None:
    pod = good_pod()
    place: Any = pod
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    assert any(said in found for found in violations(pod)), violations(pod)


def test_init_containers_are_looked_at_too() -> None:
    pod = good_pod()
    pod["spec"]["initContainers"] = [{"name": "first"}]
    assert any("initContainers[first]" in found for found in violations(pod))
