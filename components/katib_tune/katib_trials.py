"""What Katib's objects say: where an Experiment is, what a Trial gave, or why it gave nothing."""

import math
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from kfp_lifecycle.components.katib_tune.backend import Problem, State, Trial
from kfp_lifecycle.components.katib_tune.experiment import metric_strategies
from kfp_lifecycle.components.katib_tune.trial_job import COLLECTOR, CONTAINER
from kfp_lifecycle.components.shared.cluster import Cluster
from kfp_lifecycle.components.shared.cluster_pods import why_not_running
from kfp_lifecycle.components.shared.errors import ClusterError, LifecycleError, redact

Object = Mapping[str, Any]

#: What Katib's Go program writes before each line of a trial that it repeats.
_KLOG = re.compile(r"^[IWEF]\d{4} \d\d:\d\d:\d\d\.\d+ +\d+ [\w.-]+:\d+\] ")
#: Lines of a log that are looked at for an error, and characters of it that are shown.
_TAIL, _SHOWN = 200, 500
#: Katib's conditions of a Trial that has ended, in the order in which they count.
_ENDS: dict[str, State] = {
    "Killed": "stopped",
    "Failed": "failed",
    "EarlyStopped": "pruned",
    "MetricsUnavailable": "failed",
    "Succeeded": "complete",
}


def condition(found: Object, kind: str) -> Object | None:
    """The condition of this type, if it is true."""
    for own in (found.get("status") or {}).get("conditions") or ():
        if own.get("type") == kind and own.get("status") == "True":
            return dict(own)
    return None


def without_metrics(trial: Object) -> bool:
    """Whether a Trial ended well and gave no objective. Katib before 0.14 said so in another way."""
    if condition(trial, "MetricsUnavailable"):
        return True
    conditions = (trial.get("status") or {}).get("conditions") or ()
    return any(
        (own.get("type"), own.get("status"), own.get("reason", "")[:7]) == ("Succeeded", "False", "Metrics")
        for own in conditions
    )


def read_trial(found: Object, number: int, problem: Problem) -> Trial:
    """A Trial of Katib as ours; one that has not ended is ``stopped``.

    Args:
        found: The object.
        number: Its number.
        problem: The search that it is of. Of trial 0 no parameter is told: it has none of its own.
    """
    metrics = _metrics(found, problem)
    value = metrics.get(problem.objective.metric)
    state: State = next((state for kind, state in _ENDS.items() if condition(found, kind)), "stopped")
    if without_metrics(found) or (state == "complete" and value is None):
        state = "failed"
    given = (found.get("spec") or {}).get("parameterAssignments") or ()
    searched = {own["name"]: own["value"] for own in given if own["name"] in problem.space.names}
    return Trial(
        number=number,
        parameters={} if number == 0 else {name: problem.space[name].cast(v) for name, v in searched.items()},
        state=state,
        value=value if state in ("complete", "pruned") else None,
        metrics=metrics,
        seconds=_seconds(found),
        name=found["metadata"]["name"],
    )


def trial_error(cluster: Cluster, found: Object, metric: str) -> str:
    """Why a Trial failed: what its program said last, else what Katib says.

    Args:
        cluster: Where its pod is.
        found: The Trial.
        metric: The objective.
    """
    name = found["metadata"]["name"]
    lines = _log(cluster, name)
    if without_metrics(found):
        return _no_metric(lines, metric)
    said = [line for line in lines if line.startswith("ERROR ")] or [line for line in lines if line.strip()]
    if said:
        return redact(said[-1])[:_SHOWN]
    waiting = _why_not_running(cluster, name)
    failed = condition(found, "Failed") or condition(found, "Killed") or {}
    return waiting or redact(str(failed.get("message") or "it does not say why"))[:_SHOWN]


def stuck_pods(cluster: Cluster, trials: list[Object]) -> list[str]:
    """Of the Trials that have not ended, why their pods do not run; one line each."""
    open_ = [own for own in trials if not any(condition(own, kind) for kind in _ENDS)]
    found = ((own["metadata"]["name"], _why_not_running(cluster, own["metadata"]["name"])) for own in open_)
    return [f"{name}: {why}" for name, why in found if why]


def pods_run(cluster: Cluster, trials: list[Object]) -> bool:
    """Whether a pod of one of the Trials that have not ended runs; False where this account may not look."""
    open_ = [own["metadata"]["name"] for own in trials if not any(condition(own, kind) for kind in _ENDS)]
    try:
        pods = [pod for name in open_ for pod in cluster.pods(f"job-name={name}")]
    except ClusterError:
        return False
    return any((pod.get("status") or {}).get("phase") == "Running" for pod in pods)


def started(found: Object) -> str:
    """When an object was begun, as text that sorts by time."""
    status, about = found.get("status") or {}, found["metadata"]
    return str(status.get("startTime") or about.get("creationTimestamp") or "")


def moment(text: str) -> datetime:
    """A moment as Kubernetes writes it."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def _metrics(found: Object, problem: Problem) -> dict[str, float]:
    strategies = metric_strategies(problem.objective, problem.trainer)
    observed = ((found.get("status") or {}).get("observation") or {}).get("metrics") or ()
    values: dict[str, float] = {}
    for own in observed:
        for which in (strategies.get(own["name"], "latest"), "latest"):
            try:
                value = float(own.get(which))
            except (TypeError, ValueError):  # "unavailable"
                continue
            if math.isfinite(value):
                values[own["name"]] = value
                break
    return values


def _seconds(found: Object) -> float:
    status = found.get("status") or {}
    begun, ended = status.get("startTime"), status.get("completionTime")
    return (moment(ended) - moment(begun)).total_seconds() if begun and ended else 0.0


def _log(cluster: Cluster, trial: str) -> list[str]:
    """The end of what a trial printed. Katib's collector repeats it; the trainer's own log is empty then."""
    for container in (CONTAINER, COLLECTOR):
        try:
            for pod in cluster.pods(f"job-name={trial}"):
                text = cluster.pod_logs(pod["metadata"]["name"], container, tail=_TAIL)
                if text.strip():
                    return [_KLOG.sub("", line) for line in text.splitlines()]
        except LifecycleError:  # there is no such container, or this account may not look
            continue
    return []


def _no_metric(lines: list[str], metric: str) -> str:
    printed = re.compile(rf"(?:^|\s){re.escape(metric)}\s*=\s*(nan|[+-]?inf)\b", re.IGNORECASE)
    for line in reversed(lines):
        if match := printed.search(line):
            return f"the objective {metric!r} is {match[1]}, which is no finite number"
    seen = f"; it printed last: {redact(lines[-1])[:_SHOWN]}" if lines else ""
    return f"it ended well and never printed the objective as {metric}=…{seen}"


def _why_not_running(cluster: Cluster, trial: str) -> str:
    try:
        pods = cluster.pods(f"job-name={trial}")
    except ClusterError:
        return ""
    return next((why[:_SHOWN] for pod in pods if (why := why_not_running(pod))), "")
