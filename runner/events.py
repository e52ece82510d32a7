"""What a run reports: its steps, their states, and the events while it goes on."""

import re
import signal as signals
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any


class State(StrEnum):
    """Where a run or one of its steps stands.

    ``SKIPPED`` is a step whose condition did not hold; ``NOT_RUN`` one that a failure or Ctrl-C came before.
    """

    WAITING = "waiting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"
    NOT_RUN = "not run"


@dataclass
class Artifact:
    """An artifact that a step has written.

    Args:
        name: The output's name.
        type: The schema title, such as ``system.Model``.
        uri: Where it is: a local path, or what an importer names.
        metadata: What the step says about it.
        report: For an HTML report, the same file under a name that a browser opens.
    """

    name: str
    type: str
    uri: str
    metadata: dict[str, Any] = field(default_factory=dict)
    report: Path | None = None


@dataclass
class Step:
    """One task that runs a process (or imports an artifact), and how it went.

    Args:
        name: As it is shown: the task's name, after that of the nested pipeline it is in, and in a loop
            with the item's number.
        task: The task's name in its graph.
        component: The component's name in the compiled file; no two tasks have the same.
        in_loop: Whether it runs once per item of a loop; such a step stands for its items until they start.
        conditions: The conditions around it.
        retries: How many times it is tried again.
        state: Where it stands.
        started: When it began, UTC.
        seconds: How long it took, all attempts together.
        attempts: How many times it was started.
        exit_code: Of its process; negative for a signal.
        log: File with all that it printed.
        error: Why it failed, in a line.
        outputs: Its output parameters.
        artifacts: Its output artifacts.
    """

    name: str
    task: str
    component: str
    in_loop: bool = False
    conditions: tuple[str, ...] = ()
    retries: int = 0
    state: State = State.WAITING
    started: datetime | None = None
    seconds: float | None = None
    attempts: int = 0
    exit_code: int | None = None
    log: Path | None = None
    error: str = ""
    outputs: dict[str, Any] = field(default_factory=dict)
    artifacts: list[Artifact] = field(default_factory=list)

    @property
    def file_name(self) -> str:
        """Its name as part of a file's name: ``inner / train #2`` is ``inner-train-2``."""
        return re.sub(r"[^\w.]+", "-", self.name)


@dataclass(kw_only=True)
class Run:
    """A run of a compiled file, here or on a cluster, while it goes on and afterwards.

    Args:
        run_id: Its id: what ``dsl.PIPELINE_JOB_ID_PLACEHOLDER`` becomes in the steps.
        name: The pipeline's or component's name.
        version: Its version; empty where nothing says one.
        parameters: The values that it runs with.
        started: When it began, UTC.
        state: Where it stands.
        seconds: How long it took.
        steps: Its steps, in the order in which they run.
        outputs: The pipeline's outputs.
        notes: What one should know of it.
        error: Why it failed, in a line.
    """

    run_id: str
    name: str
    version: str
    parameters: dict[str, Any]
    started: datetime
    state: State = State.RUNNING
    seconds: float = 0.0
    steps: list[Step] = field(default_factory=list)
    outputs: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    error: str = ""

    @property
    def title(self) -> str:
        """Name and version, as they are shown."""
        return f"{self.name} {self.version}".strip()

    @property
    def place(self) -> str:
        """Where one finds it."""
        raise NotImplementedError

    @property
    def exit_code(self) -> int:
        """What a command that waited for it exits with."""
        return 0 if self.state is State.SUCCEEDED else 1

    @property
    def failed_step(self) -> Step | None:
        """The first step that failed."""
        return next((step for step in self.steps if step.state is State.FAILED), None)


@dataclass(kw_only=True)
class RunResult(Run):
    """A run on this machine.

    Args:
        file: The compiled file.
        sha256: Digest of that file, hexadecimal.
        output_dir: Where everything of the run is.
        tracking_uri: The MLflow store that steps see as ``MLFLOW_TRACKING_URI``.
        signal: The signal that cancelled it; 0 for none.
    """

    file: Path
    sha256: str
    output_dir: Path
    tracking_uri: str
    signal: int = 0

    @property
    def place(self) -> str:
        """Its folder, as one would type it from here."""
        return shown_path(self.output_dir)

    @property
    def exit_code(self) -> int:
        """What a command that ran it exits with: 0, 1, or 128 and the signal (Ctrl-C: 130)."""
        if self.state is State.CANCELLED:
            return 128 + (self.signal or signals.SIGINT)
        return super().exit_code

    @property
    def reports(self) -> list[Path]:
        """The HTML reports of its steps, in their order."""
        return [a.report for step in self.steps for a in step.artifacts if a.report is not None]


def shown_path(path: Path) -> str:
    """``path`` as one would type it from here."""
    absolute, here = path.absolute(), Path.cwd()
    return str(absolute.relative_to(here)) if absolute.is_relative_to(here) else str(absolute)


class EventKind(StrEnum):
    """What has happened; ``TROUBLE`` is one with the connection, which nothing of the run is to blame for."""

    RUN_STARTED = "run started"
    STEP_STARTED = "step started"
    STEP_RETRIED = "step retried"
    STEP_ENDED = "step ended"
    RUN_ENDED = "run ended"
    TROUBLE = "trouble"


@dataclass(frozen=True)
class Event:
    """Something that has happened in a run.

    Args:
        kind: What.
        run: The run as it stands now.
        step: The step that it happened to; None for the run itself.
        text: For a retry, when the next attempt begins; for trouble, what it is, or empty when it is over.
    """

    kind: EventKind
    run: Run
    step: Step | None = None
    text: str = ""


#: Called with each event, one at a time, in the thread that it happened in.
Observer = Callable[[Event], None]
