"""``kfp-lifecycle schedules``."""

from typing import Annotated

import typer

from kfp_lifecycle.scripts.connection import (
    CaCertOption,
    ContextOption,
    HostOption,
    NamespaceOption,
    connected,
)
from kfp_lifecycle.scripts.schedule import ZoneOption

schedules = typer.Typer(no_args_is_help=True, help="Look after the schedules on a Kubeflow cluster.")

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="The schedule's name, or its id.", show_default=False)
]


@schedules.callback()
def _root() -> None:
    """Look after the schedules on a Kubeflow cluster."""


@schedules.command("list")
def list_command(
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    server_zone: ZoneOption = "",
    context: ContextOption = "",
    host: HostOption = "",
    namespace: NamespaceOption = "",
    ca_cert: CaCertOption = "",
) -> None:
    """Show the schedules: what they run, when they fire next by your clock, how the last run ended.

    Those that were made in the user interface are shown too.
    """
    from kfp_lifecycle.runner.cluster.cron import parse_zone
    from kfp_lifecycle.runner.cluster.runs import Names
    from kfp_lifecycle.runner.cluster.schedules import last_runs, list_schedules, server_clock
    from kfp_lifecycle.scripts.schedule_display import schedules_json, show_schedules

    zone = parse_zone(server_zone)
    server = connected(context, host, namespace, ca_cert)
    found = list_schedules(server, zone=zone)
    given = (found, last_runs(server, found), Names(server), server_clock(server))
    if as_json:
        typer.echo(schedules_json(*given))
    elif not found:
        typer.echo(
            "There is no schedule. Make one: kfp-lifecycle schedule NAME --cron '0 0 2 * * *'", err=True
        )
    else:
        show_schedules(*given)


@schedules.command("pause")
def pause_command(
    name: Name,
    context: ContextOption = "",
    host: HostOption = "",
    namespace: NamespaceOption = "",
    ca_cert: CaCertOption = "",
) -> None:
    """Switch a schedule off; a run that goes on is left alone."""
    from kfp_lifecycle.runner.cluster.schedule_control import pause

    server = connected(context, host, namespace, ca_cert)
    typer.echo(f"Paused {name}." if pause(server, name) else f"{name} was paused already.")


@schedules.command("resume")
def resume_command(
    name: Name,
    catch_up: Annotated[
        bool, typer.Option("--catch-up", help="Run all that was missed meanwhile, one after another.")
    ] = False,
    context: ContextOption = "",
    host: HostOption = "",
    namespace: NamespaceOption = "",
    ca_cert: CaCertOption = "",
) -> None:
    """Switch a schedule on.

    One that catches up runs each time that it has missed. If these are more than one, say --catch-up.
    """
    from kfp_lifecycle.runner.cluster.schedule_control import resume

    server = connected(context, host, namespace, ca_cert)
    typer.echo(f"Resumed {name}." if resume(server, name, catch_up) else f"{name} is on already.")


@schedules.command("delete")
def delete_command(
    name: Name,
    context: ContextOption = "",
    host: HostOption = "",
    namespace: NamespaceOption = "",
    ca_cert: CaCertOption = "",
) -> None:
    """Delete a schedule; what it has started goes on, and stays."""
    from kfp_lifecycle.runner.cluster.schedule_control import remove

    server = connected(context, host, namespace, ca_cert)
    for one in remove(server, name):
        typer.echo(f"Deleted {one.name} ({one.trigger_text}, {one.id}).")
