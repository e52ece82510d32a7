"""A rollout on this machine: one server process, which holds both versions and splits the requests itself."""

import logging
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import requests

from kfp_lifecycle.components.serve.rollout import local_process
from kfp_lifecycle.components.serve.rollout.local_process import answers, authorization
from kfp_lifecycle.components.serve.rollout.local_state import Running, StateFile
from kfp_lifecycle.components.serve.rollout.lock import file_lock
from kfp_lifecycle.components.serve.rollout.readings import read_metrics
from kfp_lifecycle.components.serve.rollout.target import Address, Measurement, Release
from kfp_lifecycle.components.shared.errors import ServingError

log = logging.getLogger(__name__)

_TIMEOUT_S = 30.0
_POLL_S = 0.5
_LOG_BYTES = 20_000


class LocalTarget:
    """The server of one model on this machine; see :class:`.target.Target` for the methods.

    Args:
        state: Where its state is kept.
        arguments: Further flags for a server that is started.
        port: The port of one that is started; 0 takes that of the one before, or a free one.
        wait_s: How long to wait for another rollout.
    """

    def __init__(
        self, state: StateFile, arguments: Sequence[str] = (), port: int = 0, wait_s: float = 600.0
    ) -> None:
        self._state, self._arguments, self._port, self._wait_s = state, tuple(arguments), port, wait_s
        self._port_before = 0
        self._running: Running | None = None
        self._release: Release | None = None
        #: Whether this rollout has started the server: then it may also end it.
        self.is_new = False

    def lock(self, holder: str) -> AbstractContextManager[None]:
        """Keeps other rollouts of the same model on this machine out."""
        return file_lock(self._state.lock, holder, self._wait_s)

    def find(self) -> Running | None:
        """The server that runs now. The state of one that is dead, or answers no more, is cleared away."""
        running = self._state.read()
        if running is None or answers(running):
            return running
        log.warning("the server of %s (process %d) does not answer any more", running.name, running.pid)
        local_process.stop(running)
        self._state.forget()
        self._port_before = running.port
        return None

    def current(self) -> str | None:
        """The stable version of the running server."""
        self._running = self.find()
        return None if self._running is None else self._stable()

    def start(self, release: Release, timeout_s: float) -> None:
        """Loads the release beside the stable version, or starts a server of it."""
        self._release = release
        if self._running is None:
            self._running = self._start_server(release, timeout_s)
            self.is_new = True
            return
        versions = self._versions()
        others = [version for version in versions[1:] if version != release.version]
        if others:  # of a rollout that was killed
            self._control("unload")
        if release.version not in versions:
            self._load(release, timeout_s)

    def address(self) -> Address:
        """The path of the release's own version."""
        return Address(self.endpoint, self._here.name, self._new.version)

    def shift(self, percent: int) -> None:
        """Tells the server the candidate's share."""
        if len(self._versions()) > 1:
            self._control("traffic", {"share": percent})

    def measure(self) -> Measurement:
        """Both versions' counts, from the server's metrics."""
        text = self._ask("GET", "/metrics").text
        name, stable = self._here.name, self._stable()
        candidate = {"local": read_metrics(text, name, self._new.version)}
        if stable == self._new.version:
            return Measurement(candidate, {})
        return Measurement(candidate, {"local": read_metrics(text, name, stable)})

    def promote(self) -> None:
        """Tells the server that the candidate is the stable version now."""
        if len(self._versions()) > 1:
            self._control("promote")
        self._write_stable(self._new.version, self._new.uri)

    def roll_back(self, reason: str) -> None:
        """Drops the candidate; ends a server that was started for it, and restarts one that has died."""
        if self._running is None:  # it was not even started
            return
        if self.is_new:
            self.stop()
        elif not answers(self._running):
            self._revive(self._running)
        elif len(self._versions()) > 1:
            self._control("unload")

    def stop(self) -> None:
        """Ends the server."""
        if self._running is not None:
            local_process.stop(self._running)
            self._state.forget()

    def logs(self) -> str:
        """The end of the server's log file."""
        path = Path(self._running.log) if self._running is not None and self._running.log else None
        if path is None or not path.exists():
            return ""
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _LOG_BYTES))
            return file.read().decode("utf-8", "replace")

    @property
    def endpoint(self) -> str:
        """The server's URL on loopback."""
        return self._here.url

    def objects(self) -> list[dict[str, Any]]:
        """The server's process, port, versions and log."""
        here = self._here
        return [
            {
                "kind": "Process",
                "name": here.name,
                "pid": here.pid,
                "url": here.url,
                "version": here.version,
                "model": here.uri,
                "arguments": list(here.arguments),
                "log": here.log,
                "state": str(self._state.path),
            }
        ]

    @property
    def _here(self) -> Running:
        if self._running is None:
            raise ServingError("There is no server.", "Start a rollout first.")
        return self._running

    @property
    def _new(self) -> Release:
        if self._release is None:
            raise ServingError("No version is being rolled out.", "Start one first.")
        return self._release

    def _start_server(self, release: Release, timeout_s: float) -> Running:
        port = self._port
        if not port and self._port_before and local_process.is_free(self._port_before):
            port = self._port_before
        running = local_process.start(self._state, release, port, self._arguments)
        try:
            local_process.wait_until_ready(running, timeout_s)
        except BaseException:
            self._running, self.is_new = running, True  # so that it is ended, and its log read
            raise
        return running

    def _revive(self, dead: Running) -> None:
        """Starts the stable version again at the same port: its server died during the rollout."""
        local_process.stop(dead)
        before = Release(dead.name, dead.version, dead.uri, Path())
        self._running = local_process.start(self._state, before, dead.port, dead.arguments)
        local_process.wait_until_ready(self._running, 300)

    def _write_stable(self, version: str, uri: str) -> None:
        here = self._here
        values = {**here.__dict__, "version": version, "uri": uri}
        self._running = Running(**values)
        self._state.write(self._running)

    def _load(self, release: Release, timeout_s: float) -> None:
        """Has the server load the release. One that a killed rollout has begun to load is waited for."""
        deadline = time.monotonic() + timeout_s
        asked = {"parameters": {"uri": release.uri, "timeout_s": timeout_s}}
        while True:
            try:
                return self._control("load", asked, timeout_s + _TIMEOUT_S)
            except _BusyError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_POLL_S)
                if self._versions()[1:] not in ([], [release.version]):
                    self._control("unload")

    def _stable(self) -> str:
        return self._versions()[0]

    def _versions(self) -> list[str]:
        """The loaded versions, the stable one first."""
        found = self._ask("GET", "/v2/repository/index").json()
        return [str(one["version"]) for one in found["models"]]

    def _control(self, command: str, body: Any = None, timeout_s: float = _TIMEOUT_S) -> None:
        self._ask("POST", f"/v2/repository/models/{self._here.name}/{command}", body or {}, timeout_s)

    def _ask(
        self, method: str, path: str, body: Any = None, timeout_s: float = _TIMEOUT_S
    ) -> requests.Response:
        here = self._here
        try:
            answer = requests.request(
                method, f"{here.url}{path}", json=body, headers=authorization(here), timeout=timeout_s
            )
        except requests.Timeout as error:
            raise ServingError(
                f"The server at {here.url} did not do {path} in {timeout_s:g} seconds."
            ) from error
        except requests.RequestException as error:
            raise ServingError(f"The server at {here.url} does not answer any more.") from error
        if answer.status_code != 200:
            kind = _BusyError if answer.status_code == 409 else ServingError
            raise kind(f"The server at {here.url} answered {path} with {_said(answer)}.")
        return answer


class _BusyError(ServingError):
    """The server has another candidate, or is loading one."""


def _said(answer: requests.Response) -> str:
    try:
        return f"{answer.status_code}: {answer.json()['error'].rstrip('.')}"
    except (ValueError, KeyError, AttributeError):
        return str(answer.status_code)
