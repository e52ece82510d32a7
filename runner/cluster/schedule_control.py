"""Schedules switched on, off, and deleted, by name."""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from kfp_lifecycle.runner.cluster.cron import ScheduleError
from kfp_lifecycle.runner.cluster.schedules import (
    Schedule,
    delete,
    find_schedules,
    last_runs,
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

    Returns:
        False where it was off already.

    Raises:
        ScheduleError: There is none.
        ServerError: The server refuses, or does not answer.
    """
    found = [one for one in find_schedules(server, name) if one.enabled]
    for one in found:
        switch(server, one, on=False)
    return bool(found)


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
