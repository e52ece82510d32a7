"""The gate's truth table."""

import math

import pytest

from kfp_lifecycle.components.evaluate.bootstrap import UNDEFINED, Estimate
from kfp_lifecycle.components.evaluate.gate import (
    Decision,
    Rival,
    Threshold,
    decide,
    parse_thresholds,
    resolve_metric,
)
from kfp_lifecycle.components.shared.errors import ParameterError

METRICS = {"roc_auc": Estimate(0.84, 0.81, 0.87), "log_loss": Estimate(0.41, 0.39, 0.44)}
NAME = "champion (version 3)"


def judge(
    *thresholds: str,
    rival: Rival | None = None,
    metric: str = "roc_auc",
    metrics: dict[str, Estimate] | None = None,
    **options: object,
) -> Decision:
    conditions = parse_thresholds(thresholds, "binary")
    return decide(METRICS if metrics is None else metrics, conditions, rival, metric, **options)  # type: ignore[arg-type]


def rival(difference: Estimate, metric: str = "roc_auc") -> Rival:
    theirs = METRICS[metric].value - difference.value
    return Rival(NAME, "", {metric: Estimate(theirs, theirs, theirs)}, {metric: difference})


@pytest.mark.parametrize(
    ("threshold", "holds"),
    [
        ("roc_auc >= 0.80", True),
        ("roc_auc >= 0.84", True),
        ("roc_auc > 0.84", False),
        ("roc_auc>=0.85", False),
        ("log_loss <= 0.41", True),
        ("log_loss < 0.41", False),
        ("log_loss < 4.2e-1", True),
        (" roc_auc_low >= 0.8 ", True),
        ("roc_auc_low >= 0.82", False),
        ("log_loss_high <= 0.4", False),
    ],
)
def test_thresholds_alone_decide_while_there_is_no_champion(threshold: str, holds: bool) -> None:
    decision = judge(threshold)
    assert decision.approved is holds
    assert ("holds." in decision.reasons[0]) is holds or "does not hold." in decision.reasons[0]
    assert "There is no champion yet: the thresholds alone decide." in decision.reasons


def test_all_thresholds_must_hold_and_the_failed_ones_are_the_first_reasons() -> None:
    decision = judge("roc_auc >= 0.8", "log_loss <= 0.4")
    assert not decision.approved
    assert decision.reasons[0] == "log_loss is 0.41: log_loss <= 0.4 does not hold."
    assert "roc_auc is 0.84: roc_auc >= 0.8 holds." in decision.reasons


def test_no_thresholds_and_no_champion_approves_and_says_so() -> None:
    decision = judge()
    assert decision.approved
    assert "No thresholds were set." in decision.reasons


@pytest.mark.parametrize(
    ("metrics", "threshold"),
    [
        ({}, "roc_auc >= 0.1"),
        ({"roc_auc": UNDEFINED}, "roc_auc >= 0.1"),
        ({"roc_auc": Estimate(0.9, math.nan, math.nan)}, "roc_auc_low >= 0.1"),
    ],
)
def test_a_metric_that_is_not_defined_holds_no_threshold(
    metrics: dict[str, Estimate], threshold: str
) -> None:
    decision = judge(threshold, metrics=metrics)
    assert not decision.approved
    assert "is not defined on the test rows" in decision.reasons[0]


@pytest.mark.parametrize(
    ("difference", "min_improvement", "approved", "said"),
    [
        (Estimate(0.02, 0.01, 0.03), 0.0, True, "clearly better"),
        (Estimate(0.01, -0.01, 0.03), 0.0, True, "not clearly worse"),
        (Estimate(0.0, 0.0, 0.0), 0.0, True, "not clearly worse"),
        (Estimate(-0.01, -0.03, 0.01), 0.0, True, "not clearly worse"),
        (Estimate(-0.02, -0.03, -0.01), 0.0, False, "clearly worse"),
        (Estimate(0.02, 0.01, 0.03), 0.02, True, "clearly better"),
        (Estimate(0.02, -0.01, 0.05), 0.01, True, "not clearly worse"),
        (Estimate(0.02, 0.01, 0.03), 0.03, False, "not the improvement of 0.03"),
        (Estimate(-0.01, -0.03, 0.01), 0.001, False, "not the improvement of 0.001"),
        (Estimate(0.02, math.nan, math.nan), 0.0, True, "not clearly worse"),
    ],
)
def test_the_champion_is_compared_with_by_the_paired_interval(
    difference: Estimate, min_improvement: float, approved: bool, said: str
) -> None:
    decision = judge(rival=rival(difference), min_improvement=min_improvement)
    assert decision.approved is approved
    assert said in decision.reasons[0]
    assert f"that of the {NAME}" in decision.reasons[0]


