"""Ctrl-C and its like end a run, and every process of it."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from kfp import dsl

from kfp_lifecycle.runner import process
from kfp_lifecycle.runner.process import Processes
from tests.runner.components import fail, say, wait
from tests.runner.conftest import Compile

PROGRAM = """
import sys
from pathlib import Path
from kfp_lifecycle.runner.load import load
from kfp_lifecycle.runner.local import run

result = run(load(Path(sys.argv[1])), {"folder": sys.argv[2]})
sys.exit(result.exit_code)
"""


@dsl.pipeline
def serial(folder: str):
    say(text="never").after(wait(seconds=60.0, folder=folder))


@dsl.pipeline
def parallel(folder: str):
    with dsl.ParallelFor([60.0, 61.0, 62.0]) as seconds:
        wait(seconds=seconds, folder=folder)


@dsl.pipeline
def between_attempts(folder: str):
    say(text=folder)
    fail(how="raise").set_retry(3, backoff_duration="3600s")


def started(folder: Path, count: int) -> list[int]:
    """The processes that the steps have started, once there are ``count``."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        pids = [int(path.name.removeprefix("pid-")) for path in folder.glob("pid-*")]
        if len(pids) >= count:
            return pids
        time.sleep(0.02)
    raise AssertionError(f"only {pids} have started")


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize(("pipeline", "running"), [(serial, 1), (parallel, 2)])
def test_a_signal_ends_the_steps_and_the_run(
    pipeline: Any, running: int, number: signal.Signals, compiled: Compile, here: Path
) -> None:
    file = compiled(pipeline)
    child = subprocess.Popen([sys.executable, "-c", PROGRAM, str(file.path), str(here)])
    pids = started(here, running)
    child.send_signal(number)

    assert child.wait(30) == 128 + number
    assert not any(alive(pid) for pid in pids)
    record = json.loads((here / "runs" / "latest" / "run.json").read_text())
    assert record["state"] == "cancelled"
    found = sorted(step["state"] for step in record["steps"])
    assert found == (["cancelled", "not run"] if pipeline is serial else ["cancelled", "cancelled"])


def test_a_signal_ends_the_wait_between_attempts(compiled: Compile, here: Path) -> None:
    file = compiled(between_attempts)
    child = subprocess.Popen([sys.executable, "-c", PROGRAM, str(file.path), str(here)])
    log = here / "runs" / "latest" / "logs" / "kfp.log"
    deadline = time.monotonic() + 60
    while not (log.exists() and "Retrying in 3600" in log.read_text()) and time.monotonic() < deadline:
        time.sleep(0.02)
    child.send_signal(signal.SIGINT)

    assert child.wait(30) == 130


def test_a_signal_that_is_ignored_stays_so(compiled: Compile, here: Path) -> None:
    """As under nohup."""

    @dsl.pipeline
    def short(folder: str):
        wait(seconds=0.5, folder=folder)

    program = f"import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n{PROGRAM}"
    child = subprocess.Popen([sys.executable, "-c", program, str(compiled(short).path), str(here)])
    started(here, 1)
    child.send_signal(signal.SIGHUP)

    assert child.wait(30) == 0


def test_a_step_that_does_not_heed_is_killed(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "GRACE_SECONDS", 0.2)
    processes = Processes()
    deaf = ["sh", "-c", "trap '' TERM; touch deaf; while :; do sleep 0.1; done"]

    def cancel_once_deaf() -> None:
        while not (here / "deaf").exists():
            time.sleep(0.02)
        processes.cancel()

    threading.Thread(target=cancel_once_deaf).start()
    with pytest.raises(KeyboardInterrupt):
        processes.run(deaf, os.environ, here / "log")


def test_a_cancelled_run_starts_nothing_more(here: Path) -> None:
    processes = Processes()
    processes.cancel()
    with pytest.raises(KeyboardInterrupt):
        processes.run(["touch", "started"], os.environ, here / "log")
    assert not (here / "started").exists()


def test_what_a_step_leaves_running_ends_with_it(here: Path) -> None:
    command = ["sh", "-c", "sleep 60 & echo $! > child"]

    assert Processes().run(command, os.environ, here / "log") == 0
    pid = int((here / "child").read_text())
    deadline = time.monotonic() + 10
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not alive(pid)
