"""The reference sample that travels in the model, for monitor to compare with."""

import numpy as np
import numpy.typing as npt
import polars as pl

from kfp_lifecycle.components.shared.inference.columns import PREDICTION, probability_column
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
    predicted = out_of_fold(found.predictions[positions], found.probabilities[positions], schema)
    return sample.with_columns(predicted), positions


def out_of_fold(
    predictions: npt.NDArray[np.float64], probabilities: npt.NDArray[np.float64], schema: TableSchema
) -> list[pl.Series]:
    """The columns of a prediction for the reference sample, null where it is NaN.

    Args:
        predictions: Class positions (as floats) or values, shape ``(n,)``.
        probabilities: Shape ``(n, classes)``; for regression ``(n, 0)``.
        schema: The schema.
    """
    if schema.task == "regression":
        return [pl.Series(f"{OUT_OF_FOLD}{PREDICTION}", predictions).fill_nan(None)]
    labels = pl.Series(own_labels(schema).tolist())
    codes = pl.Series(predictions).fill_nan(None).cast(pl.UInt32)
    series = [labels.gather(codes).alias(f"{OUT_OF_FOLD}{PREDICTION}")]
    for code, label in enumerate(schema.classes):
        values = pl.Series(probabilities[:, code]).fill_nan(None)
        series.append(values.alias(f"{OUT_OF_FOLD}{probability_column(label)}"))
    return series
