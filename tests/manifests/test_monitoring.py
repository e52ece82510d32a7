"""Alerts and dashboard, by Prometheus' own promtool (Debian's package prometheus)."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.manifests.built import MANIFESTS, the

DEV = "overlays/dev"

#: What serve (issue 8) and monitor (issue 9) emit, with their labels: manifests/README.md has the same list.
SERVE = {
    "model_requests_total": {"model", "version"},
    "model_predictions_total": {"model", "version"},
    "model_request_errors_total": {"model", "version", "kind"},
    "model_prediction_latency_seconds": {"model", "version", "le"},
    "model_request_rows": {"model", "version", "le"},
    "model_batch_rows": {"model", "version", "le"},
    "model_requests_in_flight": {"model", "version"},
    "model_info": {"model", "version"},
    "prediction_log_dropped_rows_total": {"model", "version"},
}
MONITOR = {
    "data_drift_score": {"model", "version"},
    "column_drift_score": {"model", "version", "column"},
    "prediction_drift_score": {"model", "version"},
    "model_monitored_rows": {"model", "version"},
    "model_accuracy": {"model", "version"},
    "model_accuracy_reference": {"model", "version"},
    "model_last_monitored_timestamp_seconds": {"model"},
    "model_last_retraining_timestamp_seconds": {"model"},
}
#: Of Prometheus itself and of kube-state-metrics.
CLUSTER = {
    "up": {"job", "namespace"},
    "kube_job_status_failed": {"namespace", "job_name"},
    "kube_deployment_status_replicas_available": {"namespace", "deployment"},
}
METRICS = SERVE | MONITOR | CLUSTER

WORDS = {"sum", "by", "max", "rate", "increase", "count", "or", "on", "time", "topk", "histogram_quantile"}


def promtool(*words: str, folder: Path) -> str:
    tool = shutil.which("promtool")
    if not tool:
        pytest.skip("no promtool on this machine: apt-get install prometheus")
    done = subprocess.run([tool, *words], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """The alert rules as Prometheus reads them: a PrometheusRule's spec is a rule file."""
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump(the(DEV, "PrometheusRule", "kfp-lifecycle")["spec"]))
    return file


def alerts() -> list[dict[str, Any]]:
    spec = the(DEV, "PrometheusRule", "kfp-lifecycle")["spec"]
    return [rule for group in spec["groups"] for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    config = the(DEV, "ConfigMap", "kfp-lifecycle-dashboard")
    assert config["metadata"]["labels"]["grafana_dashboard"] == "1"
    return dict(json.loads(config["data"]["models.json"]))


def queries() -> list[tuple[str, str]]:
    """Panel and query, with Grafana's own variables filled in."""
    found = [(p["title"], t["expr"]) for p in dashboard()["panels"] for t in p.get("targets", [])]
    return [(title, expr.replace("$__rate_interval", "1m").replace("$model", ".*")) for title, expr in found]


def test_prometheus_takes_the_rules(rules: Path) -> None:
    said = promtool("check", "rules", "--lint-fatal", rules.name, folder=rules.parent)
    assert f"SUCCESS: {len(alerts())} rules found" in said


def test_every_alert_fires_and_is_still_when_it_should(rules: Path) -> None:
    shutil.copy(Path(__file__).parent / "alerts_test.yaml", rules.parent)
    promtool("test", "rules", "alerts_test.yaml", folder=rules.parent)


def test_every_alert_has_a_test() -> None:
    cases = yaml.safe_load((Path(__file__).parent / "alerts_test.yaml").read_text())["tests"]
    asked = [(a["alertname"], bool(a.get("exp_alerts"))) for c in cases for a in c["alert_rule_test"]]
    for alert in alerts():
        assert (alert["alert"], True) in asked, f"{alert['alert']} is never seen to fire"
        assert (alert["alert"], False) in asked, f"{alert['alert']} is never seen to be still"


def test_every_alert_says_what_to_do() -> None:
    for alert in alerts():
        assert alert["labels"]["severity"] in ("warning", "critical")
        assert {"summary", "description"} <= set(alert["annotations"])


def test_prometheus_takes_the_dashboards_queries(tmp_path: Path) -> None:
    records = [{"record": f"panel:{n}", "expr": expr} for n, (_, expr) in enumerate(queries())]
    (tmp_path / "q.yaml").write_text(yaml.safe_dump({"groups": [{"name": "q", "rules": records}]}))
    said = promtool("check", "rules", "q.yaml", folder=tmp_path)
    assert f"SUCCESS: {len(records)} rules found" in said


def test_a_query_that_is_no_promql_is_found(tmp_path: Path) -> None:
    bad = {"groups": [{"name": "q", "rules": [{"record": "a:b", "expr": "sum(rate(x[5m])"}]}]}
    (tmp_path / "q.yaml").write_text(yaml.safe_dump(bad))
    with pytest.raises(AssertionError, match="could not parse expression"):
        promtool("check", "rules", "q.yaml", folder=tmp_path)


def test_alerts_and_panels_use_metrics_that_somebody_emits() -> None:
    for where, expr in [*((a["alert"], a["expr"]) for a in alerts()), *queries()]:
        bare = re.sub(r"\{[^}]*\}|\[[^]]*\]|\"[^\"]*\"|\b(?:by|on)\s*\([^)]*\)", " ", expr)
        for name in set(re.findall(r"[a-zA-Z_]\w*", bare)) - WORDS:
            base = re.sub(r"_(bucket|sum|count)$", "", name)
            assert name in METRICS or base in METRICS, f"{where}: {name}"
        for label in re.findall(r"(\w+)\s*(?:=~|!=|=)\s*\"", expr):
            assert any(label in labels for labels in METRICS.values()), f"{where}: label {label}"


def test_every_metric_is_looked_at() -> None:
    everything = " ".join([*(a["expr"] for a in alerts()), *(expr for _, expr in queries())])
    for name in SERVE | MONITOR:
        assert re.search(rf"\b{name}", everything), name


def test_the_readme_lists_the_metrics() -> None:
    readme = (MANIFESTS / "README.md").read_text()
    listed = dict(re.findall(r"^\| `(\w+)` \| \w+ \| ([\w, `]+?) \|", readme, re.MULTILINE))
    found = {name: set(re.findall(r"\w+", labels)) for name, labels in listed.items()}
    assert found == {name: labels - {"le"} for name, labels in (SERVE | MONITOR).items()}


def test_panels_do_not_overlap() -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"]
    assert all(panel.get("description") for panel in dashboard()["panels"] if panel["type"] != "row")
