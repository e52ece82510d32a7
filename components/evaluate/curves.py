"""ROC, precision-recall, confusion matrix and the tables by class and by decision threshold."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kfp_lifecycle.components.evaluate.predictions import Floats, Scored

#: Points of a curve that are drawn: KFP keeps each in the artifact's metadata.
POINTS = 200
#: Classes of a confusion matrix that is drawn; the rarest others are one together.
MAX_CLASSES = 20
OTHERS = "(others)"


@dataclass(frozen=True)
class Roc:
    """Points of a ROC curve in order of falling threshold, shape (points,) each; all finite."""

    false_positive_rate: Floats
    true_positive_rate: Floats
    threshold: Floats


@dataclass(frozen=True)
class PrecisionRecall:
    """Points of a precision-recall curve in order of rising recall, shape (points,) each."""

    recall: Floats
    precision: Floats


@dataclass(frozen=True)
class Confusion:
    """How many rows of each class (row) were said to be of each class (column)."""

    labels: list[str]
    counts: npt.NDArray[np.int64]


@dataclass(frozen=True)
class ClassRow:
    """How well one class is told from the others; NaN where the rows do not define it."""

    label: str
    rows: int
    precision: float
    recall: float
    f1: float
    roc_auc: float


@dataclass(frozen=True)
class ThresholdRow:
    """What follows when rows at or above a probability are said to be positive."""

    threshold: float
    positive_share: float
    precision: float
    recall: float
    f1: float


def roc(truth: npt.NDArray[np.bool_], score: Floats) -> Roc:
    """The ROC curve of a score, thinned to :data:`POINTS`.

    The first point's threshold, above every score, is 1 where scikit-learn says infinity: JSON has none.
    """
    from sklearn.metrics import roc_curve

    false_positive, true_positive, threshold = roc_curve(truth, score)
    kept = _thin(false_positive + true_positive)
    return Roc(false_positive[kept], true_positive[kept], np.minimum(threshold[kept], 1.0))


def precision_recall(truth: npt.NDArray[np.bool_], score: Floats) -> PrecisionRecall:
    """The precision-recall curve of a score, thinned to :data:`POINTS`."""
    from sklearn.metrics import precision_recall_curve

    precision, recall, _ = precision_recall_curve(truth, score)
    kept = _thin(recall[::-1])
    return PrecisionRecall(recall[::-1][kept], precision[::-1][kept])


def _thin(along: Floats) -> npt.NDArray[np.intp]:
    """Positions of at most :data:`POINTS` points spread evenly over ``along``, which rises; ends are kept."""
    if len(along) <= POINTS:
        return np.arange(len(along))
    wanted = np.linspace(along[0], along[-1], POINTS - 1)[1:]
    return np.unique(
        [0, *np.searchsorted(along, wanted, side="left").clip(max=len(along) - 1), len(along) - 1]
    )


def confusion(scored: Scored) -> Confusion:
    """The confusion matrix; with over :data:`MAX_CLASSES` classes the rarest are taken together."""
    size = len(scored.classes)
    cells = scored.truth.astype(np.int64) * size + scored.predicted.astype(np.int64)
    counts = np.bincount(cells, minlength=size * size).reshape(size, size)
    if size <= MAX_CLASSES:
        return Confusion(list(scored.classes), counts)
    kept = np.sort(np.argsort(-counts.sum(axis=1), kind="stable")[: MAX_CLASSES - 1])
    group = np.full(size, len(kept))
    group[kept] = np.arange(len(kept))
    grouped = np.zeros((MAX_CLASSES, MAX_CLASSES), dtype=np.int64)
    np.add.at(grouped, (group[:, None], group[None, :]), counts)
    return Confusion([*(scored.classes[index] for index in kept), OTHERS], grouped)


def by_class(scored: Scored) -> list[ClassRow]:
    """Precision, recall, F1 and area under the ROC curve of each class against the rest."""
    from sklearn.metrics import roc_auc_score

    found = []
    for code, label in enumerate(scored.classes):
        truth, said = scored.truth == code, scored.predicted == code
        hits = int((truth & said).sum())
        area = roc_auc_score(truth, scored.probabilities[:, code]) if 0 < truth.sum() < len(truth) else np.nan
        found.append(
            ClassRow(
                label,
                int(truth.sum()),
                _ratio(hits, said.sum()),
                _ratio(hits, truth.sum()),
                _ratio(2 * hits, truth.sum() + said.sum()),
                float(area),
            )
        )
    return found


def by_threshold(scored: Scored) -> list[ThresholdRow]:
    """Precision and recall at decision thresholds from 0.05 to 0.95."""
    truth, score = scored.truth == scored.positive_code, scored.positive_probability
    found = []
    for threshold in np.arange(1, 20) / 20:
        said = score >= threshold
        hits = int((truth & said).sum())
        found.append(
            ThresholdRow(
                float(threshold),
                float(said.mean()),
                _ratio(hits, said.sum()),
                _ratio(hits, truth.sum()),
                _ratio(2 * hits, truth.sum() + said.sum()),
            )
        )
    return found


def _ratio(part: int, whole: int) -> float:
    return float(part / whole) if whole else float("nan")
