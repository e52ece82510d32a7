"""Rows by column, as requests bring them and answers take them away: cheaper than a frame for a few rows."""

from collections.abc import Mapping, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

#: The values of a column: a list of JSON values (None is missing), or a NumPy array.
Values = list[Any] | npt.NDArray[Any]


class Table:
    """Columns of one length.

    Args:
        columns: Name to values.
        height: The number of rows.
    """

    __slots__ = ("_frame", "columns", "height")

    def __init__(self, columns: dict[str, Values], height: int) -> None:
        self.columns = columns
        self.height = height
        self._frame: pl.DataFrame | None = None

    def frame(self) -> pl.DataFrame:
        """The rows as Polars, each column of one type; text where the values are mixed."""
        if self._frame is None:
            self._frame = pl.DataFrame([_series(name, values) for name, values in self.columns.items()])
        return self._frame

    def select(self, names: Sequence[str]) -> "Table":
        """Those columns of this table that are there."""
        return Table({name: self.columns[name] for name in names if name in self.columns}, self.height)

    def slice(self, start: int, length: int) -> "Table":
        """Some of the rows."""
        stop = start + length
        return Table({name: values[start:stop] for name, values in self.columns.items()}, length)

    def records(self) -> list[dict[str, Any]]:
        """The rows as dicts of JSON values."""
        names = list(self.columns)
        lists = [as_list(values) for values in self.columns.values()]
        return [dict(zip(names, row, strict=True)) for row in zip(*lists, strict=True)]

    @classmethod
    def of(cls, frame: pl.DataFrame) -> "Table":
        """A Polars frame's rows."""
        return cls({name: frame[name].to_list() for name in frame.columns}, frame.height)

    @classmethod
    def concatenated(cls, tables: Sequence["Table"]) -> "Table":
        """The rows of several tables with the same columns, one after the other."""
        names = tables[0].columns
        if len(tables) == 1:
            return tables[0]
        return cls(
            {name: _joined([table.columns[name] for table in tables]) for name in names},
            sum(table.height for table in tables),
        )


def as_list(values: Values) -> list[Any]:
    """The values of a column as Python has them."""
    return values if isinstance(values, list) else values.tolist()


def _joined(parts: list[Values]) -> Values:
    if all(type(part) is list for part in parts):
        return list(chain.from_iterable(parts))
    if all(isinstance(part, np.ndarray) and part.dtype == parts[0].dtype for part in parts):  # type: ignore[union-attr]
        return np.concatenate(parts)
    return [value for part in parts for value in as_list(part)]


def _series(name: str, values: Values) -> pl.Series:
    if isinstance(values, np.ndarray) and values.dtype.kind in "iufb":
        return pl.Series(name, values)
    items = as_list(values)
    try:
        return pl.Series(name, items, strict=True)
    except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError):
        return pl.Series(name, [None if item is None else str(item) for item in items], dtype=pl.String)


def by_column(records: Sequence[Mapping[str, Any]]) -> Table:
    """Records as a table; a key that a record does not have is missing there."""
    first = records[0]
    if len(records) == 1:
        return Table({name: [value] for name, value in first.items()}, 1)
    if len(first) > 1 and set(map(len, records)) == {len(first)}:
        try:
            # All in C: most requests have the same keys in each record.
            values = zip(*map(itemgetter(*first), records), strict=True)
            return Table(dict(zip(first, map(list, values), strict=True)), len(records))
        except KeyError:
            pass
    names = dict.fromkeys(name for record in records for name in record)
    return Table({name: [record.get(name) for record in records] for name in names}, len(records))
