"""Runs on a server: listed, filtered, stopped, retried; and what MLflow knows of them."""

from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kfp_lifecycle.runner.cluster.columns import column
from kfp_lifecycle.runner.cluster.cron import ScheduleError
from kfp_lifecycle.runner.cluster.errors import NotFoundError, RefusedError
from kfp_lifecycle.runner.cluster.metrics import Measured, measured, tracking_there
from kfp_lifecycle.runner.cluster.runs import (
    Filter,
    RunError,
    find_run,
    get_run,
    list_runs,
    parse_state,
    retry,
    terminate,
)
from kfp_lifecycle.runner.cluster.schedule_apply import apply
from tests.kfp_server import KfpServer, plays
from tests.runner.cluster.scheduling import SPEC, add_version, daily, no_wait, now, to


def _start(double: KfpServer, name: str = "a run", **more: Any) -> str:
    with double.state.lock:
        if not double.state.versions:
            add_version(double)
        (version,) = list(double.state.versions.values())[:1]
        reference = {key: version[key] for key in ("pipeline_id", "pipeline_version_id")}
        body = {"display_name": name, "pipeline_version_reference": reference, **more}
        body.setdefault("runtime_config", {"parameters": {"source": "gs://b/churn.csv"}})
        return str(double.state.add_run(body).wire["run_id"])


def _end(double: KfpServer, run_id: str, state: str, message: str = "") -> None:
    with double.state.lock:
        double.state.runs[run_id].finish(state, message)


def test_the_newest_come_first_and_say_what_they_are(double: KfpServer) -> None:
    double.state.clock_ahead = timedelta(hours=-2)
    first = _start(double, "the first")
    _end(double, first, "FAILED", "step  train\nfailed")
    double.state.clock_ahead = timedelta()
    second = _start(double, "the second")
    runs = list_runs(to(double))
    assert [run.run_id for run in runs] == [second, first]
    assert [run.state for run in runs] == ["PENDING", "FAILED"]
    assert {(run.pipeline, run.version, run.experiment) for run in runs} == {("training", "1.0.0", "Default")}
    assert runs[1].error == "step train failed"
    assert runs[0].finished is None
    assert runs[0].seconds(runs[0].created + timedelta(minutes=1)) == 60


def test_filters(double: KfpServer) -> None:
    other = double.state.add_experiment({"display_name": "churn"})["experiment_id"]
    double.state.clock_ahead = timedelta(days=-3)
    old = _start(double, "old")
    double.state.clock_ahead = timedelta()
    failed, elsewhere, archived = _start(double), _start(double, experiment_id=other), _start(double)
    _end(double, failed, "FAILED")
    double.state.runs[archived].wire["storage_state"] = "ARCHIVED"
    server = to(double)

    def ids(**wanted: Any) -> set[str]:
        return {run.run_id for run in list_runs(server, Filter(**wanted))}

    day = now() - timedelta(days=1)
    assert ids() == {old, failed, elsewhere}
    assert ids(archived=True) == {archived}
    assert ids(states=("FAILED", "CANCELED")) == {failed}
    assert ids(experiment="churn") == {elsewhere}
    assert ids(since=day) == {failed, elsewhere}
    assert ids(until=day) == {old}
    assert ids(since=day, states=("PENDING",), experiment="Default") == set()
    with pytest.raises(RunError, match="no experiment 'chorn'"):
        ids(experiment="chorn")
    with pytest.raises(ScheduleError, match="no schedule"):
        ids(schedule="nightly")


def test_runs_of_a_schedule(double: KfpServer) -> None:
    made = apply(to(double), daily(add_version(double), max_concurrency=5), wait=no_wait).schedule
    fired = {double.state.fire(made.id).wire["run_id"] for _ in range(3)}  # type: ignore[union-attr]
    _start(double)
    server = to(double)
    assert {run.run_id for run in list_runs(server, Filter(schedule="nightly"))} == fired
    assert {run.run_id for run in list_runs(server, Filter(schedule=made.id), limit=2)} < fired
    assert all(run.recurring_run_id == made.id for run in list_runs(server, Filter(schedule="nightly")))


