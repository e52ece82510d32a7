"""What a run looks like on a terminal, and in the log of a CI job."""

import json
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from kfp_lifecycle.components.shared.errors import redact
from kfp_lifecycle.runner.events import Event, EventKind, Observer, Run, RunResult, State, Step, shown_path
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
_MOST_METRICS = 10
_MOST_CHARACTERS = 300
#: More items of a loop than these are one line once they are done.
_MOST_ITEMS = 12
#: Columns of a result that is no terminal's.
_LOG_WIDTH = 110


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
        self._run: Run | None = None
        self._trouble = ""
        self._began: dict[int, float] = {}
        self._retried: dict[int, tuple[int, str]] = {}
        self._spinner = Spinner("dots", style="cyan")

    def observe(self, event: Event) -> None:
        """Takes note of an event; the next refresh shows it."""
        self._run = event.run
        self._trouble = event.text if event.kind is EventKind.TROUBLE else ""
        if event.step is None:
            return
        if event.kind is EventKind.STEP_STARTED:
            self._began[id(event.step)] = time.monotonic()
        if event.kind is EventKind.STEP_RETRIED:
            self._retried[id(event.step)] = (event.step.attempts, event.text)

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
        return Group(_title(self._run), table, *([Text(self._trouble, "yellow")] if self._trouble else []))

    def _visible(self, steps: list[Step]) -> list[Step | str]:
        """As many as the terminal has lines for: first those done go, then those that wait."""
        room = max(3, self._console.height - 4 - bool(self._trouble))
        if len(steps) <= room:
            return list(steps)
        slots = room - 2
        active = (n for n, step in enumerate(steps) if step.state in (State.RUNNING, State.WAITING))
        first = max(0, min(next(active, len(steps)) - 1, len(steps) - slots))
        rest = len(steps) - first - slots
        before = [f"… {first} before"] if first else []
        return [*before, *steps[first : first + slots], *([f"… {rest} more"] if rest > 0 else [])]

    def _row(self, step: Step) -> tuple[RenderableType, ...]:
        if step.state is State.RUNNING:
            seconds = time.monotonic() - self._began.get(id(step), time.monotonic())
            return self._spinner, Text(step.name, "bold"), _duration(seconds), Text(self._at(step), "dim")
        name = Text(step.name, "dim" if step.state in _QUIET else "")
        taken = _duration(step.seconds) if step.seconds is not None else ""
        note = "skipped" if step.state is State.SKIPPED else step.error
        return _GLYPHS[step.state], name, taken, Text(note, "red" if step.error else "dim")

    def _at(self, step: Step) -> str:
        """What a running step is at: the last line of its log, or waiting for its next attempt."""
        failed, text = self._retried.get(id(step), (0, ""))
        if failed == step.attempts:
            return text
        again = f"attempt {step.attempts} of {step.retries + 1}: " if step.attempts > 1 else ""
        return redact(again + (last_line(step.log) if step.log else ""))


def _print_event(console: Console, event: Event) -> None:
    """One line for an event."""
    if event.kind is EventKind.RUN_STARTED:
        said = _title(event.run).plain
    elif event.kind is EventKind.TROUBLE and event.text:
        said = event.text
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
    show_ending(run, _lines(run))


def show_ending(run: Run, lines: Iterable[tuple[str, str]]) -> None:
    """The same for a run anywhere; ``lines`` are what to open, read or type next, each with its label."""
    console = Console(highlight=False)
    if console.is_terminal:
        _print_result(console, run, lines)
        return
    console.width = max(console.width, _LOG_WIDTH)
    with console.capture() as captured:
        _print_result(console, run, lines)
    # Rich fills the columns of a table with blanks.
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))


def _print_result(console: Console, run: Run, lines: Iterable[tuple[str, str]]) -> None:
    # A terminal wraps a long path itself, and copies it whole; words are better wrapped here.
    wraps = not console.is_terminal
    console.print(_ending(run))
    console.print(_steps(run))
    console.print()
    for note in run.notes:
        console.print(Text("Note: ", "yellow").append(note, "default"), soft_wrap=wraps)
    if run.state is State.FAILED:
        console.print(_failure(run), soft_wrap=wraps)
        console.print()
    for label, text in lines:
        console.print(Text(f"{label:<9}", "bold").append(text, "not bold"), soft_wrap=True)


def _title(run: Run) -> Text:
    title = Text(run.title, "bold", no_wrap=True, overflow="ellipsis")
    return title.append(f"  {run.place}", "not bold dim")


