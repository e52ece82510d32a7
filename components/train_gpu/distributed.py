"""One process of several that train one network together (PyTorch's DistributedDataParallel)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch

T = TypeVar("T")


@dataclass(frozen=True)
class Group:
    """The processes that train together, as one of them sees it; alone, everything here is free.

    Args:
        rank: This process among all, from 0.
        world: How many processes there are.
        local_rank: This process among those of its machine.
        device: Where it computes.
    """

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    device: torch.device = torch.device("cpu")

    @property
    def is_main(self) -> bool:
        """Whether this process writes checkpoints, logs and the model."""
        return self.rank == 0

    def wrap(self, network: torch.nn.Module) -> torch.nn.Module:
        """The network with its gradients averaged over the ranks; as it is where there is one process.

        DDP averages, and the loss of a global batch is a sum over its rows divided by their number
        (:attr:`.batches.Batch.rows`): so each rank divides its own sum by that and multiplies by ``world``.
        """
        raise NotImplementedError

    def sum_(self, tensor: torch.Tensor) -> torch.Tensor:
        """``tensor``, in place the sum over all ranks."""
        raise NotImplementedError

    def any(self, flag: bool) -> bool:
        """Whether any rank says so."""
        raise NotImplementedError

    def broadcast(self, value: T) -> T:
        """What rank 0 has, on every rank; any picklable value."""
        raise NotImplementedError

    def barrier(self) -> None:
        """Waits for all ranks."""
        raise NotImplementedError

    def once_per_node(self, make: Callable[[], None]) -> None:
        """Runs ``make`` in one process of each machine, while the others there wait, however long it takes."""
        raise NotImplementedError
