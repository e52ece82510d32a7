"""Curves, tables and calibration agree with scikit-learn and with what they say."""

import numpy as np
import pytest
from sklearn.metrics import auc, confusion_matrix, precision_recall_fscore_support, roc_auc_score

from kfp_lifecycle.components.evaluate.calibration import reliability, residuals
from kfp_lifecycle.components.evaluate.curves import (
    MAX_CLASSES,
    OTHERS,
    POINTS,
    by_class,
    by_threshold,
    confusion,
    precision_recall,
    roc,
)
from kfp_lifecycle.components.evaluate.predictions import Scored
from tests.components.evaluate.tables import binary, multiclass, regression


@pytest.mark.parametrize("rows", [20, 600, 20_000])
def test_a_thinned_roc_curve_keeps_its_ends_and_its_area(rows: int) -> None:
    scored = binary(rows=rows, decimals=9)
    truth = scored.truth == 1
    points = roc(truth, scored.positive_probability)
    assert len(points.threshold) <= POINTS
    assert (points.false_positive_rate[0], points.true_positive_rate[0]) == (0, 0)
    assert (points.false_positive_rate[-1], points.true_positive_rate[-1]) == (1, 1)
    assert np.isfinite(points.threshold).all()
    assert (np.diff(points.threshold) <= 0).all()
    area = auc(points.false_positive_rate, points.true_positive_rate)
    assert area == pytest.approx(roc_auc_score(truth, scored.positive_probability), abs=0.002)


def test_a_thinned_precision_recall_curve_keeps_its_ends() -> None:
    scored = binary(rows=20_000, decimals=9)
    points = precision_recall(scored.truth == 1, scored.positive_probability)
    assert len(points.recall) <= POINTS
    assert (points.recall[0], points.recall[-1]) == (0, 1)
    assert (np.diff(points.recall) >= 0).all()


def test_the_confusion_matrix_has_truth_in_rows() -> None:
    scored = multiclass()
    found = confusion(scored)
    assert found.labels == list(scored.classes)
    assert (found.counts == confusion_matrix(scored.truth, scored.predicted)).all()


def test_rare_classes_are_taken_together_in_the_confusion_matrix() -> None:
    generator = np.random.default_rng(0)
    truth = np.minimum(generator.geometric(0.1, 3000), 40) - 1
    predicted = np.where(generator.random(3000) < 0.7, truth, generator.integers(0, 40, 3000))
    labels = tuple(f"class {code:02}" for code in range(40))
    found = confusion(Scored("multiclass", truth, predicted, np.empty((3000, 40)), labels))
    assert len(found.labels) == MAX_CLASSES
    assert found.labels[-1] == OTHERS
    assert found.counts.sum() == 3000
    assert found.counts[0, 0] == ((truth == 0) & (predicted == 0)).sum()


def test_the_table_by_class_is_scikit_learns() -> None:
    scored = multiclass()
    precision, recall, f1, support = precision_recall_fscore_support(scored.truth, scored.predicted)
    for code, row in enumerate(by_class(scored)):
        assert (row.precision, row.recall, row.f1, row.rows) == pytest.approx(
            (precision[code], recall[code], f1[code], support[code])
        )
        assert row.roc_auc == pytest.approx(
            roc_auc_score(scored.truth == code, scored.probabilities[:, code])
        )


def test_a_class_without_rows_has_no_recall() -> None:
    scored = multiclass()
    row = by_class(scored.take(scored.truth != 1))[1]
    assert row.rows == 0
    assert np.isnan(row.recall)
    assert np.isnan(row.roc_auc)


def test_the_table_by_threshold() -> None:
    scored = binary()
    rows = by_threshold(scored)
    assert [row.threshold for row in rows] == pytest.approx([0.05 * step for step in range(1, 20)])
    for row in rows:
        said = scored.positive_probability >= row.threshold
        assert row.positive_share == pytest.approx(said.mean())
        assert row.recall == pytest.approx(said[scored.truth == 1].mean())
        if said.any():
            assert row.precision == pytest.approx((scored.truth == 1)[said].mean())


def test_probabilities_that_come_true_are_calibrated_and_bent_ones_are_not() -> None:
    generator = np.random.default_rng(0)
    probability = generator.random(40_000)
    truth = (generator.random(40_000) < probability).astype(np.int64)
    honest = Scored("binary", truth, truth, np.column_stack([1 - probability, probability]), ("n", "y"), "y")
    bent = probability**3
    wrong = Scored("binary", truth, truth, np.column_stack([1 - bent, bent]), ("n", "y"), "y")
    assert reliability(honest).ece < 0.01
    assert reliability(wrong).ece > 0.2
    assert reliability(honest).brier == pytest.approx(1 / 6, abs=0.005)
    assert sum(one.rows for one in reliability(honest).bins) == 40_000
    assert [one.predicted for one in reliability(honest).bins] == sorted(
        one.predicted for one in reliability(honest).bins
    )


def test_equal_probabilities_are_one_bin() -> None:
    half = np.full((50, 2), 0.5)
    truth = np.arange(50) % 2
    found = reliability(Scored("binary", truth, truth, half, ("n", "y"), "y"))
    assert [(one.rows, one.predicted, one.observed) for one in found.bins] == [(50, 0.5, 0.5)]
    assert found.ece == 0


def test_many_classes_are_calibrated_by_the_predicted_one() -> None:
    found = reliability(multiclass())
    assert found.about == "probability of the predicted class"
    assert 0 <= found.ece <= 1


def test_residuals_are_truth_less_prediction() -> None:
    scored = regression(rows=5000)
    shifted = Scored("regression", scored.truth, scored.predicted - 2, scored.probabilities)
    found = residuals(shifted)
    assert found.mean == pytest.approx(2, abs=0.1)
    assert found.spread == pytest.approx(1, abs=0.1)
    assert found.quantiles["0.05"] < found.quantiles["0.5"] < found.quantiles["0.95"]
    assert len(found.bins) == 10
    assert sum(one.rows for one in found.bins) == 5000
