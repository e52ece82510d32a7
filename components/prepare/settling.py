"""What type each column settles to, found from the data.

A text column is judged by its distinct values and their counts where there are few, else by a pass over all.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import polars as pl

from kfp_lifecycle.components.prepare.options import Options
from kfp_lifecycle.components.prepare.reading import RawTable
from kfp_lifecycle.components.shared.errors import SchemaError
from kfp_lifecycle.components.shared.inference.schema import Column
from kfp_lifecycle.components.shared.inference.settle import (
    parse_number,
    parse_time,
    present_text,
)

#: A text column with at least this share of numbers, but not all, is refused as mixed.
MIXED_SHARE = 0.9

#: Up to so many distinct values, or so many times ``max_categories`` if that is more, are counted exactly.
#: The estimate by which this is decided (HyperLogLog) is up to a sixth off.
COUNTED = 20_000
_COUNTED_CATEGORIES = 1.5

#: Pairs of words that mean true and false, in lower case.
_WORDS = (("yes", "no"), ("true", "false"), ("y", "n"), ("t", "f"))

#: Exact forms of ISO 8601: a column that has one of them throughout is parsed in one try a value.
_EXACT_TIMES = (
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%S%.f%#z",
    "%Y-%m-%d %H:%M:%S%.f%#z",
)


@dataclass(frozen=True)
class Found:
    """What was found of a column.

    Args:
        column: Its type and how its text settles.
        distinct: Number of distinct values of a text column, missing left out. None for other columns.
        is_distinct_exact: Whether ``distinct`` is counted, not estimated.
        missing: Number of rows where it is missing; None where it was not counted here.
        is_settled: Whether every value is as settling would leave it, so that it need not be done.
        exact_format: The one form that all values of a column of times have, where there is one.
    """

    column: Column
    distinct: int | None = None
    is_distinct_exact: bool = True
    missing: int | None = None
    is_settled: bool = False
    exact_format: str | None = None

    @property
    def reading(self) -> Column:
        """The column as this table is read; models take any ISO form, so the schema has ``column``."""
        return replace(self.column, time_format=self.column.time_format or self.exact_format)


def find_types(raw: RawTable, names: Sequence[str], options: Options) -> list[Found]:
    """The settled types of the columns ``names``, in order.

    Raises:
        SchemaError: A column mixes numbers with other text, or is of a type that is no value (a list, …).
    """
    types = raw.frame.collect_schema()
    text = [name for name in names if types[name] in (pl.String, pl.Categorical, pl.Enum)]
    texts = _text_values(raw.frame, text, counted_limit(options))
    found = []
    for name in names:
        declared = options.column_types.get(name)
        if name in texts:
            evidence = _Evidence(name, texts[name], options.missing_values, csv=raw.text)
            found.append(evidence.declared(declared) if declared else evidence.type(name == options.target))
        else:
            source = _type_of(name, types[name])
            found.append(Found(_declared(name, declared or source, source)))
    return found


def counted_limit(options: Options) -> int:
    """Up to how many distinct values are counted exactly."""
    return max(COUNTED, int(_COUNTED_CATEGORIES * options.max_categories))


def _declared(name: str, declared: str, source_type: str) -> Column:
    kind, _, time_format = declared.partition(":")
    return Column(name, kind, source_type=source_type, time_format=time_format or None)


def _type_of(name: str, dtype: pl.DataType) -> str:
    """The schema's type of a Polars type that is no text."""
    if dtype.is_integer():
        return "integer"
    if dtype.is_numeric():
        return "number"
    known = {
        pl.Boolean: "boolean",
        pl.Date: "date",
        pl.Datetime: "timestamp",
        pl.Time: "string",
        pl.Null: "string",
    }
    for polars_type, kind in known.items():
        if dtype == polars_type:
            return kind
    raise SchemaError(
        f"Column {name!r} has the type {dtype}, which is no single value.",
        "Leave it out with drop_columns, or turn it into numbers or text first.",
    )


@dataclass(frozen=True)
class _Values:
    """A text column as rows of ``value`` and ``count``; ``distinct`` is exact if ``counted``."""

    frame: pl.LazyFrame
    distinct: int
    counted: bool


def _text_values(frame: pl.LazyFrame, names: Sequence[str], limit: int) -> dict[str, _Values]:
    if not names:
        return {}
    about = frame.select(pl.col(names).approx_n_unique()).collect(engine="streaming").row(0, named=True)
    few = [name for name in names if about[name] <= limit]
    counts = pl.collect_all(
        [
            frame.select(pl.col(name).cast(pl.String).alias("value"))
            .group_by("value")
            .agg(pl.len().alias("count"))
            for name in few
        ],
        engine="streaming",
    )
    values = {
        name: _Values(counted.lazy(), counted["value"].drop_nulls().len(), counted=True)
        for name, counted in zip(few, counts, strict=True)
    }
    for name in names:
        if name not in values:
            one = pl.lit(1, dtype=pl.UInt32).alias("count")
            values[name] = _Values(
                frame.select(pl.col(name).cast(pl.String).alias("value"), one), about[name], counted=False
            )
    return values


