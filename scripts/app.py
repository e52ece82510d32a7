"""The command line, ``kfp-lifecycle VERB``: puts the verbs together, one module each.

Those modules import typer and the standard library only; what a verb needs besides, it imports when it is
called, so that ``--help``, completion and each verb pay for nothing that they do not use.
"""

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from kfp_lifecycle.scripts.catalog import catalog_command
from kfp_lifecycle.scripts.compile import compile_command
from kfp_lifecycle.scripts.context import context
from kfp_lifecycle.scripts.demo_data import demo_data
from kfp_lifecycle.scripts.diff import diff_command
from kfp_lifecycle.scripts.docs import docs
from kfp_lifecycle.scripts.graph import graph_command
from kfp_lifecycle.scripts.images import images
from kfp_lifecycle.scripts.init import init_command
from kfp_lifecycle.scripts.lint import lint_command
from kfp_lifecycle.scripts.new import new
from kfp_lifecycle.scripts.promote import promote
from kfp_lifecycle.scripts.release import release_command
from kfp_lifecycle.scripts.rollback import rollback
from kfp_lifecycle.scripts.run import run_command
from kfp_lifecycle.scripts.runs import runs
from kfp_lifecycle.scripts.schedule import schedule_command
from kfp_lifecycle.scripts.schedules import schedules
from kfp_lifecycle.scripts.serve import serve_command
from kfp_lifecycle.scripts.submit import submit_command
from kfp_lifecycle.scripts.watch import watch_command

BUILD, USE, CLUSTER = "Components and pipelines", "Runs and models", "Kubeflow cluster"


class _Group(TyperGroup):
    """Shows an error that the user can mend as one line, and exits with 1."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except Exception as error:
            if not getattr(error, "is_declared", False):
                raise
            typer.secho(f"{type(error).__name__}: {error}", fg=typer.colors.RED, err=True)
            raise typer.Exit(1) from None


app = typer.Typer(
    name="kfp-lifecycle",
    cls=_Group,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Each verb's `--help` has examples. `--install-completion` makes your shell complete names.",
)


def _show_version(wanted: bool) -> None:
    if not wanted:
        return
    from importlib.metadata import version
    from platform import python_version

    typer.echo(f"kfp-lifecycle {version('kfp-lifecycle')} (kfp {version('kfp')}, Python {python_version()})")
    raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show versions and exit.")
    ] = False,
) -> None:
    """Kubeflow components for the whole life of a model: compile them, run them, release what they train."""


app.command("init", rich_help_panel=BUILD)(init_command)
app.command("compile", rich_help_panel=BUILD)(compile_command)
app.command("lint", rich_help_panel=BUILD)(lint_command)
app.command("diff", rich_help_panel=BUILD)(diff_command)
app.command("docs", rich_help_panel=BUILD)(docs)
app.command("graph", rich_help_panel=BUILD)(graph_command)
app.command("release", rich_help_panel=BUILD)(release_command)
app.command("catalog", rich_help_panel=BUILD)(catalog_command)
app.add_typer(new, name="new", rich_help_panel=BUILD)
app.add_typer(images, name="images", rich_help_panel=BUILD)
app.command("run", rich_help_panel=USE)(run_command)
app.command("serve", rich_help_panel=USE)(serve_command)
app.command("promote", rich_help_panel=USE)(promote)
app.command("rollback", rich_help_panel=USE)(rollback)
app.command("demo-data", rich_help_panel=USE)(demo_data)
app.command("submit", rich_help_panel=CLUSTER)(submit_command)
app.command("watch", rich_help_panel=CLUSTER)(watch_command)
app.command("schedule", rich_help_panel=CLUSTER)(schedule_command)
app.add_typer(schedules, name="schedules", rich_help_panel=CLUSTER)
app.add_typer(runs, name="runs", rich_help_panel=CLUSTER)
app.add_typer(context, name="context", rich_help_panel=CLUSTER)


def main() -> None:
    """Runs the command line."""
    app()
