"""Scoring a model on the test rows, part by part, so that the table need not fit in memory."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from kfp_lifecycle.components.evaluate.predictions import Floats, Scored
from kfp_lifecycle.components.shared.dataset import scan
from kfp_lifecycle.components.shared.errors import (
    EstimatorError,
    LifecycleError,
    SchemaError,
    SplitError,
    TargetError,
)
from kfp_lifecycle.components.shared.inference.columns import PREDICTION, probability_column
from kfp_lifecycle.components.shared.inference.labels import label_codes
from kfp_lifecycle.components.shared.inference.schema import ROW_HASH, TableSchema
from kfp_lifecycle.components.shared.model_format import load_predictor

#: Rows that are scored at once.
PART_ROWS = 50_000


def read_truth(test: str | Path, schema: TableSchema) -> npt.NDArray[np.int64] | Floats:
    """The target of the test rows: positions in ``schema.classes``, or numbers for regression; shape (rows,).

    Raises:
        SchemaError: The rows have no target, or a label that is none of the classes.
        SplitError: There are no rows, or rows of one class only: most metrics are not defined then.
        TargetError: A regression's target is missing in a row.
    """
    rows = scan(test)
    if schema.target not in rows.collect_schema():
        raise SchemaError(
            f"The test split has no target column {schema.target!r}.", "Pass prepare's test split."
        )
    target = rows.select(schema.target).collect()[schema.target]
    if target.is_empty():
        raise SplitError("The test split holds no rows.", "Give a larger test_size.")
    if schema.task == "regression":
        if not target.cast(pl.Float64).is_finite().fill_null(False).all():
            raise TargetError(
                f"Target {schema.target!r} is missing or infinite in rows of the test split.",
                "Pass prepare's test split, which has no such rows.",
            )
        return target.cast(pl.Float64).to_numpy()
    codes = label_codes(target, schema)
    if (present := np.unique(codes)).size < 2:
        raise SplitError(
            f"The test split holds one class of target {schema.target!r} only: "
            f"{schema.classes[present[0]]!r}, in all {codes.size:,} rows.",
            "Give a larger test_size, a stratified split, or another time or group boundary.",
        )
    return codes


def score(
    model: str | Path, test: str | Path, schema: TableSchema, truth: npt.NDArray[np.int64] | Floats
) -> Scored:
    """A model's predictions of the test rows, in their order.

    Args:
        model: Local folder of a Model artifact.
        test: The test split: settled rows, which a model's own settling passes unchanged.
        schema: The schema that the model was trained with.
        truth: The target, from :func:`read_truth`.

    Raises:
        SchemaError: The rows lack a column that the model needs, or have a value that it refuses.
        EstimatorError: A prediction is not finite.
    """
    predictor = load_predictor(model)
    try:
        parts = [_predict(predictor, rows, schema) for rows in _parts(test, schema.target)]
    except Exception as error:
        if not getattr(error, "is_declared", False) or isinstance(error, LifecycleError):
            raise
        # The model brings its own copy of the error classes.
        raise SchemaError(getattr(error, "problem", str(error)), getattr(error, "fix", "")) from error
    predicted, probabilities = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    if not (np.isfinite(predicted).all() and np.isfinite(probabilities).all()):
        raise EstimatorError(
            "The model predicts values that are not finite for some of the test rows.",
            "Choose another estimator or other parameters.",
        )
    return Scored(schema.task, truth, predicted, probabilities, tuple(schema.classes), schema.positive_class)


def _parts(test: str | Path, target: str) -> Iterator[pl.DataFrame]:
    rows = scan(test)
    inputs = rows.drop(target, ROW_HASH, strict=False)
    for start in range(0, rows.select(pl.len()).collect().item(), PART_ROWS):
        yield inputs.slice(start, PART_ROWS).collect()


def _predict(predictor: Any, rows: pl.DataFrame, schema: TableSchema) -> tuple[npt.NDArray[Any], Floats]:
    answer = predictor.predict(rows)
    if schema.task == "regression":
        return answer[PREDICTION].to_numpy(np.float64), np.empty((len(rows), 0))
    columns = [probability_column(label) for label in schema.classes]
    labels = pl.Series(answer[PREDICTION].to_numpy())
    return label_codes(labels, schema), answer[columns].to_numpy(np.float64)
