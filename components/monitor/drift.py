"""How far each column has moved, and whether that is more than chance.

Left to itself (``auto``), a column counts as drifted where two things hold at once: the distance between
both sides is large enough to matter, whatever the number of rows; and a test says that it is more than
chance, over all columns together (false discovery rate; Benjamini and Hochberg, *Controlling the false
discovery rate*, J. R. Stat. Soc. B 57, 1995). So ten million rows do not make a speck into drift, nor a
hundred rows a landslide into chance. Where one of Evidently's methods is chosen, its score and threshold
alone decide, as they do there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from scipy.special import chdtrc, ndtr

from kfp_lifecycle.components.monitor import distances
from kfp_lifecycle.components.monitor.distances import Score, Shares
from kfp_lifecycle.components.monitor.findings import ColumnDrift, Histogram
from kfp_lifecycle.components.monitor.methods import AUTO, EVIDENTLY, METHODS, evidently_choice
from kfp_lifecycle.components.monitor.options import Options
from kfp_lifecycle.components.monitor.sketch import Sketch
from kfp_lifecycle.components.monitor.summary import MAX_CATEGORIES, ColumnSummary
from kfp_lifecycle.components.shared.errors import ParameterError

#: From which distance a column has moved enough to matter: Evidently's default for both methods.
MATTERS = 0.1
#: A category expected in fewer rows of either side is put together with others like it.
MIN_EXPECTED = 5.0
#: Bins and categories of a picture.
PICTURE_BINS, PICTURE_CATEGORIES = 24, 20


@dataclass(frozen=True)
class Compared:
    """A column on both sides."""

    name: str
    reference: ColumnSummary
    current: ColumnSummary


def compare(columns: Sequence[Compared], options: Options, threshold: float = 0.0) -> list[ColumnDrift]:
    """The drift of each column, tested together.

    Args:
        columns: The columns.
        options: Methods, thresholds and the false discovery rate.
        threshold: From which distance a column counts as drifted where ``options`` do not say; 0 is the
            method's own.

    Raises:
        ParameterError: A method does not fit its column's type.
    """
    found = [_compare(column, options, threshold) for column in columns]
    adjusted = benjamini_hochberg([one.p_value for one in found])
    return [
        _judged(one, q_value, options.false_discovery_rate)
        for one, q_value in zip(found, adjusted, strict=True)
    ]


def benjamini_hochberg(p_values: Sequence[float | None]) -> list[float | None]:
    """Each p-value as the false discovery rate at which it would count; None stays None."""
    known = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    least = 1.0
    for rank in range(len(known), 0, -1):
        p, index = known[rank - 1]
        adjusted[index] = least = min(least, p * len(known) / rank)
    return adjusted


def _judged(one: ColumnDrift, q_value: float | None, rate: float) -> ColumnDrift:
    if q_value is None or one.score is None:
        return one
    return replace(one, q_value=q_value, drifted=one.score >= one.threshold and q_value <= rate)


def _compare(column: Compared, options: Options, threshold: float) -> ColumnDrift:
    kind: Literal["number", "category"] = "category" if column.reference.numbers is None else "number"
    blank = ColumnDrift(
        column.name,
        kind,
        rows=column.current.values,
        reference_rows=column.reference.values,
        why_not=_why_not(column),
    )
    if blank.why_not:
        return blank
    chosen = _chosen(column.name, kind, options)
    given = options.column_thresholds.get(column.name, options.threshold)
    own = chosen == AUTO
    compared = _own(column, given or threshold or MATTERS) if own else _evidently(column, chosen, given)
    return replace(blank, **compared, histogram=picture(column))


def _why_not(column: Compared) -> str:
    if column.reference.column.type in ("date", "timestamp"):
        return "Time moves on by itself."
    if not column.reference.values:
        return "The reference has no value."
    if not column.current.values:
        return "No current row has a value."
    column.reference.counts(), column.current.counts()
    if column.reference.too_many or column.current.too_many:
        return f"It has more than {MAX_CATEGORIES:,} distinct texts, as names and identifiers have."
    return ""


def _chosen(name: str, kind: str, options: Options) -> str:
    """The method that is asked for; Evidently's choice where one that is for all columns does not fit."""
    chosen = options.column_methods.get(name, options.method)
    if chosen in (AUTO, EVIDENTLY) or _fits(chosen, kind):
        return chosen
    if name not in options.column_methods:
        return EVIDENTLY
    raise ParameterError(
        f"Parameter 'column_methods' gives {name!r} the method {chosen!r}, but its values are "
        f"{'numbers' if kind == 'number' else 'categories'}.",
        f"Give one of: {', '.join(method for method in METHODS if _fits(method, kind))}.",
    )


