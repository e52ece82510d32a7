"""The closed loop, small: a summer month after a model of the winter, and the next month by the new model."""

import re
from pathlib import Path

import pytest

from kfp_lifecycle.scripts.loop.loop import Course, Loop, Settings
from kfp_lifecycle.scripts.loop.report import render_report

pytestmark = [pytest.mark.e2e, pytest.mark.server]

SMALL = Settings(
    replayed=(7, 8),
    rows=4000,
    training={
        "folds": 2,
        "bootstrap_samples": 50,
        "estimator_parameters": {"max_iter": 50},
        "canary_steps": "[50, 100]",
        "min_requests": 20,
        "max_slowdown": 0.0,  # the machine does other things meanwhile
        "max_latency_ms": 0.0,
    },
    # Each alarm counts once; the second month is within the cooldown of the first.
    monitoring={"alarms": 1, "alarm_windows": 1, "cooldown": "1d"},
)


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Course:
    return Loop(tmp_path_factory.mktemp("loop"), SMALL).run()


def test_what_drifts_is_seen_retrained_compared_and_rolled_out(course: Course) -> None:
    july, august = course.months
    assert (july.version, july.verdict, july.retrain) == ("1", "drift", True)
    assert july.rows == SMALL.rows
    assert july.retrained is not None
    assert july.retrained.approved
    assert july.retrained.served == "2"
    # The better one, on rows that neither was trained on.
    (loss,) = [one for one in july.retrained.metrics if one.name == "log_loss"]
    assert loss.challenger < loss.champion
    # The month after it was answered by the new model, and within the cooldown starts nothing.
    assert (august.version, august.rows) == ("2", SMALL.rows)
    assert august.retrained is None


def test_no_request_fails_meanwhile(course: Course) -> None:
    assert course.replayed.failed == course.meanwhile.failed == []
    assert course.meanwhile.sent > 100


def test_the_report_shows_accuracy_before_and_after(course: Course) -> None:
    page = render_report(course)
    (july, _) = course.months
    assert july.retrained is not None
    (accuracy,) = [one for one in july.retrained.metrics if one.name == "accuracy"]
    shown = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))
    assert f"Accuracy {accuracy.champion:.4g}" in shown
    assert f"{accuracy.challenger:.4g}" in shown
    assert "version 2 took over" in shown
    assert Path(july.report).read_text().startswith("<!doctype html>")
    assert Path(july.retrained.report).exists()
