"""The gate: thresholds and the champion decide whether a model may become the champion."""

import math
import operator
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kfp_lifecycle.components.evaluate.bootstrap import UNDEFINED, Estimate
from kfp_lifecycle.components.shared.errors import ParameterError, did_you_mean
from kfp_lifecycle.components.shared.scores import MAIN_METRIC, METRICS

HIGHER_IS_BETTER = {name: better for of_task in METRICS.values() for name, better in of_task.items()}
ON_INCOMPARABLE = ("reject", "thresholds")

_OPERATORS = {">=": operator.ge, ">": operator.gt, "<=": operator.le, "<": operator.lt}
_CONDITION = re.compile(r"\s*(?P<metric>[A-Za-z]\w*)\s*(?P<op>>=|<=|>|<)\s*(?P<bound>\S+)\s*")


@dataclass(frozen=True)
class Threshold:
    """One condition, such as ``roc_auc >= 0.80``.

    Args:
        metric: A metric's name, or the name with ``_low`` or ``_high`` for an end of its interval.
        op: ``>=``, ``>``, ``<=`` or ``<``.
        bound: What the metric is held against, in its own units.
    """

    metric: str
    op: str
    bound: float

    def __str__(self) -> str:
        return f"{self.metric} {self.op} {self.bound:g}"

    def holds(self, value: float) -> bool:
        """Whether ``value`` meets the condition; a metric that is not defined does not."""
        return bool(_OPERATORS[self.op](value, self.bound))


@dataclass(frozen=True)
class Rival:
    """The champion as the gate sees it.

    Args:
        name: What to call it in a sentence, such as ``champion version 3``.
        incomparable: Why it cannot be compared with; empty when it can.
        metrics: Its metrics on the same rows.
        differences: Challenger minus champion, with the paired interval.
    """

    name: str
    incomparable: str = ""
    metrics: Mapping[str, Estimate] = field(default_factory=dict)
    differences: Mapping[str, Estimate] = field(default_factory=dict)


@dataclass(frozen=True)
class Decision:
    """What the gate decided, and why, as sentences; those that refused come first."""

    approved: bool
    reasons: list[str]


def parse_thresholds(texts: Sequence[str], task: str) -> list[Threshold]:
    """The conditions in ``texts``.

    Raises:
        ParameterError: One does not parse, or names a metric that the task does not have.
    """
    return [_parse(text, task) for text in texts]


def _parse(text: str, task: str) -> Threshold:
    match = _CONDITION.fullmatch(str(text))
    if match is None:
        raise ParameterError(
            f"Parameter 'thresholds' has {text!r}, which does not read as metric, >= > <= or <, number.",
            f'Write it like "{MAIN_METRIC[task]} {">=" if METRICS[task][MAIN_METRIC[task]] else "<="} 0.8".',
        )
    return Threshold(
        check_metric(match["metric"], task, "thresholds", ends=True),
        match["op"],
        _bound(match["bound"], text),
    )


def _bound(number: str, text: str) -> float:
    try:
        bound = float(number)
    except ValueError:
        bound = math.nan
    if not math.isfinite(bound):
        raise ParameterError(
            f"Parameter 'thresholds' has {text!r}, whose bound {number!r} is not a number.",
            "Write the bound as a number, such as 0.8.",
        )
    return bound


def check_metric(name: str, task: str, parameter: str, *, ends: bool = False) -> str:
    """``name``, if it is a metric of the task (with ``ends``, or the end of one's interval).

    Raises:
        ParameterError: It is not; says the nearest name.
    """
    known = METRICS[task]
    if name in known or (ends and name.removesuffix("_low").removesuffix("_high") in known):
        return name
    raise ParameterError(
        f"Parameter {parameter!r} names {name!r}, which is not a metric of a {task} model.",
        did_you_mean(name, known),
    )


def resolve_metric(name: str, task: str) -> str:
    """The metric to compare by: the one named, or the task's own for ``auto``."""
    return MAIN_METRIC[task] if name == "auto" else check_metric(name, task, "champion_metric")


def decide(
    metrics: Mapping[str, Estimate],
    thresholds: Sequence[Threshold],
    rival: Rival | None,
    metric: str,
    min_improvement: float = 0.0,
    on_incomparable: str = "reject",
) -> Decision:
    """Whether the model may become the champion.

    Args:
        metrics: Its metrics on the test rows.
        thresholds: Conditions that must all hold.
        rival: The champion; None where there is none yet, and the thresholds alone decide.
        metric: The metric that the two are compared by.
        min_improvement: By how much the model must be better, in units of the metric; at 0 it is refused only
            when the paired interval lies wholly on the worse side.
        on_incomparable: ``reject`` or ``thresholds``: what decides when the champion is not comparable.
    """
    verdicts = [_threshold_verdict(threshold, metrics) for threshold in thresholds]
    if rival is None:
        verdicts.append((True, "There is no champion yet: the thresholds alone decide."))
    elif rival.incomparable:
        verdicts.append(_incomparable_verdict(rival, on_incomparable))
    else:
        verdicts.append(_champion_verdict(rival, metrics, metric, min_improvement))
    if not thresholds:
        verdicts.append((True, "No thresholds were set."))
    refused = [reason for passed, reason in verdicts if not passed]
    return Decision(not refused, refused + [reason for passed, reason in verdicts if passed])


def _threshold_verdict(threshold: Threshold, metrics: Mapping[str, Estimate]) -> tuple[bool, str]:
    name, _, end = threshold.metric.rpartition("_")
    if end in ("low", "high") and name:
        value = getattr(metrics.get(name, UNDEFINED), end)
    else:
        value = metrics.get(threshold.metric, UNDEFINED).value
    if not math.isfinite(value):
        return False, f"{threshold.metric} is not defined on the test rows, so {threshold} does not hold."
    passed = threshold.holds(value)
    return passed, f"{threshold.metric} is {value:.4g}: {threshold} {'holds' if passed else 'does not hold'}."


def _incomparable_verdict(rival: Rival, on_incomparable: str) -> tuple[bool, str]:
    said = f"The {rival.name} is not comparable: {rival.incomparable}"
    if on_incomparable == "thresholds":
        return True, f"{said} The thresholds alone decide (on_incomparable is thresholds)."
    return False, f"{said} The model is refused (on_incomparable is reject)."


def _champion_verdict(
    rival: Rival, metrics: Mapping[str, Estimate], metric: str, min_improvement: float
) -> tuple[bool, str]:
    """Compares by the difference, turned so that more is better."""
    mine, theirs, difference = (
        where.get(metric, UNDEFINED) for where in (metrics, rival.metrics, rival.differences)
    )
    if not math.isfinite(difference.value):
        return (
            False,
            f"{metric} is not defined for both the model and the {rival.name}: it cannot be compared.",
        )
    better, least, most = difference.value, difference.low, difference.high
    if not HIGHER_IS_BETTER[metric]:
        better, least, most = -difference.value, -difference.high, -difference.low
    said = (
        f"{metric} is {mine.value:.4g}, that of the {rival.name} {theirs.value:.4g}: a difference of "
        f"{difference.value:+.2g} (paired interval {difference.low:+.2g} to {difference.high:+.2g})."
    )
    if most < 0:
        return False, f"{said} The model is clearly worse."
    if min_improvement > max(better, 0):
        return (
            False,
            f"{said} That is not the improvement of {min_improvement:g} that min_improvement asks for.",
        )
    return True, f"{said} The model is {'clearly better' if least > 0 else 'not clearly worse'}."
