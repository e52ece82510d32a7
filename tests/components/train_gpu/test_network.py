"""The networks: what goes in and comes out, and every way to ask for a wrong one."""

from typing import Any

import pytest
import torch

from kfp_lifecycle.components.shared.errors import EstimatorError, LifecycleError, ParameterError
from kfp_lifecycle.components.train_gpu.batch import Batch
from kfp_lifecycle.components.train_gpu.distributed import Group
from kfp_lifecycle.components.train_gpu.features import FeatureSpec
from kfp_lifecycle.components.train_gpu.network import build_network, default_embedding_width
from kfp_lifecycle.components.train_gpu.options import NetworkOptions
from kfp_lifecycle.components.train_gpu.statistics import Statistics, measure

SPEC = FeatureSpec(("a", "b", "c"), ("k", "l"), (4, 9))
STATISTICS = Statistics(torch.tensor([10.0, 0.0, 0.0]), torch.tensor([2.0, 1.0, 1.0]), torch.tensor([1]))
MODULES = "tests.components.train_gpu.modules"


@pytest.mark.parametrize("name", ["residual", "mlp"])
@pytest.mark.parametrize("outputs", [1, 5])
@pytest.mark.parametrize(
    "spec", [SPEC, FeatureSpec(("a", "b", "c"), (), ()), FeatureSpec((), ("k", "l"), (4, 9))]
)
def test_logits_for_every_kind_of_table(name: str, outputs: int, spec: FeatureSpec) -> None:
    p = len(spec.numbers)
    statistics = STATISTICS if p else Statistics(torch.zeros(0), torch.ones(0), torch.zeros(0).long())
    network = build_network(spec, statistics, outputs, NetworkOptions(network=name))
    for rows in (0, 1, 7):
        logits = network(torch.randn(rows, p), torch.ones(rows, len(spec.codes)).long())
        assert logits.shape == (rows, outputs)
        assert logits.isfinite().all()


def test_missing_and_infinite_numbers_give_finite_logits() -> None:
    network = build_network(SPEC, STATISTICS, 2, NetworkOptions()).eval()
    numbers = torch.tensor([[float("nan")] * 3, [float("inf"), -float("inf"), 3e38], [10.0, 0.0, 0.0]])
    logits = network(numbers, torch.zeros(3, 2).long())
    assert logits.isfinite().all()
    # Missing is the mean, and one column tells so; the others have had no gaps.
    gap = network(torch.tensor([[10.0, float("nan"), 0.0]]), torch.zeros(1, 2).long())
    assert torch.allclose(logits[0], gap[0])
    assert not torch.allclose(logits[0], logits[2])


def test_numbers_are_standardized() -> None:
    network = build_network(SPEC, STATISTICS, 2, NetworkOptions(network=f"{MODULES}.Plain"))
    assert isinstance(network.body.layer, torch.nn.Linear)
    layer = network.body.layer
    numbers = torch.tensor([[14.0, 3.0, -1.0]])
    expected = layer(torch.tensor([[2.0, 3.0, -1.0, 0.0]]))
    assert torch.allclose(network(numbers, torch.zeros(1, 2).long()), expected)


def test_each_category_has_its_own_embedding() -> None:
    network = build_network(SPEC, STATISTICS, 1, NetworkOptions()).eval()
    numbers = torch.zeros(1, 3)
    codes = [(k, l) for k in range(4) for l in range(9)]  # noqa: E741
    seen = {network(numbers, torch.tensor([code])).item() for code in codes}
    assert len(seen) == 36


def test_the_seed_alone_decides_the_weights() -> None:
    def weights(seed: int) -> torch.Tensor:
        torch.rand(1)
        network = build_network(SPEC, STATISTICS, 1, NetworkOptions(seed=seed))
        return torch.cat([weight.flatten() for weight in network.parameters()])

    before = torch.get_rng_state()
    first = weights(1)
    assert torch.equal(first, weights(1))
    assert not torch.equal(first, weights(2))
    torch.set_rng_state(before)


@pytest.mark.parametrize(("most", "width"), [(1, 4), (4, 4), (30, 11), (100, 21), (10_000, 32)])
def test_width_of_embeddings(most: int, width: int) -> None:
    assert default_embedding_width([2, most]) == width if most > 2 else default_embedding_width([]) == 4


@pytest.mark.parametrize(
    ("network", "parameters", "kind", "said"),
    [
        ("residul", {}, ParameterError, "Did you mean 'residual'"),
        ("residual", {"widht": 3}, ParameterError, "Did you mean 'width'"),
        ("residual", {"width": 0}, ParameterError, "1 or more"),
        ("residual", {"blocks": 2.0}, ParameterError, "whole number"),
        ("residual", {"hidden": -1}, ParameterError, "0 or more"),
        ("mlp", {"hidden": 64}, ParameterError, "a list of widths"),
        ("mlp", {"hidden": [64, 0]}, ParameterError, "1 or more"),
        ("mlp", {"blocks": 2}, ParameterError, "does not take"),
        ("no.such.Network", {}, EstimatorError, "no module 'no'"),
        (f"{MODULES}.Plian", {}, EstimatorError, "Did you mean 'Plain'"),
        (f"{MODULES}.torch", {}, EstimatorError, "no subclass of torch.nn.Module"),
        (f"{MODULES}.Plain", {"biass": True}, EstimatorError, "Did you mean 'bias'"),
        (f"{MODULES}.Plain", {"outputs": 3}, ParameterError, "which the table decides"),
        ("torch.nn.Linear", {}, EstimatorError, "takes no parameter"),
        (f"{MODULES}.Refuses", {}, EstimatorError, "cannot be built: ValueError: no width was given"),
        (f"{MODULES}.Flat", {}, EstimatorError, r"gives shape (2,) for 2 rows, where the task needs (2, 2)"),
        (f"{MODULES}.Wide", {}, EstimatorError, r"gives shape (2, 6)"),
        (f"{MODULES}.Nothing", {}, EstimatorError, "gives NoneType"),
        (f"{MODULES}.Frozen", {}, EstimatorError, "no weight can be learned"),
    ],
)
def test_a_wrong_network_is_named(
    network: str, parameters: dict[str, Any], kind: type[LifecycleError], said: str
) -> None:
    with pytest.raises(kind) as raised:
        build_network(SPEC, STATISTICS, 2, NetworkOptions(network=network, network_parameters=parameters))
    assert said in str(raised.value)


def test_classes_for_logits_are_named() -> None:
    with pytest.raises(EstimatorError, match="no weight can be learned from"):
        build_network(SPEC, STATISTICS, 1, NetworkOptions(network=f"{MODULES}.Labels"))


class Few:
    """Batches of two columns, one of them with gaps and one constant."""

    rows, batch_size, steps = 5, 3, 2
    numbers = torch.tensor([[1.0, 7.0], [torch.nan, 7.0], [3.0, 7.0], [5.0, 7.0], [torch.nan, 7.0]])

    def epoch(self, epoch: int, start: int = 0) -> Any:
        for begin in range(3 * start, 5, 3):
            x = self.numbers[begin : begin + 3]
            yield Batch(x, torch.zeros(len(x), 0).long(), torch.zeros(len(x)), None, len(x))


def test_statistics_of_the_rows() -> None:
    found = measure(Few(), Group())
    assert found.mean.tolist() == [3.0, 7.0]
    assert found.scale[0].item() == pytest.approx((8 / 3) ** 0.5)
    assert found.scale[1].item() == 1
    assert found.gaps.tolist() == [0]
