"""The server's Prometheus metrics.

``manifests/README.md`` lists them; alerts, the dashboard and rollouts read them by these names. A request
counts in plain numbers, which takes a tenth of the time of prometheus_client's own counters; they become
metrics when somebody looks.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from kfp_lifecycle.components.serve.server.failures import RequestError
from kfp_lifecycle.components.serve.server.host import Host
from kfp_lifecycle.components.serve.server.http import HttpRequest, HttpResponse
from kfp_lifecycle.components.serve.server.inference import Answer, Call
from kfp_lifecycle.components.serve.server.models import ServedModel

#: Upper bounds in seconds. A row takes a millisecond or two, and an alert looks at half a second.
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_ROWS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0, 10_000.0, 100_000.0)
_LABELS = ("model", "version")


class Metrics(Collector):
    """Counts calls; an observer of :class:`.inference.Inference`.

    Args:
        host: The models: each has its series, at zero, from the first look after it was loaded.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._counts: dict[tuple[str, str], _Counts] = {}
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def started(self, call: Call) -> None:
        """Counts a request that has come."""
        counts = self._of(call.served)
        counts.requests += 1
        counts.in_flight += 1

    def answered(self, answer: Answer) -> None:
        """Counts its rows and takes its time."""
        call = answer.call
        counts = self._of(call.served)
        counts.in_flight -= 1
        counts.predictions += call.rows
        counts.rows.observe(call.rows)
        counts.latency.observe(answer.seconds)

    def failed(self, call: Call, error: RequestError) -> None:
        """Counts an error by its kind."""
        counts = self._of(call.served)
        counts.in_flight -= 1
        counts.errors[error.kind] = counts.errors.get(error.kind, 0) + 1

    def batched(self, served: ServedModel, rows: int) -> None:
        """Counts rows that went through the model together."""
        self._of(served).batches.observe(rows)

    def dropped(self, served: ServedModel, rows: int) -> None:
        """Counts rows that the prediction log could not take."""
        self._of(served).dropped += rows

    async def expose(self, request: HttpRequest) -> HttpResponse:
        """The handler of ``GET /metrics``: Prometheus' text, or OpenMetrics where the client asks for it."""
        encode, content_type = choose_encoder(request.header(b"accept"))
        return HttpResponse(encode(self._registry), content_type=content_type.encode())

    def collect(self) -> Iterator[Metric]:
        """The metrics as prometheus_client writes them."""
        loaded = GaugeMetricFamily("model_info", "1 for the version that is loaded", labels=_LABELS)
        for served in self._host.models:
            self._of(served)
            loaded.add_metric((served.name, served.version), 1)
        requests = CounterMetricFamily("model_requests", "Requests that have come", labels=_LABELS)
        rows = CounterMetricFamily("model_predictions", "Rows that were predicted", labels=_LABELS)
        errors = CounterMetricFamily(
            "model_request_errors", "Requests that failed", labels=(*_LABELS, "kind")
        )
        latency = HistogramMetricFamily(
            "model_prediction_latency_seconds", "From the request's last byte to the answer", labels=_LABELS
        )
        sizes = HistogramMetricFamily("model_request_rows", "Rows of a request", labels=_LABELS)
        batches = HistogramMetricFamily(
            "model_batch_rows", "Rows that went through the model together", labels=_LABELS
        )
        in_flight = GaugeMetricFamily(
            "model_requests_in_flight", "Requests that are being answered", labels=_LABELS
        )
        dropped = CounterMetricFamily(
            "prediction_log_dropped_rows", "Rows that the prediction log could not take", labels=_LABELS
        )
        for labels, counts in self._counts.items():
            requests.add_metric(labels, counts.requests)
            rows.add_metric(labels, counts.predictions)
            for kind, count in counts.errors.items():
                errors.add_metric((*labels, kind), count)
            latency.add_metric(labels, *counts.latency.buckets())
            sizes.add_metric(labels, *counts.rows.buckets())
            batches.add_metric(labels, *counts.batches.buckets())
            in_flight.add_metric(labels, counts.in_flight)
            dropped.add_metric(labels, counts.dropped)
        yield from (requests, rows, errors, latency, sizes, batches, in_flight, loaded, dropped)

    def _of(self, served: ServedModel) -> "_Counts":
        key = (served.name, served.version)
        return self._counts.get(key) or self._counts.setdefault(key, _Counts())


class _Counts:
    """What one version has done. Read and written in the event loop's thread."""

    __slots__ = ("batches", "dropped", "errors", "in_flight", "latency", "predictions", "requests", "rows")

    def __init__(self) -> None:
        self.requests = self.predictions = self.in_flight = self.dropped = 0
        self.latency = _Histogram(_SECONDS)
        self.rows, self.batches = _Histogram(_ROWS), _Histogram(_ROWS)
        # Zero first: Prometheus' rate() does not see the first error of a series that begins with it.
        kinds: list[type[RequestError]] = [RequestError, *RequestError.__subclasses__()]
        self.errors = {error.kind: 0 for error in kinds}


class _Histogram:
    """Counts values by the bounds between which they are."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds, self.total = bounds, 0.0
        self.counts = [0] * (len(bounds) + 1)

    def observe(self, value: float) -> None:
        """Counts a value: in the bucket of the first bound that is not below it."""
        self.total += value
        self.counts[bisect_left(self.bounds, value)] += 1

    def buckets(self) -> tuple[list[tuple[str, float]], float]:
        """Each bound with how many values are at or below it, and the values' sum."""
        names = [*map(floatToGoString, self.bounds), "+Inf"]
        return list(zip(names, map(float, accumulate(self.counts)), strict=True)), self.total
