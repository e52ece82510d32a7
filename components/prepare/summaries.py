"""What the prepared columns hold: for the schema and the profile alike, in one pass over the rows."""

import datetime as dt
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import polars as pl
import polars.selectors as cs

from kfp_lifecycle.components.shared.inference.schema import ROW_HASH, Column

#: Tables with more rows have their numbers' histograms and distinct values taken from a sample.
SAMPLE_ROWS = 50_000

#: Text columns with more categories do not have them listed in the schema.
LISTED_CATEGORIES = 1000

_BINS = 24
_NUMERIC = ("integer", "number")
_ORDERED = (*_NUMERIC, "date", "timestamp")


@dataclass(frozen=True)
class Summary:
    """One column's values, both splits together.

    Args:
        column: The column, with its nullability, range and categories filled in.
        missing: Number of missing values.
        distinct: Number of distinct values, missing left out.
        is_distinct_exact: Whether ``distinct`` is counted. If not, it is an estimate for text (HyperLogLog,
            up to a sixth off), and for numbers and times what a sample has, so there are at least so many.
        mean: Mean of a numeric column.
        top: The most frequent values of a text or boolean column with their counts.
        histogram: Counts in equal bins, from minimum to maximum, of numbers and times in the sample.
    """

    column: Column
    missing: int
    distinct: int
    is_distinct_exact: bool = True
    mean: float | None = None
    top: list[tuple[str, int]] = field(default_factory=list)
    histogram: list[int] = field(default_factory=list)


def summarize(
    table: pl.LazyFrame, columns: Sequence[Column], rows: int, few: Collection[str]
) -> list[Summary]:
    """Summaries of ``columns``, in order.

    Args:
        table: The prepared rows, with :data:`ROW_HASH`.
        columns: Their columns.
        rows: How many rows there are.
        few: Names of columns that are known to have few distinct values, so that these may be counted.
    """
    facts = table.select(_facts(columns, few)).collect(engine="streaming").row(0, named=True)
    counts = _counts(table, [c.name for c in columns if c.type not in _ORDERED and c.name in few])
    drawn = _draw(table, columns, rows)
    return [
        _summary(
            column,
            {
                fact: facts.get(f"{column.name} {fact}")
                for fact in ("missing", "min", "max", "mean", "distinct")
            },
            counts.get(column.name),
            drawn[column.name] if column.type in _ORDERED else None,
            rows,
        )
        for column in columns
    ]


def sample(table: pl.LazyFrame, rows: int) -> pl.DataFrame:
    """All rows, or of a large table about :data:`SAMPLE_ROWS`, always the same ones by their hash."""
    every = sampled_every(rows)
    chosen = table.filter(pl.col(ROW_HASH) % every == 0) if every > 1 else table
    return chosen.collect(engine="streaming")


def sampled_every(rows: int) -> int:
    """One of how many rows is in the sample; 1 where all are."""
    return max(1, rows // SAMPLE_ROWS)


def binned(values: pl.Series, low: Any, high: Any) -> list[int]:
    """Counts of numbers in equal bins from ``low`` to ``high``; a few whole numbers have a bin each."""
    # Far from zero, integers that differ are the same Float64.
    if low is None or not float(high) > float(low):
        return []
    bins = min(_BINS, high - low + 1) if values.dtype.is_integer() else _BINS
    share = (values.drop_nulls().cast(pl.Float64) - float(low)) / (float(high) - float(low))
    counted = dict((share * bins).floor().clip(0, bins - 1).cast(pl.Int64).value_counts().iter_rows())
    return [counted.get(number, 0) for number in range(bins)]


def _facts(columns: Sequence[Column], few: Collection[str]) -> list[pl.Expr]:
    expressions = []
    for column in columns:
        name, value = column.name, pl.col(column.name)
        expressions.append(value.null_count().alias(f"{name} missing"))
        if column.type in _ORDERED:
            expressions += [value.min().alias(f"{name} min"), value.max().alias(f"{name} max")]
        elif name not in few:
            expressions.append(value.approx_n_unique().alias(f"{name} distinct"))
        if column.type in _NUMERIC:
            expressions.append(value.mean().alias(f"{name} mean"))
    return expressions


def _counts(table: pl.LazyFrame, names: Sequence[str]) -> dict[str, pl.DataFrame]:
    """Value and count of each column, most frequent first."""
    value = pl.col("value")
    counted = pl.collect_all(
        [
            table.select(pl.col(name).cast(pl.String).alias("value"))
            .filter(value.is_not_null())
            .group_by(value)
            .agg(pl.len().alias("count"))
            for name in names
        ],
        engine="streaming",
    )
    return {
        name: frame.sort("count", "value", descending=[True, False])
        for name, frame in zip(names, counted, strict=True)
    }


def _draw(table: pl.LazyFrame, columns: Sequence[Column], rows: int) -> pl.DataFrame:
    """The sample's numbers and times, times as microseconds."""
    ordered = [column.name for column in columns if column.type in _ORDERED]
    drawn = sample(table.select(*ordered, ROW_HASH), rows)
    return drawn.with_columns(cs.temporal().cast(pl.Datetime("us")).cast(pl.Int64))


def _summary(
    column: Column, facts: dict[str, Any], counts: pl.DataFrame | None, drawn: pl.Series | None, rows: int
) -> Summary:
    missing, categories = facts["missing"], None
    if drawn is not None:
        distinct = drawn.drop_nulls().n_unique()
        is_full = column.type == "integer" and distinct and distinct == facts["max"] - facts["min"] + 1
        exact = drawn.len() == rows or bool(is_full)
    elif counts is not None:
        distinct, exact = counts.height, True
        if column.type == "string" and distinct <= LISTED_CATEGORIES:
            categories = sorted(counts["value"])
    else:
        # Null is counted as a value.
        distinct, exact = facts["distinct"] - (missing > 0), False
    filled = replace(
        column,
        nullable=missing > 0,
        missing_share=missing / rows,
        minimum=_plain(facts["min"]),
        maximum=_plain(facts["max"]),
        categories=categories,
    )
    return Summary(
        filled,
        missing,
        distinct,
        is_distinct_exact=exact,
        mean=facts["mean"],
        top=list(counts.head(6).iter_rows()) if counts is not None else [],
        histogram=binned(drawn, drawn.min(), drawn.max()) if drawn is not None else [],
    )


def _plain(value: Any) -> float | str | None:
    return value.isoformat() if isinstance(value, (dt.date, dt.datetime)) else value
