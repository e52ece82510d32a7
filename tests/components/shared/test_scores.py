"""The metrics against scikit-learn's own words for them, and where they are not defined."""

import numpy as np
import pytest
from sklearn import metrics

from kfp_lifecycle.components.shared.errors import ParameterError
from kfp_lifecycle.components.shared.scores import MAIN_METRIC, METRICS, scores

RNG = np.random.default_rng(0)
Y = RNG.integers(0, 2, 200)
P = np.clip(Y * 0.3 + RNG.random(200) * 0.7, 0, 1)
BOTH = np.column_stack([1 - P, P])


def test_binary() -> None:
    found = scores("binary", Y, (P > 0.5).astype(int), BOTH, ["no", "yes"], "yes")
    assert set(found) == set(METRICS["binary"])
    assert found["roc_auc"] == metrics.roc_auc_score(Y, P)
    assert found["average_precision"] == metrics.average_precision_score(Y, P)
    assert found["log_loss"] == pytest.approx(metrics.log_loss(Y, BOTH))
    assert found["brier"] == pytest.approx(metrics.brier_score_loss(Y, P))
    assert found["f1"] == metrics.f1_score(Y, P > 0.5)


def test_binary_is_about_the_positive_class() -> None:
    other = scores("binary", Y, (P > 0.5).astype(int), BOTH, ["no", "yes"], "no")
    assert other["f1"] == metrics.f1_score(1 - Y, P <= 0.5)
    assert other["recall"] == metrics.recall_score(1 - Y, P <= 0.5)
    assert other["average_precision"] == metrics.average_precision_score(1 - Y, 1 - P)
    assert scores("binary", Y, Y, BOTH, ["no", "yes"])["f1"] == 1.0


def test_rows_of_one_class_define_no_curve() -> None:
    found = scores("binary", np.ones(10), np.ones(10), BOTH[:10], ["no", "yes"], "yes")
    assert set(METRICS["binary"]) - set(found) == {"roc_auc", "average_precision"}
    assert np.isfinite(list(found.values())).all()


def test_multiclass() -> None:
    y = RNG.integers(0, 3, 300)
    p = RNG.dirichlet([1, 1, 1], 300)
    found = scores("multiclass", y, p.argmax(axis=1), p, ["a", "b", "c"])
    assert set(found) == set(METRICS["multiclass"])
    assert found["roc_auc_ovr"] == pytest.approx(metrics.roc_auc_score(y, p, multi_class="ovr"))
    assert found["log_loss"] == pytest.approx(metrics.log_loss(y, p))
    assert found["f1_macro"] == pytest.approx(metrics.f1_score(y, p.argmax(axis=1), average="macro"))


def test_multiclass_without_one_of_the_classes_and_with_one_alone() -> None:
    y = RNG.integers(0, 2, 100)
    p = RNG.dirichlet([1, 1, 1], 100)
    found = scores("multiclass", y, p.argmax(axis=1), p, ["a", "b", "c"])
    each = [metrics.roc_auc_score(y == code, p[:, code]) for code in (0, 1)]
    assert found["roc_auc_ovr"] == pytest.approx(np.mean(each))
    alone = scores("multiclass", np.zeros(10, int), np.zeros(10, int), p[:10], ["a", "b", "c"])
    assert "roc_auc_ovr" not in alone


def test_regression() -> None:
    y = RNG.normal(size=100)
    predicted = y + RNG.normal(size=100) / 10
    found = scores("regression", y, predicted)
    assert found["rmse"] == pytest.approx(metrics.root_mean_squared_error(y, predicted))
    assert found["mae"] == pytest.approx(metrics.mean_absolute_error(y, predicted))
    assert found["r2"] == pytest.approx(metrics.r2_score(y, predicted))
    assert set(scores("regression", np.ones(3), np.ones(3))) == {"rmse", "mae"}


def test_classes_need_probabilities() -> None:
    with pytest.raises(ParameterError, match="need probabilities"):
        scores("binary", Y, Y)


def test_every_task_has_a_main_metric() -> None:
    assert all(MAIN_METRIC[task] in METRICS[task] for task in METRICS)
