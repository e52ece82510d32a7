"""What the component's body calls."""

import logging
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from kfp_lifecycle.components.monitor.decision import decide
from kfp_lifecycle.components.monitor.findings import Decision, Findings, Problem
from kfp_lifecycle.components.monitor.gauges import gauges, publish
from kfp_lifecycle.components.monitor.history import History, Row, row_of
from kfp_lifecycle.components.monitor.message import summary_text
from kfp_lifecycle.components.monitor.monitoring import Request, look
from kfp_lifecycle.components.monitor.options import Options
from kfp_lifecycle.components.monitor.patience import Patience, conclude
from kfp_lifecycle.components.monitor.pictures import begin_import
from kfp_lifecycle.components.monitor.report import render_report
from kfp_lifecycle.components.monitor.tables import Place
from kfp_lifecycle.components.monitor.watched import OpenModel, open_model
from kfp_lifecycle.components.monitor.windows import Window, duration, window_to
from kfp_lifecycle.components.monitor.written import to_json, to_metrics
from kfp_lifecycle.components.shared.errors import ParameterError, redact
from kfp_lifecycle.components.shared.outputs import OutputArtifact, whole_file
from kfp_lifecycle.components.shared.parameters import json_object
from kfp_lifecycle.components.shared.step import step

log = logging.getLogger(__name__)

#: Windows that say how many rows are usual.
USUAL = 5


class Outputs(NamedTuple):
    """The component's output parameters."""

    retrain: bool
    verdict: str
    reasons: str
    summary: str


@step(outputs=("report", "findings", "metrics"))
def monitor_step(
    *,
    report: OutputArtifact,
    findings: OutputArtifact,
    metrics: OutputArtifact,
    model: str,
    current: str,
    window: str = "24h",
    window_end: str = "",
    time_column: str = "",
    reference: str = "",
    season: str = "",
    labels: str = "",
    label_keys: Sequence[str] = (),
    label_window: str = "",
    column_methods: str = "{}",
    column_thresholds: str = "{}",
    history: str = "",
    alarms: int = 1,
    alarm_windows: int = 1,
    cooldown: str = "1d",
    pushgateway: str = "",
    textfile: str = "",
    pictures: bool = True,
    **options: Any,
) -> Outputs:
    """Looks at the window, writes what was found, and returns the decision.

    Args:
        report: Gets the HTML page.
        findings: Gets everything as JSON.
        metrics: Gets the scores.
        model: The model's URI.
        current: URI of the log or table.
        window: Length of the window.
        window_end: Its end.
        time_column: Column that a table's window goes by.
        reference: URI of a table to compare with.
        season: Compare with the window so long before.
        labels: URI of a table of labels.
        label_keys: What they are joined by.
        label_window: Length of the window that labels are looked for.
        column_methods: JSON object of column to method.
        column_thresholds: JSON object of column to threshold.
        history: URI of the history; empty keeps none.
        alarms: Windows that must have drifted.
        alarm_windows: Of how many.
        cooldown: For how long no other retraining is asked for.
        pushgateway: URL of a Pushgateway.
        textfile: File for the textfile collector.
        pictures: Whether the report has Evidently's pictures.
        **options: As :class:`Options`.
    """
    now = datetime.now(UTC)
    asked = Options(
        **options,
        column_methods=json_object(column_methods, "column_methods"),
        column_thresholds=_numbers(column_thresholds),
    )
    patience = Patience(alarms, alarm_windows, duration(cooldown, "cooldown"))
    patience.check()
    if pictures:
        begin_import()
    looked_at, before = window_to(window_end, window, now), History(history) if history else None
    with tempfile.TemporaryDirectory() as place:
        opened = open_model(model, Path(place))
        request = Request(
            Place(current, time_column, opened.schema, Path(place)),
            looked_at,
            now,
            reference=reference,
            season=duration(season, "season") or None,
            labels=labels,
            label_keys=label_keys,
            label_window=duration(label_window, "label_window") or None,
            usual_rows=_usual(before, opened, looked_at),
        )
        found, samples = look(opened, request, asked)
    row, decision = _decided(found, asked, before, patience)
    found = _published(found, row, before, pushgateway, textfile)
    page = render_report(found, decision, asked, samples if pictures else None)
    with whole_file(report.path) as file:
        file.write_text(page, encoding="utf-8")
    with whole_file(findings.path) as file:
        file.write_text(to_json(found, decision, asked), encoding="utf-8")
    metrics.metadata.update(to_metrics(found, decision))
    findings.metadata.update(verdict=decision.verdict, retrain=decision.retrain, rows=found.quality.rows)
    _say(decision)
    reasons = "\n".join(decision.reasons)
    return Outputs(decision.retrain, decision.verdict, reasons, summary_text(row, report.uri))


def _decided(
    found: Findings, options: Options, history: History | None, patience: Patience
) -> tuple[Row, Decision]:
    """What the window says, and what becomes of it after those before; kept where there is a history."""
    decision = decide(found, options)
    row = row_of(found, decision)
    row = replace(row, retrain=decision.retrain) if history is None else conclude(row, history, patience)
    return row, replace(decision, retrain=row.retrain, reasons=row.reasons)


def _numbers(text: str) -> dict[str, float]:
    found = json_object(text, "column_thresholds")
    for column, value in found.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ParameterError(
                f"Parameter 'column_thresholds' gives {column!r} {value!r}.", "Give a number of 0 or more."
            )
    return found


def _usual(history: History | None, model: OpenModel, window: Window) -> float | None:
    """The median of the rows of the last windows of this length."""
    if history is None:
        return None
    rows = [
        row.rows
        for row in history.recent(model.watched.name, model.watched.version, window.end, USUAL)
        if row.end - row.start == window.end - window.start
    ]
    return float(statistics.median(rows)) if rows else None


def _published(
    found: Findings, row: Row, history: History | None, pushgateway: str, textfile: str
) -> Findings:
    """Tells Prometheus; what could not be told becomes part of the report."""
    if not pushgateway and not textfile:
        return found
    begun = history.retrainings(row.model) if history else []
    registry = gauges(row, max((one.asked for one in begun), default=None))
    said = publish(registry, row.model, pushgateway, textfile)
    for text in said:
        log.warning("%s", redact(text))
    problems = [*found.quality.problems, *(Problem("metrics not published", text) for text in said)]
    return replace(found, quality=replace(found.quality, problems=problems))


def _say(decision: Decision) -> None:
    log.info("%s, %s", decision.verdict, "retrain" if decision.retrain else "no retraining")
    for reason in decision.reasons:
        log.info("%s", reason)