@pytest.mark.parametrize(
    ("difference", "min_improvement", "approved"),
    [
        (Estimate(-0.02, -0.03, -0.01), 0.0, True),
        (Estimate(0.02, 0.01, 0.03), 0.0, False),
        (Estimate(0.01, -0.01, 0.03), 0.0, True),
        (Estimate(-0.02, -0.03, -0.01), 0.02, True),
        (Estimate(-0.02, -0.03, -0.01), 0.03, False),
    ],
)
def test_a_metric_that_is_better_when_lower_is_turned_round(
    difference: Estimate, min_improvement: float, approved: bool
) -> None:
    decision = judge(rival=rival(difference, "log_loss"), metric="log_loss", min_improvement=min_improvement)
    assert decision.approved is approved


def test_better_than_the_champion_is_not_enough_where_a_threshold_fails() -> None:
    decision = judge("roc_auc >= 0.9", rival=rival(Estimate(0.02, 0.01, 0.03)))
    assert not decision.approved
    assert decision.reasons[0].startswith("roc_auc is 0.84: roc_auc >= 0.9 does not hold")


@pytest.mark.parametrize("missing", ["metrics", "differences"])
def test_a_metric_that_one_of_the_two_lacks_is_a_refusal(missing: str) -> None:
    whole = rival(Estimate(0.02, 0.01, 0.03))
    decision = judge(rival=Rival(NAME, "", whole.metrics, {}))
    assert not decision.approved
    assert "is not defined for both" in decision.reasons[0]


@pytest.mark.parametrize(
    ("threshold", "on_incomparable", "approved"),
    [
        ("roc_auc >= 0.8", "reject", False),
        ("roc_auc >= 0.9", "reject", False),
        ("roc_auc >= 0.8", "thresholds", True),
        ("roc_auc >= 0.9", "thresholds", False),
    ],
)
def test_a_champion_that_is_not_comparable(threshold: str, on_incomparable: str, approved: bool) -> None:
    decision = judge(threshold, rival=Rival(NAME, "it has seen them."), on_incomparable=on_incomparable)
    assert decision.approved is approved
    said = next(reason for reason in decision.reasons if "not comparable" in reason)
    assert said.startswith("The champion (version 3) is not comparable: it has seen them.")
    assert f"on_incomparable is {on_incomparable}" in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("roc_auc", "does not read as metric"),
        ("roc_auc = 0.8", "does not read as metric"),
        ("roc_auc => 0.8", "does not read as metric"),
        ("0.8 <= roc_auc", "does not read as metric"),
        ("roc_auc >= 0.8 0.9", "does not read as metric"),
        ("", "does not read as metric"),
        ("roc_auc >= high", "bound 'high' is not a number"),
        ("roc_auc >= nan", "bound 'nan' is not a number"),
        ("roc_auc >= 80%", "bound '80%' is not a number"),
        ("auc >= 0.8", "names 'auc'.*Did you mean 'roc_auc'"),
        ("roc_acu >= 0.8", "Did you mean 'roc_auc'"),
        ("rmse <= 3", "not a metric of a binary model"),
        ("roc_auc_mid >= 0.8", "names 'roc_auc_mid'.*Did you mean 'roc_auc'"),
    ],
)
def test_a_threshold_that_does_not_parse(text: str, said: str) -> None:
    with pytest.raises(ParameterError, match=said) as caught:
        parse_thresholds([text], "binary")
    assert "'thresholds'" in str(caught.value)


def test_what_is_no_text_is_no_threshold() -> None:
    with pytest.raises(ParameterError, match=r"'thresholds' has 0\.8"):
        parse_thresholds([0.8], "binary")  # type: ignore[list-item]


def test_a_parsed_threshold() -> None:
    assert parse_thresholds(["rmse<=600"], "regression") == [Threshold("rmse", "<=", 600.0)]


@pytest.mark.parametrize(
    ("task", "metric"), [("binary", "roc_auc"), ("multiclass", "roc_auc_ovr"), ("regression", "rmse")]
)
def test_auto_is_the_metric_of_the_task(task: str, metric: str) -> None:
    assert resolve_metric("auto", task) == metric
    assert resolve_metric(metric, task) == metric
    with pytest.raises(ParameterError, match="'champion_metric' names 'roc_au'"):
        resolve_metric("roc_au", task)
