"""What monitoring tells Prometheus, through a Pushgateway or a file that the node exporter reads.

The names are those of the table in manifests/README.md, which alerts and dashboard look at.
"""

import os
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from http.client import HTTPException
from pathlib import Path
from urllib.parse import quote

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.exposition import basic_auth_handler, push_to_gateway

from kfp_lifecycle.components.monitor.history import Row
from kfp_lifecycle.components.shared.errors import StorageError, redact
from kfp_lifecycle.components.shared.outputs import whole_file

#: Prometheus' ``job`` of what is pushed.
JOB = "monitor"
#: Seconds that the gateway has for an answer.
TIMEOUT_S = 10.0
#: Where a gateway asks for a log-in: the environment variables with name and password.
USER, PASSWORD = "PUSHGATEWAY_USERNAME", "PUSHGATEWAY_PASSWORD"


def gauges(row: Row, retrained: datetime | None = None) -> CollectorRegistry:
    """The gauges of a window.

    What is not known is left out: a gauge of 0 would say that nothing has drifted.

    Args:
        row: The window.
        retrained: When a retraining of the model was last asked for; None where none was.
    """
    registry = CollectorRegistry()
    own = {"model": row.model}
    version = {**own, "version": row.version}
    _gauge(registry, "data_drift_score", "Share of columns that have drifted", row.drift_share, version)
    _gauge(registry, "prediction_drift_score", _FAR.format("they have"), row.prediction_drift, version)
    column = Gauge("column_drift_score", _FAR.format("a column has"), [*version, "column"], registry=registry)
    for name, score in row.scores.items():
        column.labels(**version, column=name).set(score)
    _gauge(registry, "model_accuracy", "Accuracy (or R²) where labels have arrived", row.accuracy, version)
    _gauge(registry, "model_accuracy_reference", "The same at registration", row.accuracy_reference, version)
    _gauge(registry, "model_monitored_rows", "Rows in the last window", row.rows, version)
    looked, asked = row.looked.timestamp(), retrained.timestamp() if retrained else None
    _gauge(registry, "model_last_monitored_timestamp_seconds", "When monitor last looked", looked, own)
    _gauge(registry, "model_last_retraining_timestamp_seconds", "When one was last begun", asked, own)
    return registry


def publish(registry: CollectorRegistry, model: str, gateway: str = "", textfile: str = "") -> list[str]:
    """Pushes the gauges and writes the file, where either is asked for.

    A gateway that is down, or a file that cannot be written, stops nothing: numbers on a dashboard are not
    what a window is looked at for.

    Args:
        registry: The gauges.
        model: The model: what was pushed for it before goes.
        gateway: URL of a Pushgateway; empty for none. It is told user and password of the environment's
            :data:`USER` and :data:`PASSWORD`, where they are there.
        textfile: Folder (or ``.prom`` file) of the node exporter's textfile collector; empty for none.

    Returns:
        What could not be done, a sentence each; empty where all was.
    """
    return [*_push(registry, model, gateway), *_write(registry, model, textfile)]


_FAR = "How far {} moved, in multiples of the threshold: 1 and more is drift"


def _gauge(
    registry: CollectorRegistry, name: str, text: str, value: float | None, labels: dict[str, str]
) -> None:
    if value is not None:
        Gauge(name, text, list(labels), registry=registry).labels(**labels).set(value)


def _push(registry: CollectorRegistry, model: str, gateway: str) -> Iterator[str]:
    if not gateway.strip():
        return
    log_in = partial(basic_auth_handler, username=os.environ.get(USER), password=os.environ.get(PASSWORD))
    try:
        push_to_gateway(gateway.strip(), JOB, registry, {"model": model}, TIMEOUT_S, log_in)
    except (OSError, ValueError, HTTPException) as error:  # urllib's errors are the operating system's
        yield f"The metrics could not be pushed to {redact(gateway)}: {redact(str(error))}."


def _write(registry: CollectorRegistry, model: str, textfile: str) -> Iterator[str]:
    if not textfile.strip():
        return
    path = Path(textfile)
    if path.suffix != ".prom":
        path = path / f"kfp_lifecycle_{quote(model, safe='')}.prom"
    try:
        with whole_file(path) as partial_file:
            partial_file.write_bytes(generate_latest(registry))
    except (OSError, StorageError) as error:
        yield f"The metrics could not be written to {path}: {error}"
