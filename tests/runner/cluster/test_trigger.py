from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest

from kfp_lifecycle.runner.cluster.cron import ScheduleError, parse_cron
from kfp_lifecycle.runner.cluster.trigger import MOST_PASSED, Trigger, parse_time

NOW = datetime(2026, 11, 22, 18, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAILY = parse_cron("0 0 2 * * *")


def _first(trigger: Trigger, created: datetime = NOW) -> datetime:
    return next(trigger.times(created))


def test_an_interval_counts_from_its_creation_or_its_start() -> None:
    assert _first(Trigger(every=3600)) == NOW + HOUR
    start = NOW + timedelta(days=2)
    assert _first(Trigger(every=3600, start=start)) == start + HOUR


def test_cron_counts_from_after_its_start() -> None:
    two = datetime(2026, 12, 1, 2, tzinfo=UTC)
    assert _first(Trigger(DAILY)) == datetime(2026, 11, 23, 2, tzinfo=UTC)
    # The start itself is no time: the controller asks for the next one after it.
    assert _first(Trigger(DAILY, start=two)) == two + timedelta(days=1)
    assert _first(Trigger(DAILY, start=two - timedelta(seconds=1))) == two


def test_the_end_still_counts() -> None:
    assert list(Trigger(every=3600, end=NOW + 2 * HOUR).times(NOW)) == [NOW + HOUR, NOW + 2 * HOUR]
    two = datetime(2026, 11, 23, 2, tzinfo=UTC)
    assert list(Trigger(DAILY, end=two).times(NOW)) == [two]


def test_what_has_passed_is_counted_from_the_start() -> None:
    start = NOW - timedelta(hours=5, minutes=30)
    assert Trigger(every=3600, start=start).passed(NOW, NOW) == 5
    assert Trigger(DAILY, start=NOW - timedelta(days=3)).passed(NOW, NOW) == 3
    assert Trigger(every=1, start=NOW - timedelta(days=3)).passed(NOW, NOW) == MOST_PASSED
    assert Trigger(every=3600).passed(NOW, NOW) == 0


def test_the_next_times_are_after_now_and_keep_the_beat() -> None:
    start = NOW - timedelta(hours=5, minutes=30)
    assert Trigger(every=3600, start=start).next_times(NOW, NOW, 2) == [
        NOW + timedelta(minutes=30),
        NOW + timedelta(minutes=90),
    ]
    created = NOW - timedelta(days=400)
    assert Trigger(DAILY).next_times(created, NOW, 1) == [datetime(2026, 11, 23, 2, tzinfo=UTC)]
    assert Trigger(every=1).next_times(NOW - timedelta(days=4000), NOW, 1) == [NOW + timedelta(seconds=1)]


@pytest.mark.parametrize(
    "trigger", [Trigger(every=3600, start=NOW - 5.5 * HOUR), Trigger(DAILY, start=NOW - 50 * HOUR)]
)
def test_without_the_past_the_future_is_the_same(trigger: Trigger) -> None:
    later = trigger.since(NOW, NOW)
    assert later.passed(NOW, NOW) == 0
    future = [time for time in islice(trigger.times(NOW), 20) if time > NOW]
    assert list(islice(later.times(NOW), len(future))) == future


def test_a_future_start_is_left_alone() -> None:
    trigger = Trigger(DAILY, start=NOW + HOUR)
    assert trigger.since(NOW, NOW) is trigger


@pytest.mark.parametrize(
    ("trigger", "said"),
    [
        (Trigger(DAILY, start=NOW + 2 * HOUR, end=NOW + HOUR), "before it starts"),
        (Trigger(DAILY, start=NOW + HOUR, end=NOW + HOUR), "before it starts"),
        (Trigger(DAILY, end=NOW - HOUR), "has passed"),
        (Trigger(DAILY, end=NOW + HOUR), "Cron 0 0 2 * * * never fires before the end"),
        (Trigger(every=86400, end=NOW + HOUR), "Every 1d never fires before the end"),
        (Trigger(every=86400, start=NOW + HOUR, end=NOW + 2 * HOUR), "never fires before the end"),
    ],
)
def test_what_never_fires_is_refused(trigger: Trigger, said: str) -> None:
    with pytest.raises(ScheduleError, match=said.replace("*", r"\*")):
        trigger.check(NOW)


def test_what_fires_once_is_fine() -> None:
    Trigger(every=3600, end=NOW + HOUR).check(NOW)


def test_times_are_of_this_machine_unless_they_say_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        assert parse_time("2026-12-24") == datetime(2026, 12, 23, 23, tzinfo=UTC)
        assert parse_time("2026-07-24T02:00") == datetime(2026, 7, 24, 0, tzinfo=UTC)
        assert parse_time("2026-07-24T02:00Z") == datetime(2026, 7, 24, 2, tzinfo=UTC)
        with pytest.raises(ScheduleError, match="'tomorrow' is not a time"):
            parse_time("tomorrow")
    finally:
        monkeypatch.undo()
        time.tzset()
