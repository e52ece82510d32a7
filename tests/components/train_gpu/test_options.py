"""The parameters of train-gpu, each wrong one named."""

from typing import Any

import pytest

from kfp_lifecycle.components.shared.errors import ParameterError
from kfp_lifecycle.components.train_gpu.options import NetworkOptions


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("learning_rate", 0.0, "a number above 0"),
        ("learning_rate", float("nan"), "a number above 0"),
        ("learning_rate", "fast", "not a number"),
        ("epochs", 0, "1 or more"),
        ("epochs", 1.5, "not a whole number"),
        ("batch_size", 0, "1 or more"),
        ("dropout", 1.0, "below 1"),
        ("dropout", -0.1, "0 or more"),
        ("validation_share", 1.0, "below 1"),
        ("warmup_share", 1.0, "below 1"),
        ("clip_norm", -1.0, "0 or more"),
        ("nodes", 0, "1 or more"),
        ("checkpoint_minutes", float("inf"), "0 or more"),
        ("seed", -1, "0 or more"),
        ("reference_rows", 0, "1 or more"),
        ("optimizer", "adam", "adamw, sgd"),
        ("schedule", "linear", "cosine, step, plateau, constant"),
        ("precision", "fp16", "auto, bf16, fp32"),
        ("memory", "host", "auto, device, stream"),
        ("loss", "hinge", "cross_entropy"),
        ("monitor", "auc", "roc_auc"),
        ("require_gpu", "yes", "not true or false"),
        ("network_parameters", [1], "Give parameters by name"),
    ],
)
def test_a_wrong_parameter_is_named(name: str, value: Any, said: str) -> None:
    with pytest.raises(ParameterError, match=f"'{name}'") as raised:
        NetworkOptions(**{name: value})
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("given", "task", "name"),
    [
        ({"loss": "mse"}, "binary", "loss"),
        ({"loss": "cross_entropy"}, "regression", "loss"),
        ({"monitor": "rmse"}, "multiclass", "monitor"),
        ({"monitor": "roc_auc"}, "regression", "monitor"),
        ({"monitor": "roc_auc", "validation_share": 0.0}, "binary", "monitor"),
    ],
)
def test_what_does_not_fit_the_task_is_named(given: dict[str, Any], task: str, name: str) -> None:
    with pytest.raises(ParameterError, match=f"'{name}'"):
        NetworkOptions(**given).check_task(task)


@pytest.mark.parametrize(
    ("given", "task", "loss"),
    [
        ({}, "binary", "cross_entropy"),
        ({}, "multiclass", "cross_entropy"),
        ({}, "regression", "mse"),
        ({"loss": "huber"}, "regression", "huber"),
    ],
)
def test_the_loss_follows_the_task(given: dict[str, Any], task: str, loss: str) -> None:
    options = NetworkOptions(**given)
    options.check_task(task)
    assert options.loss_of(task) == loss
