"""``kfp-lifecycle schedule``."""

from typing import TYPE_CHECKING, Annotated

import typer

from kfp_lifecycle.scripts.connection import (
    CaCertOption,
    ContextOption,
    HostOption,
    NamespaceOption,
    connected,
)
from kfp_lifecycle.scripts.target import Experiment, Param, Params, PipelineVersion, Target

if TYPE_CHECKING:
    from kfp_lifecycle.runner.cluster.connect import Server
    from kfp_lifecycle.runner.cluster.schedule_apply import Definition
    from kfp_lifecycle.runner.cluster.trigger import Trigger
    from kfp_lifecycle.runner.cluster.versions import Version
    from kfp_lifecycle.runner.load import RunnableFile


ZoneOption = Annotated[
    str,
    typer.Option(
        "--server-zone",
        metavar="ZONE",
        envvar="CRON_SCHEDULE_TIMEZONE",
        help="Time zone of the server's scheduled-workflow controller, where it is not UTC.",
        show_default=False,
    ),
]


Cron = Annotated[
    str,
    typer.Option(
        metavar="FIELDS",
        help="When: second, minute, hour, day of the month, month, day of the week; by the server's "
        "clock, in UTC.",
        show_default=False,
    ),
]
Every = Annotated[
    str, typer.Option(metavar="TIME", help="Or how often: 30s, 90m, 6h, 1d, 1h30m.", show_default=False)
]
Start = Annotated[
    str,
    typer.Option(
        metavar="TIME",
        help="Not before this time, such as 2026-12-01T02:00 by your clock.",
        show_default=False,
    ),
]
End = Annotated[str, typer.Option(metavar="TIME", help="Not after this time.", show_default=False)]
Catchup = Annotated[
    bool,
    typer.Option("--catchup/--no-catchup", help="Run each time that was missed, or the last one only."),
]
MaxConcurrency = Annotated[
    int, typer.Option(metavar="N", help="How many of its runs may go on at once, 1 to 10.")
]
Name = Annotated[
    str, typer.Option(metavar="NAME", help="The schedule's name; else the pipeline's.", show_default=False)
]
PipelineRoot = Annotated[
    str,
    typer.Option(metavar="URI", help="Where its runs write; else the server's default.", show_default=False),
]
Paused = Annotated[bool, typer.Option("--paused", help="Set it up, but do not let it fire.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show when it would fire.")]


def schedule_command(
    target: Target,
    cron: Cron = "",
    every: Every = "",
    start: Start = "",
    end: End = "",
    catchup: Catchup = True,
    max_concurrency: MaxConcurrency = 1,
    params: Params = None,
    param: Param = None,
    name: Name = "",
    experiment: Experiment = "",
    pipeline_version: PipelineVersion = "",
    pipeline_root: PipelineRoot = "",
    paused: Paused = False,
    dry_run: DryRun = False,
    server_zone: ZoneOption = "",
    context: ContextOption = "",
    host: HostOption = "",
    namespace: NamespaceOption = "",
    ca_cert: CaCertOption = "",
) -> None:
    """Run a compiled pipeline again and again on a Kubeflow cluster.

    A schedule has a name, and there is one of each: called again, the verb changes nothing, or replaces the
    schedule where something is different. The new one is made, then the old one is deleted, then the new one
    is switched on; if that breaks off anywhere, another call takes it up. A paused schedule stays paused.
    The schedule runs the version that is uploaded now, whatever is uploaded later.

    **Examples**

        kfp-lifecycle schedule training --cron "0 0 2 * * *" --params pipelines/params/churn.yaml
        kfp-lifecycle schedule training --every 6h --no-catchup --name churn-often -p source=gs://b/churn.csv
        kfp-lifecycle schedule training@1.0.0 --cron "0 30 6 * * mon-fri" --end 2027-06-30 --dry-run
    """
    from kfp_lifecycle.runner.cluster.experiments import ensure_experiment, experiment_name
    from kfp_lifecycle.runner.cluster.schedule_apply import Definition, check_definition
    from kfp_lifecycle.scripts.target import read_target

    trigger = _trigger(cron, every, start, end, catchup, server_zone)
    file, parameters = read_target(target, params, param)
    check_definition(name or file.name, max_concurrency)
    server = connected(context, host, namespace, ca_cert)
    _show_times(server, name or file.name, trigger)
    if dry_run:
        return
    version = _upload(server, file, pipeline_version)
    definition = Definition(
        name=name or file.name,
        pipeline=f"{version.pipeline} {version.name}",
        pipeline_id=version.pipeline_id,
        version_id=version.version_id,
        trigger=trigger,
        parameters=parameters,
        max_concurrency=max_concurrency,
        experiment_id=ensure_experiment(server, experiment_name(experiment)),
        service_account=server.context.service_account,
        pipeline_root=pipeline_root,
        paused=paused,
    )
    _apply(server, definition)


def _trigger(cron: str, every: str, start: str, end: str, catchup: bool, zone: str) -> "Trigger":
    from kfp_lifecycle.runner.cluster.cron import ScheduleError, parse_cron, parse_interval, parse_zone
    from kfp_lifecycle.runner.cluster.trigger import Trigger, parse_time

    if bool(cron) == bool(every):
        both = "both --cron and --every" if cron else "neither --cron nor --every"
        raise ScheduleError(f"There is {both}.", 'Say one of them: --cron "0 0 2 * * *", or --every 6h.')
    return Trigger(
        parse_cron(cron, parse_zone(zone)) if cron else None,
        parse_interval(every) if every else 0,
        parse_time(start) if start else None,
        parse_time(end) if end else None,
        catchup,
    )


def _show_times(server: "Server", name: str, trigger: "Trigger") -> None:
    """The next times, before anything is changed; refuses what never fires."""
    from kfp_lifecycle.runner.cluster.schedule_apply import beat
    from kfp_lifecycle.runner.cluster.schedules import list_schedules, server_clock
    from kfp_lifecycle.scripts.schedule_display import time_lines

    clock = server_clock(server)
    trigger.check(clock.now)
    there = list_schedules(server, name)
    for line in time_lines(name, trigger, clock, new=not there, since=beat(trigger, there) or clock.now):
        typer.echo(line)


def _upload(server: "Server", file: "RunnableFile", name: str) -> "Version":
    from kfp_lifecycle.runner.cluster.versions import ensure_version

    version = ensure_version(server, file, name)
    title = f"{version.pipeline} {version.name}"
    typer.echo(f"Uploaded {title}." if version.uploaded else f"The server has {title} already.", err=True)
    return version


def _apply(server: "Server", definition: "Definition") -> None:
    import time
    from datetime import datetime

    from kfp_lifecycle.runner.cluster.schedule_apply import apply
    from kfp_lifecycle.scripts.schedule_display import outcome
    from kfp_lifecycle.scripts.times import local

    def wait(seconds: float, until: datetime) -> None:
        typer.echo(f"One of its times is near ({local(until, True)}); waiting {seconds:.0f} s.", err=True)
        time.sleep(seconds)

    try:
        applied = apply(server, definition, wait=wait)
    except KeyboardInterrupt:
        typer.echo("Broken off. Call it again: it takes up what was left.", err=True)
        raise typer.Exit(130) from None
    typer.echo(outcome(applied, server.options))
