"""What a server's metrics say, and what has happened between two looks at them.

The metrics are those of the model server (``manifests/README.md`` lists them) in Prometheus' text format.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

REQUESTS, ERRORS = "model_requests_total", "model_request_errors_total"
LATENCY = "model_prediction_latency_seconds_bucket"
#: The kind of error that is the caller's fault.
REJECTED = "bad_request"


@dataclass(frozen=True)
class Reading:
    """One server's counts for one version, since the server was started.

    Args:
        requests: Requests that came.
        errors: Requests that failed by the server's fault.
        rejected: Requests that were refused as the caller's fault.
        buckets: Of the latency in seconds: upper bound to the number of requests at or below it.
    """

    requests: float = 0.0
    errors: float = 0.0
    rejected: float = 0.0
    buckets: Mapping[float, float] | None = None

    def since(self, before: "Reading") -> "Reading":
        """What has come on top of ``before``; all of it where the server was started anew in between."""
        if self.requests < before.requests:
            return self
        old = before.buckets or {}
        buckets = {bound: count - old.get(bound, 0.0) for bound, count in (self.buckets or {}).items()}
        return Reading(
            self.requests - before.requests,
            max(0.0, self.errors - before.errors),
            max(0.0, self.rejected - before.rejected),
            buckets,
        )


@dataclass(frozen=True)
class Window:
    """What one version did between two looks, over all its servers.

    Args:
        requests: Requests that came.
        errors: Requests that failed by the server's fault.
        rejected: Requests that were refused as the caller's fault.
        p50: Half of the requests took at most this long, in seconds; None where there was none.
        p99: Likewise 99 of 100.
    """

    requests: int
    errors: int
    rejected: int
    p50: float | None
    p99: float | None

    @property
    def judged(self) -> int:
        """Requests that say something of the version: those refused as the caller's fault do not."""
        return self.requests - self.rejected


def read_metrics(text: str, model: str, version: str) -> Reading:
    """A version's counts in a server's ``/metrics``; zero where it has none yet.

    Args:
        text: Prometheus' text format.
        model: The model's name, as its label has it.
        version: The version, likewise.
    """
    requests = errors = rejected = 0.0
    buckets: dict[float, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if (sample.labels.get("model"), sample.labels.get("version")) != (model, version):
                continue
            if sample.name == REQUESTS:
                requests += sample.value
            elif sample.name == ERRORS and sample.labels.get("kind") == REJECTED:
                rejected += sample.value
            elif sample.name == ERRORS:
                errors += sample.value
            elif sample.name == LATENCY:
                bound = float(sample.labels["le"])
                buckets[bound] = buckets.get(bound, 0.0) + sample.value
    return Reading(requests, errors, rejected, buckets)


def window(before: Mapping[str, Reading], after: Mapping[str, Reading]) -> Window:
    """What happened between two looks at the same version.

    A server that is new counts from zero; what one that is gone had counted since ``before`` is lost.

    Args:
        before: Counts by server, earlier.
        after: Counts by server, later.
    """
    grown = [now.since(before.get(name, Reading())) for name, now in after.items()]
    total: dict[float, float] = {}
    for one in grown:
        for bound, count in (one.buckets or {}).items():
            total[bound] = total.get(bound, 0.0) + count
    return Window(
        requests=round(sum(one.requests for one in grown)),
        errors=round(sum(one.errors for one in grown)),
        rejected=round(sum(one.rejected for one in grown)),
        p50=quantile(0.5, total.items()),
        p99=quantile(0.99, total.items()),
    )


def quantile(share: float, buckets: Iterable[tuple[float, float]]) -> float | None:
    """A quantile of a cumulative histogram, as Prometheus' ``histogram_quantile`` computes it.

    Within a bucket the values are taken as evenly spread; of those above the last finite bound no more is
    known than that bound.

    Args:
        share: Between 0 and 1.
        buckets: Upper bound and the number of values at or below it.

    Returns:
        The quantile; None where there is no value.
    """
    ordered = sorted(buckets)
    if not ordered or ordered[-1][1] <= 0:
        return None
    rank, low, below = share * ordered[-1][1], 0.0, 0.0
    for bound, count in ordered:
        if count >= rank and count > below:
            return low if math.isinf(bound) else low + (bound - low) * (rank - below) / (count - below)
        low, below = (low if math.isinf(bound) else bound), count
    return low
