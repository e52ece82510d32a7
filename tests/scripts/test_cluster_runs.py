"""``kfp-lifecycle runs``."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from kfp_lifecycle.scripts.app import app
from tests.compiler.lint.cases import drop
from tests.compiler.specs import changed
from tests.kfp_server import KfpServer, plays
from tests.kubernetes_api import KubernetesApi

Call = Callable[..., Result]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "small.yaml").write_bytes(changed())
    (tmp_path / "other.yaml").write_bytes(changed(drop("root/dag/tasks/use/retryPolicy")))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KFP_LIFECYCLE_CONFIG", str(tmp_path / "config.yaml"))


@pytest.fixture
def double() -> Iterator[KfpServer]:
    with KfpServer() as server:
        yield server


@pytest.fixture
def call(double: KfpServer) -> Call:
    def invoke(*words: str) -> Result:
        return CliRunner().invoke(app, [*words, "--host", double.url])

    return invoke


def _submit(double: KfpServer, call: Call, *words: str) -> str:
    known = set(double.state.runs)
    done = call("submit", *(words or ("small.yaml",)))
    assert done.exit_code == 0, done.output
    (found,) = set(double.state.runs) - known
    return found


def _to_its_end(double: KfpServer, run_id: str) -> None:
    while double.state.runs[run_id].state not in ("SUCCEEDED", "FAILED", "CANCELED"):
        double.state.runs[run_id].advance()


def test_listed(double: KfpServer, call: Call) -> None:
    assert "There is no such run." in call("runs", "list").stderr
    double.state.plays[""] = plays.fails("use")
    first, second = _submit(double, call), _submit(double, call, "small.yaml", "--run-name", "mine")
    _to_its_end(double, first)
    lines = call("runs", "list").stdout.splitlines()
    assert len(lines) == 4
    assert lines[2].startswith(f"{second[:8]}   PENDING")
    assert "mine  small sha256-" in lines[2]
    assert lines[3].startswith(f"{first[:8]}   FAILED")
    # What the name says is not said twice.
    assert lines[3].count("sha256-") == 1
    (row,) = call("runs", "list", "--state", "failed", "--since", "1h").stdout.splitlines()[2:]
    assert row.split() == lines[3].split()
    (found,) = json.loads(call("runs", "list", "--state", "pending", "--json").stdout)["runs"]
    assert (found["run_id"], found["state"], found["pipeline"]) == (second, "PENDING", "small")
    assert found["link"].endswith(second)
    assert call("runs", "list", "--until", "1h").stderr == "There is no such run.\n"
    done = call("runs", "list", "--state", "done")
    assert done.exit_code == 1
    assert "'done' is no state of a run." in done.stderr


def test_runs_in_several_experiments_say_which(double: KfpServer, call: Call) -> None:
    _submit(double, call)
    assert "Experiment" not in call("runs", "list").stdout
    _submit(double, call, "small.yaml", "--experiment", "churn")
    assert "churn" in call("runs", "list").stdout


def test_shown(double: KfpServer, call: Call) -> None:
    double.state.plays[""] = plays.fails("use", "ValueError: bad value")
    run_id = _submit(double, call, "small.yaml", "-p", "text=s3://key:secret@host/data")
    _to_its_end(double, run_id)
    done = call("runs", "show", run_id[:13])
    assert done.exit_code == 0
    text = done.stdout
    assert "FAILED" in text.splitlines()[0]
    assert "Experiment  Default" in text
    assert [line.split()[:2] for line in text.splitlines() if line.startswith(("make", "use"))] == [
        ["make", "succeeded"],
        ["use", "failed"],
    ]
    assert "ValueError: bad value" in text
    assert "text: s3://***@host/data" in text
    assert f"kfp-lifecycle runs logs {run_id}" in text
    assert f"{double.url}/#/runs/details/{run_id}" in text
    assert "set MLFLOW_TRACKING_URI" in done.stderr
    data = json.loads(call("runs", "show", run_id, "--json").stdout)
    assert [task["state"] for task in data["tasks"]] == ["succeeded", "failed"]
    assert (data["state"], data["version"][:7]) == ("FAILED", "sha256-")
    assert "secret" not in json.dumps(data)


def test_a_run_that_goes_on_by_the_servers_clock(double: KfpServer, call: Call) -> None:
    double.state.clock_ahead = timedelta(minutes=5)
    double.state.plays[""] = plays.holds()
    run_id = _submit(double, call)
    double.state.runs[run_id].advance()
    double.state.clock_ahead = timedelta(minutes=15)
    assert "RUNNING  10 min" in call("runs", "show", run_id).stdout
    assert "10 min" in call("runs", "list").stdout


def test_no_such_run(call: Call) -> None:
    for verb in ("show", "logs", "terminate", "retry"):
        done = call("runs", verb, "8b2f6a0c-3d1e-4f57-9c1b-2a7d9e4c6f10")
        assert done.exit_code == 1
        assert "has no run '8b2f6a0c-3d1e-4f57-9c1b-2a7d9e4c6f10'" in done.stderr


def test_terminated_and_retried(double: KfpServer, call: Call) -> None:
    double.state.plays[""] = plays.holds()
    run_id = _submit(double, call)
    assert call("runs", "terminate", run_id).stdout == f"Run {run_id} is being stopped.\n"
    assert call("runs", "terminate", run_id).stdout == f"Run {run_id} is over already: CANCELED.\n"
    done = call("runs", "retry", run_id)
    assert done.stdout == f"Run {run_id} goes on with what had failed.\n"
    assert f"kfp-lifecycle watch {run_id}" in done.stderr
    assert call("runs", "retry", run_id).stdout == f"Run {run_id} goes on already: RUNNING.\n"


@pytest.fixture
def mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    from kfp_lifecycle.components.shared.tracking import connect

    client = connect()
    client.create_registered_model("churn")
    return client


def test_compared(double: KfpServer, call: Call, mlflow: Any) -> None:
    first = _submit(double, call)
    second = _submit(double, call, "other.yaml", "-p", "text=other")
    third = _submit(double, call, "other.yaml", "-p", "text=other")
    for number, run_id in enumerate((first, second)):
        tags = {"pipeline_run_id": run_id, "test_roc_auc": f"0.8{number}", "test_brier": f"0.1{number}"}
        tags |= {"test_brier_low": "0.05", "test_brier_high": "0.25"}
        mlflow.create_model_version("churn", f"file:///none/{number}", tags=tags)
    done = call("runs", "compare", first[:13], second, third)
    assert done.exit_code == 0, done.output
    rows = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines() if line.strip()}
    assert rows["text"] == ["hello", "other", "other"]
    assert rows["test_roc_auc"] == ["0.8", "0.81", "*", "-"]
    assert rows["test_brier"] == ["0.1", "*", "[0.05,", "0.25]", "0.11", "[0.05,", "0.25]", "-"]
    assert "test_brier_low" not in rows
    assert rows["model"] == ["churn", "version", "1", "churn", "version", "2"]
    assert done.stdout.count("From small sha256-") == 1
    assert "retry" in done.stdout
    data = json.loads(call("runs", "compare", first, second, "--json").stdout)
    assert data["metrics"]["test_roc_auc"]["best"] == [second]
    assert data["versions"][0]["bump"] == "patch"


def test_compared_with_itself_and_with_nothing(double: KfpServer, call: Call) -> None:
    first, second = _submit(double, call), _submit(double, call)
    text = call("runs", "compare", first, second).stdout
    assert "1 parameters are the same in all of them" in text or "1 parameter is the same" in text
    assert "hello" in call("runs", "compare", first, second, "--all").stdout
    done = call("runs", "compare", first)
    assert done.exit_code == 1
    assert "only one run to compare" in done.stderr


class _TimedLogs(KubernetesApi):
    def _log(self, namespace: str, name: str, query: dict[str, str]) -> str:
        return super()._log(namespace, name, {"container": query["container"]})


@pytest.fixture
def pods(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[_TimedLogs]:
    with _TimedLogs(namespaces={"kubeflow": {}}) as api:
        monkeypatch.setenv("KUBECONFIG", str(api.kube_config(tmp_path)))
        yield api


def _pod(api: _TimedLogs, run_id: str, task: str, *lines: str, phase: str = "Succeeded") -> None:
    notes = {"workflows.argoproj.io/node-name": f"small-x7k2p.root.{task}.executor"}
    about = {"name": f"pod-{task}", "labels": {"pipeline/runid": run_id}, "annotations": notes}
    api.put(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": about,
            "spec": {"containers": [{"name": "main", "image": "none"}]},
            "status": {"phase": phase},
        },
        "kubeflow",
    )
    api._logs["kubeflow", f"pod-{task}", "main"] = "".join(f"2026-11-22T02:00:00Z {line}\n" for line in lines)


def test_logs(double: KfpServer, call: Call, pods: _TimedLogs) -> None:
    run_id = _submit(double, call)
    _pod(pods, run_id, "make", "one", "two")
    _pod(pods, run_id, "use", "three")
    done = call("runs", "logs", run_id)
    assert done.stdout == "make | one\nmake | two\nuse  | three\n", done.stderr
    assert call("runs", "logs", run_id, "--task", "make").stdout == "one\ntwo\n"
    done = call("runs", "logs", run_id, "--task", "mkae")
    assert done.exit_code == 1
    assert "Did you mean 'make'" in done.stderr


def test_logs_followed(
    double: KfpServer, call: Call, pods: _TimedLogs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kfp_lifecycle.runner.cluster.logs.INTERVAL_S", 0.01)
    run_id = _submit(double, call)
    _pod(pods, run_id, "make", "one")
    done = call("runs", "logs", run_id, "--follow")
    assert (done.exit_code, done.stdout) == (0, "make | one\n")
    assert double.state.runs[run_id].state == "SUCCEEDED"


def test_logs_of_a_run_that_has_not_begun(double: KfpServer, call: Call, pods: _TimedLogs) -> None:
    run_id = _submit(double, call)
    done = call("runs", "logs", run_id)
    assert done.exit_code == 0
    assert "has not started a task yet" in done.stderr


def test_logs_when_the_pods_are_gone(double: KfpServer, call: Call, pods: _TimedLogs) -> None:
    run_id = _submit(double, call)
    _to_its_end(double, run_id)
    done = call("runs", "logs", run_id, "--task", "use")
    assert done.exit_code == 1
    assert f"Kubernetes has no pod of the task 'use' of run {run_id} any more." in done.stderr
    assert f"{run_id}/use/…/executor-logs" in done.stderr


def test_logs_without_a_right(double: KfpServer, call: Call, pods: _TimedLogs) -> None:
    run_id = _submit(double, call)
    pods.deny("list", "pods")
    done = call("runs", "logs", run_id)
    assert done.exit_code == 1
    assert "list" in done.stderr
    assert "pods" in done.stderr


def test_a_run_deleted_while_its_logs_are_followed(
    double: KfpServer, call: Call, pods: _TimedLogs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kfp_lifecycle.runner.cluster.logs.INTERVAL_S", 0.01)
    double.state.plays[""] = plays.holds()
    run_id = _submit(double, call)
    _pod(pods, run_id, "make", "one", phase="Running")
    run = double.state.runs[run_id]
    looks = iter(range(3))
    run.advance = lambda: None if next(looks, None) is not None else double.state.runs.clear()  # type: ignore[method-assign]
    done = call("runs", "logs", run_id, "--follow")
    assert (done.exit_code, done.stdout) == (1, "make | one\n")
    assert f"has no run '{run_id}'" in done.stderr
