"""Following runs: what is seen of them, and what a wait survives."""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from kfp_lifecycle.runner.cluster.connect import Server, connect
from kfp_lifecycle.runner.cluster.errors import NotFoundError, UnauthorizedError, UnreachableError
from kfp_lifecycle.runner.cluster.retry import Patience
from kfp_lifecycle.runner.cluster.submit import submit
from kfp_lifecycle.runner.cluster.watch import ClusterRun, look, watch
from kfp_lifecycle.runner.events import Event, EventKind, State
from tests.kfp_server import KfpServer, plays
from tests.kfp_server.run import RunState
from tests.runner.cluster.submitting import QUICK, compiled, to

GIVEN = {"source": "gs://b/churn.csv"}


def start(server: Server, folder: Path, *tasks: str, **options: Any) -> str:
    return submit(server, compiled(folder, *tasks), GIVEN, experiment="Default", **options).run_id


def follow(server: Server, run_id: str, **options: Any) -> tuple[ClusterRun, list[str]]:
    """The run as it ended, and its events as lines."""
    lines: list[str] = []

    def note(event: Event) -> None:
        name = event.step.name if event.step else ""
        state = f" {event.step.state}" if event.step and event.kind is EventKind.STEP_ENDED else ""
        text = event.text.partition(":")[0] if event.text else ""
        lines.append(f"{event.kind} {name}{state}{text}".strip())

    return watch(server, run_id, [note], interval_s=0.0, patience=QUICK, **options), lines


def test_a_run_that_succeeds(double: KfpServer, tmp_path: Path) -> None:
    double.state.plays[""] = plays.succeeds({"train": {"model": ["7", "8"]}})
    server = to(double)
    run, lines = follow(server, start(server, tmp_path, run_name="nightly"))

    assert (run.state, run.exit_code, run.title, run.place) == (State.SUCCEEDED, 0, "small 1.0.0", "nightly")
    assert run.parameters == GIVEN
    assert lines == [
        "run started", "step started prepare", "step ended prepare succeeded", "step started train",
        "step ended train succeeded", "run ended",
    ]  # fmt: skip
    assert [(step.name, step.state, step.attempts) for step in run.steps] == [
        ("prepare", State.SUCCEEDED, 1), ("train", State.SUCCEEDED, 1),
    ]  # fmt: skip
    assert run.steps[1].outputs == {"model": "7, 8"}
    assert all(step.seconds is not None and step.started is not None for step in run.steps)


def test_one_that_fails(double: KfpServer, tmp_path: Path) -> None:
    double.state.plays[""] = plays.fails("prepare", "Main: exit code 1")
    server = to(double)
    run, lines = follow(server, start(server, tmp_path))
    assert (run.state, run.exit_code, run.error) == (State.FAILED, 1, "Main: exit code 1")
    assert [step.state for step in run.steps] == [State.FAILED, State.NOT_RUN]
    assert lines[-2:] == ["step ended prepare failed", "run ended"]

    double.state.plays[""] = plays.fails("train")  # as real servers do, it does not say why
    run, _ = follow(server, start(server, tmp_path))
    assert "the step's log does" in run.error
    assert run.failed_step is run.steps[1]


def test_one_that_is_cancelled(double: KfpServer, tmp_path: Path) -> None:
    double.state.plays[""] = plays.holds("prepare")
    server = to(double)
    run_id = start(server, tmp_path)
    looks = iter(range(100))

    def sleep(seconds: float) -> None:
        if next(looks) == 6:
            server.client.terminate_run(run_id)

    run, lines = follow(server, run_id, sleep=sleep)
    assert (run.state, run.exit_code) == (State.CANCELLED, 1)
    assert run.steps[0].state is State.SUCCEEDED
    assert lines[-1] == "run ended"


def test_a_condition_that_does_not_hold(double: KfpServer, tmp_path: Path) -> None:
    def play(run: RunState) -> Any:
        run.start("prepare")
        yield
        run.end("prepare", "SUCCEEDED")
        run.finish("SUCCEEDED")

    double.state.plays[""] = play
    server = to(double)
    run, lines = follow(server, start(server, tmp_path))
    assert [step.state for step in run.steps] == [State.SUCCEEDED, State.SKIPPED]
    assert not any("train" in line for line in lines)


