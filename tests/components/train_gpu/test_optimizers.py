"""Learning rates by step, and which weights decay."""

import math

import pytest
import torch

from kfp_lifecycle.components.train_gpu.features import FeatureSpec
from kfp_lifecycle.components.train_gpu.network import build_network
from kfp_lifecycle.components.train_gpu.optimizers import Schedule, make_optimizer
from kfp_lifecycle.components.train_gpu.options import NetworkOptions
from kfp_lifecycle.components.train_gpu.statistics import Statistics


def rates(schedule: str, warmup: float = 0.0, epochs: int = 10, steps: int = 10) -> list[float]:
    options = NetworkOptions(schedule=schedule, learning_rate=1.0, warmup_share=warmup, epochs=epochs)
    found = Schedule(options, steps)
    return [found.rate(step) for step in range(epochs * steps)]


def test_constant() -> None:
    assert rates("constant") == [1.0] * 100


def test_cosine_falls_from_the_highest_to_nearly_zero() -> None:
    found = rates("cosine")
    assert found[0] == 1.0
    assert found == sorted(found, reverse=True)
    assert found[50] == pytest.approx(0.5)
    assert 0 < found[-1] < 1e-3


def test_step_falls_twice() -> None:
    assert rates("step") == pytest.approx([1.0] * 50 + [0.1] * 25 + [0.01] * 25)


@pytest.mark.parametrize("schedule", ["cosine", "step", "plateau", "constant"])
def test_the_warm_up_rises_evenly(schedule: str) -> None:
    found = rates(schedule, warmup=0.2)
    assert found[:20] == pytest.approx([(step + 1) / 21 for step in range(20)])
    assert found[20] == 1.0


def test_a_plateau_lowers_the_rate_and_is_taken_up_again() -> None:
    options = NetworkOptions(schedule="plateau", learning_rate=1.0, warmup_share=0.0, patience=4)
    schedule = Schedule(options, 10)
    for loss in (1.0, 0.5, 0.6, 0.5):
        assert schedule.rate(100) == 1.0
        schedule.after_epoch(loss)
    assert schedule.rate(100) == pytest.approx(0.2)
    again = Schedule(options, 10)
    again.load_state_dict(schedule.state_dict())
    for one in (schedule, again):
        one.after_epoch(0.55)
        assert one.rate(100) == pytest.approx(0.2)
        one.after_epoch(0.55)
        assert one.rate(100) == pytest.approx(0.04)


@pytest.mark.parametrize(("name", "kind"), [("adamw", torch.optim.AdamW), ("sgd", torch.optim.SGD)])
def test_only_weights_of_layers_decay(name: str, kind: type[torch.optim.Optimizer]) -> None:
    spec = FeatureSpec(("a",), ("k",), (5,))
    options = NetworkOptions(optimizer=name, weight_decay=0.3)
    network = build_network(
        spec, Statistics(torch.zeros(1), torch.ones(1), torch.zeros(0).long()), 1, options
    )
    optimizer = make_optimizer(network, options)
    assert isinstance(optimizer, kind)
    names = {id(weight): key for key, weight in network.named_parameters()}
    decay = {
        names[id(weight)]: group["weight_decay"]
        for group in optimizer.param_groups
        for weight in group["params"]
    }
    assert len(decay) == len(names)
    assert decay["body.first.weight"] == 0.3
    assert decay["body.first.bias"] == decay["body.features.embeddings.weight"] == 0
    assert decay["body.blocks.0.0.weight"] == 0
    assert all(group["fused"] for group in optimizer.param_groups)
    assert math.isclose(optimizer.param_groups[0]["lr"], options.learning_rate)
