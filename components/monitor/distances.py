"""Evidently's scores of two summaries, with a bound of what the summaries cost in exactness.

Each is the formula of ``evidently.legacy.calculations.stattests`` (0.7.23), on values with counts in place of
rows. Evidently leaves missing values out, and so do these.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kfp_lifecycle.components.monitor.sketch import Sketch

Floats = npt.NDArray[np.float64]

#: Evidently's smallest divisor of a Wasserstein distance.
MIN_STD = 0.001
#: Up to so many rows a side SciPy computes the exact Kolmogorov-Smirnov distribution.
EXACT_KS = 10_000
#: Parts of the grid that the spread of a distance by chance is worked out on.
CELLS = 200
#: A reference with more distinct numbers is cut into bins.
MAX_VALUES = 20


@dataclass(frozen=True)
class Score:
    """A score, and by how much it may be off."""

    value: float
    error: float = 0.0


@dataclass(frozen=True)
class Shares:
    """Shares of rows in the same bins on both sides, shape ``(bins,)``; ``error`` bounds each of them."""

    reference: Floats
    current: Floats
    error: tuple[Floats | float, Floats | float] = (0.0, 0.0)


def wasserstein(reference: Sketch, current: Sketch) -> Score:
    """First Wasserstein distance, in standard deviations of the reference."""
    edges, below, below_current = _both(reference, current)
    apart = np.abs(below / reference.count - below_current / current.count)[:-1]
    norm = max(reference.std, MIN_STD)
    error = (reference.moved / reference.count + current.moved / current.count) / norm
    return Score(float((apart * np.diff(edges)).sum()) / norm, error)


def wasserstein_by_chance(reference: Sketch, current: Sketch) -> tuple[float, float]:
    """Mean and standard deviation of :func:`wasserstein` where both sides are samples of one distribution.

    The difference of two empirical distributions is, at each point, about normal with the variance
    ``H (1 - H) (1/n + 1/m)``, and between points it goes as a Brownian bridge does; the distance is the
    integral of its absolute value. So the mean is the integral of ``sqrt(2 / pi)`` standard deviations, and
    the variance that of the covariance of two absolute values of correlated normals (Kamat, Biometrika 40,
    1953), here on a grid of :data:`CELLS` parts that weigh alike.
    """
    edges, below, below_current = _both(reference, current)
    share = ((below + below_current) / (reference.count + current.count))[:-1]
    spread = np.sqrt(np.maximum(share * (1 - share), 0.0)) * np.diff(edges)
    if not spread.sum():
        return 0.0, 0.0
    reached = np.cumsum(spread)
    cell = np.minimum((reached - spread / 2) / reached[-1] * CELLS, CELLS - 1).astype(np.int64)
    weight = np.bincount(cell, spread, CELLS)
    at = np.bincount(cell, spread * share, CELLS)[weight > 0] / weight[weight > 0]
    weight = weight[weight > 0]
    low, high = np.minimum.outer(at, at), np.maximum.outer(at, at)
    alike = np.clip(np.sqrt(low * (1 - high) / (high * (1 - low))), 0.0, 1.0)
    together = 2 / np.pi * (np.sqrt(1 - alike**2) + alike * np.arcsin(alike) - 1)
    unit = np.sqrt(1 / reference.count + 1 / current.count) / max(reference.std, MIN_STD)
    deviation = float(np.sqrt(weight @ together @ weight))
    return float(np.sqrt(2 / np.pi) * weight.sum() * unit), deviation * float(unit)


def largest_gap(reference: Sketch, current: Sketch) -> Score:
    """The Kolmogorov-Smirnov statistic: the largest difference of the cumulative distributions."""
    _, below, below_current = _both(reference, current)
    gap = np.abs(below / reference.count - below_current / current.count).max()
    return Score(float(gap), reference.misplaced / reference.count + current.misplaced / current.count)


def ks_p_value(reference: Sketch, current: Sketch) -> Score:
    """p-value of the two-sample Kolmogorov-Smirnov test, two-sided, as SciPy's ``ks_2samp`` gives it."""
    from scipy import stats

    if max(reference.count, current.count) <= EXACT_KS and reference.exact and current.exact:
        rows = [
            np.repeat(values, counts.astype(int))
            for values, counts in map(Sketch.points, (reference, current))
        ]
        return Score(float(stats.ks_2samp(*rows)[1]))
    gap = largest_gap(reference, current)
    size = np.round(reference.count * current.count / (reference.count + current.count))
    at = [float(stats.kstwo.sf(max(0.0, gap.value + off), size)) for off in (-gap.error, 0.0, gap.error)]
    return Score(at[1], max(at[0] - at[1], at[1] - at[2]))


def _both(reference: Sketch, current: Sketch) -> tuple[Floats, Floats, Floats]:
    """All values of both sides in order, and how many rows of each side are at or below each."""
    (ours, weights), (theirs, others) = reference.points(), current.points()
    edges = np.union1d(ours, theirs)

    def reached(values: Floats, counts: Floats) -> Floats:
        sums = np.concatenate([[0.0], np.cumsum(counts)])
        return sums[np.searchsorted(values, edges, side="right")]

    return edges, reached(ours, weights), reached(theirs, others)


