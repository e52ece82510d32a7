"""One run while it goes on: which step is at what, told to whoever watches and written to ``run.json``."""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kfp_lifecycle.components.shared.errors import redact
from kfp_lifecycle.runner.containers import Containers
from kfp_lifecycle.runner.events import Artifact, Event, EventKind, Observer, RunResult, State, Step
from kfp_lifecycle.runner.process import Processes
from kfp_lifecycle.runner.record import link_report, storage_errors, write_record
from kfp_lifecycle.runner.values import whole_numbers


def is_artifact(value: Any) -> bool:
    """Whether an output as KFP gives it is an artifact, or a list of artifacts, and not a value."""
    found = value if isinstance(value, list) else [value]
    return bool(found) and all(hasattr(item, "uri") and hasattr(item, "metadata") for item in found)


class Session:
    """Keeps a run's steps up to date as kfp.local begins and ends them, in any of its threads.

    Args:
        run: The run; changed as it goes on.
        environment: What every step's environment is made from.
        observers: Called with each event.
        containers: How steps are put into containers; None runs them as processes.
    """

    def __init__(
        self,
        run: RunResult,
        environment: Mapping[str, str],
        observers: Sequence[Observer],
        containers: Containers | None = None,
    ) -> None:
        self.run = run
        self.environment = environment
        self.containers = containers
        self.processes = Processes()
        self._observers = observers
        self._lock = threading.RLock()
        self._local = threading.local()
        self._numbers = 0
        self._clock = time.monotonic()

    @property
    def current(self) -> Step:
        """The step that this thread is at."""
        step: Step = self._local.step
        return step

    @contextmanager
    def step(self, component: str, task: str, items: tuple[int, ...]) -> Iterator[Step]:
        """The block runs a step: it is marked as running, and afterwards as what it came to.

        The block sets ``step.state`` to SUCCEEDED or FAILED; an exception that it raises is kept in
        ``step.error``.

        Args:
            component: The component's name in the compiled file.
            task: The task's name.
            items: Numbers of the loop items it is for, from the outermost loop inwards; empty outside loops.
        """
        self.processes.check()
        step = self._begin(component, task, items)
        self._local.step = step
        start = time.monotonic()
        try:
            yield step
        except KeyboardInterrupt:
            step.state = State.CANCELLED
            raise
        except BaseException as error:
            step.state = State.FAILED
            step.error = step.error or redact(str(error) or type(error).__name__)
            raise
        finally:
            step.seconds = time.monotonic() - start
            self.emit(EventKind.STEP_ENDED, step)

    def succeed(self, step: Step, outputs: Mapping[str, Any]) -> None:
        """Marks ``step`` as done, and keeps its outputs as KFP gives them: values and artifacts."""
        for name, value in sorted(outputs.items()):  # protobuf keeps no order
            if is_artifact(value):
                found = value if isinstance(value, list) else [value]
                step.artifacts += [
                    Artifact(name, a.schema_title, a.uri, whole_numbers(dict(a.metadata))) for a in found
                ]
            else:
                step.outputs[name] = whole_numbers(value)
        for artifact in step.artifacts:
            link_report(self.run, step, artifact)
        step.state = State.SUCCEEDED

    def attempt(self) -> Path:
        """Counts one more attempt of this thread's step. Returns its log file."""
        step = self.current
        step.attempts += 1
        if step.log is None:
            with self._lock:
                self._numbers += 1
                step.log = self.run.output_dir / "logs" / f"{self._numbers:02d}-{step.file_name}.log"
        else:
            with storage_errors(step.log), step.log.open("a", encoding="utf-8") as log:
                log.write(f"\n--- attempt {step.attempts} of {step.retries + 1} ---\n")
        return step.log

    def retry(self, seconds: float) -> None:
        """Waits before the next attempt of this thread's step."""
        step = self.current
        text = f"attempt {step.attempts} of {step.retries + 1} failed; the next in {seconds:g} s"
        self.emit(EventKind.STEP_RETRIED, step, text)
        self.processes.sleep(seconds)

    def skip(self, condition: str) -> None:
        """Marks the steps that a condition guards as skipped, because it does not hold."""
        with self._lock:
            for step in self.run.steps:
                if condition in step.conditions and step.state is State.WAITING and not step.in_loop:
                    step.state = State.SKIPPED

    def end(self, state: State) -> None:
        """Ends the run: what has not run by now will not."""
        with self._lock:
            for step in self.run.steps:
                if step.state is State.WAITING:
                    step.state = State.SKIPPED if state is State.SUCCEEDED else State.NOT_RUN
        self.run.state = state
        self.emit(EventKind.RUN_ENDED)

    def emit(self, kind: EventKind, step: Step | None = None, text: str = "") -> None:
        """Writes ``run.json`` and tells the observers, one event after the other."""
        with self._lock:
            self.run.seconds = time.monotonic() - self._clock
            write_record(self.run)
            for observer in self._observers:
                observer(Event(kind, self.run, step, text))

    def _begin(self, component: str, task: str, items: tuple[int, ...]) -> Step:
        with self._lock:
            step = self._find(component, task, items)
            step.state = State.RUNNING
            step.started = datetime.now(UTC)
            self.emit(EventKind.STEP_STARTED, step)
        return step

    def _find(self, component: str, task: str, items: tuple[int, ...]) -> Step:
        """The planned step; for an item of a loop a step of its own, beside those of the other items."""
        steps = self.run.steps
        same = [n for n, s in enumerate(steps) if (s.component, s.task) == (component, task)]
        planned = steps[same[-1]]
        if not items:
            return planned
        name = f"{planned.name.partition(' #')[0]} #{'.'.join(str(n + 1) for n in items)}"
        step = Step(name, task, component, True, planned.conditions, planned.retries)
        if planned.state is State.WAITING:
            steps[same[-1]] = step
        else:
            steps.insert(same[-1] + 1, step)
        return step
