"""What ``kfp-lifecycle runs logs`` prints."""

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from kfp_lifecycle.components.shared.cluster import Cluster
    from kfp_lifecycle.runner.cluster.connect import Server
    from kfp_lifecycle.runner.cluster.logs import Line, TaskPod

_COLORS = (
    typer.colors.CYAN,
    typer.colors.MAGENTA,
    typer.colors.GREEN,
    typer.colors.YELLOW,
    typer.colors.BLUE,
)


def print_logs(
    server: "Server", cluster: "Cluster", run: Any, task: str, follow: bool, drivers: bool, tail: int
) -> None:
    """Prints the logs of a run's tasks, and why there are none."""
    from kfp_lifecycle.runner.cluster import logs
    from kfp_lifecycle.runner.cluster.runs import FINISHED, get_run

    pods = logs.pods_of(cluster, run.run_id)
    if not pods and run.state in FINISHED:
        typer.echo(logs.gone(run, task), err=True)
        raise typer.Exit(1)
    if follow and run.state not in FINISHED:

        def state() -> str:
            return str(get_run(server, run.run_id).state or "")

        found: Iterable[Line] = logs.follow(cluster, run.run_id, state, task, drivers, tail, _say_trouble)
        try:
            _print(found, one=bool(task))
        except KeyboardInterrupt:
            typer.echo("The run goes on.", err=True)
            raise typer.Exit(130) from None
        return
    wanted = logs.chosen(pods, task, drivers)
    if not wanted:
        typer.echo(f"Run {run.run_id} has not started a task yet: {run.state}.", err=True)
    _print(logs.read(cluster, wanted, tail), one=len({pod.title for pod in wanted}) == 1)
    for pod in wanted:
        _say_trouble(pod)


def _print(lines: Iterable["Line"], one: bool) -> None:
    """Prints lines; those of several tasks each after its task's name."""
    colors: dict[str, int] = {}
    width = 0
    for line in lines:
        if one:
            _echo(line.text)
            continue
        title = line.pod.title
        color = _COLORS[colors.setdefault(title, len(colors)) % len(_COLORS)]
        width = max(width, len(title))
        _echo(f"{typer.style(f'{title:<{width}}', fg=color)} | {line.text}")


def _echo(text: str) -> None:
    # Of a log that goes on, each line is wanted as it comes; typer flushes, and leaves colours out of pipes.
    typer.echo(text.encode(sys.stdout.encoding or "utf-8", "replace").decode(sys.stdout.encoding or "utf-8"))


def _say_trouble(pod: "TaskPod") -> None:
    if pod.waits or pod.message:
        text = f"{pod.title}: {pod.waits}{': ' if pod.waits and pod.message else ''}{pod.message}"
        typer.secho(text, fg=typer.colors.YELLOW, err=True)
