"""``kfp-lifecycle diff``."""

import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from kfp_lifecycle.compiler.diff import Change

_COLORS = {"breaking": typer.colors.RED, "compatible": typer.colors.GREEN, "internal": typer.colors.CYAN}


def diff_command(
    old: Annotated[
        str,
        typer.Argument(metavar="OLD", help="A compiled file, or NAME@VERSION of one.", show_default=False),
    ],
    new: Annotated[
        str,
        typer.Argument(metavar="NEW", help="What became of it.", show_default=False),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Write the changes as JSON.")] = False,
) -> None:
    """Show what changes between two compiled pipelines, and who notices.

    Breaking: a run, schedule or script that uses the pipeline fails or differs. Compatible: something new
    that one may use. Internal: tasks, images, resources, settings. docs/diff-changes.md has every kind. Exits
    with 1 if anything breaks, with 2 if a file cannot be read.

        kfp-lifecycle diff compiled/pipelines/training/1.0.0.yaml compiled/pipelines/training/1.1.0.yaml
        kfp-lifecycle diff training@1.0.0 training
    """
    from kfp_lifecycle.compiler.diff import Category, diff, to_json
    from kfp_lifecycle.compiler.errors import CompiledFileError
    from kfp_lifecycle.compiler.reader import read
    from kfp_lifecycle.runner.errors import PipelineFileError
    from kfp_lifecycle.runner.resolve import find

    try:
        changes = diff(read(find(old)), read(find(new)))
    except (CompiledFileError, PipelineFileError) as error:
        typer.secho(f"{type(error).__name__}: {error}", fg=typer.colors.RED, err=True)
        raise typer.Exit(2) from None
    if as_json:
        import json

        typer.echo(json.dumps(to_json(changes, old, new), indent=2))
    else:
        show_changes(changes)
    if any(change.category is Category.BREAKING for change in changes):
        raise typer.Exit(1)


def show_changes(changes: Sequence["Change"]) -> None:
    """Prints changes by category, and the bump that they ask for."""
    from kfp_lifecycle.compiler.diff import Category, bump

    if not changes:
        typer.echo("Nothing changes.")
        return
    # rich would lay the table out too, at a third of the time that the whole command takes.
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 10_000
    kinds = max(len(change.id) for change in changes)
    for category in Category:
        of_category = [change for change in changes if change.category is category]
        if of_category:
            title = f"{category.capitalize()} ({len(of_category)})"
            typer.secho(title, fg=_COLORS[category], bold=True)
            _show_category(of_category, kinds, max(width - kinds - 6, 30))
            typer.echo()
    typer.echo(f"The version needs a {typer.style(bump(changes), bold=True)} bump.")


def _show_category(changes: Sequence["Change"], kinds: int, width: int) -> None:
    place = None
    for change in changes:
        if change.place != place:
            place = change.place
            typer.secho(f"  {place or 'the pipeline'}", bold=True)
        lines = textwrap.wrap(
            f"{change.message} {change.hint}".strip(), width, break_on_hyphens=False, break_long_words=False
        )
        kind = typer.style(f"{change.id:<{kinds}}", fg=_COLORS[change.category])
        typer.echo(f"    {kind}  {lines[0]}")
        for line in lines[1:]:
            typer.echo(f"    {'':<{kinds}}  {line}")