def test_more_than_a_page(double: KfpServer) -> None:
    for number in range(130):
        _start(double, f"run {number}")
    assert len(list_runs(to(double), limit=120)) == 120
    assert len(list_runs(to(double), limit=5)) == 5


def test_what_is_deleted_has_its_id_for_a_name(double: KfpServer) -> None:
    _start(double)
    (version,) = double.state.versions
    double.state.versions.clear()
    (run,) = list_runs(to(double))
    assert (run.pipeline, run.version) == ("training", version)


@pytest.mark.parametrize(("text", "state"), [("failed", "FAILED"), (" Cancelled", "CANCELED")])
def test_states_by_name(text: str, state: str) -> None:
    assert parse_state(text) == state


def test_a_state_that_is_none() -> None:
    with pytest.raises(RunError, match="Did you mean 'FAILED'"):
        parse_state("faild")


def test_a_run_by_the_beginning_of_its_id_or_its_link(double: KfpServer) -> None:
    server, ids = to(double), [_start(double) for _ in range(3)]
    assert find_run(server, ids[0][:12]) == ids[0]
    assert find_run(server, ids[1]) == ids[1]
    assert find_run(server, f"https://kubeflow.example.com/#/runs/details/{ids[2]}") == ids[2]
    for text in ("zzz", ""):
        with pytest.raises(RunError, match="None of the newest"):
            find_run(server, text)
    beginning = next((a for a in "0123456789abcdef" if sum(i.startswith(a) for i in ids) > 1), None)
    if beginning:
        with pytest.raises(RunError, match="of the newest runs begin"):
            find_run(server, beginning)


# Stopping and retrying


@pytest.mark.parametrize("fault", ["", "drop before", "drop after", "503"])
def test_stopped_once_and_said_what_came_of_it(double: KfpServer, fault: str) -> None:
    server, run_id = to(double), _start(double)
    if fault == "503":
        double.faults.answer(503, ":terminate")
    elif fault:
        (double.faults.drop_before if "before" in fault else double.faults.drop_after)(":terminate")
    assert terminate(server, run_id) == f"Run {run_id} is being stopped."
    assert double.state.runs[run_id].state == "CANCELING"
    assert terminate(server, run_id).endswith("is over already: CANCELED.")


def test_what_is_being_stopped_is_left(double: KfpServer) -> None:
    server, run_id = to(double), _start(double)
    double.state.runs[run_id].advance = lambda: None  # type: ignore[method-assign]
    terminate(server, run_id)
    assert terminate(server, run_id) == f"Run {run_id} is being stopped already."
    assert len(double.requests(":terminate")) == 1
    with pytest.raises(RunError, match="is being stopped"):
        retry(server, run_id)


def test_what_ends_just_when_it_is_stopped(double: KfpServer) -> None:
    server, run_id = to(double), _start(double)
    double.faults.answer(400, ":terminate", body='{"error": "Row not found", "code": 3}')
    with pytest.raises(RefusedError):
        terminate(server, run_id)
    ends = iter([SimpleNamespace(state="RUNNING"), SimpleNamespace(state="SUCCEEDED")])
    server.client.get_run = lambda run_id: next(ends)
    double.faults.answer(400, ":terminate", body='{"error": "Row not found", "code": 3}')
    assert terminate(server, run_id) == f"Run {run_id} is being stopped."


@pytest.mark.parametrize("fault", ["", "drop before", "drop after", "503", "429"])
def test_retried_once(double: KfpServer, fault: str) -> None:
    double.state.plays[""] = plays.fails("train", "out of memory")
    server, run_id = to(double), _start(double)
    for _ in range(4):
        get_run(server, run_id)
    assert double.state.runs[run_id].state == "FAILED"
    if fault.isdigit():
        double.faults.answer(int(fault), ":retry", retry_after="0")
    elif fault:
        (double.faults.drop_before if "before" in fault else double.faults.drop_after)(":retry")
    double.state.plays[""] = plays.succeeds()
    assert retry(server, run_id).endswith("goes on with what had failed.")
    done = [r for r in double.requests(":retry") if r.status == 200]
    assert len(done) == (0 if fault == "drop after" else 1)
    assert len(double.requests(":retry")) == (1 if fault in ("", "drop after") else 2)
    assert retry(server, run_id).endswith("goes on already: RUNNING.")


