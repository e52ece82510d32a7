"""What promote and rollback have in common."""

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from kfp_lifecycle.components.register.registry import Change

MODEL = typer.Argument(metavar="MODEL", help="Name of the registered model.", show_default=False)


def show_change(change: "Change") -> None:
    """Which version held the alias and which holds it now, in a line or two."""
    if not change.changed:
        typer.echo(f"{change.model_name}: version {change.after} is the {change.alias} already.")
        return
    before = f"version {change.before}" if change.before else "none"
    after = typer.style(f"version {change.after}", fg=typer.colors.GREEN, bold=True)
    typer.echo(f"{change.model_name}: {change.alias} {before} → {after}")
    typer.echo(f"Load it with mlflow.pyfunc.load_model('models:/{change.model_name}@{change.alias}').")
