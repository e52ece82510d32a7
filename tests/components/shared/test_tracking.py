"""Tracking against real stores: SQLite files, a real MLflow server, and servers that fail."""

import http.server
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import mlflow
import pytest
from mlflow.tracking import MlflowClient

from kfp_lifecycle.components.shared.errors import StorageError, TrackingError
from kfp_lifecycle.components.shared.tracking import connect, tracked_run, tracking_errors, tracking_uri
from tests.servers import free_port, mlflow_server


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")


@pytest.fixture
def store(tmp_path: Path, empty_store: Path) -> None:
    """The default store, made already."""
    shutil.copy(empty_store, tmp_path / "mlflow.db")


def test_the_default_store_is_one_file_here_with_artifacts_beside_it(tmp_path: Path) -> None:
    (tmp_path / "mlruns").mkdir()  # what older MLflow leaves behind, and takes for the store again
    assert tracking_uri() == f"sqlite:///{tmp_path}/mlflow.db"
    with tracked_run("churn", "first") as run_id:
        run = MlflowClient().get_run(run_id)
        assert run.info.artifact_uri == (tmp_path / "mlartifacts" / run_id / "artifacts").as_uri()
        assert run.info.status == "RUNNING"
    assert mlflow.get_tracking_uri() == tracking_uri()
    assert MlflowClient().get_run(run_id).info.status == "FINISHED"
    assert list((tmp_path / "mlruns").iterdir()) == []


