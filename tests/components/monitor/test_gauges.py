"""What Prometheus is told: through a real Pushgateway, and as a file."""

import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from kfp_lifecycle.components.monitor.gauges import gauges, publish
from tests.components.monitor.test_history import NOON, row
from tests.prometheus import pushgateway
from tests.servers import free_port

#: Of "hush-hush".
HASH = "$2b$04$BIXLhmstrNixbzNTeF7VFux.HstoQ6XWhjjgazyvTPuHadDJbJtTm"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with pushgateway(tmp_path_factory.mktemp("gateway")) as url:
        yield url


def samples(text: str) -> dict[tuple[str, ...], float]:
    """``(metric, version, column)`` to value; what the gateway says of itself is left out."""
    return {
        (one.name, *(one.labels[key] for key in ("version", "column") if key in one.labels)): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
        if one.labels.get("model") and not one.name.startswith("push_")
    }


def seen(url: str) -> dict[tuple[str, ...], float]:
    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as answer:
        return samples(answer.read().decode())


EXPECTED = {
    ("data_drift_score", "3"): 0.25,
    ("column_drift_score", "3", "month"): 0.9,
    ("column_drift_score", "3", "dep_time"): 0.2,
    ("column_drift_score", "3", "origin"): 0.0,
    ("model_accuracy", "3"): 0.8,
    ("model_monitored_rows", "3"): 1000.0,
    ("model_last_monitored_timestamp_seconds",): (NOON + timedelta(minutes=5)).timestamp(),
    ("model_last_retraining_timestamp_seconds",): NOON.timestamp(),
}


@pytest.mark.server
def test_they_are_pushed_and_those_of_the_version_before_go(gateway: str) -> None:
    model = row().model
    assert publish(gauges(row(version="2")), model, gateway) == []
    assert publish(gauges(row(), NOON), model, gateway) == []
    assert seen(gateway) == EXPECTED
    # What is known no more is gone, and not 0.
    assert publish(gauges(replace(row(), drift_share=None, accuracy=None, scores={})), model, gateway) == []
    assert {name for name, *_ in seen(gateway)} == {
        "model_monitored_rows",
        "model_last_monitored_timestamp_seconds",
    }


@pytest.mark.server
def test_a_gateway_may_ask_for_a_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pushgateway(tmp_path, {"monitor": HASH}) as url:
        (said,) = publish(gauges(row()), "m", url)
        assert "401" in said
        monkeypatch.setenv("PUSHGATEWAY_USERNAME", "monitor")
        monkeypatch.setenv("PUSHGATEWAY_PASSWORD", "hush-hush")
        assert publish(gauges(row()), "m", url) == []


@pytest.mark.parametrize("place", ["", "nested/metrics.prom"])
def test_they_are_written_for_the_node_exporter(tmp_path: Path, place: str) -> None:
    assert publish(gauges(row(), NOON), row().model, textfile=str(tmp_path / place)) == []
    (file,) = tmp_path.rglob("*.prom")
    assert file.name == (Path(place).name or "kfp_lifecycle_flights%20late%2F1.prom")
    assert samples(file.read_text()) == EXPECTED


def test_a_gateway_that_is_down_and_a_file_that_cannot_be_written_are_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    down = f"http://someone:hush-hush@127.0.0.1:{free_port()}"
    said = publish(gauges(row()), "m", down, str(tmp_path / "file" / "below"))
    assert len(said) == 2
    assert "127.0.0.1" in said[0]
    assert "file/below" in said[1]
    assert "hush" not in "".join(said)


def test_an_unknown_gateway_is_said() -> None:
    (said,) = publish(gauges(row()), "m", "http://no such host")
    assert "no such host" in said
