"""The Roles give each account what its components do, and nothing more."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.manifests.built import OVERLAYS, ROOT, Object, objects

#: API group, resource, the one object it may be about (empty: any), verb.
Right = tuple[str, str, str, str]


def rights(group: str, resource: str, verbs: str, name: str = "") -> set[Right]:
    return {(group, resource, name, verb) for verb in verbs.split()}


# Kubeflow Pipelines' driver and launcher, and Argo's executor, in the pods of every run. Their calls are not
# ours to run; the list is Kubeflow's own, of its manifests (pipeline-runner-role.yaml, the executor plug-in).
STEPS = (
    rights("argoproj.io", "workflowtaskresults", "create patch")
    | rights("", "configmaps", "get", "kfp-launcher")
    | rights("", "secrets", "get", "mlpipeline-minio-artifact")
    | rights("", "pods", "get")
)
WHY_PODS_FAILED = rights("", "pods", "list") | rights("", "pods/log", "get")
KATIB_TUNE = (
    rights("kubeflow.org", "experiments", "create get delete")
    | rights("kubeflow.org", "trials", "list")
    | rights("kubeflow.org", "suggestions", "get")
    | rights("", "namespaces", "get")
    | WHY_PODS_FAILED
)
TRAIN_GPU = (
    rights("trainer.kubeflow.org", "trainjobs", "create get delete")
    | rights("trainer.kubeflow.org", "trainingruntimes", "get")
    | WHY_PODS_FAILED
)
SERVE = (
    rights("serving.kserve.io", "inferenceservices", "create get update delete")
    | rights("gateway.networking.k8s.io", "httproutes", "create get update")
    | rights("coordination.k8s.io", "leases", "create get update")
    | WHY_PODS_FAILED
)
# test_retraining.py holds this to what the CronJob's command asks.
SUBMIT = (
    rights("pipelines.kubeflow.org", "pipelines", "create get list")
    | rights("pipelines.kubeflow.org", "experiments", "create list")
    | rights("pipelines.kubeflow.org", "runs", "create list")
)

# tests/components/retrain/test_cluster.py holds this to what retrain asks: it also looks for runs under way.
RETRAIN = (
    SUBMIT
    | rights("pipelines.kubeflow.org", "experiments", "get")
    | rights("pipelines.kubeflow.org", "runs", "get")
)

#: Of the components' tests, some in which each call is made.
TRAIN_JOBS = "come_back or is_cancelled or declares"
SEARCHES = "some_trials_fail or service_refuses or cannot_start"
ROLLOUTS = "(one_version and Standard) or crashes"

NEEDS: dict[str, set[Right]] = {
    "kfp-lifecycle-training": STEPS | SERVE,
    "kfp-lifecycle-training-torch": STEPS | TRAIN_GPU | SERVE,
    "kfp-lifecycle-tuning": STEPS | KATIB_TUNE,
    "kfp-lifecycle-monitoring": STEPS | RETRAIN,
    "kfp-lifecycle-retraining": SUBMIT,
    # Kubeflow's own account for runs has what STEPS needs from Kubeflow.
    "pipeline-runner": KATIB_TUNE | TRAIN_GPU | SERVE,
    "mlflow": set(),
    "model-server": set(),
    "pushgateway": set(),
}


def granted(overlay: str) -> dict[str, set[Right]]:
    """What each service account may do, by the overlay's Roles and RoleBindings."""
    found = objects(f"overlays/{overlay}")
    roles = {_place(o): set(_rules(o)) for o in found if o["kind"] == "Role"}
    accounts: dict[str, set[Right]] = {
        o["metadata"]["name"]: set() for o in found if o["kind"] == "ServiceAccount"
    }
    for binding in (o for o in found if o["kind"] == "RoleBinding"):
        namespace = binding["metadata"]["namespace"]
        for subject in binding["subjects"]:
            assert subject["kind"] == "ServiceAccount"
            # A subject in another namespace would be another team's account.
            assert subject["namespace"] == namespace
            accounts.setdefault(subject["name"], set()).update(roles[namespace, binding["roleRef"]["name"]])
    return accounts


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_each_account_may_do_what_its_components_do(overlay: str) -> None:
    for account, may in granted(overlay).items():
        assert may == NEEDS[account], (
            f"{account}: missing {sorted(NEEDS[account] - may)}, too much {sorted(may - NEEDS[account])}"
        )


@pytest.mark.parametrize(
    ("needs", "tests"),
    [
        pytest.param(TRAIN_GPU, ("components/train_gpu/test_trainjob.py", "-k", TRAIN_JOBS), id="train-gpu"),
        pytest.param(KATIB_TUNE, ("components/katib_tune/test_katib.py", "-k", SEARCHES), id="katib-tune"),
        pytest.param(SERVE, ("components/serve/test_kserve.py", "-k", ROLLOUTS), id="serve"),
    ],
)
def test_the_lists_are_what_the_code_calls(needs: set[Right], tests: tuple[str, ...], tmp_path: Path) -> None:
    """The component's own tests, on the double of Kubernetes, with every call written down."""
    file = tmp_path / "rights"
    own = ["-qx", "-p", "tests.manifests.recorded_rights", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *own, str(ROOT / "tests" / tests[0]), *tests[1:]]
    env = {**os.environ, "RECORDED_RIGHTS": str(file)}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    called = {tuple(line.split(",")) for line in file.read_text().splitlines()}
    assert called == {(group, resource, verb) for group, resource, _, verb in needs}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_no_rights_beyond_the_namespace(overlay: str) -> None:
    kinds = {o["kind"] for o in objects(f"overlays/{overlay}")}
    assert not kinds & {"ClusterRole", "ClusterRoleBinding"}


def test_no_right_is_everything() -> None:
    every = set().union(*(may for overlay in OVERLAYS for may in granted(overlay).values()))
    assert not any("*" in part for right in every for part in right)
    # The ways to other accounts' rights.
    assert not any(resource in ("roles", "rolebindings", "pods/exec") for _, resource, _, _ in every)
    assert all(name for _, resource, name, _ in every if resource in ("secrets", "configmaps"))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_run_under_accounts_that_are_there(overlay: str) -> None:
    found = objects(f"overlays/{overlay}")
    there = {_place(o) for o in found if o["kind"] == "ServiceAccount"}
    for o in found:
        template = o.get("spec", {}).get("jobTemplate", o).get("spec", {}).get("template", {})
        if isinstance(name := template.get("spec", {}).get("serviceAccountName"), str):
            assert (o["metadata"]["namespace"], name) in there


def _place(found: Object) -> tuple[str, str]:
    return found["metadata"]["namespace"], found["metadata"]["name"]


def _rules(role: Object) -> Iterator[Right]:
    for rule in role["rules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                for name in rule.get("resourceNames", [""]):
                    yield from ((group, resource, name, verb) for verb in rule["verbs"])
