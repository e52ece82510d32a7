"""Worker processes that run trials: warm, one thread each, within a memory limit.

Workers are forked from a server process that has imported all a trial needs, so a new one is ready in
milliseconds. They read the data from files that were made once for all of them, and write nothing: what a
trial gives goes through a pipe to the parent, which alone decides and records.
"""

import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import connection as pipes
from multiprocessing import forkserver
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerProcess

log = logging.getLogger(__name__)

#: One thread a worker, for all that counts threads when it is loaded; joblib's ``n_jobs=-1`` counts cores.
ONE_THREAD = dict.fromkeys(
    (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "POLARS_MAX_THREADS",
        "LOKY_MAX_CPU_COUNT",
    ),
    "1",
)
#: Seconds between two looks at the workers' memory.
LOOK_S = 0.1


#: Told at each step of a trial, from 0, of the metrics that it has by then. What it raises ends the trial.
Report = Callable[[int, Mapping[str, float]], None]
#: Judges one set of hyperparameters, those that all trials have left out, and gives its metrics.
Judge = Callable[[Mapping[str, Any], Report], Mapping[str, float]]


class Job(Protocol):
    """What every trial of a search has in common; it is sent to each worker."""

    def steps(self, parameters: Mapping[str, Any]) -> int:
        """How many steps a trial with these hyperparameters has at most."""

    def judge(self) -> Judge:
        """What judges trials in this process; the data is read now, once."""


@dataclass(frozen=True)
class Task:
    """One trial.

    Args:
        number: Its number.
        parameters: Its hyperparameters.
        resource: A parameter that grows from step to step, as Hyperband has it; empty for none.
        rungs: Its values, each of which is a step; without, the job says what the steps are.
    """

    number: int
    parameters: Mapping[str, Any]
    resource: str = ""
    rungs: tuple[int, ...] = ()


@dataclass(frozen=True)
class Step:
    """A running trial says how it does, and waits to be told whether to go on.

    Args:
        number: The trial.
        step: From 0 (a fold, an epoch), or the resource's value.
        metrics: What it has by then: the means over the folds, or the best of the epochs.
    """

    number: int
    step: int
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class End:
    """A trial has ended by itself.

    Args:
        number: The trial.
        metrics: Its metrics; empty when it failed.
        error: Why it failed; empty when it did not.
        training: Seconds that the worker worked on it, without waiting for answers.
    """

    number: int
    metrics: Mapping[str, float]
    error: str = ""
    training: float = 0.0


Event = Step | End


class Pool:
    """Workers for the trials of one search; a context manager that leaves no process behind.

    Args:
        job: What the trials have in common.
        count: How many workers.
        memory: Bytes that a worker may have to itself; 0 is no limit.
    """

    def __init__(self, job: Job, count: int, memory: int = 0) -> None:
        self._job, self._memory = job, memory
        self._workers: list[_Worker] = []
        self._count = count

    def __enter__(self) -> "Pool":
        self._workers = [_Worker(self._job) for _ in range(self._count)]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            worker.end()

    @property
    def idle(self) -> int:
        """How many workers have no trial."""
        return sum(worker.task is None for worker in self._workers)

    @property
    def running(self) -> list[int]:
        """The numbers of the running trials."""
        return [worker.task.number for worker in self._workers if worker.task is not None]

    def start(self, task: Task) -> None:
        """Hands a trial to a worker that has none."""
        next(worker for worker in self._workers if worker.task is None).start(task)

    def answer(self, number: int, go_on: bool) -> None:
        """Answers a :class:`Step`. A trial that is not to go on gives no :class:`End`."""
        worker = self._of(number)
        with suppress(OSError):  # it has died: the next events say so
            worker.pipe.send(go_on)
        if not go_on:
            worker.task = None

    def stop(self, number: int) -> None:
        """Ends a running trial at once; it gives no :class:`End`."""
        self._renew(self._of(number))

    def events(self, timeout: float) -> Iterator[Event]:
        """What has happened, after waiting for something to, ``timeout`` seconds at most."""
        deadline = time.monotonic() + timeout
        while True:
            left = deadline - time.monotonic()
            waiting: list[Any] = [worker.pipe for worker in self._workers if worker.task is not None]
            waiting += [worker.process.sentinel for worker in self._workers if worker.task is not None]
            ready = pipes.wait(waiting, max(0.0, min(LOOK_S, left)))
            found = [event for worker in self._workers for event in self._look(worker, ready)]
            if found or left <= LOOK_S:
                yield from found
                return

    def _of(self, number: int) -> "_Worker":
        return next(w for w in self._workers if w.task is not None and w.task.number == number)

    def _look(self, worker: "_Worker", ready: list[Any]) -> Iterator[Event]:
        if worker.task is None:
            return
        number = worker.task.number
        if worker.pipe in ready:
            try:
                event: Event = worker.pipe.recv()
            except (EOFError, OSError):
                yield End(number, {}, error=f"Its worker died ({worker.how_it_died()}).")
                self._renew(worker)
                return
            if isinstance(event, End):
                worker.task = None
            yield event
        elif worker.process.sentinel in ready:
            yield End(number, {}, error=f"Its worker died ({worker.how_it_died()}).")
            self._renew(worker)
        elif self._memory and (own := own_memory(worker.process.pid or 0)) > self._memory:
            self._renew(worker)
            yield End(
                number,
                {},
                error=f"It outgrew its memory limit: {own / 2**20:,.0f} MiB of {self._memory / 2**20:,.0f}.",
            )

    def _renew(self, worker: "_Worker") -> None:
        worker.end()
        self._workers[self._workers.index(worker)] = _Worker(self._job)


