"""How the verbs that write files tell what they did."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from kfp_lifecycle.compiler.files import Difference

_DONE = {
    "new": typer.colors.GREEN,
    "changed": typer.colors.YELLOW,
    "unchanged": None,
    "removed": typer.colors.RED,
}
_DIFF = {"+": typer.colors.GREEN, "-": typer.colors.RED, "@": typer.colors.CYAN}


def show_written(done: Mapping[str, str]) -> None:
    """A line for each file, and how many were written."""
    width = max(map(len, done), default=0)
    for path, what in done.items():
        typer.echo(f"{path:<{width}}  {typer.style(what, fg=_DONE[what])}")
    written = sum(what != "unchanged" for what in done.values())
    typer.echo(f"{len(done)} files, {written} written.")


def show_differences(found: Sequence["Difference"], mend: str) -> None:
    """Every difference as a unified diff; exits with 1 where there is any.

    Args:
        found: The files that are not as they should be.
        mend: The command that makes them so.
    """
    if not found:
        typer.echo("Everything is what the code gives.")
        return
    for difference in found:
        for line in difference.diff.splitlines():
            typer.secho(line, fg=_DIFF.get(line[:1]))
    for difference in found:
        typer.secho(f"{difference.path} is {difference.kind}.", fg=typer.colors.RED, err=True)
    typer.secho(f"Run {mend} and commit what it writes.", err=True)
    raise typer.Exit(1)
