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
#: What the ranks that are left say when one has died.
_LOST_PEER = ("gloo", "nccl", "connection closed by peer", "connection reset by peer", "broken pipe")


class RankFailed(RuntimeError):  # noqa: N818
    """A rank ended in a way that nobody has declared: a bug. Holds its traceback or last lines."""


def launch(arguments: Sequence[str], processes: int, *, module: str = MODULE, grace_s: int = GRACE_S) -> None:
    """Runs ``python -m module arguments…`` in several processes of this machine, and waits for all.

    Rank 0 writes to this process's output. Where one rank fails, the others are ended.

    Args:
        arguments: Command line arguments, the same for all.
        processes: How many, at least 1.
        module: What to run.
        grace_s: Seconds between SIGTERM, which is passed on to the ranks, and SIGKILL.

    Raises:
        LifecycleError: What the first rank that failed had declared; its class is the rank's.
        DeviceError: A rank was killed, most likely for want of memory.
        RankFailed: A rank failed otherwise.
        SystemExit: SIGTERM came, and the ranks have ended; 143, or 130 for SIGINT.
    """
    with tempfile.TemporaryDirectory(prefix="ranks-") as logs, _surroundings(processes):
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=processes,
            run_id=uuid.uuid4().hex,
            rdzv_backend="c10d",
            rdzv_endpoint="127.0.0.1:0",
            local_addr="127.0.0.1",
            max_restarts=0,
            shutdown_timeout=grace_s,
            logs_specs=DefaultLogsSpecs(logs, redirects=dict.fromkeys(range(1, processes), Std.ALL)),
        )
        try:
            elastic_launch(config, sys.executable)("-u", "-m", WORKER, module, *arguments)
        except ChildFailedError as error:
            raise _cause(error.failures, Path(logs)) from None
        except SignalException as error:
            raise SystemExit(128 + error.sigval) from None


@contextmanager
def _surroundings(processes: int) -> Iterator[None]:
    """Environment for the ranks; signal handlers and log level as they were, afterwards."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    wanted = {"OMP_NUM_THREADS": str(max(1, cores // processes))}
    if sys.platform == "linux":  # the name of a container need not resolve
        wanted["GLOO_SOCKET_IFNAME"] = "lo"
    added = {name: value for name, value in wanted.items() if name not in os.environ}
    agent = logging.getLogger("torch.distributed.elastic")
    level = agent.level
    main = threading.current_thread() is threading.main_thread()
    handlers = {number: signal.getsignal(number) for number in _SIGNALS} if main else {}
    os.environ.update(added)
    agent.setLevel(logging.CRITICAL)  # what it says of a rank that failed is said here
    try:
        yield
    finally:
        agent.setLevel(level)
        for name in added:
            os.environ.pop(name, None)
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _cause(failures: Mapping[int, ProcessFailure], logs: Path) -> Exception:
    """The error that made the others fail: a declared one, a bug, a kill; else the first."""
    told = {rank: _told(failure) for rank, failure in failures.items()}
    said = sorted((t for t in told.values() if t), key=lambda t: float(t["at"]))
    for message in said:
        if "declared" in message:
            return _declared(*message["declared"])
    own = [message for message in said if not _lost_peer(message)]
    if own:
        return RankFailed(f"A rank failed:\n{own[0]['trace']}")
    for rank, failure in failures.items():
        if failure.exitcode < 0 and not told[rank]:
            return _killed(rank, failure)
    rank = min(failures)
    ended = f"Rank {rank} ended with code {failures[rank].exitcode}"
    return RankFailed(f"{ended}:\n{said[0]['trace'] if said else _last_lines(logs)}")


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
