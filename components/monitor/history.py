"""What monitoring has found before, in a folder or bucket: a row a window, and the retrainings begun.

Below the history's URI::

    windows/<model>/<window's end>-<digest>.parquet   one row each; read_parquet("…/windows/**/*.parquet")
    retrainings/<model>/<run's name>.json             one file each

The names come of model, version and window: a step that is run again writes over what it wrote before, and
one window is never counted twice.
"""

import hashlib
import json
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import polars as pl

from kfp_lifecycle.components.monitor.windows import Window
from kfp_lifecycle.components.shared.errors import MonitorError, redact
from kfp_lifecycle.components.shared.storage import open_store

if TYPE_CHECKING:  # retrain reads the history, and has no use for what judges metrics
    from kfp_lifecycle.components.monitor.findings import Decision, Findings, Verdict

_TIME = pl.Datetime("us", "UTC")
_STAMP = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True)
class Row:
    """What was found in one window.

    Args:
        model: Name of the registered model.
        version: Its version that made the predictions.
        start: The window's begin.
        end: The window's end.
        looked: When it was looked at.
        rows: Rows in the window.
        verdict: What the window says by itself (:data:`~.findings.Verdict`).
        retrain: What was decided, after patience and cooldown.
        reasons: Why, one text each.
        drift_share: Share of columns (0 to 1) that have drifted; None where none could be compared.
        drifted: The drifted columns, the most drifted first.
        scores: By column how far it has moved, in multiples of its threshold: 1 and more is drift.
        prediction_drift: The same of the predictions; None where they could not be compared.
        accuracy: Accuracy (R² for regression) on rows whose labels have arrived; None where none have.
        accuracy_reference: The same at registration.
    """

    model: str
    version: str
    start: datetime
    end: datetime
    looked: datetime
    rows: int
    verdict: "Verdict"
    retrain: bool
    reasons: list[str] = field(default_factory=list)
    drift_share: float | None = None
    drifted: list[str] = field(default_factory=list)
    scores: dict[str, float] = field(default_factory=dict)
    prediction_drift: float | None = None
    accuracy: float | None = None
    accuracy_reference: float | None = None

    @property
    def alarm(self) -> bool:
        """Whether the window by itself calls for a retraining."""
        return self.verdict == "drift"

    @property
    def judged(self) -> bool:
        """Whether the window says anything: one with too little data, or with broken data, does not."""
        return self.verdict in ("steady", "drift")

    @property
    def window(self) -> Window:
        """The window."""
        return Window(self.start, self.end)


@dataclass(frozen=True)
class Retraining:
    """A retraining that was asked for.

    Args:
        name: The run's name, which model, version and window give it.
        model: Name of the registered model.
        version: The version that is to be replaced.
        window_end: End of the window that led to it.
        asked: When it was asked for.
        run_id: The run; empty until it was started.
        link: Where it is looked at.
        state: ``asked``, ``running``, ``succeeded`` or ``failed``, as far as is known.
    """

    name: str
    model: str
    version: str
    window_end: datetime
    asked: datetime
    run_id: str = ""
    link: str = ""
    state: str = "asked"

    def begun(self, now: datetime) -> bool:
        """Whether there is a run, or still may be: a step that asked for one may have died before it was."""
        return bool(self.run_id) or now - self.asked < CLAIM


#: How long a retraining of which no run is known counts as being started.
CLAIM = timedelta(minutes=15)

_SCHEMA: dict[str, Any] = {
    "model": pl.String,
    "version": pl.String,
    "start": _TIME,
    "end": _TIME,
    "looked": _TIME,
    "rows": pl.Int64,
    "verdict": pl.String,
    "retrain": pl.Boolean,
    "reasons": pl.List(pl.String),
    "drift_share": pl.Float64,
    "drifted": pl.List(pl.String),
    "scores": pl.List(pl.Struct({"column": pl.String, "score": pl.Float64})),
    "prediction_drift": pl.Float64,
    "accuracy": pl.Float64,
    "accuracy_reference": pl.Float64,
}


