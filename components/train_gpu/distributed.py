"""One process of several that train one network together (PyTorch's DistributedDataParallel)."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from kfp_lifecycle.components.shared.errors import DeviceError

T = TypeVar("T")

#: A rank that hears nothing of another for so long gives up. One that dies is noticed at once.
TIMEOUT = timedelta(minutes=10)
#: For how long the ranks of a machine wait while one of them writes the feature tables.
PATIENCE = timedelta(days=2)


@dataclass(frozen=True)
class Group:
    """The processes that train together, as one of them sees it; alone, everything here is free.

    All ranks call the same methods in the same order. What one of them waits for in vain, because another
    has died, raises ``RuntimeError`` there.

    Args:
        rank: This process among all, from 0.
        world: How many processes there are.
        local_rank: This process among those of its machine.
        device: Where it computes.
    """

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def is_main(self) -> bool:
        """Whether this process writes checkpoints, logs and the model."""
        return self.rank == 0

    def wrap(self, network: torch.nn.Module) -> torch.nn.Module:
        """The network with its gradients averaged over the ranks; as it is where there is one process.

        The loss of a global batch is the sum over its rows divided by their number. DDP takes the mean over
        ranks, so each multiplies its own sum by :meth:`scale`: then gradients are those of one device.
        """
        if self.world == 1:
            return network
        devices = [self.device] if self.device.type == "cuda" else None
        # Buffers that do not change in training need not be sent at each step; batch normalization's do.
        changing = any(isinstance(module, _BatchNorm) for module in network.modules())
        wrapped: torch.nn.Module = DistributedDataParallel(
            network, device_ids=devices, gradient_as_bucket_view=True, forward_sync_buffers=changing
        )
        return wrapped

    def scale(self, rows: int) -> float:
        """What a rank's sum of losses is multiplied by, for a global batch of so many rows."""
        return self.world / rows

    def sum_(self, tensor: torch.Tensor) -> torch.Tensor:
        """``tensor``, in place the sum over all ranks: of counts and sums, which are then divided."""
        if self.world > 1:
            dist.all_reduce(tensor)
        return tensor

    def any(self, flag: bool) -> bool:
        """Whether any rank says so. Does not wait for the device."""
        if self.world == 1:
            return flag
        said = torch.tensor([int(flag)])
        dist.all_reduce(said, op=dist.ReduceOp.MAX)
        return bool(said.item())

    def broadcast(self, value: T) -> T:
        """What rank 0 has, on every rank; any value that can be pickled."""
        if self.world == 1:
            return value
        values: list[Any] = [value]
        dist.broadcast_object_list(values, src=0, device=torch.device("cpu"))
        told: T = values[0]
        return told

    def barrier(self) -> None:
        """Waits for all ranks."""
        self.any(False)

    def once_per_node(self, make: Callable[[], None]) -> None:
        """Runs ``make`` in one process of each machine; the others wait for it as long as it takes."""
        if self.world == 1:
            make()
            return
        patient = dist.new_group(backend="gloo", timeout=PATIENCE)
        if self.local_rank == 0:
            make()
        dist.barrier(group=patient)


def local_rank() -> int:
    """This process among those of its machine, 0 where it was not started by torchrun."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def all_agree(flag: bool) -> bool:
    """Whether every rank says so, in a group that has been joined; else what is said."""
    if not dist.is_initialized():
        return flag
    said = torch.tensor([int(flag)])
    dist.all_reduce(said, op=dist.ReduceOp.MIN)
    return bool(said.item())


@contextmanager
def join(device: torch.device, timeout: timedelta = TIMEOUT) -> Iterator[Group]:
    """The group that torchrun has started this process in (``RANK``, ``WORLD_SIZE``), or one of itself alone.

    Args:
        device: Where this process computes: NCCL is used between GPUs, gloo between CPUs and for flags.
        timeout: A rank that hears nothing of another for so long gives up.

    Raises:
        DeviceError: The other processes do not come, or cannot be reached.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Group(device=device)
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    try:
        dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", timeout=timeout)
    except (dist.DistError, RuntimeError, ValueError) as error:
        raise DeviceError(
            f"Rank {os.environ.get('RANK', '?')} cannot join the other {world - 1} processes: {error}.",
            "Check that all are started (torchrun), and that the network lets them reach MASTER_ADDR.",
        ) from error
    try:
        yield Group(dist.get_rank(), world, local_rank(), device)
    except Exception:
        # The others may still be waiting for this rank, and would have to be waited for here. The process
        # ends, and that they notice.
        raise
    except BaseException:
        dist.destroy_process_group()
        raise
    dist.destroy_process_group()
