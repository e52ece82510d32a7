"""Whether a candidate may have more traffic: its errors and latency, against limits. It measures nothing."""

from dataclasses import dataclass

from kfp_lifecycle.components.serve.rollout.readings import Window
from kfp_lifecycle.components.shared.errors import ParameterError

#: Latencies that are less than this apart (seconds) are one and the same: no candidate is refused for 2 ms
#: where the version before took 0.5.
_SAME_S = 0.05


@dataclass(frozen=True)
class Limits:
    """What a candidate must keep to at each step.

    Args:
        min_requests: Requests that a step is judged by, at least; fewer are no evidence and never a pass.
        max_error_rate: Share of them that may fail by the server's fault, 0 to 1. The share that is refused
            as the caller's fault may be this much higher than the stable version's.
        max_latency_ms: What 99 of 100 requests must be answered in; 0 is no limit.
        max_slowdown: How many times the stable version's time 99 of 100 requests may take; 0 is no limit.
            Only where the stable version had ``min_requests`` as well, and beyond 50 ms of difference.
    """

    min_requests: int = 100
    max_error_rate: float = 0.01
    max_latency_ms: float = 1000.0
    max_slowdown: float = 3.0

    def __post_init__(self) -> None:
        if self.min_requests < 1:
            raise ParameterError(
                f"Parameter 'min_requests' is {self.min_requests}, and no traffic is never a pass.",
                "Give 1 or more.",
            )
        if not 0 <= self.max_error_rate < 1:
            raise ParameterError(
                f"Parameter 'max_error_rate' is {self.max_error_rate}.", "Give a share from 0 to below 1."
            )
        for name in ("max_latency_ms", "max_slowdown"):
            if getattr(self, name) < 0:
                raise ParameterError(
                    f"Parameter {name!r} is {getattr(self, name)}.", "Give a positive number, or 0 for none."
                )


def fails_already(candidate: Window, limits: Limits) -> str:
    """Why a step that is under way cannot pass any more; empty while it can.

    Judged by errors alone: more of them than the least number of requests may have, and a share too high.
    """
    allowed = limits.max_error_rate * max(candidate.judged, limits.min_requests)
    return _errors(candidate, limits) if candidate.errors > allowed else ""


def judge(candidate: Window, stable: Window | None, limits: Limits) -> str:
    """Why a step that is over has not passed; empty where it has.

    Args:
        candidate: What the candidate did in this step.
        stable: What the stable version did since the rollout began; None where there is none.
        limits: What it must keep to.
    """
    if candidate.judged < limits.min_requests:
        return (
            f"its metrics show {candidate.judged} requests where {limits.min_requests} were needed, "
            "and too little traffic is no pass"
        )
    if candidate.errors > limits.max_error_rate * candidate.judged:
        return _errors(candidate, limits)
    compared = stable if stable is not None and stable.judged >= limits.min_requests else None
    return _refusals(candidate, compared, limits) or _slowness(candidate, compared, limits)


def _errors(candidate: Window, limits: Limits) -> str:
    return (
        f"{candidate.errors} of {candidate.judged} requests failed "
        f"({candidate.errors / max(candidate.judged, 1):.1%}, the limit is {limits.max_error_rate:.1%})"
    )


def _refusals(candidate: Window, stable: Window | None, limits: Limits) -> str:
    """More requests refused than before: a column that clients do not send, a category that is not known."""
    if stable is None:
        return ""
    share, before = candidate.rejected / candidate.requests, stable.rejected / stable.requests
    if share <= before + limits.max_error_rate:
        return ""
    return f"it refused {share:.1%} of the requests as bad, where the version before refused {before:.1%}"


def _slowness(candidate: Window, stable: Window | None, limits: Limits) -> str:
    if candidate.p99 is None:
        return "its metrics show no latency"
    if limits.max_latency_ms and candidate.p99 * 1000 > limits.max_latency_ms:
        return (
            f"99 of 100 requests took up to {_ms(candidate.p99)} (the limit is {limits.max_latency_ms:g} ms)"
        )
    if stable is None or stable.p99 is None or not limits.max_slowdown:
        return ""
    slower = candidate.p99 > limits.max_slowdown * stable.p99 and candidate.p99 - stable.p99 > _SAME_S
    if not slower:
        return ""
    return (
        f"99 of 100 requests took up to {_ms(candidate.p99)}, more than {limits.max_slowdown:g} times "
        f"the {_ms(stable.p99)} of the version before"
    )


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.3g} ms"
