"""Schedules switched on, off, and deleted, by name."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from kfp_lifecycle.runner.cluster.cron import ScheduleError
from kfp_lifecycle.runner.cluster.schedule_plan import new_call
from kfp_lifecycle.runner.cluster.schedules import (
    Schedule,
    delete,
    find_schedules,
    has_run,
    last_runs,
    list_schedules,
    read_schedule,
    server_clock,
    switch,
)

if TYPE_CHECKING:
    from kfp_lifecycle.runner.cluster.connect import Server


@dataclass(frozen=True)
class Missed:
    """What a paused schedule has missed.

    Args:
        count: How many of its times have passed since its last run, or since it was made.
        since: When that was.
    """

    count: int
    since: datetime


def pause(server: "Server", name: str) -> bool:
    """Switches a schedule off; a run that goes on is left alone.

    It stays off until it is resumed, whatever ``apply`` makes of it.

    Returns:
        False where it was off already.

    Raises:
        ScheduleError: There is none.
        ServerError: The server refuses, or does not answer.
    """
    found = find_schedules(server, name)
    enabled = [one for one in found if one.enabled]
    for one in enabled:
        switch(server, one, on=False)
    _keep_off(server, found)
    return bool(enabled)


def _keep_off(server: "Server", found: Sequence[Schedule]) -> None:
    """Sees to it that the schedule is not taken for one whose setting-up was broken off.

    That is what it looks like before its first run, and while a change of it is unfinished. A copy whose mark
    says that it is to be off takes its place.
    """
    ours = [one for one in list_schedules(server, found[0].name) if one.mark]
    if not ours:
        return
    newest = max(ours, key=lambda one: (one.mark.generation, one.id) if one.mark else (0, ""))
    if newest.id not in {one.id for one in found} or newest.mark is None or not newest.mark.on:
        return
    if len(ours) == 1 and has_run(server, newest):
        return
    _copy_off(server, newest)
    for one in ours:
        delete(server, one)


def _copy_off(server: "Server", schedule: Schedule) -> None:
    """Makes the same recurring run again, off, with a mark that says so."""
    import kfp_server_api

    assert schedule.mark is not None
    api = server.client.recurring_runs
    old = server.call(
        api.recurring_run_service_get_recurring_run,
        schedule.id,
        what=f"look at the schedule {schedule.name!r}",
    )
    mark = replace(schedule.mark, generation=schedule.mark.generation + 1, call=new_call(), on=False)
    if old.trigger.periodic_schedule and not old.trigger.periodic_schedule.start_time:
        old.trigger.periodic_schedule.start_time = schedule.created  # the beat stays the same
    body = kfp_server_api.V2beta1RecurringRun(
        display_name=old.display_name,
        description=mark.describe((old.description or "").rpartition(" [")[0]),
        pipeline_version_reference=old.pipeline_version_reference,
        runtime_config=old.runtime_config,
        service_account=old.service_account or None,
        max_concurrency=old.max_concurrency,
        trigger=old.trigger,
        mode=kfp_server_api.RecurringRunMode.DISABLE,
        no_catchup=old.no_catchup,
        namespace=server.namespace or None,
        experiment_id=old.experiment_id or None,
    )

    def look_up() -> Any:
        found = list_schedules(server, schedule.name)
        return next((one for one in found if one.mark and one.mark.call == mark.call), None)

    server.create(
        look_up,
        lambda: read_schedule(api.recurring_run_service_create_recurring_run(body)),
        what=f"pause the schedule {schedule.name!r}",
    )


def resume(server: "Server", name: str, catch_up: bool = False) -> bool:
    """Switches a schedule on.

    Args:
        server: Where.
        name: Its name, or its id.
        catch_up: Whether it may run all that it has missed, as a schedule with catch-up does.

    Returns:
        False where it was on already.

    Raises:
        ScheduleError: There is none, a change of it was broken off, or it would run what it has missed and
            that was not asked for.
        ServerError: The server refuses, or does not answer.
    """
    found = find_schedules(server, name)
    if any(one.enabled for one in found):
        return False
    if len(found) > 1:
        raise ScheduleError(
            f"There are {len(found)} recurring runs {name!r}, none of them on: a change was broken off.",
            f"Call kfp-lifecycle schedule again, or name the one that is meant by its id: {found[-1].id}.",
        )
    missed = missed_times(server, found[0])
    if missed.count > 1 and not catch_up:
        raise ScheduleError(
            f"{missed.count} times of {name!r} have passed since {missed.since.astimezone():%Y-%m-%d %H:%M}, "
            "and it would run them all, one after another.",
            "Say --catch-up if it shall, or schedule it again with --no-catchup.",
        )
    if not switch(server, found[0], on=True):
        raise ScheduleError(f"The schedule {name!r} was deleted just now.")
    return True


def missed_times(server: "Server", schedule: Schedule) -> Missed:
    """What a schedule that catches up would run at once, were it switched on."""
    last = last_runs(server, [schedule]).get(schedule.id)
    since = (last.scheduled_at or last.created_at) if last else schedule.created
    trigger = schedule.trigger
    if trigger is None or not trigger.catchup:
        return Missed(0, since)
    # Without a run, it counts from its own start.
    trigger = trigger.since(since, schedule.created) if last else trigger
    return Missed(trigger.passed(schedule.created, server_clock(server).now), since)


def remove(server: "Server", name: str) -> list[Schedule]:
    """Deletes a schedule; what it has started goes on, and stays.

    Returns:
        The recurring runs that were deleted.

    Raises:
        ScheduleError: There is none.
        ServerError: The server refuses, or does not answer.
    """
    found = find_schedules(server, name)
    for one in found:
        delete(server, one)
    return found
