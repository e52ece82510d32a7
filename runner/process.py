"""The child processes of a run: one per step, each a process group of its own, all ended by a cancel."""

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from kfp_lifecycle.runner.record import storage_errors

#: How long a step has to end by itself when the run is cancelled.
GRACE_SECONDS = 5.0


class Processes:
    """Starts steps and waits for them; safe to use from several threads.

    A step writes straight into its log file: whatever it prints (no newline, no UTF-8, hundreds of
    megabytes) goes through no pipe, and costs the run nothing.
    """

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._cancelled = threading.Event()

    @property
    def cancelled(self) -> bool:
        """Whether :meth:`cancel` was called."""
        return self._cancelled.is_set()

    def run(self, command: Sequence[str], env: Mapping[str, str], log: Path) -> int:
        """Runs ``command`` to its end, with both output streams appended to ``log``.

        Returns:
            The exit code, negative for a signal.

        Raises:
            OSError: It cannot be started.
            StorageError: The log cannot be written.
            KeyboardInterrupt: The run was cancelled, before it or meanwhile.
        """
        with storage_errors(log):
            out = log.open("ab")
        with out:
            with self._lock:
                self.check()
                process = subprocess.Popen(
                    command,
                    env=env,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
                self._running.add(process)
            if self.cancelled:  # just now: a signal handler waits for no lock
                _signal(process, signal.SIGTERM)
            try:
                code = process.wait()
            finally:
                # What the step left running would have ended with its container.
                _signal(process, signal.SIGTERM)
                with self._lock:
                    self._running.discard(process)
        self.check()
        return code

    def check(self) -> None:
        """Raises ``KeyboardInterrupt`` once the run is cancelled."""
        if self.cancelled:
            raise KeyboardInterrupt

    def sleep(self, seconds: float) -> None:
        """Sleeps, but not beyond a cancel, which is raised as :meth:`check` does."""
        self._cancelled.wait(seconds)
        self.check()

    def cancel(self) -> None:
        """Asks every running step to end, kills those that have not after the grace, and lets no other start.

        Raises nothing and takes no lock, because it is called from a signal handler; called again, it kills.
        """
        again = self.cancelled
        self._cancelled.set()
        self._signal_all(signal.SIGKILL if again else signal.SIGTERM)
        if not again:
            timer = threading.Timer(GRACE_SECONDS, self._signal_all, (signal.SIGKILL,))
            timer.daemon = True
            timer.start()

    def _signal_all(self, number: signal.Signals) -> None:
        for process in tuple(self._running):
            _signal(process, number)


def _signal(process: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    # Gone already, or (macOS) only zombies are left.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
