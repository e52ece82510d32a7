"""Which rows are looked at."""

from datetime import UTC, datetime, timedelta

import pytest

from kfp_lifecycle.components.monitor.windows import Window, duration, window_to
from kfp_lifecycle.components.shared.errors import ParameterError

NOW = datetime(2026, 11, 22, 21, 47, 3, tzinfo=UTC)


def test_it_ends_at_the_last_whole_hour_so_that_a_retry_looks_at_the_same() -> None:
    found = window_to("", "6h", NOW)
    assert found == Window(datetime(2026, 11, 22, 15, tzinfo=UTC), datetime(2026, 11, 22, 21, tzinfo=UTC))
    assert window_to("", "6h", NOW + timedelta(minutes=12)) == found
    assert str(found) == "2026-11-22 15:00 to 2026-11-22 21:00 UTC"


@pytest.mark.parametrize("end", ["2013-08-01", "2013-08-01T00:00:00Z", "2013-08-01T02:00:00+02:00"])
def test_it_ends_when_it_is_told_to(end: str) -> None:
    assert window_to(end, "31d", NOW).start == datetime(2013, 7, 1, tzinfo=UTC)


def test_a_season_earlier() -> None:
    summer = window_to("2014-08-01", "31d", NOW)
    assert summer.before(duration("365d", "season")) == window_to("2013-08-01", "31d", NOW)


LENGTHS = [("90m", 1.5), ("6h", 6), ("1d12h", 36), ("2w", 336), ("36s", 0.01), ("", 0)]


@pytest.mark.parametrize(("text", "hours"), LENGTHS)
def test_lengths(text: str, hours: float) -> None:
    assert duration(text, "window") == timedelta(hours=hours)


@pytest.mark.parametrize("text", ["6", "h", "6 hours", "-6h", "1.5h", "99999999999999w"])
def test_what_is_no_length_is_refused(text: str) -> None:
    with pytest.raises(ParameterError, match="'season'"):
        duration(text, "season")


@pytest.mark.parametrize(
    ("end", "length", "name"), [("noon", "6h", "window_end"), ("", "", "window"), ("", "0h", "window")]
)
def test_a_window_that_is_none_is_refused(end: str, length: str, name: str) -> None:
    with pytest.raises(ParameterError, match=f"'{name}'"):
        window_to(end, length, NOW)
