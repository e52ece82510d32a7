"""Reads feature tables row group by row group into tensors."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from kfp_lifecycle.components.shared.errors import StorageError
from kfp_lifecycle.components.shared.inference.schema import TableSchema
from kfp_lifecycle.components.train_gpu.batch import Columns
from kfp_lifecycle.components.train_gpu.features import TARGET, FeatureSpec


@dataclass(frozen=True)
class Piece:
    """Some rows of a row group: those from ``start`` to before ``end``."""

    group: int
    start: int
    end: int


class FeatureReader:
    """A feature table that :func:`.features.make_tables` wrote, to read pieces of it.

    Args:
        table: The folder.
        spec: Its features.
        schema: The schema, for its task.
        class_weights: Weight of a row by its class position, or None.
        centre: For regression, what is taken off the target.
        scale: For regression, what it is then divided by.

    Raises:
        StorageError: The table is damaged or not there.
    """

    def __init__(
        self,
        table: Path,
        spec: FeatureSpec,
        schema: TableSchema,
        class_weights: Sequence[float] | None = None,
        centre: float = 0.0,
        scale: float = 1.0,
    ) -> None:
        self._path = table / "part-0.parquet"
        self._spec = spec
        self._classifies = schema.task != "regression"
        self._weights = None if class_weights is None else np.asarray(class_weights, dtype=np.float32)
        self._centre, self._scale = centre, scale
        with self._declared():
            self._file = pq.ParquetFile(self._path)
        about = self._file.metadata
        self.rows: int = about.num_rows
        self.groups: list[int] = [about.row_group(g).num_rows for g in range(about.num_row_groups)]

    @property
    def row_bytes(self) -> int:
        """What one row takes as tensors."""
        weight = 0 if self._weights is None else 4
        return 4 * (len(self._spec.numbers) + len(self._spec.codes)) + (8 if self._classifies else 4) + weight

    @property
    def pieces(self) -> list[Piece]:
        """All row groups, whole."""
        return [Piece(group, 0, rows) for group, rows in enumerate(self.groups)]

    def empty(self, rows: int, device: torch.device | str = "cpu") -> Columns:
        """Tensors for so many rows, to be filled."""
        target = torch.int64 if self._classifies else torch.float32
        return Columns(
            torch.empty((rows, len(self._spec.numbers)), dtype=torch.float32, device=device),
            torch.empty((rows, len(self._spec.codes)), dtype=torch.int32, device=device),
            torch.empty(rows, dtype=target, device=device),
            None if self._weights is None else torch.empty(rows, device=device),
        )

    def read(self, pieces: Sequence[Piece], into: Columns | None = None) -> Columns:
        """The rows of the pieces in their order, in host memory.

        Args:
            pieces: What to read.
            into: Where to put it, if not in memory of its own: tensors with room for as many rows or more.

        Raises:
            StorageError: The table is damaged.
        """
        count = sum(piece.end - piece.start for piece in pieces)
        rows = self.empty(count) if into is None else into.rows(0, count)
        at = 0
        for piece in pieces:
            end = at + piece.end - piece.start
            self._fill(rows.rows(at, end), piece)
            at = end
        return rows

    def read_all(self, device: torch.device) -> Columns:
        """The whole table on the device, read so that host memory holds no more than a row group beside."""
        whole, at = self.empty(self.rows, device), 0
        for piece in self.pieces:
            part = whole.rows(at, at + piece.end)
            if device.type == "cpu":
                self._fill(part, piece)
            else:
                for there, here in zip(part, self.read([piece]), strict=True):
                    if there is not None and here is not None:
                        there.copy_(here)
            at += piece.end
        return whole

    def _fill(self, rows: Columns, piece: Piece) -> None:
        spec = self._spec
        with self._declared():
            # In this thread alone: what is read is not compressed, and the cores are for training.
            table = self._file.read_row_group(
                piece.group, columns=[*spec.number_columns, *spec.code_columns, TARGET], use_threads=False
            )
            table = table.slice(piece.start, piece.end - piece.start)
            for place, name in enumerate(spec.number_columns):
                rows.numbers.numpy()[:, place] = table[name].to_numpy()
            for place, name in enumerate(spec.code_columns):
                rows.codes.numpy()[:, place] = table[name].to_numpy()
            self._fill_target(rows, table[TARGET].to_numpy())

    def _fill_target(self, rows: Columns, target: Any) -> None:
        if self._classifies:
            rows.target.numpy()[:] = target
        else:
            rows.target.numpy()[:] = (target - self._centre) / self._scale
        if rows.weight is not None and self._weights is not None:
            rows.weight.numpy()[:] = self._weights[target]

    @contextmanager
    def _declared(self) -> Iterator[None]:
        try:
            yield
        except (pa.ArrowException, OSError, KeyError) as error:
            raise StorageError(
                f"The feature table {self._path} cannot be read: {error}.", "Run the step again."
            ) from error
