"""``kfp-lifecycle watch``."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from kfp_lifecycle.scripts.connection import (
    CaCertOption,
    ContextOption,
    HostOption,
    NamespaceOption,
    connected,
)

if TYPE_CHECKING:
    from kfp_lifecycle.runner.cluster.connect import Server
    from kfp_lifecycle.runner.cluster.watch import ClusterRun


def watch_command(
    run_id: Annotated[
        str, typer.Argument(metavar="RUN_ID", help="The run, as `submit` and the user interface show it.")
    ],
    context: ContextOption = "",
    host: HostOption = "",
    namespace: NamespaceOption = "",
    ca_cert: CaCertOption = "",
) -> None:
    """Follow a run on a Kubeflow cluster until it ends.

    Shows each task as it goes on, then the outputs. A server that does not answer for a while, or is
    restarted, is waited for; a token that ends is renewed.

    Exits with 0 when the run has succeeded, with 1 when it has failed or was cancelled, with 130 after
    Ctrl-C, which leaves the run as it is.

        kfp-lifecycle watch 8b2f6a0c-3d1e-4f57-9c1b-2a7d9e4c6f10
    """
    follow(connected(context, host, namespace, ca_cert), run_id)


def follow(server: "Server", run_id: str) -> NoReturn:
    """Follows a run until it ends, shows how it ended, and exits accordingly."""
    from kfp_lifecycle.runner.cluster.watch import watch
    from kfp_lifecycle.scripts.run_display import show_ending, show_progress

    try:
        with show_progress() as observer:
            run = watch(server, run_id, [observer])
    except KeyboardInterrupt:
        typer.echo(
            f"The run goes on. Follow it again: kfp-lifecycle watch {run_id}{server.options}", err=True
        )
        raise typer.Exit(130) from None
    show_ending(run, _lines(run, server))
    raise typer.Exit(run.exit_code)


def _lines(run: "ClusterRun", server: "Server") -> Iterator[tuple[str, str]]:
    """What to open, read or type next."""
    from kfp_lifecycle.runner.events import State

    for number, (name, value) in enumerate(run.outputs.items()):
        yield "" if number else "Outputs", f"{name}: {value}"
    if any(step.state is State.FAILED for step in run.steps):
        yield "Logs", f"kfp-lifecycle runs logs {run.run_id}{server.options}"
    yield "Run", run.link or run.run_id
