"""The guard of a step and what it is read from: pure functions."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from kfp_lifecycle.components.serve.rollout.guard import Limits, fails_already, judge
from kfp_lifecycle.components.serve.rollout.readings import Reading, Window, quantile, read_metrics, window
from kfp_lifecycle.components.serve.rollout.run import Course
from kfp_lifecycle.components.serve.step import canary_steps
from kfp_lifecycle.components.shared.errors import ParameterError

LIMITS = Limits(min_requests=100, max_error_rate=0.02, max_latency_ms=500, max_slowdown=2)


def _window(requests: int = 200, errors: int = 0, rejected: int = 0, p99: float | None = 0.1) -> Window:
    return Window(requests, errors, rejected, p99 and p99 / 2, p99)


@pytest.mark.parametrize(
    ("candidate", "stable", "reason"),
    [
        (_window(), None, ""),
        (_window(), _window(), ""),
        (_window(0, p99=None), None, "0 requests where 100 were needed"),
        (_window(99), None, "99 requests where 100 were needed"),
        (_window(150, rejected=60), None, "90 requests where 100 were needed"),
        (_window(errors=4), None, ""),
        (_window(errors=5), None, "5 of 200 requests failed (2.5%, the limit is 2.0%)"),
        (_window(p99=0.6), None, "99 of 100 requests took up to 600 ms (the limit is 500 ms)"),
        (_window(p99=None), None, "its metrics show no latency"),
        (
            _window(rejected=20),
            _window(),
            "it refused 10.0% of the requests as bad, where the version before",
        ),
        (_window(rejected=20), _window(rejected=18), ""),
        (_window(rejected=20), _window(50), ""),
        (_window(p99=0.3), _window(p99=0.1), "more than 2 times the 100 ms of the version before"),
        (_window(p99=0.3), _window(50, p99=0.1), ""),
        (_window(p99=0.04), _window(p99=0.001), ""),
    ],
)
def test_a_step_is_judged_by_its_requests(candidate: Window, stable: Window | None, reason: str) -> None:
    found = judge(candidate, stable, LIMITS)
    assert (reason in found) if reason else found == ""


@given(st.integers(0, 99), st.integers(0, 99))
def test_too_little_traffic_is_never_a_pass(requests: int, errors: int) -> None:
    assert judge(_window(requests, min(errors, requests)), None, LIMITS)


def test_a_step_ends_early_only_where_it_can_pass_no_more() -> None:
    assert fails_already(_window(10, errors=2), LIMITS) == "", "2 of the 100 that it needs may fail"
    assert "3 of 10 requests failed" in fails_already(_window(10, errors=3), LIMITS)
    assert fails_already(_window(1000, errors=20), LIMITS) == ""


@pytest.mark.parametrize(
    "changes", [{"min_requests": 0}, {"max_error_rate": 1.0}, {"max_latency_ms": -1}, {"max_slowdown": -1}]
)
def test_limits_that_cannot_be_are_refused_by_name(changes: Mapping[str, Any]) -> None:
    with pytest.raises(ParameterError, match=f"'{next(iter(changes))}'"):
        Limits(**changes)


@pytest.mark.parametrize(
    "text", ["[10, 50]", "[50, 10, 100]", "[0, 100]", "[]", "[10.5, 100]", "10,100", "{}"]
)
def test_steps_that_do_not_grow_to_100_are_refused(text: str) -> None:
    with pytest.raises(ParameterError, match="'canary_steps'"):
        Course(canary_steps(text))


def test_steps_are_read_from_json() -> None:
    assert Course(canary_steps("[1, 5, 100]")).steps == (1, 5, 100)


def test_metrics_are_read_from_what_prometheus_clients_write() -> None:
    registry = CollectorRegistry()
    labels = ("model", "version")
    requests = Counter("model_requests", "", labels, registry=registry)
    errors = Counter("model_request_errors", "", (*labels, "kind"), registry=registry)
    seconds = Histogram("model_prediction_latency_seconds", "", labels, buckets=(0.1, 1), registry=registry)
    for version, times in (("3", 6), ("4", 2)):
        requests.labels("churn", version).inc(times)
        errors.labels("churn", version, "bad_request").inc(1)
        errors.labels("churn", version, "model").inc(2)
        errors.labels("churn", version, "timeout").inc(1)
        seconds.labels("churn", version).observe(0.5)
    text = generate_latest(registry).decode()

    found = read_metrics(text, "churn", "3")
    assert (found.requests, found.errors, found.rejected) == (6, 3, 1)
    assert found.buckets == {0.1: 0, 1.0: 1, float("inf"): 1}
    assert read_metrics(text, "churn", "5") == Reading(buckets={})


def test_a_window_is_what_came_between_two_looks_over_all_servers() -> None:
    before = {"a": Reading(10, 1, 0, {0.1: 9, float("inf"): 9}), "gone": Reading(50, 0, 0)}
    after = {
        "a": Reading(30, 2, 1, {0.1: 9, float("inf"): 27}),
        "new": Reading(5, 0, 0, {0.1: 5, float("inf"): 5}),
    }
    found = window(before, after)
    assert (found.requests, found.errors, found.rejected, found.judged) == (25, 1, 1, 24)
    assert found.p99 == 0.1, "of those above the last bound no more is known"


def test_a_server_that_was_restarted_counts_from_zero() -> None:
    assert window({"a": Reading(100, 5, 0)}, {"a": Reading(7, 1, 0)}).requests == 7


@pytest.mark.parametrize(("share", "expected"), [(0.5, 0.2), (0.25, 0.1), (0.75, 0.6), (1.0, 1.0)])
def test_quantiles_are_those_of_prometheus(share: float, expected: float) -> None:
    buckets = [(0.1, 25.0), (0.2, 50.0), (1.0, 100.0), (float("inf"), 100.0)]
    assert quantile(share, buckets) == pytest.approx(expected)


def test_no_values_have_no_quantile() -> None:
    assert quantile(0.5, []) is None
    assert quantile(0.5, [(1.0, 0.0), (float("inf"), 0.0)]) is None
