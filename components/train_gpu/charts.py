"""The report's charts: how loss, metric and learning rate went from epoch to epoch."""

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from kfp_lifecycle.components.shared.report.charts import ACCENT, MUTED, SECOND, chart, svg
from kfp_lifecycle.components.train_gpu.history import EpochRecord


def loss_chart(history: Sequence[EpochRecord], best: int) -> Markup:
    """Loss in training and on the held-out rows."""
    with chart("Epoch", "Loss", unit=False) as (figure, axes):
        epochs = [record.epoch for record in history]
        style = _style(epochs)
        axes.plot(epochs, [record.train_loss for record in history], color=SECOND, label="training", **style)
        losses = [record.validation_loss for record in history]
        if held_out := [loss for loss in losses if loss is not None]:
            axes.plot(epochs, held_out, color=ACCENT, label="held out", **style)
            axes.legend(loc="upper right")
        _epochs(axes, best)
        return svg(figure, "Loss by epoch")


def metric_chart(history: Sequence[EpochRecord], best: int, metric: str, label: str) -> Markup:
    """A metric on the held-out rows; epochs that do not define it are left out."""
    with chart("Epoch", label, unit=False) as (figure, axes):
        there = [record for record in history if metric in record.metrics]
        epochs = [record.epoch for record in there]
        axes.plot(epochs, [record.metrics[metric] for record in there], color=ACCENT, **_style(epochs))
        _epochs(axes, best)
        return svg(figure, f"{label} by epoch")


def rate_chart(history: Sequence[EpochRecord]) -> Markup:
    """The learning rate at the end of each epoch."""
    with chart("Epoch", "Learning rate", unit=False) as (figure, axes):
        epochs = [record.epoch for record in history]
        axes.plot(epochs, [record.learning_rate for record in history], color=ACCENT, **_style(epochs))
        axes.set_ylim(bottom=0)
        _epochs(axes, None)
        return svg(figure, "Learning rate by epoch")


def speed_chart(history: Sequence[EpochRecord]) -> Markup:
    """Rows learned from in a second."""
    with chart("Epoch", "Thousand rows a second", unit=False) as (figure, axes):
        epochs = [record.epoch for record in history]
        thousands = [record.rows_per_second / 1000 for record in history]
        axes.plot(epochs, thousands, color=ACCENT, **_style(epochs))
        axes.set_ylim(bottom=0)
        _epochs(axes, None)
        return svg(figure, "Rows a second by epoch")


def _style(epochs: Sequence[int]) -> dict[str, Any]:
    """Points where there are so few that a line would hide or not show them."""
    return {"marker": "o", "ms": 3.5} if len(epochs) <= 30 else {}


def _epochs(axes: Axes, best: int | None) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if best:
        axes.axvline(best, color=MUTED, linewidth=0.8, linestyle=":")