class _Worker:
    """One worker process, and the trial that it has."""

    def __init__(self, job: Job) -> None:
        start_server()
        context = multiprocessing.get_context("forkserver")
        self.pipe, theirs = context.Pipe()
        self.process: ForkServerProcess = context.Process(target=_serve, args=(theirs, job), daemon=True)
        self.process.start()
        theirs.close()
        self.task: Task | None = None

    def start(self, task: Task) -> None:
        self.task = task
        with suppress(OSError):  # it has died: the next events say so
            self.pipe.send(task)

    def how_it_died(self) -> str:
        self.process.join(5)
        code = self.process.exitcode
        if code is None or code >= 0:
            return f"exit code {code}"
        name = signal.Signals(-code).name
        return f"{name}: the system ran out of memory" if code == -signal.SIGKILL else name

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


def start_server(*modules: str) -> None:
    """Starts the process that workers are forked from, unless it runs: what they import, it imports once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, *modules])
    with _environment(ONE_THREAD):
        forkserver.ensure_running()


def own_memory(pid: int) -> int:
    """Bytes that a process has to itself: files that it maps, the folds above all, are not its own."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    except OSError:  # it has ended, or this system does not say
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon:")), 0)


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


class _EndedError(Exception):
    """The parent has ended the trial."""


def _serve(pipe: "pipes.Connection[Any, Any]", job: Job) -> None:
    """What a worker does: one trial after the other."""
    from threadpoolctl import threadpool_limits

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends the workers
    threading.Thread(target=_end_with_parent, daemon=True).start()
    logging.disable(logging.INFO)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500", encoding="ascii")  # rather this than the parent
    judge = job.judge()
    with threadpool_limits(1), suppress(EOFError):
        while True:
            task: Task = pipe.recv()
            began = time.perf_counter()
            with suppress(_EndedError):
                metrics, error, waited = _attempt(judge, task, pipe)
                training = time.perf_counter() - began - waited
                pipe.send(End(task.number, metrics, error, training))


def _attempt(
    judge: Judge, task: Task, pipe: "pipes.Connection[Any, Any]"
) -> tuple[Mapping[str, float], str, float]:
    """The trial's metrics, its error, and how long it waited for the parent's answers, in seconds."""
    waited = 0.0

    def report(step: int, metrics: Mapping[str, float]) -> None:
        nonlocal waited
        began = time.perf_counter()
        pipe.send(Step(task.number, step, metrics))
        go_on = pipe.recv()
        waited += time.perf_counter() - began
        if not go_on:
            raise _EndedError

    try:
        return _run(judge, task, report), "", waited
    except _EndedError:
        raise
    except MemoryError:
        return {}, "It ran out of memory.", waited
    except Exception as error:
        if getattr(error, "is_declared", False):
            return {}, f"{type(error).__name__}: {error}", waited
        logging.exception("trial %d", task.number)
        return {}, f"{type(error).__name__}: {' '.join(str(error).split())[:400]}", waited


def _run(judge: Judge, task: Task, report: Report) -> Mapping[str, float]:
    """One trial: judged once, or at each of its rungs."""
    if not task.rungs:
        return judge(task.parameters, report)
    metrics: Mapping[str, float] = {}
    for value in task.rungs:
        metrics = judge({**task.parameters, task.resource: value}, lambda *_: None)
        report(value, metrics)
    return metrics


def _end_with_parent() -> None:
    """Ends this process when the one that started it has ended, even by a signal that it cannot handle."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        pipes.wait([parent.sentinel])
        os._exit(1)
