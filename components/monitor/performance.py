"""How good the predictions were, held against the evaluation at registration."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from kfp_lifecycle.components.evaluate.bootstrap import Estimate, bootstrap
from kfp_lifecycle.components.evaluate.gate import HIGHER_IS_BETTER
from kfp_lifecycle.components.evaluate.predictions import Scored
from kfp_lifecycle.components.monitor.findings import MetricChange, Performance, Problem
from kfp_lifecycle.components.monitor.options import Options
from kfp_lifecycle.components.monitor.scored import Labelled, scored
from kfp_lifecycle.components.monitor.watched import OpenModel
from kfp_lifecycle.components.monitor.windows import Window
from kfp_lifecycle.components.shared.errors import ParameterError
from kfp_lifecycle.components.shared.inference.columns import PREDICTION
from kfp_lifecycle.components.shared.scores import LABELS, MAIN_METRIC, METRICS

#: Metrics whose drop is a share of what they were: they have no upper bound to measure it by.
UNBOUNDED = ("rmse", "mae", "log_loss")
RESAMPLES = 500


@dataclass(frozen=True)
class Baseline:
    """What the model was worth at registration, and who says so."""

    metrics: Mapping[str, Estimate]
    source: str


def main_metric(options: Options, task: str) -> str:
    """The metric that decides. Raises ``ParameterError`` where the task does not have it."""
    if options.metric == "auto":
        return MAIN_METRIC[task]
    if options.metric not in METRICS[task]:
        raise ParameterError(
            f"Parameter 'metric' is {options.metric!r}, which a {task} model does not have.",
            f"Give one of: {', '.join(METRICS[task])}.",
        )
    return options.metric


def performance(
    labelled: Labelled,
    window: Window | None,
    model: OpenModel,
    reference: pl.DataFrame | None,
    options: Options,
) -> tuple[Performance | None, list[Problem]]:
    """The metrics on labelled rows beside those at registration.

    Args:
        labelled: Rows with their labels.
        window: Their window; None where rows have no time.
        model: The model.
        reference: The model's sample with out-of-fold predictions; None where it has none.
        options: Metric, allowed drop, confidence.
    """
    main = main_metric(options, model.schema.task)
    now, problems = scored(labelled, model)
    problems = [*labelled.problems, *problems]
    baseline = at_registration(model, reference, options)
    if now is None:
        return None, [
            *problems,
            Problem("no labels", "No label has arrived for the predictions of the window."),
        ]
    if not baseline.metrics:
        problems.append(Problem("no baseline", f"{baseline.source} The metrics are compared with nothing."))
    if now.rows < options.min_rows:
        said = f"Only {now.rows:,} predictions have labels"
        few = f"{said}; with fewer than {options.min_rows:,} they decide nothing."
        problems.append(Problem("few labels", few))
    metrics = _bootstrap(now, options)
    changes = {
        name: change(name, metrics[name], baseline.metrics.get(name), options, now.rows)
        for name in LABELS
        if name in metrics
    }
    if main not in changes:
        problems.append(
            Problem(
                "no metric", f"The labels that have arrived do not define {main}: are they of one class only?"
            )
        )
    return Performance(now.rows, labelled.predictions, window, baseline.source, main, changes), problems


def at_registration(model: OpenModel, reference: pl.DataFrame | None, options: Options) -> Baseline:
    """The metrics of the evaluation that the registry keeps, else of the out-of-fold predictions."""
    tags = model.tags
    kept = {
        name: Estimate(*(float(tags.get(f"test_{name}{end}", "nan")) for end in ("", "_low", "_high")))
        for name in METRICS[model.schema.task]
        if f"test_{name}" in tags
    }
    if kept:
        return Baseline(kept, f"The evaluation of version {model.watched.version} at registration")
    predicted = [column.name for column in model.predictions]
    target = model.schema.target
    if reference is None or not {target, *predicted} <= set(reference.columns):
        return Baseline({}, "The model holds no out-of-fold predictions.")
    rows = reference.select(target, *predicted).drop_nulls()
    if rows.is_empty():
        return Baseline({}, "The model holds no out-of-fold predictions.")
    judged, _ = scored(Labelled(rows, rows.height), model)
    source = f"Out-of-fold predictions of {rows.height:,} training rows: no evaluation is registered"
    return Baseline(_bootstrap(judged, options) if judged else {}, source)


def change(name: str, now: Estimate, before: Estimate | None, options: Options, rows: int) -> MetricChange:
    """How a metric has changed.

    The interval of the difference comes of the two intervals, of rows that have nothing in common: MOVER
    (Zou and Donner, *Construction of confidence limits about effect measures*, Statistics in Medicine 27,
    2008).
    """
    nothing = Estimate(math.nan, math.nan, math.nan)
    if before is None:
        return MetricChange(name, now, nothing, nothing)
    better, worse = (before, now) if HIGHER_IS_BETTER[name] else (now, before)
    unit = abs(before.value) if name in UNBOUNDED and before.value else 1.0
    drop = (better.value - worse.value) / unit
    low = math.hypot(better.value - better.low, worse.high - worse.value) / unit
    high = math.hypot(better.high - better.value, worse.value - worse.low) / unit
    found = Estimate(drop, drop - low, drop + high)
    decides = rows >= options.min_rows and drop >= options.max_drop and found.low > 0
    return MetricChange(name, now, before, found, decides)


def _bootstrap(rows: Scored, options: Options) -> Mapping[str, Estimate]:
    return bootstrap([rows], RESAMPLES, options.confidence, options.seed).models[0]


def has_out_of_fold(reference: pl.DataFrame) -> bool:
    """Whether a sample's rows have been judged by a fold."""
    return PREDICTION in reference.columns and bool(np.any(reference[PREDICTION].is_not_null().to_numpy()))
