"""What a network is told of its numbers before it sees them: means, spreads, and where there are gaps."""

from dataclasses import dataclass

import torch
from torch import Tensor

from kfp_lifecycle.components.train_gpu.batch import Batches
from kfp_lifecycle.components.train_gpu.distributed import Group

#: A column that spreads less than this part of its mean is constant to float32.
_CONSTANT = 1e-6


@dataclass(frozen=True)
class Statistics:
    """Of each number in the rows of the fit; float32 on the CPU.

    Args:
        mean: Shape ``(p,)``; 0 for a column that is missing throughout.
        scale: Standard deviation, shape ``(p,)``; 1 for a constant column.
        gaps: Positions of the columns with missing values, int64.
    """

    mean: Tensor
    scale: Tensor
    gaps: Tensor


def measure(batches: Batches, group: Group) -> Statistics:
    """One pass over the rows of the fit; the same on every rank. Sums are in float64."""
    sums: Tensor | None = None
    for batch in batches.epoch(0):
        x = batch.numbers.double()
        there = ~x.isnan()
        x = x.nan_to_num(0.0)
        part = torch.stack([there.sum(0, dtype=torch.float64), x.sum(0), x.square().sum(0), (~there).sum(0)])
        sums = part if sums is None else sums.add_(part)
    assert sums is not None  # a table of no rows is refused where it is made
    rows, total, squares, missing = group.sum_(sums).cpu()
    mean = total / rows.clamp(min=1)
    scale = (squares / rows.clamp(min=1) - mean.square()).clamp(min=0).sqrt()
    constant = scale <= _CONSTANT * mean.abs()
    return Statistics(mean.float(), torch.where(constant, 1.0, scale).float(), missing.nonzero().flatten())
