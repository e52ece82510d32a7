"""What schedules fire, over hours, while they are changed, broken off, and taken up again."""

import random
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from kfp_lifecycle.runner.cluster.cron import parse_cron
from kfp_lifecycle.runner.cluster.errors import ServerError
from kfp_lifecycle.runner.cluster.schedule_apply import Definition, apply
from kfp_lifecycle.runner.cluster.schedules import list_schedules
from kfp_lifecycle.runner.cluster.trigger import Trigger
from tests.conftest import SOAK
from tests.kfp_server import KfpServer
from tests.kfp_server.firing import Controller
from tests.runner.cluster.scheduling import add_version, daily, to

HOUR = timedelta(hours=1)
SEEDS = range(100 if SOAK else 2)


def _apply(double: KfpServer, controller: Controller, definition: Definition) -> None:
    apply(to(double), definition, wait=lambda seconds, until: controller.run(timedelta(seconds=seconds)))


def _hours(begin: datetime, end: datetime) -> list[datetime]:
    first = begin.replace(minute=0, second=0, microsecond=0) + HOUR
    return [first + n * HOUR for n in range(int((end - first) / HOUR) + 1)] if end >= first else []


@pytest.mark.parametrize("catchup", [True, False], ids=["catch-up", "no catch-up"])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_schedule_that_is_changed_fires_each_time_once(double: KfpServer, seed: int, catchup: bool) -> None:
    """However near to one of its times it is changed: none twice, none left out."""
    ids, chance, controller = add_version(double), random.Random(seed), Controller(double.state)
    hourly = Trigger(parse_cron("0 0 * * * *"), catchup=catchup)
    _apply(double, controller, daily(ids, trigger=hourly))
    begin = double.state.now()
    for number in range(8):
        to_next = HOUR - timedelta(minutes=double.state.now().minute, seconds=double.state.now().second)
        near = to_next + timedelta(seconds=chance.randint(-30, 30))
        controller.run(max(near, timedelta(seconds=10)) + HOUR * chance.randint(0, 1))
        _apply(double, controller, daily(ids, trigger=hourly, max_concurrency=2 + number % 2))
    controller.run(timedelta(minutes=2))
    end = double.state.now()
    fired = [time for _, time in controller.fired]
    assert fired == _hours(begin, end - timedelta(seconds=20))
    assert len({id for id, _ in controller.fired}) > 3  # noqa: A001 - it was replaced again and again


@pytest.mark.parametrize("seed", SEEDS)
def test_what_breaks_off_and_is_taken_up_later_runs_nothing_twice(double: KfpServer, seed: int) -> None:
    ids, chance, controller = add_version(double), random.Random(seed), Controller(double.state)
    hourly = Trigger(parse_cron("0 0 * * * *"), start=double.state.now() - 5 * HOUR)
    _apply(double, controller, daily(ids, trigger=hourly))
    for number in range(5):
        controller.run(timedelta(minutes=chance.randint(1, 150)))
        double.faults.answer(400, chance.choice(["DELETE ", ":enable"]))
        with pytest.raises(ServerError):
            _apply(double, controller, daily(ids, trigger=hourly, max_concurrency=2 + number % 2))
        controller.run(timedelta(minutes=chance.randint(0, 150)))
        _apply(double, controller, daily(ids, trigger=hourly, max_concurrency=2 + number % 2))
    controller.run(2 * HOUR)
    fired = [time for _, time in controller.fired]
    assert len(fired) == len(set(fired))
    assert [one.enabled for one in list_schedules(to(double))] == [True]


