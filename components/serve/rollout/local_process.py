"""The server as a process of this machine: started so that it outlives who started it, found again, ended."""

import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Sequence

import psutil
import requests

from kfp_lifecycle.components.serve.rollout.local_state import Running, StateFile
from kfp_lifecycle.components.serve.rollout.target import Release
from kfp_lifecycle.components.shared.errors import ServingError
from kfp_lifecycle.components.shared.tracking import tracking_uri

#: The variable that a server reads its token from.
TOKEN = "KFP_LIFECYCLE_SERVE_TOKEN"
_POLL_S = 0.1
_ANSWER_S = 5.0
#: How long a server may take to answer what it has begun, once it is told to end.
_DRAIN_S = 40.0
_CLOCK_S = 2.0


def start(
    state: StateFile, release: Release, port: int, arguments: Sequence[str], log_lines: bool = False
) -> Running:
    """Starts a server of the release in a session of its own, and writes its state. It is not ready yet.

    Args:
        state: Where its state is kept.
        release: What it serves.
        port: Its port on loopback; 0 takes a free one.
        arguments: Further flags of the server.
        log_lines: Whether its log goes to this process's standard error, and not to a file.

    Raises:
        ServingError: The port is taken.
    """
    port, token = port or free_port(), secrets.token_urlsafe(24)
    command = [sys.executable, "-m", "kfp_lifecycle.components.serve", "--model", release.uri]
    command += ["--name", release.name, "--host", "127.0.0.1", "--port", str(port), "--control", *arguments]
    check_free(port)
    if log_lines:
        process = subprocess.Popen(command, env=_environment(state, release, token), stdin=subprocess.DEVNULL)
    else:
        with state.log.open("wb") as log:
            process = subprocess.Popen(
                command,
                env=_environment(state, release, token),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
    running = Running(
        release.name,
        process.pid,
        psutil.Process(process.pid).create_time(),
        port,
        token,
        release.version,
        release.uri,
        tuple(arguments),
        "" if log_lines else str(state.log),
    )
    state.write(running)
    _STARTED[process.pid] = process
    return running


#: The servers that this process has started: whoever starts a process has to take note of its end.
_STARTED: dict[int, "subprocess.Popen[bytes]"] = {}


def wait_until_ready(running: Running, timeout_s: float) -> None:
    """Waits until the server has loaded its model.

    Raises:
        ServingError: It has ended, or is not ready in time.
    """
    deadline = time.monotonic() + timeout_s
    while is_alive(running):
        try:
            if requests.get(f"{running.url}/v2/health/ready", timeout=_ANSWER_S).status_code == 200:
                return
        except requests.RequestException:
            pass  # it does not listen yet
        if time.monotonic() >= deadline:
            raise ServingError(f"Its server was not ready after {timeout_s:g} seconds.")
        time.sleep(_POLL_S)
    raise ServingError(f"Its server ended before it was ready{_code(running)}.")


def answers(running: Running) -> bool:
    """Whether the server is there, is that one (it knows the token) and has its model."""
    try:
        found = requests.get(
            f"{running.url}/v2/repository/index", headers=authorization(running), timeout=_ANSWER_S
        )
        return found.status_code == 200 and found.json()["models"][0]["name"] == running.name
    except (requests.RequestException, ValueError, LookupError, TypeError):
        return False


def is_alive(running: Running) -> bool:
    """Whether the process is there still, and is the one that was started."""
    if (process := _STARTED.get(running.pid)) is not None:
        return process.poll() is None
    return _process(running) is not None


def wait(running: Running) -> int:
    """Waits until a server that this process has started ends; its exit code."""
    return _STARTED[running.pid].wait()


def stop(running: Running) -> None:
    """Ends the server: what it has begun it answers. Does nothing where it has ended."""
    if (process := _process(running)) is None:
        return
    process.terminate()
    try:
        process.wait(_DRAIN_S)
    except psutil.TimeoutExpired:
        process.kill()
        process.wait()
    _STARTED.pop(running.pid, None)


def authorization(running: Running) -> dict[str, str]:
    """The headers of a command for the server."""
    return {"Authorization": f"Bearer {running.token}"}


def free_port() -> int:
    """A port of loopback that nothing listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def check_free(port: int) -> None:
    """Raises ``ServingError`` where something listens on the port already."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise ServingError(
                f"Port {port} cannot be listened on: {error.strerror}.", "Give another."
            ) from error


def is_free(port: int) -> bool:
    """Whether nothing listens on the port."""
    try:
        check_free(port)
        return True
    except ServingError:
        return False


def _process(running: Running) -> psutil.Process | None:
    try:
        process = psutil.Process(running.pid)
        same = abs(process.create_time() - running.started) < _CLOCK_S
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.Error:
        return None


def _code(running: Running) -> str:
    process = _STARTED.get(running.pid)
    return "" if process is None or process.returncode is None else f" (exit code {process.returncode})"


def _environment(state: StateFile, release: Release, token: str) -> dict[str, str]:
    # A server is no step, whoever starts it: as one it would end before it could drain.
    own = {name: value for name, value in os.environ.items() if not name.startswith("_KFP")}
    if release.uri.startswith("models:/"):
        own["MLFLOW_TRACKING_URI"] = tracking_uri()
    # The folder for temporary files of a run ends with the run, and the server does not.
    place = state.path.parent / "tmp"
    place.mkdir(exist_ok=True)
    return {**own, TOKEN: token, "TMPDIR": str(place)}
