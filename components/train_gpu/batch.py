"""What a batch is, and how a table of rows is cut into batches for every rank."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch


class Batch(NamedTuple):
    """This rank's rows of one global batch, on the rank's device, ``n`` rows (0 to all of the batch).

    Args:
        numbers: Shape ``(n, numbers)``, float32; NaN where a value stays missing.
        codes: Shape ``(n, codes)``, int64; 0 is a category without a slot.
        target: Shape ``(n,)``: class positions (int64) or scaled values (float32).
        weight: Shape ``(n,)``, float32; None weighs all rows alike.
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


@dataclass(frozen=True)
class Cuts:
    """Where a sequence of rows is cut into batches, and a batch among the ranks.

    Every batch has ``batch_size`` rows but the last. A rest of fewer than two rows a rank would leave a rank
    with nothing to average over, so it joins the batch before it.

    Args:
        rows: Rows in the sequence.
        batch_size: Rows of a batch, 1 to ``rows``.
        world: Ranks that share each batch.
    """

    rows: int
    batch_size: int
    world: int = 1

    @property
    def steps(self) -> int:
        """Batches in the sequence."""
        whole, rest = divmod(self.rows, self.batch_size)
        return whole + (rest >= 2 * self.world or (whole == 0 and rest > 0))

    def batch(self, step: int) -> tuple[int, int]:
        """The first row of a batch and the one after its last, in the sequence."""
        start = step * self.batch_size
        return start, self.rows if step == self.steps - 1 else start + self.batch_size

    def share(self, step: int, rank: int) -> tuple[int, int]:
        """The part of a batch that is a rank's, as :meth:`batch` gives it."""
        start, end = self.batch(step)
        size = end - start
        return start + size * rank // self.world, start + size * (rank + 1) // self.world

    def size(self, step: int, rank: int) -> int:
        """Rows that a rank has of a batch."""
        start, end = self.share(step, rank)
        return end - start

    def rows_before(self, step: int, rank: int) -> int:
        """Rows that a rank has of the batches before ``step`` (up to ``steps``: of all)."""
        if step < self.steps:
            return step * self.size(0, rank) if step else 0
        return (self.steps - 1) * self.size(0, rank) + self.size(self.steps - 1, rank) if self.steps else 0


class Columns(NamedTuple):
    """Rows of a feature table as tensors: a :class:`Batch` without its size."""

    numbers: torch.Tensor
    codes: torch.Tensor
    target: torch.Tensor
    weight: torch.Tensor | None

    def each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> "Columns":
        """The columns with ``change`` applied to each."""
        weight = None if self.weight is None else change(self.weight)
        return Columns(change(self.numbers), change(self.codes), change(self.target), weight)

    def rows(self, start: int, end: int) -> "Columns":
        """The rows from ``start`` to before ``end``, as views."""
        return self.each(lambda column: column[start:end])

    def take(self, positions: torch.Tensor) -> "Columns":
        """Copies of the rows at these positions."""
        return self.each(lambda column: column.index_select(0, positions))

    def widened(self) -> "Columns":
        """The same with codes as int64, which is what a batch has and a table is too small for."""
        return self._replace(codes=self.codes.long())

    def batch(self, rows: int) -> Batch:
        """The rows as this rank's share of a global batch of ``rows``."""
        return Batch(*self, rows)


def join(parts: Sequence[Columns]) -> Columns:
    """The rows of all parts, at least one, one after the other."""
    if len(parts) == 1:
        return parts[0]
    weights = [part.weight for part in parts if part.weight is not None]
    return Columns(
        torch.cat([part.numbers for part in parts]),
        torch.cat([part.codes for part in parts]),
        torch.cat([part.target for part in parts]),
        torch.cat(weights) if weights else None,
    )


def generator(device: torch.device | str, *numbers: int) -> torch.Generator:
    """A source of random numbers that these numbers alone decide, each combination with its own."""
    state = np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]
    return torch.Generator(device).manual_seed(int(state) % 2**63)
