"""The prediction log's writer: rows that were answered become Parquet files, off the requests' way.

A request leaves a reference to its rows and goes on; a thread of its own types, hashes and writes them. Where
the folder or bucket cannot be written, rows wait until it can, as many as the options let wait; then rows are
dropped, counted and spoken of. Nothing here makes a request slow or fail.
"""

import asyncio
import logging
import re
import socket
import tempfile
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from kfp_lifecycle.components.serve.server.failures import RequestError
from kfp_lifecycle.components.serve.server.inference import Answer, Call, Inference
from kfp_lifecycle.components.serve.server.log_rows import Entry, LogColumns, rows_of
from kfp_lifecycle.components.serve.server.models import ServedModel
from kfp_lifecycle.components.serve.server.options import ServerOptions
from kfp_lifecycle.components.shared.errors import StorageError, redact
from kfp_lifecycle.components.shared.outputs import storage_problem
from kfp_lifecycle.components.shared.prediction_log import part_name
from kfp_lifecycle.components.shared.storage import check_writable, open_store

log = logging.getLogger(__name__)

#: With so many rows a file is written before its time.
_FILE_ROWS = 10_000
#: The most values that wait, for tables with very many columns: about 400 MB as Python has them.
_VALUES = 10_000_000
#: Seconds between two lines about rows that were dropped.
_QUIET_S = 10.0


@dataclass(frozen=True)
class _Part:
    """A file that is not written yet."""

    name: str
    served: ServedModel
    rows: pl.DataFrame


class PredictionLog:
    """Takes answers and writes them to the log; an observer and a service.

    Args:
        options: Where the log is, which columns it has, how often it is written and how many rows may wait.
        columns: What is left out, hashed and added.
        dropped: Is told how many rows of a version could not be taken, by one thread at a time.

    Raises:
        StorageError: The URI is of no storage that is known here.
    """

    def __init__(
        self, options: ServerOptions, columns: LogColumns, dropped: Callable[[ServedModel, int], None]
    ) -> None:
        self._uri, self._store = options.log, open_store(options.log)
        self._flush_s, self._most = options.log_flush_s, options.log_rows
        self._columns, self._count_dropped = columns, dropped
        self._instance = _instance()
        self._taken: deque[Entry] = deque()
        self._parts: deque[_Part] = deque()
        self._sequence = 0
        # Rows taken and rows done with: each is written by one thread alone, so neither needs a lock.
        self._in = self._out = 0
        self._lost = self._lost_before = 0
        self._said_at, self._broken = 0.0, ""
        self._dropping = threading.Lock()
        self._wake, self._stopping = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="prediction-log", daemon=True)

    def started(self, call: Call) -> None:
        """Nothing is logged before the answer."""

    def answered(self, answer: Answer) -> None:
        """Takes the answer's rows, or counts them as dropped where too many wait."""
        rows, waiting = answer.call.rows, self._in - self._out
        most = min(self._most, _VALUES // (1 + len(answer.inputs.columns)))
        if waiting and waiting + rows > most:
            self._drop(answer.call.served, rows)
            return
        self._taken.append(Entry(time.time_ns() // 1000, answer))
        self._in += rows
        if waiting < _FILE_ROWS <= waiting + rows:
            self._wake.set()

    def failed(self, call: Call, error: RequestError) -> None:
        """A request that failed has no prediction to log."""

    async def start(self, inference: Inference) -> None:
        """Starts the thread. Whether the place can be written is found out there: serving does not wait."""
        self._thread.start()

    async def stop(self, grace_s: float) -> None:
        """Writes what is there, for ``grace_s`` seconds at most; the log says what then is lost."""
        self._stopping.set()
        self._wake.set()
        await asyncio.get_running_loop().run_in_executor(None, self._thread.join, grace_s)
        if left := self._in - self._out:
            reason = self._broken or "the place does not answer"
            log.error("The prediction log ends with %d rows unwritten: %s", left, reason)

    def _run(self) -> None:
        try:
            check_writable(self._uri)
        except Exception as error:
            log.warning("The prediction log may not be written: %s", redact(str(error)))
        while True:
            self._wake.wait(self._flush_s)
            self._wake.clear()
            stopping = self._stopping.is_set()
            self._prepare()
            self._write()
            self._say_dropped(now=stopping)
            if stopping:
                return

    def _prepare(self) -> None:
        """Makes files of what was taken: one for each day and version."""
        found: dict[tuple[int, ServedModel], list[Entry]] = {}
        for _ in range(len(self._taken)):
            entry = self._taken.popleft()
            found.setdefault((entry.day, entry.answer.call.served), []).append(entry)
        for (_, served), entries in found.items():
            try:
                rows = rows_of(served, entries, self._columns)
            except Exception:
                count = sum(entry.answer.call.rows for entry in entries)
                log.exception("The prediction log cannot take %d rows of %s", count, served.version)
                self._drop(served, count)
                self._out += count
                continue
            name = part_name(entries[0].moment, self._instance, self._sequence)
            self._sequence += 1
            self._parts.append(_Part(name, served, rows))

    def _write(self) -> None:
        """Writes files until none is left, or one cannot be written; that is tried again the next time."""
        while self._parts:
            part = self._parts[0]
            try:
                with tempfile.TemporaryDirectory(prefix="prediction-log-") as folder:
                    file = Path(folder) / "part.parquet"
                    part.rows.write_parquet(file)
                    self._store.write(file, part.name)
            except Exception as error:
                if isinstance(error, StorageError | OSError) or storage_problem(error) is not None:
                    self._say_broken(error)
                    return
                # Not the place's fault: tried again, it would fail again, and keep all others waiting.
                log.exception("The prediction log cannot write %s", part.name)
                self._drop(part.served, part.rows.height)
            else:
                self._say_whole()
            self._parts.popleft()
            self._out += part.rows.height

    def _drop(self, served: ServedModel, rows: int) -> None:
        with self._dropping:  # both threads do
            self._lost += rows
            self._count_dropped(served, rows)

    def _say_dropped(self, *, now: bool) -> None:
        lost = self._lost
        if lost == self._lost_before or not (now or time.monotonic() - self._said_at >= _QUIET_S):
            return
        self._said_at, more, self._lost_before = time.monotonic(), lost - self._lost_before, lost
        reason = self._broken or "they come faster than they can be written"
        log.warning("The prediction log dropped %d rows, %d in all: %s", more, lost, reason)

    def _say_whole(self) -> None:
        if self._broken:
            log.warning("The prediction log at %s is written again", redact(self._uri))
            self._broken = ""

    def _say_broken(self, error: Exception) -> None:
        if not self._broken:
            log.warning("The prediction log cannot be written; rows wait: %s", redact(str(error)))
        self._broken = redact(str(error)) or type(error).__name__


def _instance() -> str:
    """What no other server of the log has: the host's name (the pod's) and some random letters."""
    host = re.sub(r"[^A-Za-z0-9-]+", "-", socket.gethostname())[:80]
    return f"{host}-{uuid.uuid4().hex[:6]}"
