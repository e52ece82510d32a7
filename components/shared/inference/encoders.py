"""Fitted encoders: each turns a column into features by a few Polars expressions, for any number of rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import polars as pl

#: Features are kept within 32-bit floats, because scikit-learn's trees compute in them and refuse more.
LARGEST = 3.4028234663852886e38

MISSING = "(missing)"
RARE = "(rare)"


@dataclass(frozen=True)
class NumberEncoder:
    """A fitted numeric feature: ``(value - centre) / scale``.

    Args:
        name: The feature's name.
        column: The column it comes from.
        part: The part of a date or timestamp; empty where the column is the number.
        fill: What a missing value becomes before scaling; None leaves it missing.
        centre: Mean or minimum of the training rows, 0 where not scaled.
        scale: Standard deviation or range of the training rows, 1 where not scaled.
    """

    kind: ClassVar[str] = "number"

    name: str
    column: str
    part: str = ""
    fill: float | None = None
    centre: float = 0.0
    scale: float = 1.0

    @property
    def features(self) -> list[str]:
        """The feature's name."""
        return [self.name]

    def expressions(self) -> list[pl.Expr]:
        """The feature as Float64, null where missing stays missing."""
        value = number_source(self.column, self.part)
        if self.fill is not None:
            value = value.fill_null(self.fill)
        if (self.centre, self.scale) != (0.0, 1.0):
            # Not a division: Polars rounds that differently for one row and for many.
            value = (value - self.centre) * (1 / self.scale)
        return [value.clip(-LARGEST, LARGEST)]


def number_source(column: str, part: str) -> pl.Expr:
    """The number that is in a column, or in a part of its dates, as Float64."""
    value = pl.col(column)
    if part:
        value = value.dt.ordinal_day() if part == "dayofyear" else getattr(value.dt, part)()
    return value.cast(pl.Float64)


@dataclass(frozen=True)
class CategoryEncoder:
    """A fitted categorical column.

    A value has a slot: its place in ``categories``, then one for the rare, then one for the missing, where
    the training rows had such.

    Args:
        column: The column.
        encode: ``onehot``, ``ordinal`` or ``target``.
        categories: The categories that have a slot of their own, sorted.
        rare: Whether there is a slot for rare categories. An unseen category goes there.
        missing: Whether there is a slot for missing values.
        null_slot: The slot of a missing value; -1 where it is taken for an unseen category.
        values: For target encoding, one list a class (one in all for binary and regression): the encoding of
            each slot, and last that of an unseen category where there is no slot for the rare.
        classes: For target encoding of several classes, the label of each list.
    """

    kind: ClassVar[str] = "category"

    column: str
    encode: str
    categories: list[str]
    rare: bool
    missing: bool
    null_slot: int
    values: list[list[float]]
    classes: list[str]

    @property
    def slots(self) -> list[str]:
        """What is in each slot, as text."""
        return [*self.categories, *[RARE] * self.rare, *[MISSING] * self.missing]

    @property
    def features(self) -> list[str]:
        """Names of the features: ``column=category``, ``column`` or ``column=>class``."""
        if self.encode == "onehot":
            return [f"{self.column}={slot}" for slot in self.slots]
        if self.encode == "ordinal":
            return [self.column]
        return [f"{self.column}=>{label}" for label in self.classes] or [f"{self.column}=>target"]

    def slot(self) -> pl.Expr:
        """The slot of a value as Int32; an unseen category may have none: -1, for target one past the end."""
        nowhere = len(self.slots) if self.encode == "target" else -1
        unseen = len(self.categories) if self.rare else nowhere
        text = pl.col(self.column).cast(pl.String)
        known = text.cast(pl.Enum(self.categories), strict=False).to_physical()
        slot = known.cast(pl.Int32).fill_null(unseen)
        if self.null_slot < 0:
            return slot
        return pl.when(text.is_null()).then(pl.lit(self.null_slot, pl.Int32)).otherwise(slot)

    def expressions(self, slot: pl.Expr, values: list[list[float]] | None = None) -> list[pl.Expr]:
        """The features: one-hot as UInt8, ordinal as Int32, target encoding as Float64.

        Args:
            slot: What :meth:`slot` gives, or another place in ``values``.
            values: Target encodings in place of the encoder's own.
        """
        if self.encode == "onehot":
            return [(slot == number).cast(pl.UInt8) for number in range(len(self.slots))]
        if self.encode == "ordinal":
            return [slot]
        tables = [pl.Series(encodings, dtype=pl.Float64) for encodings in values or self.values]
        return [pl.lit(table).gather(slot) for table in tables]


Encoder = NumberEncoder | CategoryEncoder


def load_encoder(data: Mapping[str, Any]) -> Encoder:
    """An encoder from its fields and ``kind``. Raises ``KeyError`` or ``TypeError`` for anything else."""
    kinds: dict[str, type[Encoder]] = {cls.kind: cls for cls in (NumberEncoder, CategoryEncoder)}
    return kinds[data["kind"]](**{key: value for key, value in data.items() if key != "kind"})