def shares_of_categories(
    reference: Mapping[str, int], current: Mapping[str, int]
) -> tuple[list[str], Shares]:
    """The categories of either side, and how common each is on both."""
    names = list(dict.fromkeys([*reference, *current]))
    counts = [
        np.array([side.get(name, 0) for name in names], dtype=np.float64) for side in (reference, current)
    ]
    return names, Shares(counts[0] / counts[0].sum(), counts[1] / counts[1].sum())


def shares_of_numbers(reference: Sketch, current: Sketch, *, whole: bool) -> Shares:
    """How common numbers are on both sides: each value where there are few, else bins of Sturges' width.

    Args:
        reference: The reference's numbers.
        current: The current ones.
        whole: Whether NumPy would see integers: it then makes no bin narrower than 1.
    """
    (values, weights), (theirs, others) = reference.points(), current.points()
    # A group of the sketch may lie across an edge, and a bin has two of them.
    error = (2 * reference.misplaced / reference.count, 2 * current.misplaced / current.count)
    if len(values) <= MAX_VALUES:
        edges = np.union1d(values, theirs)
        ours, now = np.zeros(len(edges)), np.zeros(len(edges))
        ours[np.searchsorted(edges, values)] = weights
        now[np.searchsorted(edges, theirs)] = others
        return Shares(ours / reference.count, now / current.count, error)
    edges = sturges_edges(reference, current, whole=whole)
    ours = np.histogram(values, edges, weights=weights)[0]
    now = np.histogram(theirs, edges, weights=others)[0]
    return Shares(ours / reference.count, now / current.count, error)


def sturges_edges(reference: Sketch, current: Sketch, *, whole: bool) -> Floats:
    """Edges of equal bins over the range of both sides, as ``numpy.histogram_bin_edges`` has them."""
    low, high = min(reference.low, current.low), max(reference.high, current.high)
    if low == high:
        return np.linspace(low - 0.5, high + 0.5, 2)
    width = (high - low) / (np.log2(reference.count + current.count) + 1.0)
    width = max(width, 1.0) if whole else width
    return np.linspace(low, high, int(np.ceil((high - low) / width)) + 1)


def jensen_shannon(shares: Shares) -> Score:
    """Jensen-Shannon distance: the root of the divergence, in nats; 0 to 0.83."""

    def term(p: Floats, q: Floats) -> Floats:
        middle = (p + q) / 2
        return (_relative(p, middle) + _relative(q, middle)) / 2

    divergence = _summed(term, shares.reference, shares.current, shares.error)
    root = float(np.sqrt(max(0.0, divergence.value)))
    return Score(root, float(np.sqrt(max(0.0, divergence.value) + divergence.error)) - root)


def psi(shares: Shares) -> Score:
    """Population stability index."""
    p, q = _no_zeros(shares)
    return _summed(lambda p, q: (p - q) * np.log(p / q), p, q, shares.error)


def kl_divergence(shares: Shares) -> Score:
    """Kullback-Leibler divergence of the reference from the current rows, in nats."""
    p, q = _no_zeros(shares)
    # SciPy's entropy makes the shares sum to 1 again.
    return _summed(_relative, p / p.sum(), q / q.sum(), shares.error)


def _no_zeros(shares: Shares) -> tuple[Floats, Floats]:
    """Evidently's stand-in for an empty bin."""
    filled = []
    for side in (shares.reference, shares.current):
        least = side[side > 0].min()
        filled.append(np.where(side == 0, least / 10**6 if least <= 0.0001 else 0.0001, side))
    return filled[0], filled[1]


def _relative(p: Floats, q: Floats) -> Floats:
    return np.where(p > 0, p * np.log(np.where(p > 0, p, 1.0) / np.where(q > 0, q, 1.0)), 0.0)


def _summed(
    term: Callable[[Floats, Floats], Floats],
    p: Floats,
    q: Floats,
    error: tuple[Floats | float, Floats | float],
) -> Score:
    """The sum of ``term`` over the bins, and how far it goes where each share is off by its error."""
    at = term(p, q)
    if not np.any(error[0]) and not np.any(error[1]):
        return Score(float(at.sum()))
    corners = [
        np.abs(term(np.clip(p + one * error[0], 1e-12, 1), np.clip(q + two * error[1], 1e-12, 1)) - at)
        for one in (-1, 1)
        for two in (-1, 1)
    ]
    return Score(float(at.sum()), float(np.max(corners, axis=0).sum()))


def chi_square_p_value(reference: Mapping[str, int], current: Mapping[str, int]) -> Score:
    """p-value of Evidently's chi-square test: the reference's shares are taken for the truth."""
    from scipy import stats

    _, shares = shares_of_categories(reference, current)
    rows = sum(current.values())
    with np.errstate(divide="ignore", invalid="ignore"):
        found = stats.chisquare(shares.current * rows, shares.reference * rows)[1]
    return Score(float(found))


def z_p_value(reference: Mapping[str, int], current: Mapping[str, int]) -> Score:
    """p-value of the two-proportion z-test of the first category in sorted order."""
    from scipy import stats

    names = sorted({*reference, *current})
    if len(names) == 1:
        return Score(1.0)
    n, m = sum(reference.values()), sum(current.values())
    p, q = 1 - reference.get(names[0], 0) / n, 1 - current.get(names[0], 0) / m
    pooled = (p * n + q * m) / (n + m)
    z = (p - q) / np.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    return Score(float(2 * (1 - stats.norm.cdf(abs(z)))))