def test_what_cannot_be_retried(double: KfpServer) -> None:
    server = to(double)
    succeeded, archived = _start(double), _start(double)
    _end(double, succeeded, "SUCCEEDED")
    _end(double, archived, "FAILED")
    double.state.runs[archived].wire["storage_state"] = "ARCHIVED"
    with pytest.raises(RunError, match="has not failed: SUCCEEDED"):
        retry(server, succeeded)
    with pytest.raises(RunError, match="is archived"):
        retry(server, archived)
    assert not double.requests(":retry")


@pytest.mark.parametrize("act", [terminate, retry, get_run])
def test_a_run_that_is_gone(double: KfpServer, act: Any) -> None:
    server, run_id = to(double), _start(double)
    del double.state.runs[run_id]
    with pytest.raises(NotFoundError, match=f"has no run '{run_id}'"):
        act(server, run_id)


# Columns and metrics


def test_a_run_as_a_column(double: KfpServer) -> None:
    server, run_id = to(double), _start(double)
    found = column(server, get_run(server, run_id), Measured({"r2": 0.5}, "churn version 3"))
    assert (found.title, found.model, found.metrics) == ("training 1.0.0", "churn version 3", {"r2": 0.5})
    assert found.values() == {"source": "gs://b/churn.csv", "folds": 5}


def test_a_column_without_its_version(double: KfpServer) -> None:
    server = to(double)
    run_id = _start(double, runtime_config={"parameters": {"source": "s3://key:secret@host/b"}})
    double.state.versions.clear()
    found = column(server, get_run(server, run_id), Measured())
    assert (found.title, found.file) == ("", None)
    assert found.values() == {"source": "s3://***@host/b"}


def test_a_column_of_a_run_with_its_own_specification(double: KfpServer) -> None:
    body = {
        "display_name": "inline",
        "pipeline_spec": SPEC,
        "runtime_config": {"parameters": {"source": "a"}},
    }
    run_id = double.state.add_run(body).wire["run_id"]
    server = to(double)
    assert column(server, get_run(server, run_id), Measured()).title == "training"
    assert list_runs(server)[0].pipeline == "training"


@pytest.fixture
def tracking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    assert not tracking_there()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert tracking_there()
    from kfp_lifecycle.components.shared.tracking import connect

    return connect()


def test_metrics_of_the_model_that_a_run_registered(tracking: Any) -> None:
    tracking.create_registered_model("churn")
    tags = {"pipeline_run_id": "run-1", "test_roc_auc": "0.84", "test_roc_auc_low": "0.82", "task": "binary"}
    for version in range(2):
        tracking.create_model_version(
            "churn", f"file:///none/{version}", tags={**tags, "test_brier": f"0.{version}"}
        )
    run = SimpleNamespace(run_id="run-1", plugins_output=None)
    assert measured(run) == Measured(
        {"test_roc_auc": 0.84, "test_roc_auc_low": 0.82, "test_brier": 0.1}, "churn version 2", ""
    )
    assert measured(SimpleNamespace(run_id="run-2", plugins_output=None)) == Measured()


def test_metrics_of_the_run_that_the_plugin_opened(tracking: Any) -> None:
    root = tracking.create_run("0")
    nested = tracking.create_run("0", tags={"mlflow.parentRunId": root.info.run_id})
    tracking.log_metric(nested.info.run_id, "roc_auc_mean", 0.8)
    tracking.log_metric(root.info.run_id, "rows", 7043)
    entry = SimpleNamespace(value=root.info.run_id)
    plugin = SimpleNamespace(entries={"root_run_id": entry})
    run = SimpleNamespace(run_id="run-1", plugins_output={"mlflow": plugin})
    assert measured(run) == Measured({"roc_auc_mean": 0.8, "rows": 7043.0}, "", root.info.run_id)
