"""Rows as they come, from pandas or Polars, as one Polars frame."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import polars as pl

from .errors import SchemaError


def to_polars(frame: pd.DataFrame | pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    """Those of the columns that are there, as Polars, each of one type.

    pandas columns of mixed objects (text beside numbers, as in one with blanks) become text; None and NaT
    become null. Own code instead of ``pl.from_pandas``, which needs pyarrow and refuses mixed objects.

    Raises:
        SchemaError: The rows are not a table, or a column is there twice.
    """
    if isinstance(frame, pl.DataFrame):
        return frame.select([name for name in columns if name in frame.columns])
    if not isinstance(frame, pd.DataFrame):
        raise SchemaError(
            f"The rows come as {type(frame).__name__}.", "Pass a pandas or Polars DataFrame of them."
        )
    return pl.DataFrame({name: _series(name, frame[name]) for name in columns if name in frame.columns})


def _series(name: str, values: Any) -> pl.Series:
    if isinstance(values, pd.DataFrame):
        raise SchemaError(f"The rows have the column {name!r} twice.", "Pass it once.")
    if isinstance(values.dtype, pd.DatetimeTZDtype):
        values = values.dt.tz_convert("UTC").dt.tz_localize(None)
    if isinstance(values.dtype, np.dtype) and values.dtype.kind == "M":
        return pl.Series(name, values.to_numpy().astype("datetime64[us]"))
    if isinstance(values.dtype, np.dtype) and values.dtype.kind in "iufb":
        return pl.Series(name, values.to_numpy())
    objects = values.to_numpy(dtype=object)
    items = [None if none else item for item, none in zip(objects, pd.isna(objects), strict=True)]
    try:
        return pl.Series(name, items, strict=True)
    except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError):
        return pl.Series(name, [None if item is None else str(item) for item in items], dtype=pl.String)