def _fits(method: str, kind: str) -> bool:
    return METHODS[method].numbers if kind == "number" else METHODS[method].categories


def _own(column: Compared, threshold: float) -> dict[str, Any]:
    """Distance and significance; whether it is drift is said when all columns are known."""
    reference, current = column.reference.numbers, column.current.numbers
    if reference is not None and current is not None:
        score, p_value = _numbers(reference, current)
        method = METHODS["wasserstein"]
    else:
        score, p_value = _categories(column.reference.counts(), column.current.counts())
        method = METHODS["jensenshannon"]
    return {
        "method": f"{method.label}, adjusted",
        "score": score.value,
        "error": score.error,
        "threshold": threshold,
        "p_value": p_value,
    }


def _numbers(reference: Sketch, current: Sketch) -> tuple[Score, float]:
    """Wasserstein distance less what chance alone would give it, and how likely chance gives as much.

    What chance gives is taken for a lognormal distribution of the right mean and spread. Testing the distance
    itself, and not another statistic, keeps a shift that is sure but small (as between predictions of folds
    and of the final model) from lending its certainty to a distance that is large by chance.
    """
    raw = distances.wasserstein(reference, current)
    mean, deviation = distances.wasserstein_by_chance(reference, current)
    adjusted = Score(float(np.sqrt(max(0.0, raw.value**2 - mean**2))), raw.error)
    if not deviation:
        return adjusted, 1.0 if raw.value == 0 else 0.0
    if raw.value == 0:
        return adjusted, 1.0
    variance = np.log1p((deviation / mean) ** 2)
    return adjusted, float(ndtr((np.log(mean / raw.value) - variance / 2) / np.sqrt(variance)))


def _categories(reference: Mapping[str, int], current: Mapping[str, int]) -> tuple[Score, float]:
    """Jensen-Shannon distance less what chance alone would give it, and a chi-square test.

    Two samples of one distribution are apart the more, the more categories and the fewer rows there are:
    with ``k`` categories and ``n`` and ``m`` rows the divergence is ``(k - 1) (1/n + 1/m) / 8`` on average,
    because near zero it is an eighth of Pearson's distance. Rare categories, of which neither this nor the
    test's distribution holds, are taken together.
    """
    _, shares = distances.shares_of_categories(reference, current)
    n, m = sum(reference.values()), sum(current.values())
    pooled = _pooled(shares, n, m)
    bins = len(pooled.reference)
    if bins < 2:
        return Score(0.0), 1.0
    chance = (bins - 1) * (1 / n + 1 / m) / 8
    raw = distances.jensen_shannon(pooled).value
    together = (pooled.reference * n + pooled.current * m) / (n + m)
    apart = np.square(pooled.reference - pooled.current) / together
    statistic = float(apart.sum()) / (1 / n + 1 / m)
    return Score(float(np.sqrt(max(0.0, raw**2 - chance)))), float(chdtrc(bins - 1, statistic))


