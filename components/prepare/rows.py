"""Which rows the prepared table has, and on which side of the split each is."""

from dataclasses import dataclass

import polars as pl

from kfp_lifecycle.components.prepare import split
from kfp_lifecycle.components.prepare.columns import SIDE, Plan
from kfp_lifecycle.components.prepare.identity import low_bits, row_hash
from kfp_lifecycle.components.prepare.options import Options
from kfp_lifecycle.components.shared.errors import RuleError, SplitError
from kfp_lifecycle.components.shared.inference.schema import ROW_HASH


@dataclass(frozen=True)
class Rows:
    """The rows of the source, one by one.

    Args:
        frame: For each row of the source, in order, its ``_row_hash`` and its side (column ``side``: true in
            the test split, null if it is dropped).
        method: How they were split.
        boundary: For a time split the first moment of the test split, as text.
        without_target: Rows dropped for a missing target.
        duplicates: Rows dropped as repeated.
        train: Rows in the training split.
        test: Rows in the test split.
    """

    frame: pl.DataFrame
    method: str
    boundary: str | None
    without_target: int
    duplicates: int
    train: int
    test: int
    side: str = SIDE

    @property
    def kept(self) -> int:
        """Rows in both splits."""
        return self.train + self.test


def place_rows(plan: Plan, options: Options) -> Rows:
    """Drops rows without a target and repeated rows, and splits the others.

    Rows are repeated if the 128-bit hashes of their values (or keys) are equal: a set of hashes takes a tenth
    of the memory that a set of rows takes, and :func:`.identity.row_hash` has the probability of an error.
    Of repeated rows the first stays.

    Raises:
        RuleError: Fewer than ``min_rows`` rows are left.
        SplitError: They cannot be split as asked.
    """
    method = split.split_method(options.split, plan.target.task)
    rows = _hashed(plan, options, method)
    usable = rows["usable"]
    keep = usable & _first_of_kind(rows) if options.drop_duplicates else usable
    kept = int(keep.sum())
    _check_enough(kept, options)
    light = rows.drop("row", "usable")
    sides = split.assign(light.filter(keep) if kept < rows.height else light, method, options)
    test = sides.test
    if kept < rows.height:
        position = keep.cast(pl.Int64).cum_sum() - 1
        test = pl.select(pl.when(keep).then(test.gather(position.clip(0)))).to_series()
    in_test = int(sides.test.sum())
    return Rows(
        light.select(pl.col(split.HASH).alias(ROW_HASH), test.alias(SIDE)),
        method,
        sides.boundary,
        without_target=rows.height - int(usable.sum()),
        duplicates=int(usable.sum()) - kept,
        train=kept - in_test,
        test=in_test,
    )


def _hashed(plan: Plan, options: Options, method: str) -> pl.DataFrame:
    """What is held of each row: its hash in 128 and in 64 bits, and what it is split by."""
    columns = {
        "row": row_hash(plan.identity),
        "usable": pl.col(options.target).is_not_null(),
    }
    if plan.target.classes:
        columns[split.CLASS] = pl.col(options.target).cast(pl.String).cast(pl.Enum(plan.target.classes))
    if method in ("time", "group"):
        columns[split.BY] = _split_value(plan, options, method)
    hashed = plan.table.select(**columns).with_columns(low_bits(pl.col("row")).alias(split.HASH))
    return hashed.collect(engine="streaming")


def _first_of_kind(rows: pl.DataFrame) -> pl.Series:
    """Whether a row is the first of those that are equal to it; a row without a target is not counted."""
    if rows["row"].n_unique() == rows.height:
        return rows["usable"]
    return rows.select(pl.when("usable").then("row").is_first_distinct()).to_series()


def _split_value(plan: Plan, options: Options, method: str) -> pl.Expr:
    column = next(column for column in plan.columns if column.name == options.split_column)
    value = pl.col(column.name)
    if method == "group":
        return pl.when(value.is_not_null()).then(low_bits(row_hash([column])))
    if column.type in ("string", "boolean"):
        raise SplitError(
            f"A time split needs a date, a timestamp or a number; column {column.name!r} is {column.type}.",
            "Give its type and form in column_types, such as date:%d/%m/%Y.",
        )
    return value


def _check_enough(kept: int, options: Options) -> None:
    if kept < options.min_rows:
        raise RuleError(
            f"The table has {kept:,} usable rows (with a target, not repeated), fewer than the "
            f"{options.min_rows:,} of min_rows.",
            "Give more data, or lower min_rows.",
        )
    if kept < 2:
        raise SplitError("The table has one usable row, so it cannot be split in two.", "Give more data.")
