"""What a run looks like on a terminal, and in the log of a CI job."""

import json
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from kfp_lifecycle.components.shared.errors import redact
from kfp_lifecycle.runner.events import Event, EventKind, Observer, RunResult, State, Step
from kfp_lifecycle.runner.logs import last_line

_GLYPHS = {
    State.WAITING: Text("·", "dim"),
    State.SUCCEEDED: Text("✓", "green"),
    State.FAILED: Text("✗", "bold red"),
    State.CANCELLED: Text("✗", "yellow"),
    State.SKIPPED: Text("-", "dim"),
    State.NOT_RUN: Text("-", "dim"),
}
_STYLES = {State.SUCCEEDED: "green", State.FAILED: "red", State.CANCELLED: "yellow"}
_QUIET = (State.WAITING, State.SKIPPED, State.NOT_RUN)
#: So many metrics of a step are shown; all are in run.json and the reports.
_MOST_METRICS = 6
_MOST_CHARACTERS = 300


@contextmanager
def show_progress() -> Iterator[Observer]:
    """For the block, shows a run on standard error: a live table on a terminal, else a line an event."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character must not end a run.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield lambda event: _print_event(console, event)
        return
    progress = _Progress(console)
    with Live(get_renderable=progress.table, console=console, refresh_per_second=5, transient=True):
        yield progress.observe


class _Progress:
    """The live table: every step with its state and time, and the line that a running one is at."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._run: RunResult | None = None
        self._began: dict[int, float] = {}
        self._said: dict[int, str] = {}
        self._spinner = Spinner("dots", style="cyan")

    def observe(self, event: Event) -> None:
        """Takes note of an event; the next refresh shows it."""
        self._run = event.run
        if event.step is None:
            return
        if event.kind is EventKind.STEP_STARTED:
            self._began[id(event.step)] = time.monotonic()
        self._said[id(event.step)] = event.text

    def table(self) -> RenderableType:
        """The run as it stands."""
        if self._run is None:
            return Text()
        table = Table.grid(padding=(0, 1))
        table.add_column(width=1)
        table.add_column(no_wrap=True)
        table.add_column(justify="right", no_wrap=True)
        table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        table.expand = True
        for step in self._visible(list(self._run.steps)):
            table.add_row(*(self._row(step) if isinstance(step, Step) else ("", Text(step, "dim"))))
        return Group(_title(self._run), table)

    def _visible(self, steps: list[Step]) -> list[Step | str]:
        """As many as the terminal has lines for: first those done go, then those that wait."""
        room = max(3, self._console.height - 4)
        if len(steps) <= room:
            return list(steps)
        at = next((n for n, s in enumerate(steps) if s.state in (State.RUNNING, State.WAITING)), len(steps))
        first = max(0, min(at, len(steps) - room + 1))
        shown: list[Step | str] = [f"{first} before"] if first else []
        shown += steps[first : first + room - 2]
        rest = len(steps) - first - (room - 2)
        return [*shown, f"{rest} more"] if rest > 0 else shown

    def _row(self, step: Step) -> tuple[RenderableType, ...]:
        if step.state is State.RUNNING:
            seconds = time.monotonic() - self._began.get(id(step), time.monotonic())
            said = self._said.get(id(step)) or (last_line(step.log) if step.log else "")
            return self._spinner, Text(step.name, "bold"), _duration(seconds), Text(redact(said), "dim")
        name = Text(step.name, "dim" if step.state in _QUIET else "")
        taken = _duration(step.seconds) if step.seconds is not None else ""
        note = "skipped" if step.state is State.SKIPPED else step.error
        return _GLYPHS[step.state], name, taken, Text(note, "red" if step.error else "dim")


def _print_event(console: Console, event: Event) -> None:
    """One line for an event."""
    if event.kind is EventKind.RUN_STARTED:
        said = _title(event.run).plain
    elif event.step is None:
        return
    elif event.kind is EventKind.STEP_STARTED:
        said = f"{event.step.name} started"
    elif event.kind is EventKind.STEP_RETRIED:
        said = f"{event.step.name}: {event.text}"
    else:
        why = f": {event.step.error}" if event.step.error else ""
        said = f"{event.step.name} {event.step.state} after {_duration(event.step.seconds or 0)}{why}"
    console.print(Text(f"{datetime.now():%H:%M:%S} {said}"), soft_wrap=True)


