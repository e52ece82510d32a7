"""The choice of the device, where there is no GPU."""

import logging

import pytest
import torch

from kfp_lifecycle.components.shared.errors import DeviceError
from kfp_lifecycle.components.train_gpu.device import (
    choose_device,
    deterministic,
    is_out_of_memory,
    peak_memory_mb,
    utilisation,
)
from kfp_lifecycle.components.train_gpu.options import NetworkOptions

no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")


@no_gpu
@pytest.mark.parametrize(("precision", "said"), [("auto", "fp32"), ("fp32", "fp32"), ("bf16", "bf16 mixed")])
def test_the_cpu_is_taken_and_named(precision: str, said: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    device = choose_device(NetworkOptions(precision=precision))
    assert device.torch == torch.device("cpu")
    assert device.precision == said
    assert f"training on {device.name} in {said}, {torch.get_num_threads()} threads" in caplog.text
    assert device.name.startswith("CPU (")


@no_gpu
def test_a_gpu_that_is_required_and_not_there_is_an_error() -> None:
    with pytest.raises(DeviceError, match=r"'require_gpu' is true, but PyTorch .* finds no GPU here"):
        choose_device(NetworkOptions(require_gpu=True))


def test_memory_of_the_process_grows_with_what_it_takes() -> None:
    cpu = torch.device("cpu")
    before = peak_memory_mb(cpu)
    taken = torch.ones(200_000_000, dtype=torch.uint8)
    assert peak_memory_mb(cpu) > before or len(taken) < before * 1e6
    assert utilisation(cpu) is None


def test_only_memory_that_cannot_be_had_is_out_of_memory() -> None:
    with pytest.raises(RuntimeError) as short:
        torch.empty(1 << 60)
    assert is_out_of_memory(short.value)
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    with pytest.raises(RuntimeError) as wrong:
        torch.ones(2, 3) @ torch.ones(2, 3)
    assert not is_out_of_memory(wrong.value)
    assert not is_out_of_memory(MemoryError())


def test_determinism_is_for_the_block_only() -> None:
    with deterministic(True):
        assert torch.are_deterministic_algorithms_enabled()
    assert not torch.are_deterministic_algorithms_enabled()
    with deterministic(False):
        assert not torch.are_deterministic_algorithms_enabled()
