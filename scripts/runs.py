"""``kfp-lifecycle runs``."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from kfp_lifecycle.scripts.connection import (
    CaCertOption,
    ContextOption,
    HostOption,
    NamespaceOption,
    connected,
)

if TYPE_CHECKING:
    from kfp_lifecycle.components.shared.cluster import Cluster
    from kfp_lifecycle.runner.cluster.connect import Server

runs = typer.Typer(no_args_is_help=True, help="Look after the runs on a Kubeflow cluster.")

RunId = Annotated[
    str,
    typer.Argument(
        metavar="RUN_ID", help="The run's id, the beginning of it, or a link to the run.", show_default=False
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]


@runs.callback()
def _root() -> None:
    """Look after the runs on a Kubeflow cluster."""


@runs.command("list")
def list_command(
    state: Annotated[
        list[str] | None,
        typer.Option(metavar="STATE", help="Only in this state, such as failed; may be given several times."),
    ] = None,
    experiment: Annotated[
        str, typer.Option(metavar="NAME", help="Only of this experiment.", show_default=False)
    ] = "",
    schedule: Annotated[
        str, typer.Option(metavar="NAME", help="Only of this schedule.", show_default=False)
    ] = "",
    since: Annotated[
        str,
        typer.Option(
            metavar="TIME", help="Only those started since: 6h, 7d, 2026-11-20, …T02:00.", show_default=False
        ),
    ] = "",
    until: Annotated[
        str, typer.Option(metavar="TIME", help="Only those started before.", show_default=False)
    ] = "",
    limit: Annotated[int, typer.Option("--limit", "-l", metavar="N", min=1, help="How many at most.")] = 20,
    archived: Annotated[bool, typer.Option("--archived", help="Those that are archived.")] = False,
    as_json: AsJson = False,
    context: ContextOption = "",
    host: HostOption = "",
    namespace: NamespaceOption = "",
    ca_cert: CaCertOption = "",
) -> None:
    """Show the newest runs.

    **Examples**

        kfp-lifecycle runs list --state failed --since 7d
        kfp-lifecycle runs list --schedule training --json | jq -r '.runs[0].run_id'
    """
    from kfp_lifecycle.runner.cluster.runs import Filter, list_runs, parse_state
    from kfp_lifecycle.runner.cluster.schedules import server_clock
    from kfp_lifecycle.scripts.runs_list import runs_json, show_runs

    states = tuple(parse_state(one) for one in state or [])
    times = (_moment(since), _moment(until))
    server = connected(context, host, namespace, ca_cert)
    found = list_runs(server, Filter(states, experiment, schedule, *times, archived), limit)
    now = server_clock(server).now
    if as_json:
        typer.echo(runs_json(found, now, server))
    elif not found:
        typer.echo("There is no such run.", err=True)
    else:
        show_runs(found, now)


@runs.command("show")
def show_command(
    run_id: RunId,
    as_json: AsJson = False,
    context: ContextOption = "",
    host: HostOption = "",
    namespace: NamespaceOption = "",
    ca_cert: CaCertOption = "",
) -> None:
    """Show a run: its tasks with states, times and errors, its parameters, what it measured, its link."""
    from kfp_lifecycle.runner.cluster.runs import find_run
    from kfp_lifecycle.scripts.runs_show import run_json, show_run, view

    server = connected(context, host, namespace, ca_cert)
    found = view(server, find_run(server, run_id))
    if as_json:
        typer.echo(run_json(found))
    else:
        show_run(found, server.options)


@runs.command("logs")
def logs_command(
    run_id: RunId,
    task: Annotated[
        str, typer.Option("--task", "-t", metavar="NAME", help="Only of this task.", show_default=False)
    ] = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run ends.")] = False,
    tail: Annotated[int, typer.Option(metavar="N", min=0, help="Begin with the last N lines; 0 is all.")] = 0,
    drivers: Annotated[
        bool, typer.Option("--drivers", help="Also of the drivers, which decide whether a task is run.")
    ] = False,
    context: ContextOption = "",
    host: HostOption = "",
    namespace: NamespaceOption = "",
    ca_cert: CaCertOption = "",
) -> None:
    """Print what the tasks of a run have printed, from their pods.

    The pods are looked for in the run's namespace, by the kube config or as the pod that this runs in. With
    logs of several tasks, each line begins with its task.

        kfp-lifecycle runs logs 8b2f6a0c --task train --follow
    """
    from kfp_lifecycle.runner.cluster.runs import find_run, get_run
    from kfp_lifecycle.scripts.runs_logs import print_logs

    server = connected(context, host, namespace, ca_cert)
    run = get_run(server, find_run(server, run_id))
    print_logs(server, _cluster(server), run, task, follow, drivers, tail)


@runs.command("compare")
def compare_command(
    run_ids: Annotated[
        list[str], typer.Argument(metavar="RUN_ID...", help="Two runs or more.", show_default=False)
    ],
    everything: Annotated[bool, typer.Option("--all", help="Also what is the same in all of them.")] = False,
    as_json: AsJson = False,
    context: ContextOption = "",
    host: HostOption = "",
    namespace: NamespaceOption = "",
    ca_cert: CaCertOption = "",
) -> None:
    """Put runs side by side: parameters, metrics, and what changed in the pipeline between them.

    The best value of a metric is marked where it is known which way is better. Metrics come from MLflow
    (MLFLOW_TRACKING_URI): Kubeflow's API has none.
    """
    from kfp_lifecycle.runner.cluster.compare import to_json
    from kfp_lifecycle.runner.cluster.runs import RunError, find_run
    from kfp_lifecycle.scripts.runs_compare import compared, show_comparison

    if len(run_ids) < 2:
        raise RunError("There is only one run to compare.", "Name two runs or more.")
    server = connected(context, host, namespace, ca_cert)
    found = compared(server, [find_run(server, one) for one in run_ids])
    if as_json:
        import json

        typer.echo(json.dumps(to_json(found), indent=2))
    else:
        show_comparison(found, everything)


@runs.command("terminate")
def terminate_command(
    run_id: RunId,
    context: ContextOption = "",
    host: HostOption = "",
    namespace: NamespaceOption = "",
    ca_cert: CaCertOption = "",
) -> None:
    """Stop a run; one that is over stays as it is."""
    from kfp_lifecycle.runner.cluster.runs import find_run, terminate

    server = connected(context, host, namespace, ca_cert)
    typer.echo(terminate(server, find_run(server, run_id)))


@runs.command("retry")
def retry_command(
    run_id: RunId,
    context: ContextOption = "",
    host: HostOption = "",
    namespace: NamespaceOption = "",
    ca_cert: CaCertOption = "",
) -> None:
    """Run the failed tasks of a run again; those that have succeeded are kept."""
    from kfp_lifecycle.runner.cluster.runs import find_run, retry

    server = connected(context, host, namespace, ca_cert)
    found = find_run(server, run_id)
    typer.echo(retry(server, found))
    typer.echo(f"Follow it: kfp-lifecycle watch {found}{server.options}", err=True)


def _moment(text: str) -> datetime | None:
    """A time, or how long ago it was: ``7d``."""
    import re
    from datetime import UTC, timedelta

    from kfp_lifecycle.runner.cluster.cron import parse_interval
    from kfp_lifecycle.runner.cluster.trigger import parse_time

    if not text:
        return None
    if re.fullmatch(r"(\d+[smhdSMHD])+", text):
        return datetime.now(UTC) - timedelta(seconds=parse_interval(text))
    return parse_time(text)


def _cluster(server: "Server") -> "Cluster":
    from kfp_lifecycle.components.shared.cluster import connect

    # On a server for one user, runs are where Kubeflow Pipelines itself is.
    return connect(server.namespace or server.context.kube_namespace)
