"""The sources of random numbers: seeded, saved and taken up again."""

import random
from typing import Any

import numpy as np
import torch

from kfp_lifecycle.components.train_gpu.distributed import Group


def seed_all(seed: int, rank: int) -> None:
    """Seeds PyTorch, NumPy and Python's own; each rank drops other activations."""
    torch.manual_seed(seed + 1_000_003 * rank)
    np.random.seed((seed + 1_000_003 * rank) % 2**32)
    random.seed(seed + 1_000_003 * rank)


def random_state(group: Group) -> dict[str, Any]:
    """The state of all sources on every rank, in plain types; all ranks call it together."""
    kind, numbers, *rest = np.random.get_state(legacy=True)
    return {
        "torch": _of_all_ranks(_own(group), group),
        "numpy": [kind, np.asarray(numbers).tolist(), *rest],
        "python": random.getstate(),
    }


def restore_random(state: dict[str, Any], group: Group) -> None:
    """Takes up :func:`random_state`, where as many ranks train now as then."""
    saved: torch.Tensor = state["torch"]
    if saved.shape != (group.world, len(_own(group))):
        return
    mine = saved[group.rank].cpu()
    size = len(torch.get_rng_state())
    # Copies: PyTorch reads a view from the start of what it is a view of, and beyond its end.
    torch.set_rng_state(mine[:size].clone())
    if group.device.type == "cuda":
        torch.cuda.set_rng_state(mine[size:].clone(), group.device)
    kind, numbers, *rest = state["numpy"]
    np.random.set_state((kind, np.array(numbers, dtype=np.uint32), *rest))
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))


def _own(group: Group) -> torch.Tensor:
    states = [torch.get_rng_state()]
    if group.device.type == "cuda":
        states.append(torch.cuda.get_rng_state(group.device))
    return torch.cat(states)


def _of_all_ranks(own: torch.Tensor, group: Group) -> torch.Tensor:
    every = torch.zeros(group.world, len(own), dtype=torch.uint8, device=group.device)
    every[group.rank] = own.to(group.device)
    return group.sum_(every).cpu()
