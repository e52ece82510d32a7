"""Cron expressions and intervals, against what KFP's controller makes of them.

``cron_reference.json`` is what robfig/cron answers, with the parser's rules of its version 1.2, which the
controller is built with: the error, or the next times after ``after``. Lord Howe Island is not among the
zones: the library's own arithmetic goes wrong on the days of its half-hour changes.
"""

import json
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kfp_lifecycle.runner.cluster.cron import ScheduleError, interval_text, parse_cron, parse_interval

REFERENCE = json.loads(Path(__file__).with_name("cron_reference.json").read_text())
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def _times(text: str, zone: str, after: datetime, count: int) -> list[datetime]:
    return list(islice(parse_cron(text, ZoneInfo(zone)).times(after), count))


def test_fires_when_the_controller_does() -> None:
    fired = [one for one in REFERENCE if one["times"] and len(one["cron"].split()) == 6]
    assert len(fired) > 200
    assert {"UTC", "Europe/Berlin", "America/New_York"} <= {one["zone"] for one in fired}
    for one in fired:
        if len(one["times"]) < one["count"]:
            continue  # it dies out, which is refused below
        found = _times(one["cron"], one["zone"], datetime.fromtimestamp(one["after"], UTC), one["count"])
        assert [int(time.timestamp()) for time in found] == one["times"], one


def test_refuses_what_the_controller_refuses() -> None:
    refused = [one for one in REFERENCE if "error" in one]
    assert len(refused) > 20
    for one in refused:
        with pytest.raises(ScheduleError):
            parse_cron(one["cron"])


@pytest.mark.parametrize("text", ["0 0 0 30 2 *", "0 0 0 31 4,6 *", "0 0 0 31 9,11 ?"])
def test_what_never_fires_is_refused(text: str) -> None:
    with pytest.raises(ScheduleError, match="never fires"):
        parse_cron(text)


@pytest.mark.parametrize("text", ["0 2 * * *", "  0  9 * * 1 ", "*/5 * * * *"])
def test_five_fields_are_refused_with_the_six(text: str) -> None:
    with pytest.raises(ScheduleError) as caught:
        parse_cron(text)
    six = f"0 {' '.join(text.split())}"
    assert f"'{six}'" in str(caught.value)
    assert parse_cron(six)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "0 fields"),
        ("0 0 2 * * * 2026", "7 fields"),
        ("@daily", "0 0 0 * * *"),
        ("@every 6h", "--every 6h"),
        ("@sometimes", "not a cron expression"),
        ("0 0 24 * * *", "hour '24' is not in 0 to 23"),
        ("60 0 0 * * *", "second '60'"),
        ("0 0 0 0 * *", "day of the month '0' is not in 1 to 31"),
        ("0 0 2 * * 7", "Sunday is 0"),
        ("0 0 2 * * L", "day of the week 'L' cannot be read"),
        ("0 0 2 * foo *", "month 'foo' cannot be read"),
        ("0 0 22-2 * * *", "hour '22-2' runs backwards"),
        ("0 */0 * * * *", "minute '*/0' has a step of 0"),
        ("0 , * * * *", "minute '' cannot be read"),
        ("0 1--3 * * * *", "cannot be read"),
        ("0 -1 * * * *", "cannot be read"),
        ("0 ٣ * * * *", "cannot be read"),
    ],
)
def test_what_is_wrong_is_said(text: str, said: str) -> None:
    with pytest.raises(ScheduleError) as caught:
        parse_cron(text)
    assert said in str(caught.value)


def test_one_day_in_both_fields_is_either_unless_one_is_a_star() -> None:
    either = _times("0 0 0 13 * fri", "UTC", NOON, 3)
    assert [time.day for time in either] == [27, 4, 11]
    # A star with a step is still a star: odd days that are Mondays.
    both = _times("0 0 0 */2 * mon", "UTC", NOON, 3)
    assert [(time.day, time.weekday()) for time in both] == [(23, 0), (7, 0), (21, 0)]


def test_summer_time_leaves_out_and_repeats() -> None:
    spring = _times("0 30 2 * * *", "Europe/Berlin", datetime(2026, 3, 27, 12, tzinfo=UTC), 3)
    assert [time.day for time in spring] == [28, 30, 31]
    autumn = _times("0 30 2 * * *", "Europe/Berlin", datetime(2026, 10, 24, 12, tzinfo=UTC), 3)
    assert [(time.day, time.hour) for time in autumn] == [(25, 0), (25, 1), (26, 1)]


def test_a_time_is_later_than_the_one_asked_from() -> None:
    two = datetime(2026, 11, 22, 2, tzinfo=UTC)
    assert _times("0 0 2 * * *", "UTC", two, 1) == [two + timedelta(days=1)]


@given(
    st.sampled_from([one for one in REFERENCE if one["times"] and len(one["times"]) == one["count"]]),
    st.datetimes(datetime(2025, 1, 1), datetime(2030, 1, 1)),
)
def test_times_ascend_and_are_of_the_expression(one: dict[str, str], after: datetime) -> None:
    if len(one["cron"].split()) != 6:
        return
    cron = parse_cron(one["cron"], ZoneInfo(one["zone"]))
    times = [after.replace(tzinfo=UTC), *islice(cron.times(after.replace(tzinfo=UTC)), 3)]
    assert all(a < b for a, b in pairwise(times))
    for time in times[1:]:
        local = time.astimezone(cron.zone)
        assert local.second in cron.fields[0]
        assert local.minute in cron.fields[1]
        assert local.hour in cron.fields[2]
        assert local.month in cron.fields[4]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30),
        ("90m", 5400),
        ("6h", 21600),
        ("1d", 86400),
        ("1h30m", 5400),
        ("1d 12h", 129600),
        ("1S", 1),
    ],
)
def test_intervals(text: str, seconds: int) -> None:
    assert parse_interval(text) == seconds


@pytest.mark.parametrize("text", ["", "6", "6 hours", "h", "-6h", "1.5h", "6h5", "0s", "0h0m", "6w"])
def test_intervals_that_are_none(text: str) -> None:
    with pytest.raises(ScheduleError) as caught:
        parse_interval(text)
    assert caught.value.fix


@given(st.integers(1, 10**7))
def test_an_interval_is_written_as_it_is_read(seconds: int) -> None:
    assert parse_interval(interval_text(seconds)) == seconds
