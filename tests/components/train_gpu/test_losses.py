"""Losses and metrics against what PyTorch and scikit-learn say of the same values."""

import numpy as np
import pytest
import torch
from sklearn import metrics
from torch.nn import functional

from kfp_lifecycle.components.train_gpu.losses import Target, loss_function

SOURCE = torch.Generator().manual_seed(0)
LOGITS = torch.randn(40, 3, generator=SOURCE)
CLASSES = torch.randint(3, (40,), generator=SOURCE)
WEIGHTS = torch.rand(40, generator=SOURCE)


def test_cross_entropy_of_classes() -> None:
    loss = loss_function("cross_entropy", 3)
    each = functional.cross_entropy(LOGITS, CLASSES, reduction="none")
    assert torch.allclose(loss(LOGITS, CLASSES, None), each.sum())
    assert torch.allclose(loss(LOGITS, CLASSES, WEIGHTS), (each * WEIGHTS).sum())


def test_cross_entropy_of_one_output() -> None:
    loss, one, both = loss_function("cross_entropy", 1), LOGITS[:, :1], CLASSES % 2
    each = functional.binary_cross_entropy(one[:, 0].sigmoid(), both.float(), reduction="none")
    assert torch.allclose(loss(one, both, None), each.sum())
    assert torch.allclose(loss(one, both, WEIGHTS), (each * WEIGHTS).sum())


def test_losses_of_numbers() -> None:
    target = LOGITS[:, 1] * 3
    error = (LOGITS[:, 0] - target).abs()
    huber = torch.where(error < 1, error**2 / 2, error - 0.5)
    for name, each in (("mse", error**2), ("huber", huber)):
        assert torch.allclose(loss_function(name, 1)(LOGITS[:, :1], target, None), each.sum())
        assert torch.allclose(loss_function(name, 1)(LOGITS[:, :1], target, WEIGHTS), (each * WEIGHTS).sum())


def test_a_loss_in_bfloat16_is_summed_in_float32() -> None:
    many = torch.zeros(10_000, 1, dtype=torch.bfloat16)
    total = loss_function("cross_entropy", 1)(many, torch.ones(10_000).long(), None)
    assert total.item() == pytest.approx(10_000 * np.log(2), rel=1e-6)


@pytest.mark.parametrize("positive", ["no", "yes"])
def test_scores_of_two_classes_are_about_the_positive_one(positive: str) -> None:
    target = Target("binary", ("no", "yes"), positive)
    assert target.outputs == 1
    found = target.scores(LOGITS[:, :1], CLASSES % 2)
    probability = LOGITS[:, 0].sigmoid().numpy()
    sign = 1 if positive == "yes" else -1
    truth = (CLASSES % 2).numpy() == (1 if positive == "yes" else 0)
    assert found["roc_auc"] == pytest.approx(metrics.roc_auc_score(truth, sign * probability))
    assert found["accuracy"] == pytest.approx(np.mean((probability > 0.5) == (CLASSES % 2).numpy()))


def test_scores_of_a_number_are_in_its_own_unit() -> None:
    target = Target("regression", (), "", 100.0, 5.0)
    found = target.scores(torch.tensor([[1.0], [-1.0]]), torch.tensor([0.0, 0.0]))
    assert found["rmse"] == pytest.approx(5.0)
    assert found["mae"] == pytest.approx(5.0)


def test_scores_of_classes() -> None:
    target = Target("multiclass", ("p", "q", "r"))
    assert target.outputs == 3
    found = target.scores(LOGITS, CLASSES)
    assert found["accuracy"] == pytest.approx((LOGITS.argmax(1) == CLASSES).float().mean().item())
    assert found["log_loss"] == pytest.approx(functional.cross_entropy(LOGITS, CLASSES).item(), rel=1e-5)
