"""The charts of a search: its history, all parameters at once, and each parameter by itself."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from kfp_lifecycle.components.katib_tune.backend import State, Trial
from kfp_lifecycle.components.katib_tune.objective import Objective
from kfp_lifecycle.components.katib_tune.space import Parameter, SearchSpace
from kfp_lifecycle.components.shared.report.charts import ACCENT, INK, LINE, MUTED, SECOND, chart, svg

#: Lines of parallel coordinates that are drawn as good ones: the best share of the trials.
GOOD_SHARE = 0.2
#: Categories that fit beside each other under a chart.
MAX_LABELS = 6

Point = tuple[Trial, Mapping[str, Any]]


def history_chart(trials: Sequence[Trial], objective: Objective) -> Markup:
    """Each trial's value in the order of the trials, and the best so far."""
    with chart("Trial", objective.metric, unit=False) as (figure, axes):
        figure.set_size_inches(9.6, 3.3)
        _dots(axes, trials, "complete", {"color": ACCENT, "label": "complete"})
        _dots(axes, trials, "pruned", {"facecolors": "none", "edgecolors": MUTED, "label": "stopped early"})
        _best_so_far(axes, trials, objective)
        default = next((t for t in trials if t.number == 0 and t.value is not None), None)
        if default is not None:
            axes.axhline(default.value or 0.0, color=SECOND, linewidth=1, linestyle="--", zorder=1)
            axes.scatter(
                [0], [default.value or 0.0], s=46, marker="D", color=SECOND, label="default", zorder=4
            )
        _within_view(axes, [trial.value for trial in trials if trial.value is not None])
        failed = [trial.number for trial in trials if trial.state == "failed"]
        if failed:
            bottom = axes.get_ylim()[0]
            axes.scatter(
                failed, [bottom] * len(failed), marker="x", color=MUTED, label="failed", clip_on=False
            )
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=5)
        return svg(figure, "History of the search")


def _dots(axes: Axes, trials: Sequence[Trial], state: State, look: dict[str, Any]) -> None:
    some = [trial for trial in trials if trial.number and trial.state == state and trial.value is not None]
    if some:
        axes.scatter([t.number for t in some], [t.value or 0.0 for t in some], s=24, zorder=3, **look)


def _best_so_far(axes: Axes, trials: Sequence[Trial], objective: Objective) -> None:
    best: float | None = None
    points: list[tuple[int, float]] = []
    for trial in trials:
        if trial.state == "complete" and trial.value is not None and objective.better(trial.value, best):
            best = trial.value
        if best is not None:
            points.append((trial.number, best))
    if points:
        numbers, values = zip(*points, strict=True)
        axes.step(numbers, values, where="post", color=ACCENT, linewidth=1.4, label="best so far", zorder=2)


def _within_view(axes: Axes, values: Sequence[float]) -> None:
    """Leaves values that are far worse than most out of view: they would flatten all the others."""
    if len(values) < 5:
        return
    low, middle, high = np.quantile(values, [0.1, 0.5, 0.9])
    reach = 3 * max(high - low, 1e-12)
    least, most = max(min(values), middle - reach), min(max(values), middle + reach)
    margin = 0.08 * max(most - least, 1e-12)
    axes.set_ylim(least - margin, most + margin)


def parallel_chart(points: Sequence[Point], space: SearchSpace, objective: Objective, best: Trial) -> Markup:
    """A line a trial through its values of all parameters to its objective; the good ones are coloured."""
    shown = list(space)
    with chart("", "", unit=False) as (figure, axes):
        figure.set_size_inches(9.6, 3.9)
        axes.grid(False)
        scales = [_Scale.of(parameter, [given for _, given in points]) for parameter in shown]
        values = [trial.value or 0.0 for trial, _ in points]
        scales.append(_Scale.of_values(values))
        good = _good(values, objective)
        order = sorted(range(len(points)), key=lambda i: (points[i][0].number == best.number, good[i]))
        for index in order:
            trial, given = points[index]
            heights = [s.height(given.get(p.name)) for p, s in zip(shown, scales, strict=False)]
            heights.append(scales[-1].height(trial.value))
            look: dict[str, Any] = {"color": MUTED, "alpha": 0.25, "linewidth": 0.9}
            if good[index]:
                look = {"color": ACCENT, "alpha": 0.65, "linewidth": 1.2}
            if trial.number == best.number:
                look = {"color": SECOND, "alpha": 1.0, "linewidth": 2.4}
            axes.plot(range(len(heights)), heights, **look)
        _coordinate_axes(axes, [*(parameter.name for parameter in shown), objective.metric], scales)
        return svg(figure, "Parallel coordinates")


def _good(values: Sequence[float], objective: Objective) -> list[bool]:
    ranked = sorted(range(len(values)), key=lambda i: values[i], reverse=objective.maximize)
    chosen = set(ranked[: max(1, round(GOOD_SHARE * len(values)))])
    return [index in chosen for index in range(len(values))]


def _coordinate_axes(axes: Axes, names: Sequence[str], scales: Sequence["_Scale"]) -> None:
    for place, scale in enumerate(scales):
        axes.axvline(place, color=LINE, linewidth=1, zorder=0)
        for height, text in scale.ticks:
            axes.annotate(
                text,
                (place, height),
                xytext=(5, 0),
                textcoords="offset points",
                fontsize=8,
                color=MUTED,
                va="center",
            )
    axes.set_xticks(range(len(names)), [_short(name, 18) for name in names], color=INK)
    axes.set_yticks([])
    axes.set_xlim(-0.15, len(names) - 0.6)
    axes.set_ylim(-0.06, 1.06)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    axes.tick_params(length=0)


