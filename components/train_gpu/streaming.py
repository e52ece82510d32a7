"""Batches read from disk anew in every epoch, for tables larger than memory.

The row groups of an epoch come in a random order, and a rank reads its own stretch of that order. What it has
read is shuffled a window at a time: many row groups together, small enough that memory does not grow with
the table. A thread reads and shuffles the next window while the network is trained on this one.
"""

import queue
import threading
from collections.abc import Callable, Iterator
from itertools import accumulate, pairwise
from typing import TypeVar

import torch

from kfp_lifecycle.components.train_gpu.batch import Batch, Columns, Cuts, generator, join
from kfp_lifecycle.components.train_gpu.reading import FeatureReader, Piece

T = TypeVar("T")

#: Bytes of rows that are shuffled together; up to four windows are in memory at once.
WINDOW_BYTES = 64 * 2**20
#: Windows that are ready before they are wanted.
AHEAD = 1


class StreamedBatches:
    """:class:`.batch.Batches` that hold no more than a few windows of rows.

    In an epoch every row comes once, over all ranks. The batches of one world size differ from those of
    another, because every rank reads row groups of its own. Without shuffling the rows come in the
    table's order, each rank with a stretch of it.

    Args:
        reader: The table.
        batch_size: Rows of a global batch.
        device: Where the batches are wanted.
        shuffle: Whether the order changes with the epoch.
        seed: Seed of the order.
        rank: This process among ``world``.
        world: Number of processes.
        window_bytes: Bytes of rows that are shuffled together.
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
        window_bytes: int = WINDOW_BYTES,
    ) -> None:
        self._reader, self._device = reader, device
        self._shuffle, self._seed, self._rank = shuffle, seed, rank
        self._cuts = Cuts(reader.rows, batch_size, world)
        self._window_rows = max(1, window_bytes // reader.row_bytes)
        self.rows, self.batch_size, self.steps = reader.rows, batch_size, self._cuts.steps

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """See :class:`.batch.Batches`. Reads nothing of the windows before ``start``."""
        skip = self._cuts.rows_before(start, self._rank)
        with _ahead(lambda: self._windows(epoch, skip)) as windows:
            yield from self._batches(windows, start)

    def _batches(self, windows: Iterator[Columns], start: int) -> Iterator[Batch]:
        window, at = self._reader.empty(0, self._device).widened(), 0
        for step in range(start, self.steps):
            parts: list[Columns] = []
            missing = self._cuts.size(step, self._rank)
            while missing or not parts:
                if missing and at == len(window.target):
                    # From pinned memory this runs beside what the device is doing.
                    window, at = self._on_device(next(windows)), 0
                end = min(at + missing, len(window.target))
                parts.append(window.rows(at, end))
                missing, at = missing - (end - at), end
            first, last = self._cuts.batch(step)
            yield join(parts).batch(last - first)

    def _on_device(self, window: Columns) -> Columns:
        return window.each(lambda column: column.to(self._device, non_blocking=True)).widened()

    def _windows(self, epoch: int, skip: int) -> Iterator[Columns]:
        """This rank's windows of an epoch, shuffled, without the first ``skip`` rows."""
        # What is shuffled is copied, so it can all be read into the same memory: new pages cost as much as
        # the reading.
        most = min(self.rows, self._window_rows + max(self._reader.groups))
        place = self._reader.empty(most) if self._shuffle else None
        for number, pieces in enumerate(self._plan(epoch)):
            rows = sum(piece.end - piece.start for piece in pieces)
            if skip < rows:
                source = generator("cpu", self._seed, epoch, self._rank, number)
                yield self._window(pieces, source, skip, place)
            skip = max(0, skip - rows)

    def _window(
        self, pieces: list[Piece], source: torch.Generator, skip: int, place: Columns | None
    ) -> Columns:
        window = self._reader.read(pieces, place)
        if self._shuffle:
            window = window.take(torch.randperm(len(window.target), generator=source)[skip:])
        else:
            window = window.rows(skip, len(window.target))
        return window.each(torch.Tensor.pin_memory) if self._device.type == "cuda" else window

    def _plan(self, epoch: int) -> Iterator[list[Piece]]:
        """What this rank reads for each of its windows."""
        window: list[Piece] = []
        rows = 0
        for piece in self._pieces(epoch):
            window.append(piece)
            rows += piece.end - piece.start
            if rows >= self._window_rows:
                yield window
                window, rows = [], 0
        if window:
            yield window

    def _pieces(self, epoch: int) -> Iterator[Piece]:
        """This rank's stretch of the row groups in their order; at its ends it may have a part of one."""
        groups = self._reader.groups
        order = list(range(len(groups)))
        if self._shuffle:
            source = generator("cpu", self._seed, epoch)
            order = torch.randperm(len(groups), generator=source).tolist()
        first = sum(self._cuts.rows_before(self.steps, rank) for rank in range(self._rank))
        last = first + self._cuts.rows_before(self.steps, self._rank)
        bounds = pairwise(accumulate((groups[group] for group in order), initial=0))
        for group, (start, end) in zip(order, bounds, strict=True):
            low, high = max(start, first), min(end, last)
            if low < high:
                yield Piece(group, low - start, high - start)


class _ahead(Iterator[T]):  # noqa: N801
    """A context in which a thread makes the values of an iterator before they are asked for.

    What the iterator raises is raised where its value would have come. Leaving the context ends the thread.
    """

    def __init__(self, make: Callable[[], Iterator[T]]) -> None:
        self._make = make
        self._ready: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue(AHEAD)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="read-ahead", daemon=True)

    def __enter__(self) -> "_ahead[T]":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def __next__(self) -> T:
        value, error = self._ready.get()
        if error is not None:
            raise error
        return value  # type: ignore[return-value]  # a value comes wherever no error does

    def _run(self) -> None:
        try:
            for value in self._make():
                if not self._put((value, None)):
                    return
            self._put((None, StopIteration()))
        except BaseException as error:
            self._put((None, error))

    def _put(self, item: tuple[T | None, BaseException | None]) -> bool:
        """Waits until there is room, or nobody wants any more."""
        while not self._stop.is_set():
            try:
                self._ready.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False