class History:
    """The history at a URI; one that is not there yet is empty.

    Every method raises ``StorageError`` where the place cannot be read or written.

    Args:
        uri: A folder or a place in a bucket.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._store = open_store(uri)

    def append(self, row: Row) -> None:
        """Keeps a row, in place of an earlier one of the same window."""
        values = asdict(row)
        values["scores"] = [{"column": name, "score": score} for name, score in row.scores.items()]
        name = f"{_windows(row.model)}{row.end:{_STAMP}}-{_digest(row.version, row.start)}.parquet"
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "row.parquet"
            pl.DataFrame([values], schema=_SCHEMA).write_parquet(file)
            self._store.write(file, name)

    def recent(self, model: str, version: str, before: datetime, n: int) -> list[Row]:
        """The last ``n`` judged windows of a model's version that ended before a moment, the earliest first.

        Raises:
            MonitorError: A file there is no row of a history. Names it.
        """
        found: list[Row] = []
        for name in reversed(self._names(_windows(model))):
            if len(found) == n:
                break
            if _end(name) < before and (row := self._row(name)).judged and row.version == version:
                found.append(row)
        return found[::-1]

    def rows(self, model: str) -> list[Row]:
        """All windows of a model, the earliest first. Raises as :meth:`recent` does."""
        return [self._row(name) for name in self._names(_windows(model))]

    def keep(self, retraining: Retraining) -> None:
        """Keeps a retraining, in place of what is known of it."""
        text = json.dumps(asdict(retraining), default=datetime.isoformat, indent=2) + "\n"
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "retraining.json"
            file.write_text(text, encoding="utf-8")
            self._store.write(file, f"{_retrainings(retraining.model)}{retraining.name}.json")

    def forget(self, retraining: Retraining) -> None:
        """Takes a retraining out that is not to be; one that is not there is no error."""
        self._store.delete(f"{_retrainings(retraining.model)}{retraining.name}.json")

    def retrainings(self, model: str) -> list[Retraining]:
        """A model's retrainings, the first asked for first.

        Raises:
            MonitorError: A file there is none. Names it.
        """
        found = [self._retraining(name) for name in self._names(_retrainings(model))]
        return sorted(found, key=lambda one: (one.asked, one.name))

    def _names(self, start: str) -> list[str]:
        return [name for name in self._store.names() if name.startswith(start)]

    def _row(self, name: str) -> Row:
        with self._fetched(name) as file:
            (values,) = pl.read_parquet(file).to_dicts()
            values["scores"] = {one["column"]: one["score"] for one in values["scores"]}
            return Row(**{own.name: values[own.name] for own in fields(Row)})

    def _retraining(self, name: str) -> Retraining:
        with self._fetched(name) as file:
            values: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
            for key in ("window_end", "asked"):
                values[key] = datetime.fromisoformat(values[key])
            return Retraining(**{own.name: values[own.name] for own in fields(Retraining)})

    @contextmanager
    def _fetched(self, name: str) -> Iterator[Path]:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "file"
            self._store.read(name, file)
            try:
                yield file
            except (ValueError, KeyError, TypeError, pl.exceptions.PolarsError) as error:
                raise MonitorError(
                    f"{redact(self.uri)}/{name} cannot be read as part of a history: {error}.",
                    "Delete it, or name another history.",
                ) from error


def row_of(findings: "Findings", decision: "Decision") -> Row:
    """The row of a window, with the decision that it leads to by itself."""
    from kfp_lifecycle.components.monitor.findings import distance

    performance = findings.performance
    metrics = performance.metrics if performance else {}
    accuracy = metrics.get("accuracy") or metrics.get("r2")
    predictions = [one for one in findings.predictions if one.score is not None]
    return Row(
        model=findings.model.name,
        version=findings.model.version,
        start=findings.window.start,
        end=findings.window.end,
        looked=findings.looked,
        rows=findings.quality.rows,
        verdict=decision.verdict,
        retrain=decision.retrain,
        reasons=list(decision.reasons),
        drift_share=findings.drift_share,
        drifted=[column.name for column in findings.drifted],
        scores={column.name: distance(column) for column in findings.compared},
        prediction_drift=max(map(distance, predictions), default=None),
        accuracy=accuracy.now.value if accuracy else None,
        accuracy_reference=accuracy.before.value if accuracy else None,
    )


def retraining_name(model: str, version: str, end: datetime) -> str:
    """The name of the run that a window leads to: the same for the same window, whoever asks."""
    safe = re.sub(r"[^a-z0-9]+", "-", model.lower()).strip("-")[:40]
    return f"retrain-{safe}-{end.astimezone(UTC):%Y%m%d-%H%M}-{_digest(model, version, end)[:6]}"


def _windows(model: str) -> str:
    return f"windows/{quote(model, safe='')}/"


def _retrainings(model: str) -> str:
    return f"retrainings/{quote(model, safe='')}/"


def _end(name: str) -> datetime:
    stamp = name.rpartition("/")[2].partition("-")[0]
    return datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC)


def _digest(*parts: object) -> str:
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:12]
