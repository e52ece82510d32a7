"""The CronJob's own command, with its own files, starts a run: on the double of Kubeflow's API server."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.kfp_server import KfpServer
from tests.kfp_server.gate import Gate
from tests.manifests.built import the
from tests.manifests.test_rbac import SUBMIT

pytestmark = pytest.mark.server
USER, TOKEN = "system:serviceaccount:ml-team:kfp-lifecycle-retraining", "the-pods-own"
#: The Role's rights, as the API server asks for them.
RIGHTS = {f"{verb} {resource}" for _, resource, _, verb in SUBMIT}
MOUNT = "/etc/kfp-lifecycle"


def container(overlay: str) -> dict[str, Any]:
    """The CronJob's container."""
    cron = the(f"overlays/{overlay}", "CronJob", "retraining")["spec"]
    (found,) = cron["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    return dict(found)


def start(overlay: str, server: KfpServer, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Runs the container's command as Kubernetes would, with its ConfigMap in ``folder``."""
    job = container(overlay)
    for file, text in the(f"overlays/{overlay}", "ConfigMap", "retraining")["data"].items():
        (folder / file).write_text(text)
    plain = {e["name"]: e["value"] for e in job["env"] if "value" in e} | {"JOB_NAME": "retraining-29"}
    told = {name: value.replace(MOUNT, str(folder)) for name, value in plain.items()}
    # The server of the test stands where the cluster's own would be found, and its token where the pod's is.
    told |= {"PATH": os.environ["PATH"], "HOME": str(folder), "KFP_HOST": server.url, "KFP_TOKEN": TOKEN}
    words = [w.replace("$(JOB_NAME)", told["JOB_NAME"]).replace(MOUNT, str(folder)) for w in job["args"]]
    program = str(Path(sys.executable).with_name(words[0]))
    command = [program, *words[1:]]
    return subprocess.run(command, cwd=folder, env=told, capture_output=True, text=True, check=False)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Every right that the server asks Kubernetes for."""
    seen: set[str] = set()
    check = Gate.check

    def record(self: Gate, user: str, verb: str, resource: str, namespace: str) -> None:
        seen.add(f"{verb} {resource}")
        assert namespace == "ml-team"
        check(self, user, verb, resource, namespace)

    monkeypatch.setattr(Gate, "check", record)
    return seen


@pytest.fixture
def of_many_users() -> Iterator[KfpServer]:
    with KfpServer(multi_user=True) as server:
        server.gate.admit(USER, token=TOKEN)
        server.gate.rights = {(USER, "ml-team"): set(RIGHTS)}
        yield server


def test_it_starts_one_run_with_the_roles_rights_and_needs_them_all(
    of_many_users: KfpServer, asked: set[str], tmp_path: Path
) -> None:
    # The answer to the creation is lost: the run is looked up before it is created again.
    of_many_users.faults.drop_after("POST /apis/v2beta1/runs")
    done = start("production", of_many_users, tmp_path)
    assert done.returncode == 0, done.stderr
    (run,) = [run.wire for run in of_many_users.state.runs.values()]
    assert (run["display_name"], run["service_account"]) == ("retraining-29", "kfp-lifecycle-training")
    params = the("overlays/production", "ConfigMap", "retraining")["data"]["params.yaml"]
    assert run["runtime_config"]["parameters"] == yaml.safe_load(params)
    assert asked == RIGHTS


def test_it_starts_a_run_where_kubeflow_pipelines_is_alone(tmp_path: Path) -> None:
    with KfpServer() as server:
        done = start("dev", server, tmp_path)
        assert done.returncode == 0, done.stderr
        assert [run.wire["display_name"] for run in server.state.runs.values()] == ["retraining-29"]


def test_a_run_that_cannot_be_started_fails_the_job(of_many_users: KfpServer, tmp_path: Path) -> None:
    of_many_users.gate.rights = {(USER, "ml-team"): RIGHTS - {"create runs"}}
    done = start("production", of_many_users, tmp_path)
    assert done.returncode != 0
    assert TOKEN not in done.stdout + done.stderr


@pytest.mark.parametrize("overlay", ["dev", "production"])
def test_the_pods_token_is_where_it_is_looked_for(overlay: str) -> None:
    from kfp_lifecycle.runner.cluster.choose import TOKEN_PATH

    mounts = {mount["name"]: mount["mountPath"] for mount in container(overlay)["volumeMounts"]}
    assert f"{mounts['token']}/token" == str(TOKEN_PATH)
    assert mounts["config"] == MOUNT
