"""Which requests' rows may be put into one table without changing what any of them means.

A column of one table has one type: ``501.0`` is the code ``501`` among numbers, and the text ``501.0`` beside
the text ``abc``. So only rows whose columns have the same types go together.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from kfp_lifecycle.components.serve.server.table import Table, Values

#: Of a column the type of an array, or that (those) of a list's values; None's where there is no other.
_Kind = str | type[Any] | frozenset[type[Any]]
_Kinds = tuple[_Kind, ...]
_NONE = type(None)


def groups(tables: Sequence[Table]) -> list[list[int]]:
    """Positions of tables that may be concatenated, in order; the tables have the same columns.

    A column without any value goes with every type.
    """
    kinds: list[_Kinds] = []
    found: list[list[int]] = []
    members: dict[_Kinds, list[int]] = {}
    for position, table in enumerate(tables):
        # Nearly all requests are of one row, and look like one that came before.
        own = tuple(
            [
                type(values[0]) if type(values) is list and len(values) == 1 else _kind(values)
                for values in table.columns.values()
            ]
        )
        group = members.get(own)
        if group is None:
            group = members[own] = _group(own, kinds, found)
        group.append(position)
    return found


def _group(own: _Kinds, kinds: list[_Kinds], found: list[list[int]]) -> list[int]:
    """The group that columns of these types go with, which may be a new one."""
    for place, known in enumerate(kinds):
        if all(a == b or a is _NONE or b is _NONE for a, b in zip(known, own, strict=True)):
            kinds[place] = tuple(b if a is _NONE else a for a, b in zip(known, own, strict=True))
            return found[place]
    kinds.append(own)
    found.append([])
    return found[-1]


def _kind(values: Values) -> _Kind:
    if isinstance(values, np.ndarray) and values.dtype.kind != "O":
        return values.dtype.str
    types = set(map(type, values)) - {_NONE}
    if len(types) > 1:
        return frozenset(types)
    return next(iter(types), _NONE)
