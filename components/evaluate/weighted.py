"""The metrics under many weightings of the same rows at once.

What :mod:`kfp_lifecycle.components.shared.scores` says of one table, these say of a thousand resamples of it;
the definitions are the same, and a test holds them to it.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from kfp_lifecycle.components.evaluate.predictions import Scored

Floats = npt.NDArray[np.float64]
Metrics = Callable[[Floats], dict[str, Floats]]


def weighted_metrics(scored: Scored) -> Metrics:
    """A function of counts (resamples, rows) that gives each metric, shape (resamples,).

    What depends on the rows alone, sorting above all, is done once, here. A metric that is not defined in a
    resample (one class only) is NaN there.
    """
    if scored.task == "regression":
        return _regression(scored)
    return _binary(scored) if scored.task == "binary" else _multiclass(scored)


def _regression(scored: Scored) -> Metrics:
    error = scored.predicted - scored.truth
    truth = scored.truth - scored.truth.mean()
    sums = np.column_stack([error**2, np.abs(error), truth, truth**2])

    def metrics(counts: Floats) -> dict[str, Floats]:
        total = counts.sum(axis=1)
        squared, absolute, first, second = (counts @ sums).T
        variation = second - first**2 / total
        with np.errstate(divide="ignore", invalid="ignore"):
            r2 = np.where(variation > 1e-12 * second, 1 - squared / variation, np.nan)
        return {"rmse": np.sqrt(squared / total), "mae": absolute / total, "r2": r2}

    return metrics


def _binary(scored: Scored) -> Metrics:
    truth = scored.truth == scored.positive_code
    said = scored.predicted == scored.positive_code
    score = scored.positive_probability
    ranking = Ranking(truth, score)
    sums = np.column_stack(
        [_log_loss(scored), scored.truth == scored.predicted, (score - truth) ** 2, truth & said, said, truth]
    ).astype(np.float64)

    def metrics(counts: Floats) -> dict[str, Floats]:
        total = counts.sum(axis=1)
        loss, right, brier, hits, saids, positives = (counts @ sums).T
        return {
            "roc_auc": ranking.roc_auc(counts),
            "average_precision": ranking.average_precision(counts),
            "log_loss": loss / total,
            "accuracy": right / total,
            "f1": _ratio(2 * hits, saids + positives),
            "precision": _ratio(hits, saids),
            "recall": _ratio(hits, positives),
            "brier": brier / total,
        }

    return metrics


def _multiclass(scored: Scored) -> Metrics:
    classes = range(len(scored.classes))
    truth = np.column_stack([scored.truth == k for k in classes])
    said = np.column_stack([scored.predicted == k for k in classes])
    present = np.flatnonzero(truth.any(axis=0) | said.any(axis=0))
    rankings = [Ranking(truth[:, k], scored.probabilities[:, k]) for k in classes]
    loss = np.column_stack([_log_loss(scored), scored.truth == scored.predicted]).astype(np.float64)
    sums = np.hstack([truth[:, present] & said[:, present], truth[:, present], said[:, present]]).astype(
        float
    )

    def metrics(counts: Floats) -> dict[str, Floats]:
        total = counts.sum(axis=1)
        hits, positives, saids = np.split(counts @ sums, 3, axis=1)
        log_loss, right = (counts @ loss).T
        either = positives + saids
        f1 = np.where(either > 0, _ratio(2 * hits, either), np.nan)
        return {
            "roc_auc_ovr": _mean_defined(np.column_stack([ranking.roc_auc(counts) for ranking in rankings])),
            "log_loss": log_loss / total,
            "accuracy": right / total,
            "f1_macro": _mean_defined(f1),
        }

    return metrics


class Ranking:
    """Area under the ROC curve and average precision of one class against the rest, ties counted as ties.

    Args:
        truth: Whether each row is of the class, shape (rows,).
        score: The class's score, shape (rows,).
    """

    def __init__(self, truth: npt.NDArray[np.bool_], score: Floats) -> None:
        order = np.argsort(score, kind="stable")
        self._positive = order[truth[order]]
        self._negative = order[~truth[order]]
        positive, negative = score[self._positive], score[self._negative]
        self._below = np.searchsorted(negative, positive, "left")
        self._not_above = np.searchsorted(negative, positive, "right")
        self._own = np.searchsorted(positive, positive, "left")

    def roc_auc(self, counts: Floats) -> Floats:
        """The share of pairs that the positive row wins, ties by half (Mann-Whitney).

        ``counts`` has shape (resamples, rows), the result (resamples,): NaN where there is no pair.
        """
        positive, negatives = counts[:, self._positive], _from_zero(counts[:, self._negative])
        won = np.einsum("ij,ij->i", positive, negatives[:, self._below] + negatives[:, self._not_above]) / 2
        with np.errstate(invalid="ignore"):
            return np.asarray(won / (positive.sum(axis=1) * negatives[:, -1]))

    def average_precision(self, counts: Floats) -> Floats:
        """The mean over positive rows of the precision among all that score as high or higher."""
        positive, negatives = counts[:, self._positive], _from_zero(counts[:, self._negative])
        positives = _from_zero(positive)
        ahead = positives[:, -1:] - positives[:, self._own]
        behind = negatives[:, -1:] - negatives[:, self._below]
        with np.errstate(invalid="ignore"):
            precision = np.where(positive > 0, ahead / (ahead + behind), 0.0)
            return np.asarray(np.einsum("ij,ij->i", positive, precision) / positives[:, -1])


def _from_zero(counts: Floats) -> Floats:
    """Running totals along the rows, with a leading zero."""
    totals = np.zeros((counts.shape[0], counts.shape[1] + 1))
    np.cumsum(counts, axis=1, out=totals[:, 1:])
    return totals


def _log_loss(scored: Scored) -> Floats:
    """Each row's loss, with probabilities kept from 0 as scikit-learn keeps them."""
    tiny = np.finfo(scored.probabilities.dtype).eps
    own = scored.probabilities[np.arange(scored.rows), scored.truth]
    return np.asarray(-np.log(np.clip(own, tiny, 1 - tiny)))


def _mean_defined(values: Floats) -> Floats:
    """The mean along the last axis over what is defined; NaN where nothing is."""
    defined = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(defined, values, 0.0).sum(axis=1) / defined.sum(axis=1))


def _ratio(part: Floats, whole: Floats) -> Floats:
    """``part / whole``, 0 where there is nothing to divide by."""
    return np.asarray(np.divide(part, whole, out=np.zeros_like(part), where=whole > 0))
