"""Alerts and dashboard on what a real server and monitor emit, in a real Prometheus that has scraped them."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from kfp_lifecycle.components.monitor.history import History, Retraining, retraining_name
from kfp_lifecycle.components.monitor.step import monitor_step
from tests.components.monitor.conftest import January
from tests.components.monitor.flights import FEATURES
from tests.components.serve.serving import Server, serving
from tests.components.trained import Artifact
from tests.manifests.built import the
from tests.manifests.test_monitoring import DEV, MONITOR, SERVE, queries
from tests.prometheus import Prometheus, prometheus, pushgateway
from tests.servers import free_port

pytestmark = pytest.mark.server


@dataclass
class Scene:
    """A server that was asked, a gateway that monitor has pushed to, and Prometheus looking at both."""

    server: Server
    gateway: str
    prometheus: Prometheus


def ask(server: Server, rows: list[dict[str, Any]]) -> None:
    """Good requests, and one that the caller has got wrong."""
    assert server.post("/v1/models/late:predict", {"instances": rows}).status_code == 200
    assert server.post("/v1/models/late:predict", {"instances": [{"carrier": "UA"}]}).status_code == 400


def look(january: January, folder: Path, gateway: str) -> None:
    """Monitor on July's flights, with their labels; a retraining was asked for before."""
    january.month(7).head(2000).write_parquet(folder / "july.parquet")
    name, version = january.model.watched.name, january.model.watched.version
    before = datetime(2013, 7, 1, tzinfo=UTC)
    run, now = retraining_name(name, version, before), datetime.now(UTC)
    asked = Retraining(run, name, version, before, now, run_id="run-7")
    History(str(folder / "history")).keep(asked)
    monitor_step(
        report=Artifact(str(folder / "report")),
        findings=Artifact(str(folder / "findings")),
        metrics=Artifact(str(folder / "metrics")),
        model=str(january.model.folder),
        current=str(folder / "july.parquet"),
        history=str(folder / "history"),
        pushgateway=gateway,
        pictures=False,
    )


@pytest.fixture(scope="module")
def scene(january: January, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("scene")
    rules = folder / "rules.yaml"
    rules.write_text(yaml.safe_dump(the(DEV, "PrometheusRule", "kfp-lifecycle")["spec"]))
    rows = january.month(7).select(*FEATURES).head(50).to_dicts()
    flags = ["--name=late", f"--log={folder / 'log'}", "--batch-rows=64"]
    with (
        serving(january.model.folder, folder, *flags) as server,
        pushgateway(folder) as gateway,
    ):
        hosts = {"model-server": server.url, "pushgateway": gateway}
        targets = {job: url.removeprefix("http://") for job, url in hosts.items()}
        ask(server, rows)
        look(january, folder, gateway)
        with prometheus(folder, targets, [rules]) as found:
            assert found.wait_for("count(model_requests_total) and count(model_monitored_rows)")
            deadline = time.monotonic() + 30
            # Rates need a counter that has moved between two scrapes.
            while not found.query("rate(model_predictions_total[1m]) > 0") and time.monotonic() < deadline:
                ask(server, rows)
                time.sleep(1)
            yield Scene(server, gateway, found)


@pytest.mark.parametrize(("panel", "query"), queries())
def test_every_panel_shows_something(scene: Scene, panel: str, query: str) -> None:
    assert scene.prometheus.wait_for(query, 10), panel


@pytest.mark.parametrize("metric", SERVE | MONITOR)
def test_every_metric_is_there_with_its_labels(scene: Scene, metric: str) -> None:
    labels = (SERVE | MONITOR)[metric]
    name = f"{metric}_bucket" if "le" in labels else metric
    found = scene.prometheus.query(name)
    assert found, metric
    added = {"__name__", "job", "instance"}
    assert all(set(one["metric"]) - added == labels for one in found)


def test_promtool_finds_nothing_to_say_about_them(scene: Scene) -> None:
    if not (tool := shutil.which("promtool")):
        pytest.skip("no promtool on this machine: apt-get install prometheus")
    for text in (scene.server.get("/metrics").text, gauges_of(scene)):
        done = subprocess.run(
            [tool, "check", "metrics"], input=text, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


def gauges_of(scene: Scene) -> str:
    """What monitor has pushed, without what the gateway says of itself."""
    return "".join(
        f"{line}\n"
        for line in httpx.get(f"{scene.gateway}/metrics").text.splitlines()
        if any(name in line for name in MONITOR)
    )


def test_the_rules_are_evaluated_and_the_drift_alarms(scene: Scene) -> None:
    groups = httpx.get(f"{scene.prometheus.url}/api/v1/rules").json()["data"]["groups"]
    assert all(rule["health"] != "err" for group in groups for rule in group["rules"])
    fired = {one["metric"]["alertname"] for one in scene.prometheus.wait_for('ALERTS{alertstate="firing"}')}
    assert fired & {"DataDrift", "PredictionDrift"}
    assert not fired & {"ModelServerDown", "ModelErrors", "NothingToMonitor", "MonitoringStale"}


def test_a_gateway_that_is_down_is_in_the_report_and_stops_nothing(january: January, tmp_path: Path) -> None:
    look(january, tmp_path, f"http://127.0.0.1:{free_port()}")
    assert "could not be pushed" in (tmp_path / "report").read_text()
