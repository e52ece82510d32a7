"""What ``kfp-lifecycle runs compare`` shows."""

import json
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.text import Text

    from kfp_lifecycle.runner.cluster.compare import Comparison, Row
    from kfp_lifecycle.runner.cluster.connect import Server

_MOST_CHARACTERS = 60
_END = re.compile("_(low|high)$")


def compared(server: "Server", run_ids: Sequence[str]) -> "Comparison":
    """Fetches the runs and puts them side by side."""
    from kfp_lifecycle.runner.cluster.columns import column
    from kfp_lifecycle.runner.cluster.compare import compare
    from kfp_lifecycle.runner.cluster.runs import get_run
    from kfp_lifecycle.scripts.measured import measured_or_not

    columns, notes = [], []
    for run_id in run_ids:
        run = get_run(server, run_id)
        measured, note = measured_or_not(run)
        columns.append(column(server, run, measured))
        notes.append(note)
    for note in dict.fromkeys(note for note in notes if note):
        typer.secho(note, fg=typer.colors.YELLOW, err=True)
    return compare(columns)


def show_comparison(found: "Comparison", everything: bool) -> None:
    """The comparison on a terminal."""
    from rich.text import Text

    from kfp_lifecycle.scripts.tables import STATE_STYLES, new_table, show

    table = new_table("", *(column.run_id[:8] for column in found.columns))
    table.add_row("name", *(Text(column.name, "bold") for column in found.columns))
    table.add_row("state", *(Text(c.state, STATE_STYLES.get(c.state, "")) for c in found.columns))
    differ = len({column.title for column in found.columns}) > 1
    table.add_row(
        "pipeline", *(Text(c.title or "(deleted)", "yellow" if differ else "") for c in found.columns)
    )
    if any(column.model for column in found.columns):
        table.add_row("model", *(column.model for column in found.columns))
    left_out = _add(table, "Parameters", found.parameters, everything)
    _add(
        table, "Metrics", _without_intervals(found.metrics), everything=True, beside=_intervals(found.metrics)
    )
    show(table)
    if left_out:
        typer.echo(f"{left_out} parameters are the same in all of them (--all shows them).")
    _show_versions(found)


def _without_intervals(rows: Sequence["Row"]) -> list["Row"]:
    """The metrics without the ends of the intervals of others."""
    names = {row.name for row in rows}
    return [row for row in rows if _END.sub("", row.name) == row.name or _END.sub("", row.name) not in names]


def _intervals(rows: Sequence["Row"]) -> dict[tuple[str, int], str]:
    """The interval of a metric of a run: by the metric's name and the run's position."""
    ends = {(row.name, index): value for row in rows for index, value in enumerate(row.values)}
    found = {}
    for name, index in ends:
        low, high = ends.get((f"{name}_low", index)), ends.get((f"{name}_high", index))
        if low is not None and high is not None:
            found[name, index] = f" [{low:.4g}, {high:.4g}]"
    return found


def _add(
    table: Any,
    title: str,
    rows: Sequence["Row"],
    everything: bool,
    beside: Mapping[tuple[str, int], str] = MappingProxyType({}),
) -> int:
    """Adds rows under a title; gives how many were left out."""
    from rich.text import Text

    shown = [row for row in rows if everything or row.differs]
    if shown:
        table.add_section()
        table.add_row(Text(title, "dim"), *[""] * (len(table.columns) - 1))
    for row in shown:
        style = "" if row.differs else "dim"
        cells = [
            _cell(row, i).append(beside.get((row.name, i), ""), "not bold dim")
            for i in range(len(row.values))
        ]
        table.add_row(Text(row.name, style), *cells)
    return len(rows) - len(shown)


def _cell(row: "Row", index: int) -> "Text":
    from rich.text import Text

    value = row.values[index]
    if value is None:
        return Text("-", "dim")
    text = (
        f"{value:.6g}" if isinstance(value, float) else value if isinstance(value, str) else json.dumps(value)
    )
    if len(text) > _MOST_CHARACTERS:
        text = f"{text[:_MOST_CHARACTERS]} …"
    if row.best:
        best = index in row.best
        # A mark beside the colour, for terminals and eyes without.
        return Text(f"{text} *" if best else text, "bold green" if best else "")
    return Text(text, "yellow" if row.differs else "dim")


def _show_versions(found: "Comparison") -> None:
    from kfp_lifecycle.scripts.diff import show_changes

    for between in found.versions:
        typer.echo()
        typer.secho(f"From {between.old} to {between.new}", bold=True)
        show_changes(between.changes)
