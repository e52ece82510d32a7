"""Folds on disk: made once, and mapped into the memory of every process that fits on them.

A search changes the estimator and leaves rows, folds and plan as they are. So the features of each fold are
computed once, and however many workers fit on them, they are in memory once.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from kfp_lifecycle.components.shared.inference.schema import TableSchema
from kfp_lifecycle.components.shared.inference.transform import FeatureTransform
from kfp_lifecycle.components.train.crossval import FoldData, fold_data
from kfp_lifecycle.components.train.folds import Fold

_ARRAYS = ("y", "features", "truth", "judged")


def write_folds(
    folder: Path,
    plan: FeatureTransform,
    schema: TableSchema,
    rows: pl.DataFrame,
    y: npt.NDArray[Any],
    folds: list[Fold],
) -> None:
    """Writes each fold's features and targets, and the prepared rows, into ``folder``.

    Args:
        folder: Where to; made if it is missing.
        plan: The unfitted transform, which each fold fits on its own rows.
        schema: The schema of the rows.
        rows: The prepared rows, ``n`` of them.
        y: Class positions, or the target's values, shape ``(n,)``.
        folds: Positions in ``rows``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows.write_ipc(folder / "rows.arrow", compression="uncompressed")
    for number, fold in enumerate(folds):
        data = fold_data(plan, schema, rows, y, fold)
        np.save(_file(folder, number, "fit"), fold.fit)
        for name in _ARRAYS:
            np.save(_file(folder, number, name), getattr(data, name))


@dataclass(frozen=True)
class FoldFiles:
    """The folds in a folder that :func:`write_folds` has filled.

    Args:
        folder: The folder.
        count: How many folds there are.
    """

    folder: Path
    count: int

    def read(self, number: int) -> FoldData:
        """One fold. The arrays are read-only maps of the files; the rows are read when they are asked for."""
        arrays = {name: np.load(_file(self.folder, number, name), mmap_mode="r") for name in _ARRAYS}
        return FoldData(rows=lambda: self._rows(number), **arrays)

    def _rows(self, number: int) -> pl.DataFrame:
        positions = np.load(_file(self.folder, number, "fit"))
        return pl.scan_ipc(self.folder / "rows.arrow").select(pl.all().gather(positions)).collect()


def _file(folder: Path, number: int, name: str) -> Path:
    return folder / f"{number}-{name}.npy"