def test_a_configured_sqlite_file_keeps_its_artifacts_beside_it(
    tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "a folder, größer"
    folder.mkdir()
    shutil.copy(empty_store, folder / "runs.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/runs.db")
    with tracked_run("churn") as run_id:
        MlflowClient().log_text(run_id, "said", "note.txt")
    assert (folder / "mlartifacts" / run_id / "artifacts" / "note.txt").read_text() == "said"


def test_in_a_pod_a_store_must_be_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    with pytest.raises(TrackingError, match="MLFLOW_TRACKING_URI is not set") as caught:
        connect()
    assert "vanish with the pod" in str(caught.value)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    assert tracking_uri() == "http://mlflow:5000"


@pytest.mark.usefixtures("store")
def test_a_failing_block_leaves_a_failed_run() -> None:
    with pytest.raises(ZeroDivisionError), tracked_run("churn") as run_id:
        _ = 1 / 0
    assert MlflowClient().get_run(run_id).info.status == "FAILED"


def test_a_run_of_the_kubeflow_plugin_is_joined_and_left_open(
    mlflow_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_uri)
    client = MlflowClient(mlflow_uri)
    experiment = client.create_experiment("of the plugin")
    opened = client.create_run(experiment, run_name="of the plugin").info
    monkeypatch.setenv("MLFLOW_RUN_ID", opened.run_id)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", experiment)
    with tracked_run("another", "another", {"step": "train"}) as run_id:
        assert run_id == opened.run_id
    with pytest.raises(ZeroDivisionError), tracked_run("another"):
        _ = 1 / 0
    run = client.get_run(run_id)
    assert (run.info.status, run.info.run_name, run.data.tags["step"]) == (
        "RUNNING",
        "of the plugin",
        "train",
    )
    assert client.get_experiment_by_name("another") is None


def test_an_experiment_of_the_plugin_is_used(mlflow_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_uri)
    experiment = MlflowClient(mlflow_uri).create_experiment("given by id")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", experiment)
    with tracked_run("another") as run_id:
        pass
    assert MlflowClient(mlflow_uri).get_run(run_id).info.experiment_id == experiment


@pytest.mark.usefixtures("store")
def test_a_run_is_nested_in_the_one_that_the_environment_names(monkeypatch: pytest.MonkeyPatch) -> None:
    with tracked_run("search") as parent:
        monkeypatch.setenv("MLFLOW_PARENT_RUN_ID", parent)
        with tracked_run("elsewhere", "trial-1") as run_id:
            run, outer = (MlflowClient().get_run(one) for one in (run_id, parent))
    assert run.data.tags["mlflow.parentRunId"] == parent
    assert (run.info.run_name, run.info.experiment_id) == ("trial-1", outer.info.experiment_id)


def test_a_run_that_is_not_there_is_named(mlflow_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_uri)
    monkeypatch.setenv("MLFLOW_RUN_ID", "0123456789abcdef0123456789abcdef")
    with pytest.raises(TrackingError, match="0123456789abcdef"), tracked_run("churn"):
        pass


def test_a_server_chooses_where_artifacts_are(mlflow_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_uri)
    with tracked_run("churn", "remote", {"a": "b"}) as run_id:
        MlflowClient().log_text(run_id, "said", "note.txt")
        assert MlflowClient().get_run(run_id).info.artifact_uri.startswith("mlflow-artifacts:")
    assert mlflow.artifacts.load_text(f"runs:/{run_id}/note.txt") == "said"
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.usefixtures("store")
def test_a_deleted_experiment_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    client = connect()
    client.delete_experiment(client.create_experiment("gone"))
    with pytest.raises(TrackingError, match="'gone' is deleted"), tracked_run("gone"):
        pass


def test_a_server_that_is_down_is_named_without_credentials(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    port = free_port()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://user:hunter2@127.0.0.1:{port}")
    with pytest.raises(TrackingError) as caught, tracked_run("churn"):
        pass
    assert f"http://***@127.0.0.1:{port}" in str(caught.value)
    assert "Connection refused" in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert "Retrying" in caplog.text
    assert "hunter2" not in caplog.text


class _Stumbling(http.server.BaseHTTPRequestHandler):
    """A test double of a server that comes up late: twice unavailable, then an empty store."""

    failures = 2

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        status, body = (503, b"{}") if type(self).failures else (200, b"{}")
        type(self).failures = max(0, type(self).failures - 1)
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(("retries", "reached"), [("2", True), ("1", False)])
def test_a_server_that_stumbles_is_retried(
    retries: str, reached: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", retries)
    _Stumbling.failures = 2
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Stumbling) as double:
        threading.Thread(target=double.serve_forever, daemon=True).start()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{double.server_port}")
        if reached:
            connect()
        else:
            with pytest.raises(TrackingError, match="503"):
                connect()
        double.shutdown()


@pytest.mark.usefixtures("store")
def test_retries_are_bounded_unless_the_environment_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "3")
    connect()
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "4"
    assert os.environ["MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR"] == "3"
    assert "MLFLOW_HTTP_REQUEST_TIMEOUT" not in os.environ


def test_a_server_that_goes_away_within_a_run_is_a_declared_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with mlflow_server(tmp_path / "short-lived") as uri:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        run = tracked_run("churn")
        run_id = run.__enter__()
    error: BaseException | None = None
    try:
        MlflowClient().log_metric(run_id, "auc", 0.8)
    except Exception as raised:
        error = raised
    assert error is not None
    with pytest.raises(TrackingError, match=uri):
        run.__exit__(type(error), error, error.__traceback__)


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("sqlite:////proc/nowhere/mlflow.db", "/proc/nowhere"),
        ("nonsense://host/x", "nonsense"),
        ("http://", "http://"),
    ],
)
def test_a_store_that_cannot_be_is_named(uri: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(TrackingError, match=said):
        connect()


def test_a_damaged_database_is_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text(
        "this is not a database, and long enough to be read as a header " * 20
    )
    with pytest.raises(TrackingError, match=r"mlflow\.db failed: file is not a database"):
        connect()


def test_other_errors_pass_through() -> None:
    with pytest.raises(StorageError), tracking_errors():
        raise StorageError("The disk is full.")


def test_two_processes_make_the_store_and_the_experiment_at_once(tmp_path: Path) -> None:
    code = (
        "from kfp_lifecycle.components.shared.tracking import tracked_run\n"
        "with tracked_run('churn') as run_id: print(run_id)\n"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=tmp_path) for _ in range(2)
    ]
    runs = {process.communicate(timeout=120)[0].decode().strip() for process in both}
    assert [process.returncode for process in both] == [0, 0]
    client = connect()
    experiment = client.get_experiment_by_name("churn").experiment_id
    assert {run.info.run_id for run in client.search_runs([experiment])} == runs
    assert len(runs) == 2