def test_what_is_shown_is_what_fires(double: KfpServer) -> None:
    ids, controller = add_version(double), Controller(double.state)
    triggers = [
        Trigger(parse_cron("0 */20 * * * *")),
        Trigger(parse_cron("30 15,45 * * * *"), start=double.state.now() + HOUR),
        Trigger(every=1800),
        Trigger(every=2700, start=double.state.now() + HOUR),
        Trigger(every=1800, end=double.state.now() + 2 * HOUR),
    ]
    for number, trigger in enumerate(triggers):
        definition = Definition(f"s{number}", "training", *ids, trigger=trigger, parameters={"source": "a"})
        _apply(double, controller, definition)
    shown = {one.id: one.next_times(double.state.now()) for one in list_schedules(to(double))}
    controller.run(6 * HOUR)
    for id, times in shown.items():  # noqa: A001
        fired = [time for fired_id, time in controller.fired if fired_id == id]
        assert [time.astimezone(UTC) for time in times] == [time.astimezone(UTC) for time in fired[:3]]


@pytest.mark.parametrize(("catchup", "count"), [(True, 5), (False, 1)])
@pytest.mark.parametrize("trigger", ["cron", "interval"])
def test_a_start_in_the_past_is_caught_up_as_is_said(
    double: KfpServer, trigger: str, catchup: bool, count: int
) -> None:
    ids, controller = add_version(double), Controller(double.state)
    begin = double.state.now().replace(minute=0, second=0, microsecond=0) - 5 * HOUR
    cron = parse_cron("0 0 * * * *") if trigger == "cron" else None
    given = Trigger(cron, 0 if cron else 3600, start=begin, catchup=catchup)
    assert given.passed(double.state.now(), double.state.now()) == 5
    _apply(double, controller, daily(ids, trigger=given))
    controller.run(timedelta(seconds=70))
    if double.state.now().minute < 50:
        assert len(controller.fired) == count


def test_an_interval_keeps_its_beat_through_changes(double: KfpServer) -> None:
    ids, controller = add_version(double), Controller(double.state)
    _apply(double, controller, daily(ids, trigger=Trigger(every=1800)))
    for number in range(6):
        controller.run(timedelta(minutes=50))
        _apply(double, controller, daily(ids, trigger=Trigger(every=1800), max_concurrency=2 + number % 2))
    controller.run(HOUR)
    times = [time for _, time in controller.fired]
    assert {b - a for a, b in pairwise(times)} == {timedelta(minutes=30)}
    assert len(times) >= 11


@pytest.mark.parametrize(
    ("trigger", "last", "now", "due"),
    [
        # The cases of the backend's own cron_schedule_test.go and periodic_schedule_test.go, in minutes.
        ({"start": 610, "end": 660}, None, 620, 611),
        ({"start": 610, "end": 660}, 620, 621, 621),
        ({"start": 600, "end": 660}, 780, 781, None),
        ({"start": 610, "end": 660, "no_catchup": True}, 620, 621.5, 621),
        ({"start": 610, "end": 660, "no_catchup": True}, 620, 630, 630),
        ({"start": 610, "end": 660, "no_catchup": True}, 620, 720, 660),
        ({"every": 1, "start": 610, "end": 660}, None, 620, 611),
        ({"every": 1, "start": 610, "end": 660}, 620, 620, 621),
        ({"every": 1, "start": 610, "end": 660}, 660, 661, None),
        ({"every": 1, "start": 610, "end": 660, "no_catchup": True}, 620, 621.5, 621),
        ({"every": 1, "start": 610, "no_catchup": True}, 620, 630, 630),
        ({"every": 1, "start": 610, "end": 660, "no_catchup": True}, 620, 720, 660),
    ],
)
def test_the_doubles_controller_is_as_the_backends(
    double: KfpServer, trigger: dict[str, float], last: int | None, now: float, due: int | None
) -> None:
    def at(minutes: float) -> datetime:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)

    about = {f"{key}_time": at(trigger[key]).isoformat() for key in ("start", "end") if key in trigger}
    every = trigger.get("every")
    kind = "periodic_schedule" if every else "cron_schedule"
    about |= {"interval_second": str(int(every * 60))} if every else {"cron": "0 * * * * *"}
    item = {"recurring_run_id": "x", "trigger": {kind: about}, "no_catchup": trigger.get("no_catchup")}
    controller = Controller(double.state)
    if last is not None:
        controller._last["x"] = at(last)
    assert controller._due({**item, "created_at": at(0).isoformat()}, at(now)) == (
        None if due is None else at(due)
    )
