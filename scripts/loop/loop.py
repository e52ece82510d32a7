"""Trains, serves, replays, watches, trains again and rolls out: each by the command that a user has for it.

Everything is real but the cluster: a registry in SQLite, a server process, its prediction log, the compiled
pipelines. Nothing here decides anything; that is what the pipelines do.
"""

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from kfp_lifecycle.scripts.loop.flights import KEY, MINUTES, TARGET, Flights
from kfp_lifecycle.scripts.loop.traffic import Answers, asking, replay

MODEL = "flights-late"
_PROGRAM = (sys.executable, "-c", "from kfp_lifecycle.scripts.app import main; main()")
#: The server writes its log so often, in seconds.
_FLUSH_S = 1.0
#: A request of a replay has so many rows.
_REQUEST_ROWS = 200


@dataclass(frozen=True)
class Settings:
    """How long and how large the loop is.

    Args:
        trained_on: Months that the first model is trained on.
        replayed: Months that are replayed, in order.
        rows: The most rows of a month; 0 is all.
        training: Parameters of the training, beyond those of this loop.
        monitoring: Parameters of the monitoring, likewise.
    """

    trained_on: tuple[int, ...] = (1, 2, 3)
    replayed: tuple[int, ...] = (4, 5, 6, 7, 8, 9, 10, 11, 12)
    rows: int = 0
    training: Mapping[str, Any] = field(default_factory=dict)
    monitoring: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Metric:
    """A metric of both models on the same rows."""

    name: str
    champion: float
    challenger: float


@dataclass(frozen=True)
class Retrained:
    """A retraining that a month has led to.

    Args:
        approved: Whether the challenger was the better one.
        reasons: Why, or why not.
        rows: Rows of the newest labelled window, on which both were compared.
        metrics: Their metrics there.
        served: The version that was rolled out; empty where none was.
        report: The comparison's report.
    """

    approved: bool
    reasons: list[str]
    rows: int
    metrics: list[Metric]
    served: str
    report: str


@dataclass(frozen=True)
class Month:
    """A month that was replayed.

    Args:
        number: 1 to 12.
        rows: Rows that were predicted.
        version: The version that predicted them.
        verdict: What monitor said.
        retrain: Whether it led to a retraining.
        reasons: Why, or why not.
        drifted: The drifted columns.
        accuracy: On these rows.
        roc_auc: Likewise.
        report: monitor's report.
        retrained: The retraining; None where there was none.
    """

    number: int
    rows: int
    version: str
    verdict: str
    retrain: bool
    reasons: list[str]
    drifted: list[str]
    accuracy: float | None
    roc_auc: float | None
    report: str
    retrained: Retrained | None


@dataclass(frozen=True)
class Course:
    """The loop, as it went.

    Args:
        url: Where the model was served.
        trained_on: Months that the first model was trained on.
        first: Metrics of the first model at its registration.
        months: The months.
        replayed: What became of the replays' requests.
        meanwhile: What became of the requests while models were trained and rolled out.
    """

    url: str
    trained_on: tuple[int, ...]
    first: Mapping[str, float]
    months: list[Month]
    replayed: Answers
    meanwhile: Answers


