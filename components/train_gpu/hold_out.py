"""Which rows are held out to validate on, chosen as prepare split the table, and without holding it.

As in prepare, a row's salted hash decides (or its group's, or its moment): equal rows stay together, and a
row's side does not depend on the order of rows. Unlike there, the number held out is exact, because in
a small table chance would leave a class with far too few. What is in memory is a count by class, group or
moment, and the hashes of few more rows than are held out.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import polars as pl

from kfp_lifecycle.components.prepare.identity import low_bits, row_hash, salted
from kfp_lifecycle.components.shared.errors import SplitError
from kfp_lifecycle.components.shared.inference.schema import ROW_HASH, TableSchema

#: Sets the choice apart from prepare's own, which may have the same seed.
_SALT = 2**32
_HASH, _CLASS = "\0hash", "\0class"
_WHOLE = 2**64


def held_out(table: pl.LazyFrame, label: pl.Expr, schema: TableSchema, share: float, seed: int) -> pl.Expr:
    """Whether a row is held out: the share of each class, of the groups, or the latest rows.

    Args:
        table: The prepared training rows, with ``label``'s column.
        label: The class's position (Int32); for regression 0.
        schema: Their schema, for its split.
        share: Share of rows, or of groups, above 0 and below 1.
        seed: Seed of the choice.

    Raises:
        SplitError: No row can be held out, or none would be left to fit on.
    """
    split = schema.split
    if split.method == "time":
        return pl.col(split.column) >= pl.lit(_boundary(table, split.column, share))
    if split.method == "group":
        key = salted(low_bits(row_hash([schema.column(split.column)])), seed + _SALT)
        groups = table.select(split.column).unique().select(key.alias(_HASH), pl.lit(0).alias(_CLASS))
        (limit,) = _limits(groups, [collect(groups.select(pl.len())).item()], share, split.column)
        return key < pl.lit(limit, pl.UInt64)
    by_class = split.method == "stratified" and schema.task != "regression"
    kind = label if by_class else label * 0
    key = salted(pl.col(ROW_HASH), seed + _SALT)
    hashes = table.select(key.alias(_HASH), kind.alias(_CLASS))
    counted = dict(collect(hashes.group_by(_CLASS).agg(pl.len())).iter_rows())
    counts = [counted.get(code, 0) for code in range(max(counted) + 1)]
    limits = pl.Series(_limits(hashes, counts, share, ""), dtype=pl.UInt64)
    return key < pl.lit(limits).gather(kind)


def _limits(hashes: pl.LazyFrame, counts: Sequence[int], share: float, column: str) -> list[int]:
    """By class, the hash that those to hold out are below.

    Args:
        hashes: The hash (uniform over 64 bits) and class of each row or group.
        counts: How many there are of each class.
        share: Share to hold out.
        column: The group's column; empty for rows.
    """
    if sum(counts) < 2:
        raise impossible(share, f"{column!r} has one value" if column else f"there are {sum(counts)} rows")
    wanted = list(_quotas(counts, share))
    if not any(wanted):
        raise impossible(share, f"the {sum(counts)} rows are too few for every class to keep one")
    # A class's k lowest of n hashes are below k/n of their range, give or take.
    enough = [
        min(1.0, (k + 8 * math.sqrt(k) + 16) / n) if k else 0.0 for k, n in zip(wanted, counts, strict=True)
    ]
    lowest = _lowest(hashes, enough)
    if any(len(found) < k for found, k in zip(lowest, wanted, strict=True)):
        lowest = _lowest(hashes, [1.0] * len(counts))  # these hashes are not uniform
    return [
        min(int(found[k - 1]) + 1, _WHOLE - 1) if k else 0 for found, k in zip(lowest, wanted, strict=True)
    ]


def _quotas(counts: Sequence[int], share: float) -> Iterator[int]:
    """How many of each class: its share to within one, and in all the share, rounded up.

    Of each class at least one is left.
    """
    before = so_far = 0
    for count in counts:
        so_far += count
        until = math.ceil(round(share * so_far, 6))
        yield min(until - before, max(count - 1, 0))
        before = until


def _lowest(hashes: pl.LazyFrame, shares: Sequence[float]) -> list[pl.Series]:
    """By class, the hashes in so much of their range, sorted."""
    bounds = pl.Series([min(int(share * _WHOLE), _WHOLE - 1) for share in shares], dtype=pl.UInt64)
    few = collect(hashes.filter(pl.col(_HASH) <= pl.lit(bounds).gather(pl.col(_CLASS))))
    few = few.sort(_CLASS, _HASH)
    ends = np.searchsorted(few[_CLASS].to_numpy(), np.arange(len(shares) + 1)).tolist()
    return [few[_HASH][start:end] for start, end in pairwise(ends)]


def _boundary(table: pl.LazyFrame, column: str, share: float) -> object:
    """The first moment that is held out: the one whose share is nearest, as in prepare."""
    counts = collect(table.group_by(column).agg(pl.len().alias("rows"))).drop_nulls().sort(column)
    if counts.height < 2:
        raise impossible(share, f"{column!r} has one value")
    late = pl.col("rows").reverse().cum_sum().reverse() / pl.col("rows").sum()
    # The first moment cannot start them: nothing would be left to fit on.
    starts = counts.with_columns((late - share).abs().alias("off"))[1:]
    return starts.sort("off", column, maintain_order=True)[column][0]


def impossible(share: float, why: str) -> SplitError:
    """The error for a table of which no rows can be held out."""
    return SplitError(
        f"No rows can be held out to validate on ({share:g} of them): {why}.",
        "Set validation_share to 0, or train on more data.",
    )


def collect(query: pl.LazyFrame) -> pl.DataFrame:
    """The result of a query whose input need not fit in memory."""
    return query.collect(engine="streaming")