class _Evidence:
    """What a text column's values look like."""

    def __init__(self, name: str, values: _Values, missing_values: Sequence[str], *, csv: bool) -> None:
        text, value = pl.col("text"), pl.col("value")
        self.name, self.csv = name, csv
        self.values = values.frame.with_columns(present_text(value, missing_values).alias("text"))
        self.counted, self.distinct = values.counted, values.distinct
        self.counts = self._count(
            rows=pl.lit(True),
            present=text.is_not_null(),
            unsettled=value.is_not_null() & text.ne_missing(value),
            number=parse_number(text).is_not_null(),
            integer=text.cast(pl.Int64, strict=False).is_not_null(),
            plain_number=value.is_null() | value.cast(pl.Float64, strict=False).is_not_null(),
            iso=text.str.contains(r"^\d{4}-\d{2}-\d{2}($|[Tt ])"),
        )

    def declared(self, declared: str) -> Found:
        """The column as the user says it is; settling refuses values that are not of that type."""
        column = _declared(self.name, declared, "string")
        if column.type in ("integer", "number"):
            return self._number(column.type)
        if column.type == "boolean" and (words := self._words()) is not None:
            column = replace(column, true_value=words[0], false_value=words[1])
        return self._found(column)

    def type(self, is_target: bool) -> Found:
        """The column as its values say it is. The target keeps its labels: no booleans are made of it."""
        present, numbers = self.counts["present"], self.counts["number"]
        if present and numbers == present:
            return self._number("integer" if self.counts["integer"] == present else "number")
        if present and numbers >= MIXED_SHARE * present:
            raise self._mixed()
        if not is_target and (words := self._words()) is not None:
            column = Column(
                self.name, "boolean", source_type="string", true_value=words[0], false_value=words[1]
            )
            return self._found(column)
        if present and self.counts["iso"] == present:
            return self._time()
        return self._found(Column(self.name, "string", source_type="string"))

    def _found(self, column: Column, exact_format: str | None = None) -> Found:
        return Found(
            column,
            self.distinct,
            self.counted,
            missing=self.counts["rows"] - self.counts["present"],
            is_settled=column.type == "string" and self.counts["unsettled"] == 0,
            exact_format=exact_format,
        )

    def _number(self, kind: str) -> Found:
        # In CSV everything is text: only what no parser takes for a number makes it one stored as text.
        source = "integer" if self.counts["integer"] == self.counts["present"] else "number"
        if not self.csv or self.counts["plain_number"] < self.counts["rows"]:
            source = "string"
        return Found(Column(self.name, kind, source_type=source), self.distinct, self.counted)

    def _count(self, **conditions: pl.Expr) -> dict[str, int]:
        """For how many rows each condition holds."""
        sums = {
            name: pl.col("count").filter(condition).sum().cast(pl.Int64)
            for name, condition in conditions.items()
        }
        return self.values.select(**sums).collect(engine="streaming").row(0, named=True)

    def _words(self) -> tuple[str, str] | None:
        """The words for true and false, as the source writes them, if both of one pair are all there is."""
        if not self.counted:
            return None
        words = (
            self.values.select(pl.col("text").drop_nulls().unique().sort()).collect().to_series().to_list()
        )
        lower = {word.lower(): word for word in reversed(words)}
        for true, false in _WORDS:
            if {true, false} == lower.keys():
                return lower[true], lower[false]
        return None

    def _time(self) -> Found:
        text, present = pl.col("text"), self.counts["present"]
        exact = {form: text.str.to_datetime(form, strict=False, time_unit="us") for form in _EXACT_TIMES}
        counts = self._count(
            date=text.str.to_date("%Y-%m-%d", strict=False).is_not_null(),
            **{form: moment.is_not_null() for form, moment in exact.items()},
        )
        if counts["date"] == present:
            return self._found(Column(self.name, "date", source_type="string"), "%Y-%m-%d")
        timestamp = Column(self.name, "timestamp", source_type="string")
        for form in exact:
            if counts[form] == present:
                return self._found(timestamp, form)
        if self._count(time=parse_time(text).is_not_null())["time"] == present:
            return self._found(timestamp)
        return self._found(Column(self.name, "string", source_type="string"))

    def _mixed(self) -> SchemaError:
        wrong = pl.col("text").is_not_null() & parse_number(pl.col("text")).is_null()
        examples = self.values.filter(wrong).select(pl.col("text").unique().sort()).head(3).collect()
        shown = ", ".join(map(repr, examples.to_series()))
        numbers = self.counts["number"]
        return SchemaError(
            f"Column {self.name!r} mixes types: {numbers:,} of its values are numbers, "
            f"{self.counts['present'] - numbers:,} are other text, such as {shown}.",
            "Add these to missing_values if they mean missing, or set its type to string in column_types.",
        )
