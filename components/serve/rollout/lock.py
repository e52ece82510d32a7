"""One rollout of a model at a time on one machine: the second waits for a while, then is refused."""

import fcntl
import json
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from kfp_lifecycle.components.shared.errors import RolloutError

log = logging.getLogger(__name__)

_POLL_S = 0.2


@contextmanager
def file_lock(path: Path, holder: str, wait_s: float) -> Iterator[None]:
    """Holds ``path`` for the block. The operating system lets go of it when its holder dies, however it dies.

    Args:
        path: The lock's file; it stays there.
        holder: What the block is for, such as ``rollout of version 4``.
        wait_s: How long to wait for another one.

    Raises:
        RolloutError: Another holds it still; names it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        _take(file, path, wait_s)
        started = datetime.now(UTC).isoformat(timespec="seconds")
        file.seek(0)
        file.truncate()
        json.dump({"holder": holder, "pid": os.getpid(), "since": started}, file)
        file.flush()
        try:
            yield
        finally:
            file.seek(0)
            file.truncate()


def _take(file: IO[str], path: Path, wait_s: float) -> None:
    deadline, told = time.monotonic() + wait_s, False
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            pass
        if time.monotonic() >= deadline:
            raise RolloutError(
                f"Another rollout is under way: {_holder(path)}.", "Wait until it has ended, and start again."
            )
        if not told:
            log.info("waiting for another rollout: %s", _holder(path))
            told = True
        time.sleep(_POLL_S)


def _holder(path: Path) -> str:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return f"{found['holder']} (process {found['pid']}, since {found['since']})"
    except (OSError, ValueError, KeyError):  # it is just writing it
        return "its holder has not said who it is"
