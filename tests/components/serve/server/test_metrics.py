"""The server's metrics, as Prometheus reads them."""

import asyncio
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from kfp_lifecycle.components.serve.server.failures import (
    BadRequestError,
    ModelError,
    OverloadedError,
    RequestError,
    TimedOutError,
)
from kfp_lifecycle.components.serve.server.host import Host
from kfp_lifecycle.components.serve.server.http import HttpRequest
from kfp_lifecycle.components.serve.server.inference import Call
from kfp_lifecycle.components.serve.server.metrics import Metrics
from tests.components.serve.server.small import Small, answered, row, table
from tests.conftest import ROOT


def scrape(metrics, accept=""):
    headers = [(b"accept", accept.encode())] if accept else []
    return asyncio.run(metrics.expose(HttpRequest("GET", "/metrics", headers, b"", "r")))


def samples(metrics):
    text = scrape(metrics).body.decode()
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(metrics, name, version="1", **labels):
    key = sorted({"model": "small", "version": version, **labels}.items())
    return samples(metrics).get((name, *key))


@pytest.fixture
def served():
    return Small()


@pytest.fixture
def metrics(served):
    return Metrics(Host(served))


def answer(metrics, served, given):
    done = answered(served, given)
    metrics.started(done.call)
    metrics.answered(done)
    return done


def test_the_metrics_are_those_that_the_manifests_name(metrics):
    readme = (ROOT / "manifests" / "README.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (.+?) \| serve: ", readme, flags=re.MULTILINE)
    written = {
        name.removesuffix("_total"): (kind, sorted(re.findall(r"`(\w+)`", labels)))
        for name, kind, labels in rows
    }
    assert len(written) >= 8
    text = scrape(metrics).body.decode()
    emitted = {
        family.name: (family.type, sorted({name for s in family.samples for name in s.labels} - {"le"}))
        for family in text_string_to_metric_families(text)
    }
    assert emitted == written


def test_each_series_of_a_loaded_version_begins_at_zero(metrics):
    found = {key: number for key, number in samples(metrics).items() if key[0] != "model_info"}
    assert found
    assert set(found.values()) == {0.0}
    kinds = {dict(key[1:])["kind"] for key in found if key[0] == "model_request_errors_total"}
    assert kinds >= {"bad_request", "internal", "model", "overloaded", "timeout"}


def test_requests_rows_and_latency_are_counted_by_version(metrics, served):
    answer(metrics, served, row())
    answer(metrics, served, table(age=[1, 2, 3]))
    answer(metrics, Small("2"), row())
    assert value(metrics, "model_requests_total") == 2
    assert value(metrics, "model_predictions_total") == 4
    assert value(metrics, "model_request_rows_sum") == 4
    assert value(metrics, "model_request_rows_bucket", le="1.0") == 1
    assert value(metrics, "model_prediction_latency_seconds_count") == 2
    assert value(metrics, "model_requests_total", "2") == 1
    assert value(metrics, "model_requests_in_flight") == 0


@pytest.mark.parametrize("error", [BadRequestError, ModelError, OverloadedError, TimedOutError, RequestError])
def test_errors_are_counted_by_kind_and_are_no_longer_in_flight(metrics, served, error):
    call = Call("r", "v1", served)
    metrics.started(call)
    assert value(metrics, "model_requests_in_flight") == 1
    metrics.failed(call, error("no"))
    assert value(metrics, "model_requests_in_flight") == 0
    errors = {key: number for key, number in samples(metrics).items() if "errors" in key[0] and number}
    assert [dict(key[1:])["kind"] for key in errors] == [error.kind]
    assert value(metrics, "model_requests_total") == 1
    assert value(metrics, "model_predictions_total") == 0


def test_info_is_of_the_versions_that_are_loaded_and_counts_outlast_them():
    host = Host(Small("1"))
    metrics = Metrics(host)
    answer(metrics, host.stable, row())
    host.offer(Small("2"))
    assert value(metrics, "model_info", "1") == value(metrics, "model_info", "2") == 1
    host.promote()
    assert value(metrics, "model_info", "1") is None
    assert value(metrics, "model_info", "2") == 1
    assert value(metrics, "model_requests_total", "1") == 1


def test_dropped_rows_are_counted(metrics, served):
    metrics.dropped(served, 7)
    assert value(metrics, "prediction_log_dropped_rows_total") == 7


def test_who_asks_for_open_metrics_gets_it(metrics, served):
    answer(metrics, served, row())
    accept = "application/openmetrics-text; version=1.0.0; charset=utf-8"
    found = scrape(metrics, accept)
    assert found.content_type.startswith(b"application/openmetrics-text")
    assert "model_requests" in {family.name for family in openmetrics(found.body.decode())}
    assert scrape(metrics).content_type.startswith(b"text/plain")


def test_labels_may_be_any_text():
    host = Host(Small(name='a "model"\n\\', version="ü"))
    metrics = Metrics(host)
    answer(metrics, host.stable, row())
    labels = [dict(key[1:]) for key in samples(metrics)]
    assert {"model": 'a "model"\n\\', "version": "ü"} in labels


def test_promtool_has_nothing_against_them(metrics, served):
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed (Debian: apt-get install prometheus)")
    answer(metrics, served, row())
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=scrape(metrics).body, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_alerts_and_the_dashboard_ask_for_metrics_that_are_there(metrics):
    """A name in an alert that nothing emits never fires."""
    folder = Path(ROOT / "manifests" / "components" / "monitoring")
    texts = "".join(path.read_text() for path in folder.rglob("*") if path.suffix in (".yaml", ".json"))
    asked = set(re.findall(r"\b(?:model_(?:request|prediction)|prediction_log)\w+", texts))
    names = {key[0] for key in samples(metrics)}
    assert asked
    assert {name for name in asked if name not in names} == set()
