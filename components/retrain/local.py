"""Training runs on this machine, by ``kfp-lifecycle run``."""

import contextlib
import json
import os
import subprocess
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from kfp_lifecycle.components.retrain.command import PROGRAM, environment, failed
from kfp_lifecycle.components.retrain.starters import ENDED, Started
from kfp_lifecycle.components.shared.cancel import cancellable
from kfp_lifecycle.components.shared.errors import RetrainError, StorageError
from kfp_lifecycle.components.shared.outputs import storage_problem

#: Seconds until a run must have begun, or have said why not.
BEGIN_S = 120.0
_POLL_S = 0.1
#: The process of a run is gone, and has not said how it ended.
_BROKEN_OFF = "broken off"


@dataclass(frozen=True)
class Local:
    """This machine.

    Args:
        folder: Each run gets a folder of its name in it, and beside it a ``.log``.
    """

    folder: Path

    def start(self, name: str, pipeline: str, parameters: Path) -> Started:
        """As :class:`~.starters.Starter` says. The run outlives this process."""
        place = self._new(name)
        log = place.with_name(f"{place.name}.log")
        command = [*PROGRAM, "run", pipeline, f"--params={parameters}", f"--output-dir={place}"]
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            with log.open("wb") as out:
                child = subprocess.Popen(
                    command,
                    env=environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        except OSError as error:
            said = storage_problem(error) or str(error)
            raise StorageError(f"{place} cannot be written: {said}.", "Choose another output_dir.") from error
        self._wait_for_begin(child, place, log)
        return Started(place.name, str(place))

    def find(self, name: str, since: datetime) -> Started | None:
        """As :class:`~.starters.Starter` says."""
        places = self._places(name)
        if not places or (state := _state(places[-1])) == _BROKEN_OFF:
            return None
        return Started(places[-1].name, str(places[-1]), state)

    def state(self, run: Started, since: datetime) -> str:
        """As :class:`~.starters.Starter` says."""
        state = _state(Path(run.link))
        return "failed" if state == _BROKEN_OFF else state

    def wait(self, run: Started) -> str:
        """As :class:`~.starters.Starter` says; a step that is cancelled meanwhile ends the run."""
        place = Path(run.link)
        with cancellable():
            try:
                while (state := self.state(run, datetime.min)) not in ENDED:
                    time.sleep(_POLL_S)
            except BaseException:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(_pid(_record(place)), 15)
                raise
        return state

    def _places(self, name: str) -> list[Path]:
        """The folders of attempts at a run, the first first."""
        tried = [self.folder / name, *(self.folder / f"{name}-{n}" for n in range(2, 100))]
        return [place.absolute() for place in tried if place.exists()]

    def _new(self, name: str) -> Path:
        there = len(self._places(name))
        return (self.folder / (name if not there else f"{name}-{there + 1}")).absolute()

    def _wait_for_begin(self, child: "subprocess.Popen[bytes]", place: Path, log: Path) -> None:
        deadline = time.monotonic() + BEGIN_S
        while not (place / "run.json").exists():
            if child.poll() is not None:
                raise failed("start the retraining", log.read_text("utf-8", "replace"), child.returncode)
            if time.monotonic() > deadline:
                child.terminate()
                raise RetrainError(f"The run in {place} has not begun in {BEGIN_S:g} s.", f"See {log}.")
            time.sleep(_POLL_S)


def _record(place: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((place / "run.json").read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def _state(place: Path) -> str:
    """The state of the run in a folder."""
    running = (record := _record(place)).get("state") == "running"
    if running and _lives(_pid(record)):
        return "running"
    state = _record(place).get("state")  # it may have ended between the two looks
    if state in ("running", None):
        return _BROKEN_OFF
    return "succeeded" if state == "succeeded" else "failed"


def _pid(record: dict[str, Any]) -> int:
    return int(record.get("environment", {}).get("pid", 0))


def _lives(pid: int) -> bool:
    if pid <= 0:
        return False
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)  # one of our own would else stay as a zombie
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
