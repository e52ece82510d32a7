"""Batches of a feature table: what a network is fed, in an order that seed and epoch decide alone."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import torch

from kfp_lifecycle.components.shared.inference.schema import TableSchema
from kfp_lifecycle.components.train_gpu.features import FeatureSpec


class Batch(NamedTuple):
    """This rank's rows of one global batch, on the rank's device, ``n`` rows (0 to all of the batch).

    Args:
        numbers: Shape ``(n, numbers)``, float32; NaN where a value stays missing.
        codes: Shape ``(n, codes)``, int64; 0 is a category without a slot.
        target: Shape ``(n,)``: class positions (int64) or scaled values (float32).
        weight: Shape ``(n,)``, float32, of mean 1 over the table where they are balanced; None weighs alike.
        rows: Rows of the global batch, over all ranks: what a sum of losses is divided by.
    """

    numbers: torch.Tensor
    codes: torch.Tensor
    target: torch.Tensor
    weight: torch.Tensor | None
    rows: int


class Batches(Protocol):
    """The batches of one table.

    Attributes:
        rows: Rows of the whole table.
        batch_size: Rows of a global batch, the table's rows at most.
        steps: Batches of an epoch, the same on every rank.
    """

    rows: int
    batch_size: int
    steps: int

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch from step ``start``; the same for the same seed, epoch and world."""
        ...


def make_batches(
    table: Path,
    spec: FeatureSpec,
    schema: TableSchema,
    *,
    batch_size: int,
    device: torch.device,
    shuffle: bool,
    seed: int,
    rank: int = 0,
    world: int = 1,
    memory: str = "auto",
    class_weights: Sequence[float] | None = None,
    centre: float = 0.0,
    scale: float = 1.0,
) -> Batches:
    """The batches of a table that :func:`.features.make_tables` wrote.

    Args:
        table: The folder of the table.
        spec: Its features.
        schema: The schema, for its task.
        batch_size: Rows of a global batch; cut to the table's, with a line in the log.
        device: Where the batches are wanted.
        shuffle: Whether the order changes with the epoch; without, it is the table's.
        seed: Seed of the order.
        rank: This process among ``world``: it gets its slice of each global batch.
        world: Number of processes.
        memory: ``device`` holds the table on the device, ``stream`` reads it from disk again in each epoch,
            ``auto`` holds it where there is room.
        class_weights: Weight of a row by its class position; None for no weights.
        centre: For regression, what is taken off the target (see :class:`.features.Tables`).
        scale: For regression, what the target is then divided by.

    Raises:
        ParameterError: ``batch_size`` is below 1 or ``memory`` is unknown.
        DeviceError: ``memory`` is ``device`` and the table does not fit there.
        StorageError: The table is damaged.
    """
    raise NotImplementedError
