"""The step: its outputs, the report, the history, and a gateway that is down."""

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from kfp_lifecycle.components.monitor.history import History
from kfp_lifecycle.components.monitor.message import read_summary
from kfp_lifecycle.components.monitor.step import Outputs, monitor_step
from kfp_lifecycle.components.shared.errors import LifecycleError, ParameterError
from tests.components.monitor.conftest import NOW, January
from tests.components.monitor.flights import write_log
from tests.components.trained import Artifact
from tests.servers import free_port

END = (NOW + timedelta(seconds=1)).isoformat()


class Run:
    """One run of the step, with its outputs."""

    def __init__(self, folder: Path, january: January, current: Path | str, **given: Any) -> None:
        self.report, self.findings, self.metrics = (
            Artifact(str(folder / name), uri=f"file:///{name}")
            for name in ("report.html", "findings.json", "m")
        )
        asked = {"window_end": END, "pictures": False} | given
        self.outputs: Outputs = monitor_step(
            report=self.report,
            findings=self.findings,
            metrics=self.metrics,
            model=str(january.model.folder),
            current=str(current),
            **asked,
        )

    @property
    def page(self) -> str:
        return Path(self.report.path).read_text(encoding="utf-8")

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(Path(self.findings.path).read_text(encoding="utf-8"))
        return found


@pytest.fixture(scope="module")
def july(january: January, tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = january.month(7).drop("late").sample(2000, seed=1)
    return write_log(tmp_path_factory.mktemp("july"), january.served(rows))


def test_everything_is_written(january: January, july: Path, tmp_path: Path) -> None:
    run = Run(tmp_path, january, july, pictures=True)
    assert (run.outputs.retrain, run.outputs.verdict) == (True, "drift")
    assert run.outputs.reasons.startswith("The predictions have drifted: probability_yes (Wasserstein")
    summary = read_summary(run.outputs.summary)
    assert (summary.model, summary.rows, summary.report) == ("late", 2000, "file:///report.html")
    assert summary.drifted[0] == "dep_delay"
    found = run.json
    assert found["retrain"] is True
    assert {column["name"] for column in found["columns"]} == set(january.model.description.input_columns)
    assert all(
        {"method", "score", "threshold", "p_value", "q_value", "error"} <= one.keys()
        for one in found["columns"]
    )
    assert run.metrics.metadata["drifted_columns"] == len(found["drifted"])
    assert run.metrics.metadata["drift_dep_delay"] > 1
    assert run.findings.metadata == {"verdict": "drift", "retrain": True, "rows": 2000}
    page = run.page
    assert "Drift: retrain" in page
    assert page.count('<svg class="spread"') == len(found["columns"]) + len(found["predictions"])
    # Evidently's own page is inside, and asks for nothing outside.
    assert 'srcdoc="' in page
    assert "dep_delay" in page.partition("srcdoc")[2]
    assert not re.findall(r"""(?:src=|<link[^>]*href=)(?:"|&#34;|&quot;)https?://""", page)


def test_patience_and_history(january: January, july: Path, tmp_path: Path) -> None:
    """The second of two windows that alarm leads to retraining; looked at again, one stays the same."""
    asked: dict[str, Any] = {
        "history": str(tmp_path / "history"),
        "alarms": 2,
        "alarm_windows": 3,
        "window": "23h",
    }
    first = Run(tmp_path, january, july, **asked)
    assert (first.outputs.verdict, first.outputs.retrain) == ("drift", False)
    assert "1 of the last 1 windows" in first.outputs.reasons
    assert "Drift: no retraining" in first.page
    again = Run(tmp_path, january, july, **asked)
    assert again.outputs == first.outputs
    later = {"window_end": (NOW + timedelta(hours=1)).isoformat()}
    second = Run(tmp_path, january, july, **asked | later)
    assert (second.outputs.verdict, second.outputs.retrain) == ("drift", True)
    rows = History(asked["history"]).rows("late")
    assert [row.retrain for row in rows] == [False, True]
    assert rows[1].scores["dep_delay"] > 1


def test_a_gateway_that_is_down_stops_nothing_and_is_in_the_report(
    january: January, july: Path, tmp_path: Path
) -> None:
    textfile = tmp_path / "metrics.prom"
    gateway = f"http://127.0.0.1:{free_port()}"
    run = Run(tmp_path, january, july, pushgateway=gateway, textfile=str(textfile))
    assert run.outputs.retrain
    (said,) = [one for one in run.json["quality"]["problems"] if one["kind"] == "metrics not published"]
    assert gateway in said["text"]
    assert "metrics not published" in run.page
    assert "data_drift_score{" in textfile.read_text()


@pytest.mark.parametrize("kind", ["broken", "unjudged", "steady"])
def test_each_verdict_has_its_page(january: January, tmp_path: Path, kind: str) -> None:
    rows = january.month(1).drop("late").sample(500, seed=2)
    rows = {"broken": rows.drop("dest"), "unjudged": rows.head(3), "steady": rows}[kind]
    rows.write_parquet(tmp_path / "now.parquet")
    run = Run(tmp_path, january, tmp_path / "now.parquet", pictures=True)
    assert (run.outputs.verdict, run.outputs.retrain) == (kind, False)
    title = {"broken": "The data is broken", "unjudged": "Not judged", "steady": "Steady"}[kind]
    assert f"<strong>{title}: no retraining</strong>" in run.page


def test_what_is_in_the_data_is_escaped(january: January, tmp_path: Path) -> None:
    rows = january.month(1).drop("late").sample(500, seed=2)
    rows.with_columns(carrier=pl.lit("<script>alert(1)</script>")).write_parquet(tmp_path / "now.parquet")
    page = Run(tmp_path, january, tmp_path / "now.parquet", pictures=True).page
    assert "<script>alert(1)" not in page.partition("srcdoc")[0]
    assert page.count("<script") == 0  # Evidently's are escaped within srcdoc


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"column_thresholds": '{"dest": "high"}'}, "'column_thresholds' gives 'dest' 'high'"),
        ({"column_methods": "[]"}, "'column_methods' is JSON, but not an object"),
        ({"window": "soon"}, "'window' is 'soon'"),
        ({"cooldown": "1 day"}, "'cooldown' is '1 day'"),
        ({"alarms": 3, "alarm_windows": 2}, "3 alarms of 2 windows"),
        ({"season": "x"}, "'season' is 'x'"),
    ],
)
def test_wrong_parameters_are_refused_before_anything_is_read(
    january: January, tmp_path: Path, given: dict[str, Any], said: str
) -> None:
    with pytest.raises(ParameterError, match=re.escape(said)):
        Run(tmp_path, january, tmp_path / "nowhere", **given)


def test_nothing_half_written_is_left(january: January, tmp_path: Path) -> None:
    with pytest.raises(LifecycleError):
        Run(tmp_path, january, tmp_path / "nowhere")
    assert not list(tmp_path.iterdir())
