"""Whether predictions mean what they say: reliability of probabilities, and residuals of numbers."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kfp_lifecycle.components.evaluate.predictions import Floats, Scored

#: Groups of equally many rows that probabilities and predicted values are looked at in.
BINS = 10


@dataclass(frozen=True)
class Bin:
    """Rows whose predictions are next to each other.

    Args:
        low: Smallest prediction in the bin.
        high: Largest.
        rows: How many rows.
        predicted: Mean prediction.
        observed: Mean of what was true: for a probability, the share of rows that it came true for.
    """

    low: float
    high: float
    rows: int
    predicted: float
    observed: float


@dataclass(frozen=True)
class Reliability:
    """How far probabilities are from the shares they predict.

    Args:
        about: What the probabilities are of, as words.
        bins: Bins in order of the probability, of about as many rows each.
        ece: Expected calibration error: the mean over rows of the distance between a bin's predicted and
            observed share, 0 to 1 (Naeini, Cooper and Hauskrecht, *Obtaining Well Calibrated Probabilities
            Using Bayesian Binning*, AAAI 2015; with bins of equally many rows).
        brier: Mean squared distance between probability and outcome (Brier, *Verification of Forecasts
            Expressed in Terms of Probability*, 1950; for many classes summed over them, as Brier did).
    """

    about: str
    bins: list[Bin]
    ece: float
    brier: float


@dataclass(frozen=True)
class Residuals:
    """What is left when a regression's prediction is taken from the truth, in the target's unit.

    Args:
        mean: Mean residual: above 0 the model predicts too little.
        spread: Standard deviation.
        quantiles: Share (0 to 1, as text) to quantile of the residuals.
        bins: Rows in order of the prediction, in ten groups of about as many rows each.
    """

    mean: float
    spread: float
    quantiles: dict[str, float]
    bins: list[Bin]


def reliability(scored: Scored) -> Reliability:
    """Calibration of the positive class (binary) or of the predicted class (multiclass)."""
    rows = np.arange(scored.rows)
    if scored.task == "binary":
        probability, outcome = scored.positive_probability, scored.truth == scored.positive_code
        about, brier = f"probability of {scored.positive}", np.mean((probability - outcome) ** 2)
    else:
        probability = scored.probabilities[rows, scored.predicted.astype(np.int64)]
        outcome = scored.predicted == scored.truth
        truth = np.zeros_like(scored.probabilities)
        truth[rows, scored.truth.astype(np.int64)] = 1
        about = "probability of the predicted class"
        brier = np.mean(((scored.probabilities - truth) ** 2).sum(axis=1))
    bins = _bins(probability, outcome.astype(np.float64))
    apart = sum(one.rows * abs(one.predicted - one.observed) for one in bins)
    return Reliability(about, bins, apart / scored.rows, float(brier))


def residuals(scored: Scored) -> Residuals:
    """Residuals of a regression."""
    left = scored.truth - scored.predicted
    shares = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
    quantiles = np.quantile(left, shares)
    return Residuals(
        mean=float(left.mean()),
        spread=float(left.std()),
        quantiles={f"{share:g}": float(value) for share, value in zip(shares, quantiles, strict=True)},
        bins=_bins(scored.predicted.astype(np.float64), scored.truth.astype(np.float64)),
    )


def _bins(predicted: Floats, observed: Floats) -> list[Bin]:
    """Groups of about as many rows each; equal predictions are never in two groups."""
    edges = np.unique(np.quantile(predicted, np.arange(1, BINS) / BINS))
    group: npt.NDArray[np.intp] = np.searchsorted(edges, predicted, side="left")
    return [_bin(predicted[group == index], observed[group == index]) for index in np.unique(group)]


def _bin(predicted: Floats, observed: Floats) -> Bin:
    return Bin(
        low=float(predicted.min()),
        high=float(predicted.max()),
        rows=len(predicted),
        predicted=float(predicted.mean()),
        observed=float(observed.mean()),
    )
