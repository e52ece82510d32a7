"""The new data window in the training's parameters."""

from datetime import timedelta
from typing import Any

import pytest

from kfp_lifecycle.components.monitor.message import Summary, read_summary, summary_text
from kfp_lifecycle.components.retrain.parameters import fill
from kfp_lifecycle.components.shared.errors import ParameterError
from tests.components.monitor.test_history import row

QUARTER = timedelta(days=90)


@pytest.fixture
def summary() -> Summary:
    return read_summary(summary_text(row()))


@pytest.mark.parametrize(
    ("given", "filled"),
    [
        ("gs://bucket/flights/{window_end:%Y-%m}/", "gs://bucket/flights/2013-07/"),
        ("dep < '{window_end}'", "dep < '2013-07-01T12:00:00'"),
        ("{training_start:%d.%m.} to {window_end:%d.%m.}", "02.04. to 01.07."),
        ("{window_start}", "2013-06-30T12:00:00"),
        ("after {model} {version}", "after flights late/1 3"),
        (["{version}", 5], ["3", 5]),
        ({"a": {"b": "{version}"}}, {"a": {"b": "3"}}),
        # What is no place stays: a regular expression, JSON, a number.
        (r"\d{4}-{}-{2,3}", r"\d{4}-{}-{2,3}"),
        ('{"ranges": {"tenure": [0, 100]}}', '{"ranges": {"tenure": [0, 100]}}'),
        (0.25, 0.25),
        (True, True),
    ],
)
def test_places_are_filled_in(summary: Summary, given: Any, filled: Any) -> None:
    assert fill({"p": given}, summary, QUARTER) == {"p": filled}


def test_without_a_training_window_it_starts_with_the_window(summary: Summary) -> None:
    assert fill({"p": "{training_start}"}, summary, timedelta()) == {"p": "2013-06-30T12:00:00"}


def test_a_place_that_nothing_fills_is_refused(summary: Summary) -> None:
    with pytest.raises(ParameterError, match=r"'source'.*\{window_ends\}.*window_end"):
        fill({"source": "{window_ends}"}, summary, QUARTER)
