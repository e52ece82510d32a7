"""Percentile bootstrap intervals of all metrics at once, for one model or for the difference of two.

A resample of rows is a vector of counts, one a row, so every metric becomes a weighted one and a thousand
resamples become a matrix: sums are matrix products, rankings are sorted once and reused.

The method is the percentile bootstrap of Efron and Tibshirani, *An Introduction to the Bootstrap* (1993),
chapters 13 and 16.4 for the paired difference. Above :data:`MAX_ROWS` rows the resamples are drawn within one
random part of the rows and the spread is scaled to the whole table (m out of n; Bickel, Götze and van Zwet,
*Resampling fewer than n observations*, Statistica Sinica 7, 1997).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kfp_lifecycle.components.evaluate.predictions import Scored
from kfp_lifecycle.components.evaluate.weighted import weighted_metrics

Floats = npt.NDArray[np.float64]

#: Rows that a resample has at most.
MAX_ROWS = 50_000
#: Counts held at once: a million are 8 MB, which stays near the processor.
CELLS = 1_000_000
#: An interval needs the metric to be defined in at least this share of the resamples.
MIN_DEFINED = 0.5


@dataclass(frozen=True)
class Estimate:
    """A metric on the test rows with its interval; NaN where it is not defined."""

    value: float
    low: float
    high: float


#: A metric that the rows do not define, such as a ROC curve of one class.
UNDEFINED = Estimate(np.nan, np.nan, np.nan)


@dataclass(frozen=True)
class Comparison:
    """Metrics of one or more models on the same rows.

    Args:
        models: Per model the estimate of each metric.
        differences: Per model after the first, the estimate of each metric's difference: first minus it.
    """

    models: list[dict[str, Estimate]]
    differences: list[dict[str, Estimate]]


def bootstrap(
    scored: Sequence[Scored],
    samples: int = 1000,
    confidence: float = 0.95,
    seed: int = 42,
) -> Comparison:
    """Intervals for each model's metrics, and paired ones for their differences to the first.

    All models are scored on the same resamples, which is what makes the differences paired.

    Args:
        scored: The models' predictions of the same rows in the same order; the challenger first.
        samples: Number of resamples.
        confidence: Coverage of the intervals, between 0 and 1.
        seed: Seed of the resamples.

    Returns:
        The metrics that the rows define. A difference of two has those that both models have.
    """
    rows = scored[0].rows
    part = None
    if rows > MAX_ROWS:
        part = np.random.default_rng([seed, rows]).choice(rows, MAX_ROWS, replace=False)
    points = [one.metrics() for one in scored]
    spreads = [_spread(one, part, samples, seed) for one in scored]
    tails = ((1 - confidence) / 2, (1 + confidence) / 2)
    models = [
        {name: _estimate(value, spread[name], tails) for name, value in point.items()}
        for point, spread in zip(points, spreads, strict=True)
    ]
    differences = [
        {
            name: _estimate(points[0][name] - value, spreads[0][name] - spread[name], tails)
            for name, value in point.items()
            if name in points[0]
        }
        for point, spread in zip(points[1:], spreads[1:], strict=True)
    ]
    return Comparison(models, differences)


def _spread(scored: Scored, part: npt.NDArray[np.int64] | None, samples: int, seed: int) -> dict[str, Floats]:
    """How far each metric is from its value in every resample; the same seed draws the same rows."""
    rows = scored if part is None else scored.take(part)
    metrics = weighted_metrics(rows)
    chunks = [metrics(counts) for counts in resamples(rows.rows, samples, seed)]
    scale = np.sqrt(rows.rows / scored.rows)
    return {
        name: scale * (np.concatenate([chunk[name] for chunk in chunks]) - value)
        for name, value in metrics(np.ones((1, rows.rows))).items()
    }


def resamples(rows: int, samples: int, seed: int) -> Iterator[Floats]:
    """Draws of ``rows`` rows with replacement, as counts: chunks of shape (resamples, rows)."""
    generator = np.random.default_rng(seed)
    chunk = max(1, min(samples, CELLS // rows))
    for start in range(0, samples, chunk):
        size = min(chunk, samples - start)
        drawn = generator.integers(0, rows, (size, rows), dtype=np.int32)
        drawn += (np.arange(size, dtype=np.int32) * rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=size * rows).reshape(size, rows).astype(np.float64)


def _estimate(value: float, spread: Floats, tails: tuple[float, float]) -> Estimate:
    defined = spread[np.isfinite(spread)]
    if defined.size < MIN_DEFINED * spread.size:
        return Estimate(value, np.nan, np.nan)
    low, high = np.quantile(defined, tails)
    return Estimate(value, value + float(low), value + float(high))
