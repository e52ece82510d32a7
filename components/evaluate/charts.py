"""The report's charts as inline SVG in the page's own colours and font, which follow light and dark."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes

from kfp_lifecycle.components.evaluate.calibration import Bin, Reliability
from kfp_lifecycle.components.evaluate.curves import precision_recall, roc
from kfp_lifecycle.components.evaluate.predictions import Scored
from kfp_lifecycle.components.shared.report.charts import ACCENT, MUTED, SECOND, chart, svg

#: Curves of more classes than this cannot be told apart.
MAX_CURVES = 8
#: Points of a scatter; more are a random part of them.
MAX_POINTS = 1500

Place = Literal["best", "lower right", "upper left"]


def roc_chart(scored: Scored, champion: Scored | None = None) -> Markup:
    """ROC curves: of the positive class, the champion's dashed; or of each class against the rest."""
    with chart("False positive rate", "True positive rate") as (figure, axes):
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=":")
        for label, code, style, one in _curves(scored, champion):
            points = roc(one.truth == code, one.probabilities[:, code])
            axes.plot(points.false_positive_rate, points.true_positive_rate, label=label, **style)
        _unit_square(axes, "lower right")
        return svg(figure, "ROC curve")


def precision_recall_chart(scored: Scored, champion: Scored | None = None) -> Markup:
    """Precision-recall curves, as :func:`roc_chart`."""
    with chart("Recall", "Precision") as (figure, axes):
        for label, code, style, one in _curves(scored, champion):
            points = precision_recall(one.truth == code, one.probabilities[:, code])
            axes.plot(points.recall, points.precision, label=label, **style)
        if scored.task == "binary":
            share = float(np.mean(scored.truth == scored.positive_code))
            axes.axhline(share, color=MUTED, linewidth=0.8, linestyle=":")
        _unit_square(axes, "best")
        return svg(figure, "Precision-recall curve")


def reliability_chart(calibration: Reliability, champion: Reliability | None = None) -> Markup:
    """Predicted against observed share."""
    with chart("Predicted probability", "Observed share") as (figure, axes):
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=":")
        if champion is not None:
            axes.plot(
                *_means(champion.bins), color=SECOND, linestyle="--", marker="o", ms=3, label="champion"
            )
        axes.plot(*_means(calibration.bins), color=ACCENT, marker="o", ms=4.5, label="this model")
        _unit_square(axes, "upper left" if champion else None)
        return svg(figure, "Calibration")


def score_chart(scored: Scored) -> Markup:
    """How the probability of the positive class is spread in each class."""
    edges = np.linspace(0, 1, 26)
    with chart(f"Probability of {_plain(scored.positive)}", "Share of the class") as (figure, axes):
        for code, label in enumerate(scored.classes):
            values = scored.positive_probability[scored.truth == code]
            heights = np.histogram(values, edges)[0] / max(1, len(values))
            colour = ACCENT if code == scored.positive_code else SECOND
            axes.stairs(heights, edges, fill=True, color=colour, alpha=0.45, label=_plain(label))
        axes.set_xlim(0, 1)
        axes.legend(loc="upper right")
        return svg(figure, "Scores by class")


def predicted_actual_chart(scored: Scored) -> Markup:
    """Predicted against actual values of a regression, a random part of them where there are many."""
    rows = _some(scored.rows)
    with chart("Predicted", "Actual", unit=False) as (figure, axes):
        predicted, truth = scored.predicted[rows], scored.truth[rows]
        ends = [min(predicted.min(), truth.min()), max(predicted.max(), truth.max())]
        axes.plot(ends, ends, color=MUTED, linewidth=0.8, linestyle=":")
        axes.scatter(predicted, truth, s=7, color=ACCENT, alpha=0.35, linewidths=0)
        return svg(figure, "Predicted against actual")


def residual_chart(scored: Scored) -> Markup:
    """Residuals (actual minus predicted) by the prediction."""
    rows = _some(scored.rows)
    with chart("Predicted", "Actual less predicted", unit=False) as (figure, axes):
        predicted, left = scored.predicted[rows], (scored.truth - scored.predicted)[rows]
        axes.axhline(0, color=MUTED, linewidth=0.8, linestyle=":")
        axes.scatter(predicted, left, s=7, color=ACCENT, alpha=0.35, linewidths=0)
        return svg(figure, "Residuals")


def _curves(scored: Scored, champion: Scored | None) -> Iterator[tuple[str, int, dict[str, Any], Scored]]:
    if scored.task == "binary":
        if champion is not None:
            yield (
                "champion",
                scored.positive_code,
                {"color": SECOND, "linestyle": "--", "linewidth": 1.4},
                champion,
            )
        yield "this model", scored.positive_code, {"color": ACCENT}, scored
        return
    counts = np.bincount(scored.truth.astype(np.int64), minlength=len(scored.classes))
    codes = np.sort(np.argsort(-counts, kind="stable")[:MAX_CURVES])
    for index, code in enumerate(code for code in codes if 0 < counts[code] < scored.rows):
        yield _plain(scored.classes[code]), int(code), {"color": f"C{index}", "linewidth": 1.4}, scored


def _means(bins: Sequence[Bin]) -> tuple[list[float], list[float]]:
    return [one.predicted for one in bins], [one.observed for one in bins]


def _some(rows: int) -> np.ndarray:
    if rows <= MAX_POINTS:
        return np.arange(rows)
    return np.random.default_rng(0).choice(rows, MAX_POINTS, replace=False)


def _unit_square(axes: Axes, legend: Place | None) -> None:
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.01)
    if legend and len(axes.get_legend_handles_labels()[1]) > 1:
        axes.legend(loc=legend)


def _plain(text: str) -> str:
    """A label as matplotlib shows it: it leaves out of the legend what begins with an underscore."""
    text = text if len(text) <= 24 else text[:23] + "…"
    return f" {text}" if text.startswith("_") else text