class Loop:
    """The loop in a folder.

    Args:
        home: A new or empty folder; registry, runs and logs are below it.
        settings: How long and how large.
        tell: Told of each thing done, a line each.
    """

    def __init__(self, home: Path, settings: Settings, tell: Callable[[str], None] = print) -> None:
        self.home, self.settings, self._tell = home.absolute(), settings, tell
        self.home.mkdir(parents=True, exist_ok=True)
        self.flights = Flights(self.home, settings.rows)
        self._meanwhile, self._replayed, self._runs = Answers(), Answers(), 0

    def run(self) -> Course:
        """Goes through all months. Raises ``RuntimeError`` where a command fails."""
        self.flights.outcomes(self.settings.trained_on)
        first = _metrics(self._run("training", self._training(deploy=False)))
        months = ", ".join(map(str, self.settings.trained_on))
        scores = f"accuracy {first['accuracy']:.3f}, AUC {first['roc_auc']:.3f}"
        self._tell(f"trained on months {months}: {scores}")
        self._cli("serve", MODEL, "--detach", *_server_flags(self.home / "predictions"))
        try:
            url = self._url()
            self._tell(f"served at {url}")
            found = [self._month(number, url) for number in self.settings.replayed]
        finally:
            self._cli("serve", MODEL, "--stop")
        return Course(url, self.settings.trained_on, first, found, self._replayed, self._meanwhile)

    def _month(self, number: int, url: str) -> Month:
        """Replays a month, lets its labels arrive, and looks at it; somebody asks all the while."""
        rows = self.flights.requests(number)
        start = datetime.now(UTC)
        replay(url, MODEL, rows, _REQUEST_ROWS, self._replayed)
        time.sleep(2 * _FLUSH_S)
        self.flights.outcomes([number])
        end = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=1)
        time.sleep((end - datetime.now(UTC)).total_seconds())
        with asking(url, MODEL, rows[:500], self._meanwhile):
            record = self._run("monitoring", self._monitoring(start, end))
        time.sleep(2 * _FLUSH_S)
        found = self._seen(number, record)
        self._tell(_line(found))
        return found

    def _seen(self, number: int, record: Mapping[str, Any]) -> Month:
        outputs = _step(record, "monitor")["outputs"]
        findings = json.loads(_artifact(record, "monitor", "findings").read_text())
        metrics = (findings["performance"] or {"metrics": {}})["metrics"]
        begun = _step(record, "retrain")
        retrained = None
        if begun["state"] == "succeeded":
            retrained = _retrained(_record(Path(begun["outputs"]["retraining_link"])))
        return Month(
            number=number,
            rows=findings["quality"]["rows"],
            version=findings["model"]["version"],
            verdict=outputs["verdict"],
            retrain=outputs["retrain"],
            reasons=outputs["reasons"].splitlines(),
            drifted=findings["drifted"],
            accuracy=_now(metrics, "accuracy"),
            roc_auc=_now(metrics, "roc_auc"),
            report=str(_artifact(record, "monitor", "report")),
            retrained=retrained,
        )

    def _training(self, *, deploy: bool) -> dict[str, Any]:
        return {
            "source": str(self.flights.labelled),
            "target": TARGET,
            "target_expression": f"arr_delay > {MINUTES}",
            "model_name": MODEL,
            "experiment": "loop",
            "key_columns": [KEY],
            "column_types": {KEY: "string"},
            "drop_columns": ["arr_delay"],
            "exclude_columns": ["time_hour"],
            "drop_duplicates": False,
            # The newest rows are the test: there champion and challenger are compared.
            "split": "time",
            "split_column": "time_hour",
            "scale": "none",
            "test_size": 0.1,
            "champion_metric": "log_loss",
            "deploy": deploy,
            "step_seconds": 1.0,
            **self.settings.training,
        }

    def _monitoring(self, start: datetime, end: datetime) -> dict[str, Any]:
        return {
            "model": f"models:/{MODEL}@champion",
            "current": str(self.home / "predictions"),
            "history": str(self.home / "history"),
            "window": f"{math.ceil((end - start).total_seconds())}s",
            "window_end": end.isoformat(),
            "labels": str(self.flights.labels),
            "label_keys": [KEY],
            "cooldown": "",
            # Accuracy that has fallen by 0.05 or more, as in the guide.
            "metric": "accuracy",
            "pictures": False,
            "training_parameters": json.dumps(self._training(deploy=True)),
            "training_output_dir": str(self.home / "runs"),
            "wait": True,
            **self.settings.monitoring,
        }

    def _run(self, pipeline: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """A run of a compiled pipeline; gives its record."""
        self._runs += 1
        file, place = (
            self.home / f"{self._runs:02d}-{pipeline}.json",
            self.home / "runs" / f"{self._runs:02d}-{pipeline}",
        )
        file.write_text(json.dumps(dict(parameters), indent=2))
        self._cli("run", pipeline, f"--params={file}", f"--output-dir={place}")
        return _record(place)

    def _url(self) -> str:
        said = self._cli("serve", MODEL, "--detach")
        return next(word for word in said.split() if word.startswith("http://127.0.0.1"))

    def _cli(self, *words: str) -> str:
        own = {
            "KFP_LIFECYCLE_STATE": str(self.home / "state"),
            "MLFLOW_TRACKING_URI": f"sqlite:///{self.home}/mlflow.db",
        }
        env = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")} | own
        done = subprocess.run(
            [*_PROGRAM, *words], cwd=self.home, env=env, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"kfp-lifecycle {' '.join(words)}\n{done.stdout}\n{done.stderr}")
        return done.stdout


def _server_flags(log: Path) -> list[str]:
    flags = [f"--log={log}", f"--log-columns={KEY}", f"--log-flush-s={_FLUSH_S}"]
    return [f"--flag={flag}" for flag in flags]


def _record(place: Path) -> dict[str, Any]:
    return dict(json.loads((place / "run.json").read_text()))


def _step(record: Mapping[str, Any], name: str) -> dict[str, Any]:
    return next(dict(step) for step in record["steps"] if step["name"].rpartition("/")[2] == name)


def _artifact(record: Mapping[str, Any], step: str, name: str) -> Path:
    return Path(next(one["uri"] for one in _step(record, step)["artifacts"] if one["name"] == name))


def _metrics(record: Mapping[str, Any]) -> dict[str, float]:
    artifacts = _step(record, "evaluate")["artifacts"]
    return dict(next(one["metadata"] for one in artifacts if one["name"] == "metrics"))


def _retrained(record: Mapping[str, Any]) -> Retrained:
    """What a training run says of champion and challenger."""
    evaluated = _step(record, "evaluate")
    found = json.loads(_artifact(record, "evaluate", "evaluation").read_text())
    theirs = (found["champion"] or {}).get("metrics") or {}
    served = _step(record, "serve")
    return Retrained(
        approved=evaluated["outputs"]["approved"],
        reasons=evaluated["outputs"]["reasons"].splitlines(),
        rows=found["rows"],
        metrics=[
            Metric(name, theirs[name]["value"], found["metrics"][name]["value"])
            for name in ("roc_auc", "accuracy", "log_loss")
            if name in theirs
        ],
        served=served["outputs"].get("model_version", "") if served["state"] == "succeeded" else "",
        report=str(_artifact(record, "evaluate", "report")),
    )


def _now(metrics: Mapping[str, Any], name: str) -> float | None:
    return metrics[name]["now"]["value"] if name in metrics else None


def _line(month: Month) -> str:
    """The month in one line."""
    auc = "" if month.roc_auc is None else f", AUC {month.roc_auc:.3f}, accuracy {month.accuracy:.3f}"
    said = f"2013-{month.number:02d}: {month.rows:,} rows by version {month.version}, {month.verdict}{auc}"
    if (retrained := month.retrained) is None:
        return said
    what = f"rolled out version {retrained.served}" if retrained.served else "the champion stays"
    compared = ", ".join(f"{one.name} {one.champion:.3f} → {one.challenger:.3f}" for one in retrained.metrics)
    return f"{said}; retrained: {compared}; {what}"
