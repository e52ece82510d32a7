"""The server's Prometheus metrics.

``manifests/README.md`` lists them; alerts, the dashboard and rollouts read them by these names.
"""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from kfp_lifecycle.components.serve.server.failures import RequestError
from kfp_lifecycle.components.serve.server.host import Host
from kfp_lifecycle.components.serve.server.http import HttpRequest, HttpResponse
from kfp_lifecycle.components.serve.server.inference import Answer, Call
from kfp_lifecycle.components.serve.server.models import ServedModel

# Of no use here, and twice the series.
disable_created_metrics()  # type: ignore[no-untyped-call]

_LABELS = ("model", "version")

#: Upper bounds in seconds. A row takes a millisecond or two, and an alert looks at half a second.
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_ROWS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 10_000, 100_000)


class Metrics:
    """Counts calls; an observer of :class:`.inference.Inference`.

    Args:
        host: The models: each has its series, at zero, from the first look after it was loaded.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._registry = registry = CollectorRegistry()
        self._requests = Counter("model_requests", "Requests that have come", _LABELS, registry=registry)
        self._predictions = Counter(
            "model_predictions", "Rows that were predicted", _LABELS, registry=registry
        )
        self._errors = Counter(
            "model_request_errors", "Requests that failed", (*_LABELS, "kind"), registry=registry
        )
        self._latency = Histogram(
            "model_prediction_latency_seconds",
            "From the request's last byte to the answer",
            _LABELS,
            buckets=_SECONDS,
            registry=registry,
        )
        self._rows = Histogram(
            "model_request_rows", "Rows of a request", _LABELS, buckets=_ROWS, registry=registry
        )
        self._in_flight = Gauge(
            "model_requests_in_flight", "Requests that are being answered", _LABELS, registry=registry
        )
        self._dropped = Counter(
            "prediction_log_dropped_rows",
            "Rows that the prediction log could not take",
            _LABELS,
            registry=registry,
        )
        registry.register(_Loaded(host))
        self._series: dict[tuple[str, str], _Series] = {}

    def started(self, call: Call) -> None:
        """Counts a request that has come."""
        series = self._of(call.served)
        series.requests.inc()
        series.in_flight.inc()

    def answered(self, answer: Answer) -> None:
        """Counts its rows and takes its time."""
        series = self._of(answer.call.served)
        series.in_flight.dec()
        series.predictions.inc(answer.call.rows)
        series.rows.observe(answer.call.rows)
        series.latency.observe(answer.seconds)

    def failed(self, call: Call, error: RequestError) -> None:
        """Counts an error by its kind."""
        served = call.served
        self._of(served).in_flight.dec()
        self._errors.labels(served.name, served.version, error.kind).inc()

    def dropped(self, served: ServedModel, rows: int) -> None:
        """Counts rows that the prediction log could not take. May be called from any thread."""
        self._of(served).dropped.inc(rows)

    async def expose(self, request: HttpRequest) -> HttpResponse:
        """The handler of ``GET /metrics``: Prometheus' text, or OpenMetrics where the client asks for it."""
        for served in self._host.models:
            self._of(served)
        encode, content_type = choose_encoder(request.header(b"accept"))
        return HttpResponse(encode(self._registry), content_type=content_type.encode())

    def _of(self, served: ServedModel) -> "_Series":
        found = self._series.get((served.name, served.version))
        if found is None:
            found = self._series[served.name, served.version] = _Series(self, served)
        return found


class _Series:
    """The series of one version. Looking each up by its labels takes longer than counting."""

    def __init__(self, metrics: Metrics, served: ServedModel) -> None:
        labels = (served.name, served.version)
        self.requests = metrics._requests.labels(*labels)
        self.predictions = metrics._predictions.labels(*labels)
        self.latency = metrics._latency.labels(*labels)
        self.rows = metrics._rows.labels(*labels)
        self.in_flight = metrics._in_flight.labels(*labels)
        self.dropped = metrics._dropped.labels(*labels)
        # Zero first: Prometheus' rate() does not see the first error of a series that begins with it.
        errors: list[type[RequestError]] = [RequestError, *RequestError.__subclasses__()]
        for kind in {error.kind for error in errors}:
            metrics._errors.labels(*labels, kind)


class _Loaded(Collector):
    """``model_info``: 1 for each version that is loaded just now."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def collect(self) -> Iterator[GaugeMetricFamily]:
        loaded = GaugeMetricFamily("model_info", "1 for the version that is loaded", labels=_LABELS)
        for served in self._host.models:
            loaded.add_metric((served.name, served.version), 1)
        yield loaded
