"""What schedules look like on a terminal."""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import typer

from kfp_lifecycle.scripts.times import duration, iso, local, short

if TYPE_CHECKING:
    from kfp_lifecycle.runner.cluster.runs import Names
    from kfp_lifecycle.runner.cluster.schedule_apply import Applied
    from kfp_lifecycle.runner.cluster.schedules import Clock, Schedule
    from kfp_lifecycle.runner.cluster.trigger import Trigger

_COUNT = 3


def time_lines(name: str, trigger: "Trigger", clock: "Clock", new: bool, since: datetime) -> Iterator[str]:
    """When a schedule fires next, its interval counted from ``since``, and what is odd about it."""
    zone = f" ({trigger.cron.zone})" if trigger.cron else ""
    yield f"{typer.style(name, bold=True)}: {trigger.text}{zone}"
    if passed := _passed(trigger, clock, new):
        yield typer.style(passed, fg=typer.colors.YELLOW)
    for number, time in enumerate(trigger.next_times(since, clock.now, _COUNT)):
        wait = f"  in {duration((time - clock.now).total_seconds())}" if number == 0 else ""
        yield f"  {local(time, seconds=True)}{wait}"
    for note in (clock.skew, _summer_time(trigger, clock.now)):
        if note:
            yield typer.style(note, fg=typer.colors.YELLOW)


def _passed(trigger: "Trigger", clock: "Clock", new: bool) -> str:
    """What becomes of the times since its start that have passed already."""
    from kfp_lifecycle.runner.cluster.trigger import MOST_PASSED

    passed = trigger.passed(clock.now, clock.now)
    if not passed:
        return ""
    if not new:
        then = "they are not run, as it takes the place of another"
    else:
        then = "all are run at once, one after another" if trigger.catchup else "the last is run at once"
    many = f"{MOST_PASSED} or more" if passed >= MOST_PASSED else str(passed)
    return f"{many} of its times since {local(trigger.start or clock.now)} have passed: {then}."


def _summer_time(trigger: "Trigger", now: datetime) -> str:
    """What to say where the times move by the user's clock within the year."""
    if trigger.cron is None or len(trigger.cron.fields[2]) == 24:
        return ""

    def apart(time: datetime) -> timedelta:
        there = time.astimezone(trigger.cron.zone if trigger.cron else UTC)
        return (time.astimezone().utcoffset() or timedelta()) - (there.utcoffset() or timedelta())

    if apart(now) == apart(now + timedelta(days=182)):
        return ""
    return f"It goes by {trigger.cron.zone}: by your clock, it moves when summer time begins or ends."


def outcome(applied: "Applied", options: str) -> str:
    """What has come of a call, as a sentence or two."""
    from kfp_lifecycle.runner.cluster.schedule_plan import Action

    schedule = applied.schedule
    if Action.DISABLE in applied.actions:
        text = "Paused."
    elif applied.replaced:
        text = "Replaced; what the old one has started goes on."
    elif Action.CREATE in applied.actions:
        text = "Created."
    elif applied.actions:
        text = "Finished a change that was broken off."
    else:
        text = "It is so already."
    if not schedule.enabled:
        text += f" It is paused: kfp-lifecycle schedules resume {schedule.name!r}{options}"
    return text


def show_schedules(
    schedules: Sequence["Schedule"], last: Mapping[str, Any], names: "Names", clock: "Clock"
) -> None:
    """The schedules as a table."""
    from rich.text import Text

    from kfp_lifecycle.scripts.tables import STATE_STYLES, new_table, show

    table = new_table("Schedule", "", "Pipeline", "When", "Next", "Last run")
    for one in schedules:
        state = Text("on", "green") if one.enabled else Text("paused", "yellow")
        pipeline, version = names.version(one.pipeline_id, one.version_id) if one.pipeline_id else ("", "")
        following = one.next_times(clock.now, 1) if one.enabled else []
        run = last.get(one.id)
        run_text = Text(run.state or "", STATE_STYLES.get(run.state, "")) if run else Text("")
        if run:
            run_text.append(f" {short(run.created_at, clock.now)}", "default")
        table.add_row(
            Text(one.name, "bold"),
            state,
            f"{pipeline} {version or '(newest)'}" if pipeline else "(its own)",
            one.trigger_text,
            short(following[0], clock.now) if following else "",
            run_text,
        )
    show(table)
    for one in schedules:
        if one.note:
            typer.secho(f"{one.name}: {one.note}", fg=typer.colors.YELLOW)
    several = {
        one.name for one in schedules if sum(o.name == one.name and o.mark is not None for o in schedules) > 1
    }
    for name in sorted(several):
        text = f"{name}: a change was broken off; call kfp-lifecycle schedule again."
        typer.secho(text, fg=typer.colors.YELLOW)


def schedules_json(
    schedules: Sequence["Schedule"], last: Mapping[str, Any], names: "Names", clock: "Clock"
) -> str:
    """The schedules as JSON."""
    found = []
    for one in schedules:
        pipeline, version = names.version(one.pipeline_id, one.version_id) if one.pipeline_id else ("", "")
        run = last.get(one.id)
        found.append(
            {
                "name": one.name,
                "id": one.id,
                "enabled": one.enabled,
                "pipeline": pipeline,
                "version": version,
                "trigger": one.trigger_text,
                "catchup": one.trigger.catchup if one.trigger else None,
                "max_concurrency": one.max_concurrency,
                "parameters": one.parameters,
                "experiment": names.experiment(one.experiment_id),
                "next": [iso(time) for time in one.next_times(clock.now)],
                "last_run": {"run_id": run.run_id, "state": run.state, "created": iso(run.created_at)}
                if run
                else None,
                "note": one.note,
            }
        )
    return json.dumps({"format": 1, "schedules": found}, indent=2)
