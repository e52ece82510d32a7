"""Retraining on a cluster: the released file, submitted to the double of Kubeflow's API server."""

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kfp_lifecycle.components.monitor.history import History
from kfp_lifecycle.components.monitor.message import summary_text
from kfp_lifecycle.components.retrain.step import Outputs, retrain_step
from kfp_lifecycle.components.shared.errors import RetrainError
from tests.components.monitor.test_history import DAY, row
from tests.kfp_server import KfpServer, plays
from tests.kfp_server.gate import Gate
from tests.manifests.test_rbac import RETRAIN
from tests.runner.cluster.submitting import compiled

pytestmark = pytest.mark.server
WINDOW = replace(row(alarm=True), model="m", retrain=True)
LATER = replace(WINDOW, end=WINDOW.end + DAY)
USER, TOKEN = "system:serviceaccount:ml-team:kfp-lifecycle-monitoring", "the-pods-own"
PARAMETERS = {"source": "gs://bucket/{window_end:%Y-%m}"}
TRAINING = {**PARAMETERS, "target": "late", "model_name": "{model}"}
RELEASED = {"pipeline": "training@1.0.0", "parameters": json.dumps(TRAINING)}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, asked: set[str]) -> Iterator[KfpServer]:
    """A Kubeflow of many users, which knows the pod's account and gives it the Role's rights."""
    for name in [name for name in os.environ if name.startswith(("KFP_", "KF_PIPELINES_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KFP_LIFECYCLE_CONFIG", "/none/config.yaml")
    monkeypatch.setenv("KFP_TOKEN", TOKEN)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")  # a pod, for `auto`
    with KfpServer(multi_user=True) as double:
        double.gate.admit(USER, token=TOKEN)
        double.gate.rights = {(USER, "ml-team"): {f"{verb} {what}" for _, what, _, verb in RETRAIN}}
        double.state.plays[""] = plays.holds()
        yield double


def step(server: KfpServer, window: Any = WINDOW, **asked: Any) -> Outputs:
    given: dict[str, Any] = {
        "summary": summary_text(window),
        "pipeline": str(compiled(Path("own"), version="2.0.0").path),
        "parameters": json.dumps(PARAMETERS),
        "training_window": "90d",
        "history": "history",
        "wait": False,
        "where": "auto",
        "experiment": "retraining",
        "pipeline_version": "",
        "host": server.url,
        "namespace": "ml-team",
        "service_account": "kfp-lifecycle-training",
        "output_dir": "runs",
    }
    return retrain_step(**given | asked)


def runs(server: KfpServer) -> list[dict[str, Any]]:
    return [run.wire for run in server.state.runs.values()]


@pytest.fixture(scope="module")
def asked() -> Iterator[set[str]]:
    """Every right that servers have asked Kubernetes for."""
    seen: set[str] = set()
    check = Gate.check

    def record(self: Gate, user: str, verb: str, resource: str, namespace: str) -> None:
        seen.add(f"{verb} {resource}")
        check(self, user, verb, resource, namespace)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Gate, "check", record)
        yield seen


def test_one_drift_starts_one_run(server: KfpServer) -> None:
    # The answer to the creation is lost on its way.
    server.faults.drop_after("POST /apis/v2beta1/runs")
    done = step(server, **RELEASED)
    (run,) = runs(server)
    assert done == (run["run_id"], f"{server.url}/#/runs/details/{run['run_id']}", True)
    assert run["service_account"] == "kfp-lifecycle-training"
    assert run["runtime_config"]["parameters"] == {
        "source": "gs://bucket/2013-07",
        "target": "late",
        "model_name": "m",
    }
    # The step is run again; then the next window alarms.
    assert step(server) == done
    assert step(server, LATER) == (done.retraining, done.retraining_link, False)
    # A step that died between the start and the note of it finds the run too.
    (kept,) = History("history").retrainings("m")
    History("history").keep(replace(kept, run_id="", link="", state="asked"))
    assert step(server) == done
    assert len(runs(server)) == 1

    # When it is over, the next drift starts the next.
    server.state.runs[done.retraining].finish("SUCCEEDED")
    second = step(server, LATER)
    assert second.started
    assert second.retraining != done.retraining
    assert [one.state for one in History("history").retrainings("m")] == ["succeeded", "running"]


@pytest.mark.parametrize("end", ["SUCCEEDED", "FAILED"])
def test_it_may_wait_for_the_run(server: KfpServer, end: str) -> None:
    server.state.plays[""] = plays.steps(lambda run: run.finish(end))
    if end == "SUCCEEDED":
        assert step(server, wait=True).started
    else:
        with pytest.raises(RetrainError, match="has failed"):
            step(server, wait=True)
    (kept,) = History("history").retrainings("m")
    assert kept.state == end.lower()


def test_the_role_gives_what_that_takes_and_no_more(asked: set[str]) -> None:
    assert asked == {f"{verb} {what}" for _, what, _, verb in RETRAIN}


def test_what_the_server_refuses_is_said_and_shows_no_token(server: KfpServer) -> None:
    rights = server.gate.rights[(USER, "ml-team")]
    server.gate.rights[(USER, "ml-team")] = rights - {"create runs"}
    with pytest.raises(RetrainError, match="may not create runs") as said:
        step(server)
    assert TOKEN not in str(said.value)
    # What could not be started does not count as begun.
    assert History("history").retrainings("m") == []
    server.gate.rights[(USER, "ml-team")] = rights
    # A file of one's own, under a name of one's own, as the server's default account.
    assert step(server, LATER, pipeline_version="2.0.0-team", service_account="", history="").started
    assert "2.0.0-team" in {version["display_name"] for version in server.state.versions.values()}