def _ending(run: Run) -> Text:
    return (
        Text(run.title, "bold")
        .append(f" {run.state}", f"bold {_STYLES.get(run.state, '')}")
        .append(f" {'in' if run.state is State.SUCCEEDED else 'after'} {_duration(run.seconds)}", "not bold")
    )


def _steps(run: Run) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(width=1)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    for _, found in groupby(run.steps, key=lambda step: step.component):
        steps = list(found)
        done = [step for step in steps if step.state is State.SUCCEEDED]
        if len(steps) > _MOST_ITEMS and done:
            name = f"{done[0].name.partition(' #')[0]}, {len(done)} of {len(steps)} items"
            seconds = sum(step.seconds or 0 for step in done)
            table.add_row(_GLYPHS[State.SUCCEEDED], Text(name), Text(_duration(seconds)), "")
            steps = [step for step in steps if step.state is not State.SUCCEEDED]
        for step in steps:
            quiet = "dim" if step.state in _QUIET else ""
            taken = str(step.state) if step.seconds is None else _duration(step.seconds)
            if step.state is State.CANCELLED:
                taken = f"cancelled, {taken}"
            table.add_row(_GLYPHS[step.state], Text(step.name, quiet), Text(taken, quiet), _outputs(step))
    return table


def _outputs(step: Step) -> RenderableType:
    """A step's scalar outputs, tables and metrics, a line each."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    for name, value in step.outputs.items():
        table.add_row("" if name == "Output" else name, Text(_value(value)))
    for artifact in step.artifacts:
        found = artifact.metadata
        if isinstance(found.get("rows"), int) and isinstance(found.get("columns"), int):
            table.add_row(artifact.name, f"{found['rows']:,} rows, {found['columns']} columns")
        if artifact.type == "system.Metrics":
            metrics = list(_metrics(found))
            for name, text in metrics[:_MOST_METRICS]:
                table.add_row(name, text)
            if len(metrics) > _MOST_METRICS:
                table.add_row(f"… {len(metrics) - _MOST_METRICS} more", "in run.json")
    return table if table.rows else ""


def _metrics(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Metrics by name, each with its interval (``_low``, ``_high``) or spread (``_mean``, ``_std``)."""
    for name in sorted(found):
        base, _, end = name.rpartition("_")
        if (end in ("low", "high") and base in found) or (end == "std" and f"{base}_mean" in found):
            continue
        text = _value(found[name])
        if f"{name}_low" in found and f"{name}_high" in found:
            text += f" [{_value(found[f'{name}_low'])}, {_value(found[f'{name}_high'])}]"
        if end == "mean" and f"{base}_std" in found:
            name, text = base, f"{text} ± {found[f'{base}_std']:.2g}"
        yield name, text


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    text = redact(value if isinstance(value, str) else json.dumps(value))
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]} …"


def _failure(run: Run) -> Text:
    step = run.failed_step
    where = f"{step.name} failed" if step else "The run failed"
    tries = f" at each of {step.attempts} attempts" if step and step.attempts > 1 else ""
    return Text(f"{where}{tries}: ", "bold red").append(run.error, "default not bold")


def _lines(run: RunResult) -> Iterator[tuple[str, str]]:
    """What to open, read or type next."""
    for step in run.steps:
        if step.state in (State.FAILED, State.CANCELLED) and step.log is not None:
            yield "Log", shown_path(step.log)
    if run.state is State.FAILED and run.failed_step is None:
        yield "Log", shown_path(run.output_dir / "logs" / "kfp.log")
    for number, report in enumerate(run.reports):
        yield "Reports" if number == 0 else "", shown_path(report)
    for text in dict.fromkeys(_model(step.outputs) for step in run.steps if "model_version" in step.outputs):
        yield "Served" if " at http" in text else "Model", text
    if (command := _mlflow(run.tracking_uri)) is not None:
        yield "MLflow", command
    yield "Run", shown_path(run.output_dir / "run.json")


def _model(outputs: dict[str, Any]) -> str:
    aliases = f" ({outputs['aliases']})" if outputs.get("aliases") else ""
    uri = f", {outputs['model_uri']}" if outputs.get("model_uri") else ""
    if "url" in outputs:
        return f"version {outputs['model_version']} at {outputs['url']}"
    return f"version {outputs['model_version']}{uri}{aliases}"


def _mlflow(uri: str) -> str | None:
    """How to look at the tracking store; None while there is none."""
    if uri.startswith("sqlite:///"):
        if not Path(uri.removeprefix("sqlite:///")).is_file():
            return None
        beside = Path(sys.executable).parent / "mlflow"
        program = "mlflow" if shutil.which("mlflow") or not beside.is_file() else shown_path(beside)
        return f"{program} ui --backend-store-uri {uri}"
    return redact(uri)


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
