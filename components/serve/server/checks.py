"""The columns of a request against those that the model takes."""

from collections.abc import Collection, Sequence

import numpy as np

from kfp_lifecycle.components.serve.server.failures import BadRequestError
from kfp_lifecycle.components.serve.server.models import InputColumn
from kfp_lifecycle.components.serve.server.table import Table, Values
from kfp_lifecycle.components.shared.errors import did_you_mean

#: How many columns an error names.
_NAMED = 5


class Columns:
    """Checks names and gaps.

    Args:
        inputs: The columns that the model takes.
        beside: Names of columns that may come along, such as a key, and are not given to the model.
    """

    def __init__(self, inputs: Sequence[InputColumn], beside: Collection[str] = ()) -> None:
        self._names = [column.name for column in inputs]
        self._optional = frozenset(column.name for column in inputs if not column.required)
        self._beside = frozenset(beside)

    def check(self, rows: Table) -> Table:
        """The rows with exactly the input columns, in order; optional columns that are absent are null.

        Raises:
            BadRequestError: A column is unknown or missing, or has a gap where none may be.
        """
        given = rows.columns
        columns = {}
        for name in self._names:
            values = given.get(name)
            if values is None:
                if name not in self._optional:
                    raise self._absent(name, given)
                values = [None] * rows.height
            elif name not in self._optional and (row := _gap(values)) >= 0:
                raise gap_error(name, row)
            columns[name] = values
        if len(given) > len(columns) or not given.keys() <= columns.keys():
            self._known(given)
        return Table(columns, rows.height)

    def _known(self, given: Collection[str]) -> None:
        known = {*self._names, *self._beside}
        if unknown := [name for name in given if name not in known]:
            hint = did_you_mean(unknown[0], self._names) if len(unknown[0]) < 200 else ""
            raise BadRequestError(f"The model has no column {_named(unknown)}. {hint}", unknown[0][:200])

    def _absent(self, name: str, given: Collection[str]) -> BadRequestError:
        absent = [each for each in self._names if each not in given and each not in self._optional]
        unknown = [each for each in given if each not in self._beside and each not in self._names]
        # A few hundred names are looked through for one that was meant, not a hundred thousand.
        hint = did_you_mean(name, unknown) if 0 < len(unknown) <= 200 else ""
        return BadRequestError(f"The rows have no column {_named(absent)}. {hint}", name)


def gap_error(name: str, row: int) -> BadRequestError:
    """What a missing value is answered with where the training data had none."""
    return BadRequestError(
        f"Column {name!r} has no value in row {row}, and it is required: there was no gap in training.", name
    )


def _gap(values: Values) -> int:
    """The first row without a value; -1 where each has one.

    JSON has no NaN. One that is in a list all the same is a gap to the model's own settling.
    """
    if isinstance(values, np.ndarray):
        gaps = np.isnan(values) if values.dtype.kind == "f" else np.zeros(0, dtype=bool)
        return int(gaps.argmax()) if gaps.any() else -1
    return values.index(None) if None in values else -1


def _named(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name[:100]) for name in names[:_NAMED])
    return f"{shown} and {len(names) - _NAMED} more" if len(names) > _NAMED else shown
