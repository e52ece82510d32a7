"""The plan of a transform: which columns become features and how, before any row has been seen."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import polars as pl

from .errors import SchemaError, did_you_mean
from .expressions import without_zone
from .settle import DTYPES, Frame

#: What is taken from a date or a timestamp. A date has no hour and no minute; Monday is weekday 1.
DATE_PARTS = ("year", "month", "day", "weekday", "hour", "minute", "dayofyear")


@dataclass(frozen=True)
class NumberPlan:
    """One numeric feature: a number, a boolean as 0 and 1, or a part of a date or timestamp.

    Args:
        name: The feature's name.
        column: The column it comes from.
        part: One of :data:`DATE_PARTS`; empty where the column is the number.
        impute: ``median``, ``mean``, ``zero``, or ``none``: what is missing stays missing.
        scale: ``standard``, ``minmax`` or ``none``.
    """

    kind: ClassVar[str] = "number"

    name: str
    column: str
    part: str = ""
    impute: str = "median"
    scale: str = "standard"


@dataclass(frozen=True)
class CategoryPlan:
    """One categorical column.

    Args:
        column: The column, of any type that can be written as text.
        impute: ``missing``, a category of its own, or ``most_frequent``.
        encode: ``onehot``, ``ordinal`` or ``target``.
        rare_share: Categories with less than this share of the training rows are taken together as one.
    """

    kind: ClassVar[str] = "category"

    column: str
    impute: str = "missing"
    encode: str = "onehot"
    rare_share: float = 0.0


ColumnPlan = NumberPlan | CategoryPlan


@dataclass(frozen=True)
class Plan:
    """What a transform reads and what it makes of it.

    Args:
        inputs: The settled columns that are read, to their type (one of :data:`.schema.TYPES`).
        derive: Derived column to its SQL; a later one may read an earlier one.
        columns: What becomes a feature, in order.
        target: Name of the target column.
        task: ``binary``, ``multiclass`` or ``regression``.
        parameters: The parameters that made the plan, for lineage.
    """

    inputs: dict[str, str]
    derive: dict[str, str]
    columns: list[ColumnPlan]
    target: str
    task: str
    parameters: dict[str, Any]

    @property
    def numbers(self) -> list[NumberPlan]:
        """The numeric features."""
        return [column for column in self.columns if isinstance(column, NumberPlan)]

    @property
    def categories(self) -> list[CategoryPlan]:
        """The categorical columns."""
        return [column for column in self.columns if isinstance(column, CategoryPlan)]

    @property
    def encodes_target(self) -> bool:
        """Whether any feature is computed from the target of the training rows."""
        return any(column.encode == "target" for column in self.categories)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {**vars(self), "columns": [{"kind": column.kind, **vars(column)} for column in self.columns]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Plan":
        """The inverse of :meth:`to_dict`; other keys are ignored.

        Raises:
            SchemaError: The data is no plan.
        """
        kinds: dict[str, type[ColumnPlan]] = {cls.kind: cls for cls in (NumberPlan, CategoryPlan)}
        try:
            columns = [
                kinds[column["kind"]](**{key: value for key, value in column.items() if key != "kind"})
                for column in data["columns"]
            ]
            return Plan(
                inputs=dict(data["inputs"]),
                derive=dict(data["derive"]),
                columns=columns,
                target=data["target"],
                task=data["task"],
                parameters=dict(data.get("parameters", {})),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise SchemaError(
                f"This is not the plan of a transform: {error!r}.", "Pass the plan output of featurize."
            ) from error


def sql_types(kinds: Mapping[str, str]) -> dict[str, pl.DataType]:
    """The Polars types in which derived columns see settled columns: timestamps have no zone."""
    return {name: pl.Datetime("us") if kind == "timestamp" else DTYPES[kind] for name, kind in kinds.items()}


def typed(frame: Frame, kinds: Mapping[str, str], keep: tuple[str, ...] = ()) -> Frame:
    """The named columns of a settled frame, in the types that derived columns see.

    Other types of the same kind, as a pandas frame has them, and all-null columns are cast.

    Args:
        frame: A frame with at least these columns.
        kinds: Column to its type, one of :data:`.schema.TYPES`.
        keep: Further columns, passed on as they are.

    Raises:
        SchemaError: A column is absent, or of another type. Names it.
    """
    have = dict(frame.collect_schema())
    want = sql_types(kinds)
    columns = []
    for name, kind in kinds.items():
        if name not in have:
            raise SchemaError(f"The rows have no column {name!r}.", did_you_mean(name, have))
        if not _is_kind(have[name], kind):
            raise SchemaError(
                f"Column {name!r} comes as {have[name]}, but the features read it as {kind}.",
                "Settle the rows by their schema first.",
            )
        column = without_zone(pl.col(name), have[name])
        columns.append(column if have[name] == want[name] else column.cast(want[name]))
    return frame.select(*columns, *keep)


def _is_kind(have: pl.DataType, kind: str) -> bool:
    if have == pl.Null:
        return True
    if kind in ("integer", "number"):
        return have.is_numeric()
    if kind == "string":
        return have in (pl.String, pl.Categorical, pl.Enum)
    if kind == "date" and have == pl.Datetime:
        return True
    return have == (pl.Datetime if kind == "timestamp" else DTYPES[kind])
