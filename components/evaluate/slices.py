"""Metrics by the values of chosen columns: where a model is worse than its average."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from kfp_lifecycle.components.evaluate.bootstrap import Estimate, bootstrap
from kfp_lifecycle.components.evaluate.predictions import Scored
from kfp_lifecycle.components.shared.dataset import scan
from kfp_lifecycle.components.shared.errors import ParameterError, did_you_mean
from kfp_lifecycle.components.shared.inference.schema import ROW_HASH

#: Values of a text column beyond the most frequent ones are one slice together.
MAX_VALUES = 20
#: A numeric or time column with more distinct values than this is cut at its quartiles.
MAX_DISTINCT = 12
#: With fewer rows, or fewer of any class, an interval says little; the report marks the slice.
FEW_ROWS = 50
FEW_OF_A_CLASS = 10


@dataclass(frozen=True)
class Slice:
    """The metrics of the test rows with one value, or range of values, of a column.

    Args:
        column: The column.
        value: The value as text, a range such as ``12 to 29``, ``missing``, or ``(17 other values)``.
        rows: How many rows.
        small: Whether they are too few for the intervals to say much.
        metrics: The metrics that these rows define.
    """

    column: str
    value: str
    rows: int
    small: bool
    metrics: Mapping[str, Estimate]


def check_slices(test: str | Path, columns: Sequence[str], target: str) -> None:
    """Raises ``ParameterError`` for a slice that is no column of the test split, or is its target."""
    known = [name for name in scan(test).collect_schema() if name not in (ROW_HASH, target)]
    for column in columns:
        if column == target:
            raise ParameterError(
                f"Parameter 'slices' names the target {target!r}.",
                "Slice by other columns: a slice of one class has no ROC curve.",
            )
        if column not in known:
            raise ParameterError(
                f"Parameter 'slices' names {column!r}, which is no column of the test split.",
                did_you_mean(column, known),
            )


def slice_metrics(
    scored: Scored,
    test: str | Path,
    columns: Sequence[str],
    samples: int = 1000,
    confidence: float = 0.95,
    seed: int = 42,
) -> list[Slice]:
    """The metrics of each slice with intervals from resampling within it.

    Args:
        scored: The model's predictions of all test rows.
        test: The test split.
        columns: The columns to slice by.
        samples: Number of resamples, as for :func:`bootstrap`; likewise ``confidence`` and ``seed``.
        confidence: Coverage of the intervals.
        seed: Seed of the resamples.
    """
    found = []
    for column in columns:
        values = scan(test).select(column).collect()[column]
        for value, mask in _groups(values):
            part = scored.take(mask)
            metrics = bootstrap([part], samples, confidence, seed).models[0]
            found.append(Slice(column, value, part.rows, _is_small(part), metrics))
    return found


def _groups(values: pl.Series) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    """Each slice's name and which rows are in it, in the order of the values; together they are all rows."""
    ordered = values.dtype.is_numeric() or values.dtype.is_temporal()
    cut = ordered and values.n_unique() > MAX_DISTINCT
    yield from _quarters(values) if cut else _each(values)
    if values.null_count():
        yield "(missing)", values.is_null().to_numpy()


def _quarters(values: pl.Series) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    """Four groups of about as many rows; equal values are in one group, so that there may be fewer."""
    quarter = (values.rank("average") - 0.5) * 4 // (values.len() - values.null_count())
    for index in range(4):
        mask = (quarter == index).fill_null(False)
        if mask.any():
            rows = values.filter(mask)
            yield f"{_text(rows.min())} to {_text(rows.max())}", mask.to_numpy()


def _each(values: pl.Series) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    counts = values.drop_nulls().value_counts(sort=True)[values.name]
    frequent = counts.head(MAX_VALUES).sort()
    for value in frequent:
        yield _text(value), (values == value).fill_null(False).to_numpy()
    if (left := counts.len() - frequent.len()) > 0:
        other = values.is_in(frequent.implode()).not_().fill_null(False)
        yield f"({left} other values)", other.to_numpy()


def _text(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _is_small(part: Scored) -> bool:
    if part.task == "regression":
        return part.rows < FEW_ROWS
    counts = np.bincount(part.truth.astype(np.int64), minlength=len(part.classes))
    return part.rows < FEW_ROWS or bool((counts < FEW_OF_A_CLASS).any())
