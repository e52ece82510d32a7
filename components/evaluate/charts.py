"""The report's charts as inline SVG in the page's own colours and font, which follow light and dark."""

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kfp_lifecycle.components.evaluate.calibration import Bin, Reliability
from kfp_lifecycle.components.evaluate.curves import precision_recall, roc
from kfp_lifecycle.components.evaluate.predictions import Scored

# Stand for the page's CSS variables, which matplotlib does not know: they are put in afterwards.
INK, MUTED, LINE, ACCENT, SECOND = "#010101", "#020202", "#030303", "#040404", "#050505"
_VARIABLES = {INK: "--ink", MUTED: "--muted", LINE: "--line", ACCENT: "--accent", SECOND: "--second"}
#: Curves of more classes than this cannot be told apart.
MAX_CURVES = 8
#: Points of a scatter; more are a random part of them.
MAX_POINTS = 1500

Place = Literal["best", "lower right", "upper left"]

_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "kfp-lifecycle",
    "font.size": 10,
    "text.color": INK,
    "text.parse_math": False,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.8,
}


def roc_chart(scored: Scored, champion: Scored | None = None) -> Markup:
    """ROC curves: of the positive class, the champion's dashed; or of each class against the rest."""
    with _chart("False positive rate", "True positive rate") as (figure, axes):
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=":")
        for label, code, style, one in _curves(scored, champion):
            points = roc(one.truth == code, one.probabilities[:, code])
            axes.plot(points.false_positive_rate, points.true_positive_rate, label=label, **style)
        _unit_square(axes, "lower right")
        return _svg(figure, "ROC curve")


def precision_recall_chart(scored: Scored, champion: Scored | None = None) -> Markup:
    """Precision-recall curves, as :func:`roc_chart`."""
    with _chart("Recall", "Precision") as (figure, axes):
        for label, code, style, one in _curves(scored, champion):
            points = precision_recall(one.truth == code, one.probabilities[:, code])
            axes.plot(points.recall, points.precision, label=label, **style)
        if scored.task == "binary":
            share = float(np.mean(scored.truth == scored.positive_code))
            axes.axhline(share, color=MUTED, linewidth=0.8, linestyle=":")
        _unit_square(axes, "best")
        return _svg(figure, "Precision-recall curve")


def reliability_chart(calibration: Reliability, champion: Reliability | None = None) -> Markup:
    """Predicted against observed share."""
    with _chart("Predicted probability", "Observed share") as (figure, axes):
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=":")
        if champion is not None:
            axes.plot(
                *_means(champion.bins), color=SECOND, linestyle="--", marker="o", ms=3, label="champion"
            )
        axes.plot(*_means(calibration.bins), color=ACCENT, marker="o", ms=4.5, label="this model")
        _unit_square(axes, "upper left" if champion else None)
        return _svg(figure, "Calibration")


def score_chart(scored: Scored) -> Markup:
    """How the probability of the positive class is spread in each class."""
    edges = np.linspace(0, 1, 26)
    with _chart(f"Probability of {_plain(scored.positive)}", "Share of the class") as (figure, axes):
        for code, label in enumerate(scored.classes):
            values = scored.positive_probability[scored.truth == code]
            heights = np.histogram(values, edges)[0] / max(1, len(values))
            colour = ACCENT if code == scored.positive_code else SECOND
            axes.stairs(heights, edges, fill=True, color=colour, alpha=0.45, label=_plain(label))
        axes.set_xlim(0, 1)
        axes.legend(loc="upper right")
        return _svg(figure, "Scores by class")


def predicted_actual_chart(scored: Scored) -> Markup:
    """Predicted against actual values of a regression, a random part of them where there are many."""
    rows = _some(scored.rows)
    with _chart("Predicted", "Actual", unit=False) as (figure, axes):
        predicted, truth = scored.predicted[rows], scored.truth[rows]
        ends = [min(predicted.min(), truth.min()), max(predicted.max(), truth.max())]
        axes.plot(ends, ends, color=MUTED, linewidth=0.8, linestyle=":")
        axes.scatter(predicted, truth, s=7, color=ACCENT, alpha=0.35, linewidths=0)
        return _svg(figure, "Predicted against actual")


def residual_chart(scored: Scored) -> Markup:
    """Residuals (actual minus predicted) by the prediction."""
    rows = _some(scored.rows)
    with _chart("Predicted", "Actual less predicted", unit=False) as (figure, axes):
        predicted, left = scored.predicted[rows], (scored.truth - scored.predicted)[rows]
        axes.axhline(0, color=MUTED, linewidth=0.8, linestyle=":")
        axes.scatter(predicted, left, s=7, color=ACCENT, alpha=0.35, linewidths=0)
        return _svg(figure, "Residuals")


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


@contextmanager
def _chart(x: str, y: str, *, unit: bool = True) -> Iterator[tuple[Figure, Axes]]:
    """A figure with one pair of axes; ``unit`` where the numbers along them are of 0 to 1 and so short."""
    with matplotlib.rc_context(_STYLE):
        # Making room for long numbers draws everything twice.
        figure = Figure(figsize=(4.4, 3.5), layout=None if unit else "constrained")
        if unit:
            figure.subplots_adjust(left=0.15, right=0.97, bottom=0.14, top=0.97)
        axes = figure.add_subplot()
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        yield figure, axes


def _svg(figure: Figure, title: str) -> Markup:
    """The figure as an SVG element that names nothing outside the page."""
    written = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(written, format="svg", transparent=True, metadata=nothing)
    text = written.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text).replace("xlink:href", "href")
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    return Markup(text.replace("<svg", f'<svg role="img" aria-label="{title}"', 1))
