"""Starts the ranks of one machine, as torchrun does, and makes of their failures one error."""

import logging
import os
import signal
import sys
import tempfile
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException, Std
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from kfp_lifecycle.components.shared import errors
from kfp_lifecycle.components.shared.errors import DeviceError, LifecycleError

log = logging.getLogger(__name__)

MODULE = "kfp_lifecycle.components.train_gpu"
WORKER = "kfp_lifecycle.components.train_gpu.worker"
#: Seconds that a rank has to write its checkpoint after SIGTERM; Kubernetes gives a pod 30 in all.
GRACE_S = 25
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
#: How a rank ends that SIGTERM has stopped, once its checkpoint is written (:mod:`.preemption`).
_PREEMPTED = 128 + signal.SIGTERM
#: Loggers of torchrun's agent; the second has a level of its own.
_AGENT_LOGS = ("torch.distributed.elastic", "torch.distributed.elastic.agent.server.api")
#: What the ranks that are left say when one has died.
_LOST_PEER = (
    "closed by peer",
    "reset by peer",
    "broken pipe",
    "ncclremoteerror",
    "communicator was aborted",
)


class RankFailed(RuntimeError):  # noqa: N818
    """A rank ended in a way that nobody has declared: a bug. Holds its traceback or last lines."""


def launch(arguments: Sequence[str], processes: int, *, module: str = MODULE) -> None:
    """Runs ``python -m module arguments…`` in several processes of this machine, and waits for all.

    Rank 0 writes to this process's output. Where one rank fails, the others are ended.

    Args:
        arguments: Command line arguments, the same for all.
        processes: How many, at least 1.
        module: What to run.

    Raises:
        LifecycleError: What the first rank that failed had declared; its class is the rank's.
        DeviceError: A rank was killed, most likely for want of memory.
        RankFailed: A rank failed otherwise.
        SystemExit: SIGTERM came, here or to a rank, and all have ended: code 143. Likewise 130 for SIGINT.
    """
    log.info("training in %d processes", processes)
    with tempfile.TemporaryDirectory(prefix="ranks-") as place, _surroundings(processes, place):
        logs = Path(place) / "logs"
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=processes,
            run_id=uuid.uuid4().hex,
            rdzv_backend="c10d",
            rdzv_endpoint="127.0.0.1:0",
            local_addr="127.0.0.1",
            max_restarts=0,
            shutdown_timeout=GRACE_S,
            logs_specs=DefaultLogsSpecs(str(logs), redirects=dict.fromkeys(range(1, processes), Std.ALL)),
        )
        try:
            elastic_launch(config, sys.executable)("-u", "-m", WORKER, module, *arguments)
        except ChildFailedError as error:
            raise _cause(error.failures, logs) from None
        except SignalException as error:
            raise SystemExit(128 + error.sigval) from None


@contextmanager
def _surroundings(processes: int, place: str) -> Iterator[None]:
    """Environment for the ranks; it, signal handlers and log level are as they were, afterwards."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    # What a rank that is killed leaves behind goes with the folder.
    wanted = {"TMPDIR": place}
    if "OMP_NUM_THREADS" not in os.environ:
        wanted["OMP_NUM_THREADS"] = str(max(1, cores // processes))
    if sys.platform == "linux":  # the name of a container need not resolve
        wanted["GLOO_SOCKET_IFNAME"] = "lo"
    before = dict(os.environ)
    levels = {name: logging.getLogger(name).level for name in _AGENT_LOGS}
    main = threading.current_thread() is threading.main_thread()
    handlers = {number: signal.getsignal(number) for number in _SIGNALS} if main else {}
    os.environ.update(wanted)
    for name in levels:  # what is said there of a rank that failed is said here
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update(before)
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _cause(failures: Mapping[int, ProcessFailure], logs: Path) -> BaseException:
    """What made the others fail: a declared error, a bug, a kill; else what the first says."""
    told = {rank: message for rank, failure in failures.items() if (message := _told(failure))}
    said = sorted(told.values(), key=lambda message: float(message["at"]))
    for message in said:
        if "declared" in message:
            return _declared(*message["declared"])
    for message in said:
        if not _lost_peer(message):
            return RankFailed(f"A rank failed:\n{message['trace']}")
    silent = {rank: failure for rank, failure in failures.items() if rank not in told}
    for rank, failure in silent.items():
        # SIGTERM is how the others are ended.
        if failure.exitcode < 0 and failure.exitcode != -signal.SIGTERM:
            return _killed(rank, failure)
    codes = {rank: failure.exitcode for rank, failure in silent.items() if failure.exitcode > 0}
    if _PREEMPTED in codes.values():
        return SystemExit(_PREEMPTED)
    for rank, code in codes.items():
        return RankFailed(f"Rank {rank} ended with code {code}:\n{_last_lines(logs)}")
    return RankFailed(f"A rank failed:\n{said[0]['trace'] if said else _last_lines(logs)}")


def _told(failure: ProcessFailure) -> dict[str, Any]:
    """What :mod:`.worker` has left; empty where the process could not."""
    message = failure.error_file_data.get("message")
    return message if isinstance(message, dict) and "at" in message else {}


def _lost_peer(message: Mapping[str, Any]) -> bool:
    return any(word in str(message["message"]).lower() for word in _LOST_PEER)


def _declared(kind: str, problem: str, fix: str) -> LifecycleError:
    found: type[LifecycleError] = getattr(errors, kind, LifecycleError)
    return found(problem, fix)


def _killed(rank: int, failure: ProcessFailure) -> DeviceError:
    name = failure.signal_name()
    if failure.exitcode == -signal.SIGKILL:
        return DeviceError(
            f"Rank {rank} was killed ({name}), most likely because the container's memory ran out.",
            "Give the step more memory, set memory to stream, or train on fewer devices.",
        )
    return DeviceError(f"Rank {rank} was ended by {name}.", "See the log above for what it said last.")


def _last_lines(logs: Path) -> str:
    texts = [file.read_text(errors="replace") for file in sorted(logs.rglob("stderr.log"))]
    return "\n".join("\n".join(text.splitlines()[-20:]) for text in texts)