def _pooled(shares: Shares, n: int, m: int) -> Shares:
    together = (shares.reference * n + shares.current * m) / (n + m)
    common = together * min(n, m) >= MIN_EXPECTED
    if common.all():
        return shares
    sides = [np.append(side[common], side[~common].sum()) for side in (shares.reference, shares.current)]
    return Shares(sides[0], sides[1])


def _evidently(column: Compared, chosen: str, given: float) -> dict[str, Any]:
    """Score and verdict as Evidently has them."""
    kind = "category" if column.reference.numbers is None else "number"
    if chosen == EVIDENTLY:
        chosen = evidently_choice(kind, column.reference.values, _distinct(column))
    method = METHODS[chosen]
    threshold = given or method.threshold
    score = _score(column, chosen)
    return {
        "method": method.label,
        "score": score.value,
        "error": score.error,
        "threshold": threshold,
        "drifted": method.drifted(score.value, threshold),
    }


def _score(column: Compared, method: str) -> Score:
    reference, current = column.reference.numbers, column.current.numbers
    if reference is not None and current is not None and method in ("wasserstein", "ks"):
        return (distances.wasserstein if method == "wasserstein" else distances.ks_p_value)(
            reference, current
        )
    if method in ("chisquare", "z"):
        test = distances.chi_square_p_value if method == "chisquare" else distances.z_p_value
        return test(_counts(column.reference), _counts(column.current))
    of_shares = {
        "jensenshannon": distances.jensen_shannon,
        "psi": distances.psi,
        "kl_div": distances.kl_divergence,
    }[method]
    if reference is None or current is None:
        return of_shares(
            distances.shares_of_categories(column.reference.counts(), column.current.counts())[1]
        )
    whole = all(
        side.column.type == "integer" and side.values == side.rows
        for side in (column.reference, column.current)
    )
    return of_shares(distances.shares_of_numbers(reference, current, whole=whole))


def _counts(side: ColumnSummary) -> Mapping[Any, int]:
    """Rows by value, of numbers too: Evidently takes numbers of few values for categories."""
    if side.numbers is None:
        return side.counts()
    return {float(value): int(count) for value, count in zip(*side.numbers.points(), strict=True)}


def _distinct(column: Compared) -> int:
    reference, current = column.reference.numbers, column.current.numbers
    if reference is not None and current is not None:
        return len(np.union1d(reference.points()[0], current.points()[0]))
    return len({*column.reference.counts(), *column.current.counts()})


def picture(column: Compared) -> Histogram:
    """Both sides of a column in bins of their common range, or its most frequent categories."""
    reference, current = column.reference.numbers, column.current.numbers
    if reference is not None and current is not None:
        return _picture_of_numbers(reference, current)
    names, shares = distances.shares_of_categories(column.reference.counts(), column.current.counts())
    order = np.argsort(-(shares.reference + shares.current), kind="stable")
    shown, rest = order[:PICTURE_CATEGORIES], order[PICTURE_CATEGORIES:]
    labels = [names[index] for index in shown]
    sides = [side[shown].tolist() for side in (shares.reference, shares.current)]
    if len(rest):
        labels.append(f"{len(rest):,} others")
        for side, all_shares in zip(sides, (shares.reference, shares.current), strict=True):
            side.append(float(all_shares[rest].sum()))
    return Histogram(labels, sides[0], sides[1])


def _picture_of_numbers(reference: Sketch, current: Sketch) -> Histogram:
    ends = [side.quantile(share) for side in (reference, current) for share in (0.005, 0.995)]
    low, high = min(ends), max(ends)
    if low == high:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, PICTURE_BINS + 1)
    sides = []
    for side in (reference, current):
        values, counts = side.points()
        # What lies beyond the ends is shown in the last bins.
        sides.append(
            (np.histogram(np.clip(values, low, high), edges, weights=counts)[0] / side.count).tolist()
        )
    labels = [(float(left), float(right)) for left, right in pairwise(edges)]
    return Histogram(labels, sides[0], sides[1])
