"""The reference sample that travels in the model, for monitor to compare with."""

import numpy as np
import numpy.typing as npt
import polars as pl

from kfp_lifecycle.components.shared.inference.labels import own_labels
from kfp_lifecycle.components.shared.inference.schema import ROW_HASH, TableSchema
from kfp_lifecycle.components.shared.model_format import OUT_OF_FOLD
from kfp_lifecycle.components.train.crossval import CrossValidation


def reference_rows(
    rows: pl.DataFrame, found: CrossValidation, schema: TableSchema, count: int, seed: int
) -> tuple[pl.DataFrame, npt.NDArray[np.intp]]:
    """A random sample of training rows with their out-of-fold predictions, and its positions in ``rows``.

    Rows that a fold has judged come first; without folds the predictions are null. Keys are left out: they
    say who a row is about, and nothing about the data's distribution.

    Args:
        rows: The prepared training rows.
        found: The cross-validation.
        schema: The schema.
        count: The most rows to take.
        seed: Seed of the sample.
    """
    judged = np.flatnonzero(np.isfinite(found.predictions))
    pool = judged if len(judged) else np.arange(rows.height)
    positions = np.sort(np.random.default_rng(seed).choice(pool, min(count, len(pool)), replace=False))
    columns = [column.name for column in schema.columns if column.role != "key"]
    sample = rows[positions].select(*columns, ROW_HASH)
    return sample.with_columns(_predictions(found, schema, positions)), positions


def _predictions(
    found: CrossValidation, schema: TableSchema, positions: npt.NDArray[np.intp]
) -> list[pl.Series]:
    predicted = found.predictions[positions]
    if schema.task == "regression":
        return [pl.Series(f"{OUT_OF_FOLD}prediction", predicted).fill_nan(None)]
    labels = pl.Series(own_labels(schema).tolist())
    codes = pl.Series(predicted).fill_nan(None).cast(pl.UInt32)
    series = [labels.gather(codes).alias(f"{OUT_OF_FOLD}prediction")]
    for code, label in enumerate(schema.classes):
        values = pl.Series(found.probabilities[positions, code]).fill_nan(None)
        series.append(values.alias(f"{OUT_OF_FOLD}probability_{label}"))
    return series
