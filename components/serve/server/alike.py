"""Which requests' rows may be put into one table without changing what any of them means.

A column of one table has one type: ``501.0`` is the code ``501`` among numbers, and the text ``501.0`` beside
the text ``abc``. So only rows whose columns have the same types go together.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from kfp_lifecycle.components.serve.server.table import Table, Values

#: Of a column the type of an array, or those of a list's values without None; None where there is no value.
_Kind = str | type[Any] | frozenset[type[Any]] | None


def groups(tables: Sequence[Table]) -> list[list[int]]:
    """Positions of tables that may be concatenated, in order; the tables have the same columns.

    A column without any value goes with every type.
    """
    kinds: list[list[_Kind]] = []
    found: list[list[int]] = []
    for position, table in enumerate(tables):
        own = [_kind(values) for values in table.columns.values()]
        for known, members in zip(kinds, found, strict=True):
            if all(a == b or a is None or b is None for a, b in zip(known, own, strict=True)):
                known[:] = [b if a is None else a for a, b in zip(known, own, strict=True)]
                members.append(position)
                break
        else:
            kinds.append(own)
            found.append([position])
    return found


def _kind(values: Values) -> _Kind:
    if isinstance(values, np.ndarray) and values.dtype.kind != "O":
        return values.dtype.str
    if len(values) == 1:
        return None if values[0] is None else type(values[0])
    types = set(map(type, values)) - {type(None)}
    if len(types) > 1:
        return frozenset(types)
    return next(iter(types), None)
