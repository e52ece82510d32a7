"""The evaluation as one self-contained HTML page."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from markupsafe import Markup

from kfp_lifecycle.components.evaluate import charts
from kfp_lifecycle.components.evaluate.bootstrap import UNDEFINED, Estimate
from kfp_lifecycle.components.evaluate.calibration import reliability
from kfp_lifecycle.components.evaluate.evaluation import Evaluation
from kfp_lifecycle.components.evaluate.gate import HIGHER_IS_BETTER
from kfp_lifecycle.components.evaluate.slices import Slice
from kfp_lifecycle.components.shared.report import render
from kfp_lifecycle.components.shared.scores import LABELS

#: What a slice shows beside the metric that models are compared by.
BESIDE = {
    "binary": ("accuracy", "precision", "recall"),
    "multiclass": ("accuracy", "f1_macro"),
    "regression": ("mae", "r2"),
}


@dataclass(frozen=True)
class MetricRow:
    """One line of the metrics table."""

    name: str
    label: str
    higher_is_better: bool
    model: Estimate
    champion: Estimate
    difference: Estimate
    verdict: str


@dataclass(frozen=True)
class SliceRow:
    """One line of the slices table, with where its interval lies on the common scale, in percent."""

    part: Slice
    main: Estimate
    left: float
    width: float
    dot: float


@dataclass(frozen=True)
class SliceTable:
    """The slices of one column; ``overall`` is where the metric of all rows lies, in percent."""

    column: str
    rows: list[SliceRow]
    overall: float


def render_report(evaluation: Evaluation, lineage: Mapping[str, str]) -> str:
    """The page.

    Args:
        evaluation: What is reported.
        lineage: Names to texts for the footer: where data and model came from.
    """
    return render(
        "evaluate/report.html",
        e=evaluation,
        metrics=_metric_rows(evaluation),
        main=evaluation.metrics.get(evaluation.metric, UNDEFINED),
        labels=LABELS,
        beside=[name for name in BESIDE[evaluation.schema.task] if name != evaluation.metric],
        charts=_charts(evaluation),
        slices=_slice_tables(evaluation),
        lineage={name: text for name, text in lineage.items() if text},
    )


def _metric_rows(evaluation: Evaluation) -> list[MetricRow]:
    champion = evaluation.champion
    rows = []
    for name in [name for name in LABELS if name in evaluation.metrics]:
        difference = champion.differences.get(name, UNDEFINED) if champion else UNDEFINED
        theirs = champion.metrics.get(name, UNDEFINED) if champion else UNDEFINED
        higher = HIGHER_IS_BETTER[name]
        verdict = _verdict(difference, higher)
        rows.append(
            MetricRow(name, LABELS[name], higher, evaluation.metrics[name], theirs, difference, verdict)
        )
    return rows


def _verdict(difference: Estimate, higher_is_better: bool) -> str:
    """``better`` or ``worse`` where the paired interval leaves no doubt, empty else."""
    if difference.low > 0:
        return "better" if higher_is_better else "worse"
    if difference.high < 0:
        return "worse" if higher_is_better else "better"
    return ""


def _charts(evaluation: Evaluation) -> list[tuple[Markup, str]]:
    """Charts with their captions."""
    scored = evaluation.scored
    champion = evaluation.champion.scored if evaluation.champion else None
    if evaluation.reliability is None:
        some = f" A random {charts.MAX_POINTS:,} of the rows." if scored.rows > charts.MAX_POINTS else ""
        return [
            (charts.predicted_actual_chart(scored), f"On the dotted line predictions are exact.{some}"),
            (charts.residual_chart(scored), "A slope or a fan means errors that follow the prediction."),
        ]
    found = [
        (charts.roc_chart(scored, champion), "ROC: the dotted line is guessing."),
        (charts.precision_recall_chart(scored, champion), "Precision and recall at every threshold."),
        (
            charts.reliability_chart(evaluation.reliability, reliability(champion) if champion else None),
            f"Calibration of the {evaluation.reliability.about}, in groups of about as many rows each.",
        ),
    ]
    if scored.task == "binary":
        found.append((charts.score_chart(scored), "How well the scores hold the classes apart."))
    return found


def _slice_tables(evaluation: Evaluation) -> list[SliceTable]:
    metric = evaluation.metric
    overall = evaluation.metrics.get(metric, UNDEFINED)
    mains = [part.metrics.get(metric, UNDEFINED) for part in evaluation.slices]
    low, high = _scale([overall, *mains])
    return [
        SliceTable(
            column,
            [_slice_row(part, part.metrics.get(metric, UNDEFINED), low, high) for part in parts],
            _percent(overall.value, low, high),
        )
        for column, parts in groupby(evaluation.slices, key=lambda part: part.column)
    ]


def _slice_row(part: Slice, main: Estimate, low: float, high: float) -> SliceRow:
    left, right = _percent(main.low, low, high), _percent(main.high, low, high)
    return SliceRow(part, main, left, right - left, _percent(main.value, low, high))


def _scale(estimates: Sequence[Estimate]) -> tuple[float, float]:
    ends = [end for one in estimates for end in (one.low, one.value, one.high) if math.isfinite(end)]
    return (min(ends), max(ends)) if ends and min(ends) < max(ends) else (0.0, 1.0)


def _percent(value: float, low: float, high: float) -> float:
    return 100 * (value - low) / (high - low) if math.isfinite(value) else math.nan