def test_the_items_of_a_loop(double: KfpServer, tmp_path: Path) -> None:
    def play(run: RunState) -> Any:
        run.start("prepare")
        run.end("prepare", "SUCCEEDED")
        yield
        run.start("train")
        original = run._nodes["train"]
        for number in (1, 2):
            # The items' nodes have the same name, as on a real server.
            run._node(f"{number}/train", "root", "RUNNING")
        yield
        for key in ("train", "1/train", "2/train"):
            run._ended(run._nodes[key], "FAILED" if key.startswith("1") else "SUCCEEDED")
        assert original.state == "SUCCEEDED"
        yield
        run.finish("FAILED", "one item")

    double.state.plays[""] = play
    server = to(double)
    run, lines = follow(server, start(server, tmp_path, "prepare", "for-loop-1/train"))
    assert [(step.name, step.state) for step in run.steps] == [
        ("prepare", State.SUCCEEDED),
        ("train #1", State.SUCCEEDED),
        ("train #2", State.FAILED),
        ("train #3", State.SUCCEEDED),
    ]
    assert sum("step started train" in line for line in lines) == 3


def test_a_nested_pipeline_is_shown_as_it_is_here(double: KfpServer, tmp_path: Path) -> None:
    server = to(double)
    run, _ = follow(server, start(server, tmp_path, "prepare", "inner/train"))
    assert [step.name for step in run.steps] == ["prepare", "inner / train"]
    assert {step.state for step in run.steps} == {State.SUCCEEDED}


def test_a_pipeline_that_is_no_more(double: KfpServer, tmp_path: Path) -> None:
    server = to(double)
    run_id = start(server, tmp_path)
    double.state.versions.clear()
    run, _ = follow(server, run_id)
    assert [step.name for step in run.steps] == ["prepare", "train"]
    assert run.state is State.SUCCEEDED


def test_a_step_whose_driver_fails_has_failed(double: KfpServer, tmp_path: Path) -> None:
    def play(run: RunState) -> Any:
        run.start("prepare")
        run.end("prepare", "SUCCEEDED")
        run._node("train-driver", "root", "FAILED")
        yield
        run.finish("FAILED")

    double.state.plays[""] = play
    server = to(double)
    run, _ = follow(server, start(server, tmp_path))
    assert [step.state for step in run.steps] == [State.SUCCEEDED, State.FAILED]


def test_a_look_does_not_wait(double: KfpServer, tmp_path: Path) -> None:
    double.state.plays[""] = plays.holds()
    server = to(double)
    run_id = start(server, tmp_path)
    assert look(server, run_id).state is State.RUNNING
    with pytest.raises(NotFoundError, match=r"has no run 'x'. .*kfp-lifecycle runs list --host"):
        look(server, "x")
    with pytest.raises(NotFoundError, match="has no run 'x'"):
        follow(server, "x")


def test_what_plugins_say_is_an_output(double: KfpServer, tmp_path: Path) -> None:
    server = to(double)
    run_id = start(server, tmp_path)
    double.state.runs[run_id].wire["plugins_output"] = {
        "mlflow": {"entries": {"run_url": {"value": "https://mlflow.test/1"}}, "state": "SUCCEEDED"}
    }
    run, _ = follow(server, run_id)
    assert run.outputs == {"mlflow.run_url": "https://mlflow.test/1"}


def test_clocks_that_differ_give_no_negative_times(double: KfpServer, tmp_path: Path) -> None:
    double.state.clock_ahead = timedelta(hours=3)
    server = to(double)
    run_id = start(server, tmp_path)
    state = look(server, run_id)
    assert state.seconds == 0.0
    assert state.started > datetime.now(UTC)
    run, _ = follow(server, run_id)
    assert 0 <= run.seconds < 60


# Faults during the wait


