"""What ``kfp-lifecycle runs show`` shows."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import typer

from kfp_lifecycle.scripts.times import duration, iso, local, short

if TYPE_CHECKING:
    from kfp_lifecycle.runner.cluster.connect import Server
    from kfp_lifecycle.runner.cluster.metrics import Measured
    from kfp_lifecycle.runner.cluster.watch import ClusterRun
    from kfp_lifecycle.runner.events import Step

_MOST_CHARACTERS = 300


@dataclass(frozen=True)
class RunView:
    """A run, and what is known about it elsewhere.

    Args:
        run: The run with its steps.
        state: Its state as the API names it.
        finished: When it ended; None while it goes on.
        experiment: Its experiment's name.
        schedule: Id of the recurring run that started it; empty for none.
        measured: What MLflow knows of it.
        note: Why metrics are missing; empty where they are not.
        now: The server's time.
    """

    run: "ClusterRun"
    state: str
    finished: datetime | None
    experiment: str
    schedule: str
    measured: "Measured"
    note: str
    now: datetime

    @property
    def seconds(self) -> float:
        """How long it took, or has taken so far, by the server's clock."""
        return max(0.0, ((self.finished or self.now) - self.run.started).total_seconds())


def view(server: "Server", run_id: str) -> RunView:
    """Looks at a run, and at what it has measured."""
    from kfp_lifecycle.runner.cluster.runs import Names, get_run
    from kfp_lifecycle.runner.cluster.schedules import server_clock
    from kfp_lifecycle.runner.cluster.watch import describe, update
    from kfp_lifecycle.scripts.measured import measured_or_not

    found = get_run(server, run_id)
    run = describe(server, found)
    update(run, found)
    measured, note = measured_or_not(found)
    return RunView(
        run=run,
        state=found.state or "PENDING",
        finished=found.finished_at if found.finished_at and found.finished_at.year > 1971 else None,
        experiment=Names(server).experiment(run.experiment_id),
        schedule=found.recurring_run_id or "",
        measured=measured,
        note=note,
        now=server_clock(server).now,
    )


def show_run(found: RunView, options: str) -> None:
    """The run on a terminal."""
    from rich.text import Text

    from kfp_lifecycle.scripts.tables import STATE_STYLES, new_table, say, show, show_facts

    run = found.run
    title = Text(run.display_name, "bold")
    title.append(f"  {found.state}", STATE_STYLES.get(found.state, ""))
    say(title.append(f"  {duration(found.seconds)}", "not bold default"))
    show_facts(_head(found))
    if run.steps:
        table = new_table("Task", "State", "Started", "Took", "")
        for step in run.steps:
            table.add_row(*_cells(step, found.now))
        say(Text())
        show(table)
        say(Text())
    show_facts(_results(found))
    for label, text in _next(found, options):
        # To be copied whole.
        say(Text(f"{label:<12}", "dim").append(text, "default"))
    if found.note:
        typer.secho(found.note, fg=typer.colors.YELLOW, err=True)


def _head(found: RunView) -> Iterator[tuple[str, str]]:
    run = found.run
    yield "Run", run.run_id
    yield "Pipeline", " ".join(part for part in (run.name, run.version) if part)
    yield "Experiment", found.experiment
    if found.schedule:
        yield "Schedule", found.schedule
    yield "Started", local(run.started, seconds=True)
    if found.finished:
        yield "Ended", local(found.finished, seconds=True)
    if run.error:
        yield "Error", _value(run.error)


def _cells(step: "Step", now: datetime) -> tuple[Any, ...]:
    from rich.text import Text

    from kfp_lifecycle.runner.events import State

    styles = {
        State.SUCCEEDED: "green",
        State.FAILED: "bold red",
        State.CANCELLED: "yellow",
        State.RUNNING: "cyan",
    }
    took = step.seconds
    if took is None and step.state is State.RUNNING and step.started:
        took = (now - step.started).total_seconds()
    return (
        Text(step.name, "" if step.state in styles else "dim"),
        Text(str(step.state), styles.get(step.state, "dim")),
        short(step.started, now) if step.started else "",
        "" if took is None else duration(took),
        Text(_value(step.error), "red"),
    )


def _results(found: RunView) -> Iterator[tuple[str, str]]:
    run = found.run
    for number, (name, value) in enumerate(sorted(run.parameters.items())):
        yield "" if number else "Parameters", f"{name}: {_value(value)}"
    for number, (name, text) in enumerate(_metrics(found.measured.metrics)):
        yield "" if number else "Metrics", f"{name}: {text}"
    if found.measured.model:
        yield "Model", found.measured.model
    outputs = [
        (step.name, name, value) for step in run.steps for name, value in step.outputs.items() if value
    ]
    for number, (step_name, name, value) in enumerate(outputs):
        yield "" if number else "Artifacts", f"{step_name}/{name}: {_value(value)}"
    for number, (name, value) in enumerate(run.outputs.items()):
        yield "" if number else "Outputs", f"{name}: {_value(value)}"


def _next(found: RunView, options: str) -> Iterator[tuple[str, str]]:
    """What to open or type next."""
    from kfp_lifecycle.runner.events import State

    run = found.run
    if any(step.state is State.FAILED for step in run.steps):
        yield "Logs", f"kfp-lifecycle runs logs {run.run_id}{options}"
    if run.link:
        yield "Link", run.link


def _metrics(found: dict[str, float]) -> Iterator[tuple[str, str]]:
    """Metrics by name, each with its interval, where there is one."""
    for name, value in sorted(found.items()):
        base, _, end = name.rpartition("_")
        if end in ("low", "high") and base in found:
            continue
        low, high = found.get(f"{name}_low"), found.get(f"{name}_high")
        between = f" [{low:.4g}, {high:.4g}]" if low is not None and high is not None else ""
        yield name, f"{value:.4g}{between}"


def _value(value: Any) -> str:
    from kfp_lifecycle.components.shared.errors import redact

    text = " ".join(redact(value if isinstance(value, str) else json.dumps(value)).split())
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]} …"


def run_json(found: RunView) -> str:
    """The run as JSON."""
    run = found.run
    steps = [
        {
            "name": step.name,
            "state": str(step.state),
            "started": iso(step.started),
            "seconds": step.seconds,
            "attempts": step.attempts,
            "error": step.error,
            "outputs": step.outputs,
        }
        for step in run.steps
    ]
    data = {
        "format": 1,
        "run_id": run.run_id,
        "name": run.display_name,
        "state": found.state,
        "error": run.error,
        "created": iso(run.started),
        "finished": iso(found.finished),
        "seconds": round(found.seconds),
        "pipeline": run.name,
        "version": run.version,
        "experiment": found.experiment,
        "recurring_run_id": found.schedule,
        "parameters": {name: _plain(value) for name, value in run.parameters.items()},
        "outputs": run.outputs,
        "metrics": found.measured.metrics,
        "model": found.measured.model,
        "link": run.link,
        "tasks": steps,
    }
    return json.dumps(data, indent=2)


def _plain(value: Any) -> Any:
    from kfp_lifecycle.components.shared.errors import redact

    return redact(value) if isinstance(value, str) else value