def show_result(run: RunResult) -> None:
    """Shows how a run ended: its steps with times and outputs, its reports and model, or why it failed."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, 110)
    console.print(_ending(run))
    console.print(_steps(run))
    console.print()
    for note in run.notes:
        console.print(Text("Note: ", "yellow").append(note, "default"), soft_wrap=True)
    if run.state is State.FAILED:
        _show_failure(console, run)
    lines = Table.grid(padding=(0, 2))
    for label, text in _lines(run):
        lines.add_row(Text(label, "bold"), Text(text, overflow="fold"))
    console.print(lines, soft_wrap=not console.is_terminal)


def _title(run: RunResult) -> Text:
    return Text(run.title, "bold").append(f"  {_shown(run.output_dir)}", "not bold dim")


def _ending(run: RunResult) -> Text:
    return (
        Text(run.title, "bold")
        .append(f" {run.state}", f"bold {_STYLES.get(run.state, '')}")
        .append(f" {'in' if run.state is State.SUCCEEDED else 'after'} {_duration(run.seconds)}", "not bold")
    )


def _steps(run: RunResult) -> Table:
    table = Table(box=None, padding=(0, 1), show_header=False)
    table.add_column(width=1)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    for step in run.steps:
        quiet = "dim" if step.state in _QUIET else ""
        taken = str(step.state) if step.seconds is None else _duration(step.seconds)
        if step.state is State.CANCELLED:
            taken = f"cancelled, {taken}"
        table.add_row(_GLYPHS[step.state], Text(step.name, quiet), Text(taken, quiet), _outputs(step))
    return table


def _outputs(step: Step) -> RenderableType:
    """A step's scalar outputs and metrics, a line each."""
    found: dict[str, Any] = dict(step.outputs)
    for artifact in step.artifacts:
        if artifact.type == "system.Metrics":
            found |= dict(list(artifact.metadata.items())[:_MOST_METRICS])
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    for name, value in found.items():
        table.add_row("" if name == "Output" else name, Text(_value(value)))
    return table if found else ""


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    text = redact(value if isinstance(value, str) else json.dumps(value))
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]} …"


def _show_failure(console: Console, run: RunResult) -> None:
    step = run.failed_step
    where = f"{step.name} failed" if step else "The run failed"
    tries = f" at each of {step.attempts} attempts" if step and step.attempts > 1 else ""
    console.print(Text(f"{where}{tries}: ", "bold red").append(run.error, "default not bold"), soft_wrap=True)
    console.print()


def _lines(run: RunResult) -> Iterator[tuple[str, str]]:
    """What to open, read or type next."""
    for step in run.steps:
        if step.state in (State.FAILED, State.CANCELLED) and step.log is not None:
            yield f"Log of {step.name}", _shown(step.log)
    if run.state is State.FAILED and run.failed_step is None:
        yield "Log", _shown(run.output_dir / "logs" / "kfp.log")
    for number, report in enumerate(run.reports):
        yield "Reports" if number == 0 else "", _shown(report)
    for step in run.steps:
        if "model_version" in step.outputs:
            yield "Model", _model(step.outputs)
    if (command := _mlflow(run.tracking_uri)) is not None:
        yield "MLflow", command
    yield "Run", _shown(run.output_dir / "run.json")


def _model(outputs: dict[str, Any]) -> str:
    aliases = f" ({outputs['aliases']})" if outputs.get("aliases") else ""
    uri = f", {outputs['model_uri']}" if outputs.get("model_uri") else ""
    return f"version {outputs['model_version']}{uri}{aliases}"


def _mlflow(uri: str) -> str | None:
    """How to look at the tracking store; None while there is none."""
    if uri.startswith("sqlite:///"):
        if not Path(uri.removeprefix("sqlite:///")).is_file():
            return None
        beside = Path(sys.executable).parent / "mlflow"
        program = "mlflow" if shutil.which("mlflow") or not beside.is_file() else _shown(beside)
        return f"{program} ui --backend-store-uri {uri}"
    return redact(uri)


def _shown(path: Path) -> str:
    """``path`` as one would type it from here."""
    absolute, here = path.absolute(), Path.cwd()
    return str(absolute.relative_to(here)) if absolute.is_relative_to(here) else str(absolute)


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
