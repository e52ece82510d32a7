"""How a server ends: told to, it answers what has come; killed, a supervisor's next one goes on."""

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

from tests.components.serve.server.clients import Load
from tests.components.serve.serving import Models, Start
from tests.servers import free_port

PREDICT = "/v1/models/churn:predict"

pytestmark = pytest.mark.server


def test_sigterm_under_load_loses_no_request(server: Start, models: Models) -> None:
    running = server(models.binary, "--drain-delay-s", "0.3")
    load = Load(running.url, PREDICT, {"instances": models.rows[:1]}, until_refused=True)
    with load.clients(8):
        time.sleep(1)
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(20) == 0
    assert set(load.seen) <= {"200", "refused"}, load.seen
    assert load.seen["200"] > 20
    assert all(answer["predictions"][0]["prediction"] in ("No", "Yes") for answer in load.answers)


def test_a_server_that_ends_is_not_ready_and_sends_its_clients_elsewhere(
    server: Start, models: Models
) -> None:
    running = server(models.binary, "--drain-delay-s", "1.5")
    running.get("/v2/health/ready").raise_for_status()
    running.process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    ready = running.get("/v2/health/ready")
    assert (ready.status_code, ready.json()) == (503, {"ready": False})
    assert running.get("/v2/health/live").status_code == 200
    answer = running.post(PREDICT, {"instances": models.rows[:1]})
    assert (answer.status_code, answer.headers["connection"]) == (200, "close")
    assert running.process.wait(20) == 0


def test_a_killed_server_is_started_again_and_serves(models: Models, tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-m", "kfp_lifecycle.components.serve", "--model", str(models.binary)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--drain-delay-s", "0"]
    url, ended, started = f"http://127.0.0.1:{port}", threading.Event(), []

    def supervise() -> None:
        with (tmp_path / "log").open("wb") as log:
            while not ended.is_set():
                started.append(subprocess.Popen(command, stdout=log, stderr=log))
                started[-1].wait()

    supervisor = threading.Thread(target=supervise)
    supervisor.start()
    try:
        _wait(url)
        load = Load(url, PREDICT, {"instances": models.rows[:1]}, until_refused=False)
        with load.clients(4):
            time.sleep(0.5)
            before = load.seen["200"]
            started[-1].kill()
            _wait(url)
            time.sleep(0.5)
        assert len(started) == 2
        # A client loses what was under way, and perhaps one more that it could still connect for.
        assert load.seen["lost"] <= 8
        assert set(load.seen) <= {"200", "lost", "refused"}
        assert load.seen["200"] > before > 0
    finally:
        ended.set()
        started[-1].terminate()
        supervisor.join(30)


def _wait(url: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/v2/health/ready").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError(f"{url} was not ready")
