"""A hash that a row keeps: across runs, machines and versions of Polars, and when the table grows.

The bytes of a row are polars-hash's versioned row encoding, hashed by XXH3 (https://xxhash.com). Before
that, values are brought to a form that does not depend on the column's type, since growth may change it:
the integer 1 and the number 1.0 hash alike, so do Yes as text and as a boolean, and a date and its midnight.
"""

from collections.abc import Sequence

import polars as pl
import polars_hash as plh

from kfp_lifecycle.components.shared.inference.schema import Column

_GOLDEN = 0x9E3779B97F4A7C15
_MIX = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))


def row_hash(columns: Sequence[Column]) -> pl.Expr:
    """A 128-bit hash (UInt128) of a settled row's values in ``columns``.

    Among n different rows, two hash alike with a probability below n²/2¹²⁹: 10⁻²⁵ for ten million rows. Its
    low 64 bits, by :func:`low_bits`, are the row's ``_row_hash``.
    """
    integers = [column.name for column in columns if column.type == "integer"]
    values = [*map(_canonical, columns), _beyond_float(integers)]
    hashed: pl.Expr = plh.hash_rows(values).nchash.xxh3_128()
    return hashed


def low_bits(hashed: pl.Expr) -> pl.Expr:
    """The low 64 bits of a 128-bit hash, as UInt64."""
    return (hashed % 2**64).cast(pl.UInt64)


def salted(hashed: pl.Expr, seed: int) -> pl.Expr:
    """``hashed`` (UInt64) mixed with ``seed``, uniform over 0 to 2**64 - 1.

    The finalizer of SplitMix64: Steele, Lea and Flood, "Fast splittable pseudorandom number generators",
    OOPSLA 2014. Unsigned arithmetic wraps around, as it asks.
    """
    value = hashed + _u64((seed + 1) * _GOLDEN % 2**64)
    for shift, factor in _MIX:
        value = (value ^ (value // _u64(2**shift))) * _u64(factor)
    return value ^ (value // _u64(2**31))


def _u64(value: int) -> pl.Expr:
    return pl.lit(value, dtype=pl.UInt64)


def _canonical(column: Column) -> pl.Expr:
    value = pl.col(column.name)
    if column.type == "integer":
        return value.cast(pl.Float64)
    if column.type == "boolean":
        true, false = pl.lit(column.true_value or "true"), pl.lit(column.false_value or "false")
        return pl.when(value).then(true).when(value.not_()).then(false)
    if column.type in ("date", "timestamp"):
        return value.cast(pl.Datetime("us")).cast(pl.Int64).cast(pl.Float64)
    return value


def _beyond_float(integers: Sequence[str]) -> pl.Expr:
    """What rounding to Float64 takes from integers beyond 2**53, in one number: 0 where it takes nothing."""
    lost = pl.lit(0, dtype=pl.Int64)
    for name in integers:
        value = pl.col(name)
        rounded = value.cast(pl.Float64).cast(pl.Int64, strict=False)
        lost = lost * 31 + pl.coalesce(value - rounded, value, pl.lit(0))
    return lost.alias("beyond")
