"""Batches of a feature table: what a network is fed, in an order that seed and epoch decide alone."""

import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from kfp_lifecycle.components.shared.errors import DeviceError, ParameterError
from kfp_lifecycle.components.shared.inference.schema import TableSchema
from kfp_lifecycle.components.shared.parameters import one_of
from kfp_lifecycle.components.train_gpu.batch import Batch, Batches, Cuts, generator
from kfp_lifecycle.components.train_gpu.distributed import all_agree
from kfp_lifecycle.components.train_gpu.features import FeatureSpec
from kfp_lifecycle.components.train_gpu.memory import free_bytes
from kfp_lifecycle.components.train_gpu.reading import FeatureReader
from kfp_lifecycle.components.train_gpu.streaming import StreamedBatches

__all__ = ["MEMORY", "Batch", "Batches", "DeviceBatches", "make_batches"]

log = logging.getLogger(__name__)

MEMORY = ("auto", "device", "stream")

#: The share of the device's free memory that a table may take; the rest is for the network's work.
SHARE = 0.5
#: Bytes of shuffled rows that are copied together, to be cut into batches. On a CPU they stay in its cache
#: until they are used (twice as fast as to copy the whole table); a GPU wants few and large copies.
BLOCK_BYTES = {"cpu": 4 * 2**20, "cuda": 256 * 2**20}


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
            ``auto`` holds it where there is room on every rank.
        class_weights: Weight of a row by its class position; None for no weights.
        centre: For regression, what is taken off the target (see :class:`.features.Tables`).
        scale: For regression, what the target is then divided by.

    Raises:
        ParameterError: ``batch_size`` is below 1 or ``memory`` is unknown.
        DeviceError: ``memory`` is ``device`` and the table does not fit there.
        StorageError: The table is damaged.
    """
    one_of(memory, MEMORY, "memory")
    if batch_size < 1:
        raise ParameterError(f"Parameter 'batch_size' is {batch_size}.", "Give 1 or more.")
    reader = FeatureReader(table, spec, schema, class_weights, centre, scale)
    if batch_size > reader.rows:
        log.warning("batch_size is %d instead of %d: the table has no more rows", reader.rows, batch_size)
        batch_size = reader.rows
    held = memory != "stream" and _has_room(reader, device, memory)
    kind = DeviceBatches if held else StreamedBatches
    where = f"held on {device}" if held else "streamed from disk"
    log.info("%s rows, %s", f"{reader.rows:,}", where)
    return kind(reader, batch_size, device, shuffle=shuffle, seed=seed, rank=rank, world=world)


def _has_room(reader: FeatureReader, device: torch.device, memory: str) -> bool:
    """Whether the table is to be held on the device, the same on every rank."""
    need, free = reader.rows * reader.row_bytes, free_bytes(device)
    if device.type == "cpu":  # which the ranks of a machine share
        free //= int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if memory == "device":
        if need > free:
            raise DeviceError(
                f"The table takes {need / 2**30:.1f} GiB, and {device} has {free / 2**30:.1f} GiB free.",
                "Set memory to auto or stream.",
            )
        return True
    return all_agree(need <= SHARE * free)


class DeviceBatches:
    """:class:`.batch.Batches` of a table that is on the device as a whole, on every rank.

    One permutation an epoch decides the order, and does not depend on the ranks: with any number of them a
    global batch has the same rows.

    Args:
        reader: The table.
        batch_size: Rows of a global batch.
        device: Where to hold the table.
        shuffle: Whether the order changes with the epoch; without, it is the table's.
        seed: Seed of the order.
        rank: This process among ``world``.
        world: Number of processes.
    """

    def __init__(
        self,
        reader: FeatureReader,
        batch_size: int,
        device: torch.device,
        *,
        shuffle: bool,
        seed: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self._table = reader.read_all(device)
        self._device, self._shuffle, self._seed, self._rank = device, shuffle, seed, rank
        self._cuts = Cuts(reader.rows, batch_size, world)
        block_rows = BLOCK_BYTES.get(device.type, BLOCK_BYTES["cuda"]) // reader.row_bytes
        self._block_steps = max(1, block_rows // max(1, self._cuts.size(0, rank)))
        self.rows, self.batch_size, self.steps = reader.rows, batch_size, self._cuts.steps

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """See :class:`.batch.Batches`."""
        if self._shuffle:
            yield from self._shuffled(epoch, start)
        else:
            for step in range(start, self.steps):
                first, last = self._cuts.batch(step)
                yield self._table.rows(*self._cuts.share(step, self._rank)).widened().batch(last - first)

    def _shuffled(self, epoch: int, start: int) -> Iterator[Batch]:
        source = generator(self._device, self._seed, epoch)
        order = torch.randperm(self.rows, generator=source, device=self._device)
        for first in range(start, self.steps, self._block_steps):
            steps = range(first, min(first + self._block_steps, self.steps))
            yield from self._block(steps, order)

    def _block(self, steps: range, order: torch.Tensor) -> Iterator[Batch]:
        """The batches of some steps, as slices of one copy."""
        shares = [self._cuts.share(step, self._rank) for step in steps]
        block = self._table.take(torch.cat([order[slice(*share)] for share in shares])).widened()
        at = 0
        for step, (start, end) in zip(steps, shares, strict=True):
            first, last = self._cuts.batch(step)
            yield block.rows(at, at + end - start).batch(last - first)
            at += end - start