class _Scale:
    """Where a parameter's values lie between 0 and 1, and which of them are written beside the axis."""

    def __init__(
        self, places: Mapping[str, float] | None, low: float, high: float, log: bool = False
    ) -> None:
        self._places, self._log = places, log
        self._low, self._high = (math.log(low), math.log(high)) if log else (low, high)
        if places is not None:
            self.ticks = [(height, _short(text, 12)) for text, height in places.items()]
        else:
            ends = [low, math.sqrt(low * high) if log else (low + high) / 2, high]
            self.ticks = [(self.height(end), f"{end:.3g}") for end in ends]

    @staticmethod
    def of(parameter: Parameter, given: Sequence[Mapping[str, Any]]) -> "_Scale":
        if parameter.type == "categorical":
            texts = [plain(value) for value in parameter.values]
            return _Scale({text: n / max(1, len(texts) - 1) for n, text in enumerate(texts)}, 0, 1)
        assert parameter.min is not None
        assert parameter.max is not None
        numbers = [given_to[parameter.name] for given_to in given if is_number(given_to.get(parameter.name))]
        low, high = min([parameter.min, *numbers]), max([parameter.max, *numbers])
        return _Scale(None, low, high, parameter.log and low > 0)

    @staticmethod
    def of_values(values: Sequence[float]) -> "_Scale":
        low, high = min(values), max(values)
        return _Scale(None, low, high if high > low else low + 1e-9)

    def height(self, value: Any) -> float:
        """0 to 1; NaN, which breaks the line, where a trial does not have the parameter."""
        if self._places is not None:
            return self._places.get(plain(value), math.nan)
        if not is_number(value):
            return math.nan
        at = math.log(value) if self._log else value
        return (at - self._low) / (self._high - self._low)


def slice_chart(points: Sequence[Point], parameter: Parameter, objective: Objective, best: Trial) -> Markup:
    """The objective by one parameter's value, whatever the others were."""
    with _small(parameter, objective) as (figure, axes):
        xs, ys, marks = [], [], []
        for trial, given in points:
            if parameter.name in given and (place := _place(parameter, given[parameter.name])) is not None:
                xs.append(place)
                ys.append(trial.value or 0.0)
                marks.append(trial)
        axes.scatter(xs, ys, s=20, color=ACCENT, alpha=0.55, linewidths=0)
        for trial, x, y in zip(marks, xs, ys, strict=True):
            if trial.number == 0:
                axes.scatter([x], [y], s=44, marker="D", color=SECOND, zorder=4)
            if trial.number == best.number:
                axes.scatter([x], [y], s=90, facecolors="none", edgecolors=INK, linewidths=1.4, zorder=5)
        _within_view(axes, ys)
        return svg(figure, f"{objective.metric} by {parameter.name}")


def pair_chart(
    points: Sequence[Point], pair: tuple[Parameter, Parameter], objective: Objective, best: Trial
) -> Markup:
    """Two parameters at once: the better a trial, the stronger its point."""
    one, other = pair
    with _small(one, objective) as (figure, axes):
        axes.set_ylabel(other.name)
        _scale_axis(axes, other, "y")
        placed = [
            (trial, x, y)
            for trial, given in points
            if (x := _place(one, given.get(one.name))) is not None
            and (y := _place(other, given.get(other.name))) is not None
        ]
        values = np.array([trial.value for trial, _, _ in placed], dtype=float)
        ranks = np.argsort(np.argsort(values if objective.maximize else -values)) / max(1, len(values) - 1)
        for (trial, x, y), rank in zip(placed, ranks, strict=True):
            axes.scatter(
                [x], [y], s=14 + 60 * rank**2, color=ACCENT, alpha=0.12 + 0.78 * rank**2, linewidths=0
            )
            if trial.number == best.number:
                axes.scatter([x], [y], s=130, facecolors="none", edgecolors=INK, linewidths=1.4)
        return svg(figure, f"{one.name} and {other.name}")


@contextmanager
def _small(parameter: Parameter, objective: Objective) -> Iterator[tuple[Figure, Axes]]:
    with chart(parameter.name, objective.metric, unit=False) as (figure, axes):
        figure.set_size_inches(4.4, 3.0)
        _scale_axis(axes, parameter, "x")
        yield figure, axes


def _scale_axis(axes: Axes, parameter: Parameter, which: str) -> None:
    if parameter.type == "categorical":
        labels = [_short(plain(value), 60 // max(3, len(parameter.values))) for value in parameter.values]
        every = math.ceil(len(labels) / MAX_LABELS)
        ticks = list(range(0, len(labels), every))
        (axes.set_xticks if which == "x" else axes.set_yticks)(ticks, [labels[tick] for tick in ticks])
        (axes.set_xlim if which == "x" else axes.set_ylim)(-0.5, len(labels) - 0.5)
    elif parameter.log:
        (axes.set_xscale if which == "x" else axes.set_yscale)("log")
        axis = axes.xaxis if which == "x" else axes.yaxis
        axis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())


def _place(parameter: Parameter, value: Any) -> float | None:
    """Where a value lies along an axis; None where it lies nowhere on it."""
    if parameter.type == "categorical":
        texts = [plain(own) for own in parameter.values]
        return float(texts.index(plain(value))) if plain(value) in texts else None
    return float(value) if is_number(value) else None


def is_number(value: Any) -> bool:
    """Whether ``value`` is a number that can be drawn."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def plain(value: Any) -> str:
    """A value as a person reads it."""
    return value if isinstance(value, str) else json.dumps(value)


def _short(text: str, most: int) -> str:
    text = text if len(text) <= most else f"{text[: most - 1]}…"
    return f" {text}" if text.startswith("_") else text
