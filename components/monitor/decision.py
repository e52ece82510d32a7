"""What a window says by itself: steady, drifted, broken, or too little to say.

Drift is called on what the columns say together, on the predictions, or on the labels: each asks for a
difference that is large enough to matter and too large for chance (see :mod:`.drift`, :mod:`.performance`).
Patience over windows and the cooldown after a retraining come afterwards, in :mod:`.patience`.
"""

from kfp_lifecycle.components.monitor.findings import (
    ColumnDrift,
    Decision,
    Findings,
    MetricChange,
    Problem,
    distance,
)
from kfp_lifecycle.components.monitor.options import Options
from kfp_lifecycle.components.shared.report import number, percent

#: Columns that a reason names.
NAMED = 5


def decide(findings: Findings, options: Options) -> Decision:
    """The decision that a window leads to by itself. Pure: the same findings give the same decision."""
    if broken := [problem for problem in findings.quality.problems if problem.broken]:
        return Decision("broken", False, _broken(broken))
    if findings.quality.rows < options.min_rows:
        rows = f"The window has {findings.quality.rows:,} rows"
        few = f"{rows}; at least {options.min_rows:,} are needed to judge it."
        return Decision("unjudged", False, [few, *(one.text for one in findings.quality.problems[:NAMED])])
    beside = [problem.text for problem in findings.quality.problems][:NAMED]
    against = [*_performance(findings), *_predictions(findings), *_columns(findings, options)]
    if against:
        return Decision("drift", True, [*against, *beside])
    if not findings.compared:
        return Decision("unjudged", False, ["No column could be compared with the reference.", *beside])
    return Decision("steady", False, [*_steady(findings, options), *beside])


def _broken(problems: list[Problem]) -> list[str]:
    mend = "The data has to be mended first: a model retrained on it would learn the damage."
    return [*(problem.text for problem in problems[:NAMED]), *_more(len(problems)), mend]


def _more(count: int) -> list[str]:
    return [f"… and {count - NAMED} more problems of this kind."] if count > NAMED else []


def _performance(findings: Findings) -> list[str]:
    found = findings.performance
    if found is None or found.main not in found.metrics or not found.metrics[found.main].worse:
        return []
    return [f"{describe_change(found.metrics[found.main])}, on {found.rows:,} labelled rows."]


def describe_change(change: MetricChange) -> str:
    """Such as ``roc_auc fell from 0.83 to 0.74 (0.72 to 0.76)``."""
    went = "fell" if change.now.value < change.before.value else "rose"
    interval = f"({number(change.now.low, 3)} to {number(change.now.high, 3)})"
    before, now = number(change.before.value, 3), number(change.now.value, 3)
    return f"{change.name} {went} from {before} at registration to {now} {interval}"


def _predictions(findings: Findings) -> list[str]:
    drifted = sorted((one for one in findings.predictions if one.drifted), key=lambda one: -distance(one))
    if not drifted:
        return []
    return [f"The predictions have drifted: {_named(drifted)}."]


def _columns(findings: Findings, options: Options) -> list[str]:
    share = findings.drift_share
    if share is None or share < options.drift_share:
        return []
    return [
        f"{len(findings.drifted)} of {len(findings.compared)} columns have drifted ({percent(share, 0)}; "
        f"{percent(options.drift_share, 0)} are allowed): {_named(findings.drifted)}."
    ]


def _named(columns: list[ColumnDrift]) -> str:
    names = [f"{column.name} ({_moved(column)})" for column in columns[:NAMED]]
    return ", ".join(names) + (f" and {len(columns) - NAMED} more" if len(columns) > NAMED else "")


def _moved(column: ColumnDrift) -> str:
    sign = "<" if "p_value" in column.method else "≥"
    return f"{column.method} {number(column.score, 2)} {sign} {number(column.threshold, 2)}"


def _steady(findings: Findings, options: Options) -> list[str]:
    drifted, compared = findings.drifted, len(findings.compared)
    if drifted:
        said = f"{len(drifted)} of {compared} columns have drifted: {_named(drifted)}"
        reasons = [f"{said}; that is less than {percent(options.drift_share, 0)}."]
    else:
        reasons = [f"None of {compared} columns has drifted."]
    if findings.prediction_drift is None:
        reasons.append("The predictions could not be compared.")
    else:
        reasons.append("The predictions have not drifted.")
    found = findings.performance
    if found is None or found.main not in found.metrics:
        reasons.append("No labels have arrived to judge the predictions by.")
    else:
        reasons.append(f"{describe_change(found.metrics[found.main])}, which is within what is allowed.")
    return reasons
