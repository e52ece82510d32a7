"""Target encoding by empirical Bayes: a category's mean target, drawn towards the mean of all rows.

D. Micci-Barreca, "A preprocessing scheme for high-cardinality categorical attributes in classification and
prediction problems", SIGKDD Explorations 3(1), 2001: the encoding of category i with n rows is

    B·mean_i + (1 - B)·mean    with    B = n·τ² / (σ² + n·τ²)

where σ² is the variance of the target within categories and τ² that of the categories' true means. Both
are estimated by one-way analysis of variance (S. R. Searle, G. Casella, C. E. McCulloch, "Variance
Components", 1992, section 3.6): a column that tells nothing has τ² near zero, and encodes to the mean.
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def encode(counts: Floats, sums: Floats, squares: Floats) -> Floats:
    """The encoding of every category; that of a category with no row is the mean of all rows.

    Args:
        counts: Rows in each category. Shape ``(categories,)``.
        sums: Sum of the target in each, centred near zero for precision. Same shape.
        squares: Sum of its squares. Same shape.

    Returns:
        The encodings, same shape, in units of the target; zeros where there is no row at all.
    """
    rows = counts.sum()
    if rows == 0:
        return np.zeros_like(sums)
    mean = sums.sum() / rows
    own = np.divide(sums, counts, out=np.full_like(sums, mean), where=counts > 0)
    within, between = _variances(counts, sums, squares)
    weight = counts * between
    trust = np.divide(weight, within + weight, out=np.zeros_like(weight), where=weight > 0)
    return np.asarray(mean + trust * (own - mean))


def _variances(counts: Floats, sums: Floats, squares: Floats) -> tuple[float, float]:
    """σ² and τ² by analysis of variance; both 0 where the rows cannot tell them apart."""
    seen = counts > 0
    n, s = counts[seen], sums[seen]
    rows, groups = n.sum(), len(n)
    if groups < 2 or rows <= groups:
        return 0.0, 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        inside = max(float((squares[seen] - s**2 / n).sum()), 0.0)
        among = float((s**2 / n).sum() - s.sum() ** 2 / rows)
    within = inside / (rows - groups)
    size = (rows - (n**2).sum() / rows) / (groups - 1)
    between = (among / (groups - 1) - within) / size
    return (within, max(between, 0.0)) if np.isfinite(between) else (0.0, 0.0)


def held_out(counts: Floats, sums: Floats, squares: Floats) -> Floats:
    """The encodings for the rows of each fold, from the rows of the other folds alone.

    Args:
        counts: Rows by fold and category. Shape ``(folds, categories)``.
        sums: Sum of the centred target, same shape.
        squares: Sum of its squares, same shape.

    Returns:
        The encodings, same shape.
    """
    folds = np.arange(len(counts))
    others = [folds != fold for fold in folds]
    return np.array([encode(counts[o].sum(0), sums[o].sum(0), squares[o].sum(0)) for o in others])