def test_a_restart_is_waited_for(double: KfpServer, tmp_path: Path) -> None:
    server = to(double)
    run_id = start(server, tmp_path)
    looks = iter(range(100))

    def sleep(seconds: float) -> None:
        if next(looks) == 2:
            double.stop()
            threading.Timer(0.3, double.start).start()

    run, lines = follow(server, run_id, sleep=sleep)
    assert run.state is State.SUCCEEDED
    assert (
        sum(line.startswith("trouble Cannot look") for line in lines) == 1
    )  # said once, not at each attempt
    at = next(n for n, line in enumerate(lines) if line.startswith("trouble Cannot"))
    assert lines[at + 1] == "trouble"  # and that it is over
    assert lines[-1] == "run ended"


@pytest.mark.parametrize(
    "fault",
    [
        lambda faults: faults.answer(503, "runs", retry_after="0", times=3),
        lambda faults: faults.answer(429, "runs", retry_after="0", times=3),
        lambda faults: faults.drop_before("runs", 3),
        lambda faults: faults.drop_after("runs", 2),
        lambda faults: faults.answer(502, "runs", times=3, body="<html>Bad gateway"),
    ],
)
def test_a_bad_line_is_waited_out(double: KfpServer, tmp_path: Path, fault: Callable[[Any], None]) -> None:
    server = to(double)
    run_id = start(server, tmp_path)
    fault(double.faults)
    run, lines = follow(server, run_id)
    assert run.state is State.SUCCEEDED
    assert lines[-1] == "run ended"


def test_a_server_that_stays_away_leaves_the_run(double: KfpServer, tmp_path: Path) -> None:
    server = to(double)
    run_id = start(server, tmp_path)
    double.stop()
    with pytest.raises(UnreachableError) as raised:
        watch(server, run_id, interval_s=0, patience=Patience(0.2, 0.01, 0.05))
    assert f"follow it again: kfp-lifecycle watch {run_id} --host {double.url}" in str(raised.value)


def test_a_run_that_is_deleted(double: KfpServer, tmp_path: Path) -> None:
    double.state.plays[""] = plays.holds()
    server = to(double)
    run_id = start(server, tmp_path)

    def sleep(seconds: float) -> None:
        if run_id in double.state.runs:
            server.client.delete_run(run_id)

    with pytest.raises(NotFoundError, match=f"Run {run_id} was deleted while it was watched"):
        follow(server, run_id, sleep=sleep)


def test_a_token_that_ends(shared: KfpServer, tmp_path: Path, config: Path) -> None:
    token = tmp_path / "token"
    token.write_text("token-of-ann")
    held = {"host": shared.url, "namespace": "team-a", "token_command": f"cat {token}"}
    config.write_text(yaml.safe_dump({"current": "team", "contexts": {"team": held}}))
    server = connect(patience=QUICK)
    run_id = start(server, tmp_path)
    looks = iter(range(100))

    def sleep(seconds: float) -> None:
        if next(looks) == 1:
            shared.gate.expire("token-of-ann")
            shared.gate.admit("ann", token="next-token")
            token.write_text("next-token")

    run, lines = follow(server, run_id, sleep=sleep)
    assert run.state is State.SUCCEEDED
    assert sum(seen.status == 401 for seen in shared.requests(run_id)) == 1
    assert not any(line.startswith("trouble") for line in lines)

    shared.state.plays[""] = plays.holds()
    run_id = start(server, tmp_path)
    shared.gate.expire("next-token")
    with pytest.raises(UnauthorizedError, match="The run goes on without this command") as raised:
        follow(server, run_id)
    assert "next-token" not in str(raised.value)


def test_looks_are_not_more_frequent_than_told(double: KfpServer, tmp_path: Path) -> None:
    server = to(double)
    run_id = start(server, tmp_path)
    began = time.monotonic()
    watch(server, run_id, interval_s=0.1)
    looks = len(double.requests(f"GET /apis/v2beta1/runs/{run_id}"))
    assert time.monotonic() - began >= 0.1 * (looks - 1)
