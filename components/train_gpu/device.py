"""Which device trains, in which precision, and what it says of itself."""

from dataclasses import dataclass

import torch

from kfp_lifecycle.components.train_gpu.options import NetworkOptions


@dataclass(frozen=True)
class Device:
    """A device and how it is used.

    Args:
        torch: What PyTorch calls it, such as ``cuda:0``.
        name: What people call it, such as ``NVIDIA H100 80GB HBM3``.
        bf16: Whether matrices are multiplied in bfloat16 (mixed precision).
    """

    torch: torch.device
    name: str
    bf16: bool


def choose_device(options: NetworkOptions, local_rank: int = 0) -> Device:
    """The GPU of this rank where there is one, the CPU else; the log says which.

    Raises:
        DeviceError: ``require_gpu`` is set and there is none, or there is none for this rank.
    """
    raise NotImplementedError
