"""A feature table whose every value tells which row it is of, written as make_tables writes it."""

from pathlib import Path

import numpy as np
import polars as pl
import torch

from kfp_lifecycle.components.shared.inference.schema import ROW_HASH, Column, TableSchema
from kfp_lifecycle.components.train_gpu.batch import Batch
from kfp_lifecycle.components.train_gpu.features import POSITION, TARGET, FeatureSpec

SPEC = FeatureSpec(("a", "b", "c"), ("k", "l"), (1000, 8))
CLASSES = TableSchema([Column("y", "integer", "target")], "y", "multiclass", ["0", "1", "2"])
NUMBERS = TableSchema([Column("y", "number", "target")], "y", "regression")


def feature_table(folder: Path, rows: int, group_rows: int = 100, schema: TableSchema = CLASSES) -> Path:
    """``rows`` rows: ``a`` is the row's number, all else follows from it."""
    number = np.arange(rows)
    target = pl.Series(number % 3, dtype=pl.Int32) if schema.classes else pl.Series(number / 2)
    frame = pl.DataFrame(
        {
            "n0": pl.Series(number, dtype=pl.Float32),
            "n1": pl.Series(np.where(number % 5 == 0, np.nan, -number), dtype=pl.Float32),
            "n2": pl.Series(number * 0.5, dtype=pl.Float32),
            "c0": pl.Series(number % 1000, dtype=pl.Int32),
            "c1": pl.Series(number % 8, dtype=pl.Int32),
            TARGET: target,
            POSITION: pl.Series(number, dtype=pl.Int64),
            ROW_HASH: pl.Series(number, dtype=pl.UInt64),
        }
    )
    folder.mkdir(parents=True, exist_ok=True)
    frame.write_parquet(
        folder / "part-0.parquet", compression="uncompressed", statistics=False, row_group_size=group_rows
    )
    return folder


def rows_of(batch: Batch, schema: TableSchema = CLASSES) -> list[int]:
    """The numbers of a batch's rows, once all their values are found to be of them."""
    number = batch.numbers[:, 0].long()
    assert batch.numbers.dtype == torch.float32
    assert batch.codes.dtype == torch.int64
    assert batch.numbers.shape == (len(number), 3)
    assert batch.codes.shape == (len(number), 2)
    expected = torch.where(number % 5 == 0, torch.nan, -number.float())
    assert torch.equal(batch.numbers[:, 1].nan_to_num(7.0), expected.nan_to_num(7.0))
    assert torch.equal(batch.numbers[:, 2], number * 0.5)
    assert torch.equal(batch.codes, torch.stack([number % 1000, number % 8], 1))
    if schema.classes:
        assert batch.target.dtype == torch.int64
        assert torch.equal(batch.target, number % 3)
    else:
        assert batch.target.dtype == torch.float32
        assert torch.equal(batch.target, number / 2)
    listed: list[int] = number.tolist()
    return listed
