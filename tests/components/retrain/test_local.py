"""Retraining on this machine: real runs of compiled files, each a process of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from kfp import compiler

from kfp_lifecycle.components.monitor.history import History, Retraining, Row, retraining_name
from kfp_lifecycle.components.monitor.message import summary_text
from kfp_lifecycle.components.retrain import local
from kfp_lifecycle.components.retrain.step import Outputs, retrain_step
from kfp_lifecycle.components.shared.errors import ParameterError, RetrainError
from tests.components.monitor.test_history import DAY, row
from tests.runner.components import wait

WINDOW = replace(row(alarm=True), model="m", retrain=True)
QUICK = json.dumps({"decision": "trained to {window_end:%Y-%m-%d}", "model_name": "{model}"})


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    # As in a step of a run on a laptop.
    monkeypatch.setenv("_KFP_RUNTIME", "false")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "kfp-lifecycle-gone"))
    monkeypatch.setenv("MLFLOW_RUN_ID", "of-the-step")
    return tmp_path


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A compiled file whose run goes on until it is ended."""
    file = tmp_path_factory.mktemp("slow") / "slow.yaml"
    compiler.Compiler().compile(wait, str(file))
    return str(file)


@pytest.fixture
def ended(here: Path) -> Iterator[None]:
    """Ends what the test has left running."""
    yield
    for record in here.rglob("run.json"):
        pid = json.loads(record.read_text())["environment"]["pid"]
        if local._lives(pid):
            os.kill(pid, signal.SIGTERM)


def step(window: Row = WINDOW, **asked: Any) -> Outputs:
    return retrain_step(**given_to(window, **asked))


def given_to(window: Row, **asked: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "summary": summary_text(window),
        "pipeline": "record-decision",
        "parameters": QUICK,
        "training_window": "",
        "history": "history",
        "wait": False,
        "where": "auto",
        "experiment": "retraining",
        "pipeline_version": "",
        "host": "",
        "namespace": "",
        "service_account": "",
        "output_dir": "runs",
    }
    return given | asked


def until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def state(outputs: Outputs) -> str:
    return str(json.loads((Path(outputs.retraining_link) / "run.json").read_text())["state"])


def test_it_runs_the_released_pipeline_with_the_new_window(here: Path) -> None:
    done = step(wait=True)
    assert done == (done.retraining, str(here / "runs" / done.retraining), True)
    record = json.loads((Path(done.retraining_link) / "run.json").read_text())
    assert record["state"] == "succeeded"
    assert record["parameters"]["decision"] == "trained to 2013-07-01"
    assert record["parameters"]["model_name"] == "m"
    assert record["pipeline"]["name"] == "record-decision"
    (kept,) = History("history").retrainings("m")
    assert (kept.run_id, kept.link, kept.state) == (done.retraining, done.retraining_link, "succeeded")

    # The step is run again: the run is there already, and nothing is started.
    assert step(wait=True) == done
    assert step(wait=True, history="") == done
    assert len(list(here.rglob("run.json"))) == 1


@pytest.mark.usefixtures("ended")
def test_while_one_runs_no_other_is_started(here: Path, slow: str) -> None:
    waiting = {"pipeline": slow, "parameters": json.dumps({"seconds": 600, "folder": str(here)})}
    first = step(**waiting)
    assert first.started
    assert state(first) == "running"
    # … it outlives the step, and the step finds it again.
    assert step(**waiting) == first
    later = replace(WINDOW, end=WINDOW.end + DAY)
    assert step(later, **waiting) == (first.retraining, first.retraining_link, False)
    # Another model's is not in the way.
    assert step(replace(WINDOW, model="other"), wait=True).started

    os.kill(json.loads((Path(first.retraining_link) / "run.json").read_text())["environment"]["pid"], 15)
    until(lambda: state(first) == "cancelled")
    second = step(later, wait=True)
    assert second.started
    assert [one.state for one in History("history").retrainings("m")] == ["failed", "succeeded"]


@pytest.mark.usefixtures("ended")
def test_a_run_that_was_broken_off_is_begun_anew(here: Path, slow: str) -> None:
    parameters = json.dumps({"seconds": 600, "folder": str(here)})
    first = step(pipeline=slow, parameters=parameters)
    pid = json.loads((Path(first.retraining_link) / "run.json").read_text())["environment"]["pid"]
    os.kill(pid, signal.SIGKILL)  # as when the machine goes down
    until(lambda: not local._lives(pid))
    second = step(wait=True)
    assert second == (f"{first.retraining}-2", f"{first.retraining_link}-2", True)


def test_of_two_at_once_the_first_starts_it() -> None:
    history, now = History("history"), datetime.now(UTC)
    first = Retraining(retraining_name("m", "3", WINDOW.end), "m", "3", WINDOW.end, now)
    history.keep(first)  # just being started
    later = replace(WINDOW, end=WINDOW.end + DAY)
    assert step(later) == ("", "", False)
    assert history.retrainings("m") == [first]
    # One that died before it started anything is not waited for.
    history.keep(replace(first, asked=now - timedelta(hours=1)))
    assert step(later).started


def test_what_cannot_be_started_says_why(here: Path) -> None:
    with pytest.raises(RetrainError, match=r"not start the retraining.*no parameter 'decison'"):
        step(parameters='{"decison": "x"}')
    with pytest.raises(RetrainError, match="no compiled pipeline or component 'trainig'"):
        step(pipeline="trainig")
    with pytest.raises(ParameterError, match="where"):
        step(where="laptop")
    (here / "file").write_text("")
    with pytest.raises(Exception, match="cannot be written"):
        step(output_dir="file/below")
    # None of them stands in the way of the next attempt.
    assert step(wait=True).started


def test_a_retraining_that_fails_fails_the_step_that_waits_and_is_not_begun_again(here: Path) -> None:
    for _ in range(2):
        with pytest.raises(RetrainError, match="has failed"):
            step(parameters='{"decision": ""}', wait=True)
    assert len(list(here.rglob("run.json"))) == 1


@pytest.mark.usefixtures("ended")
def test_a_step_that_is_cancelled_ends_the_run_that_it_waits_for(here: Path, slow: str) -> None:
    asked = {"seconds": 600, "folder": str(here)}
    given = given_to(WINDOW, pipeline=slow, parameters=json.dumps(asked), wait=True)
    code = f"from kfp_lifecycle.components.retrain.step import retrain_step; retrain_step(**{given!r})"
    child = subprocess.Popen([sys.executable, "-c", code])
    until(lambda: any(here.glob("pid-*")))
    child.terminate()
    assert child.wait(30)
    (record,) = here.rglob("run.json")
    until(lambda: json.loads(record.read_text())["state"] == "cancelled")
