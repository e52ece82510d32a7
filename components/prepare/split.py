"""Which side of the split each row is on.

A random, stratified or group split compares a salted hash with a threshold, so a row (or a group) keeps its
side when the table grows. The price is that shares are those of chance: a test split of 0.2 of n rows has
0.2·n ± 0.4·√n of them. Only a class that chance leaves without a row on one side gets a threshold of its own,
which moves the one row that is nearest to it.
"""

import datetime as dt
from dataclasses import dataclass
from typing import Any

import polars as pl

from kfp_lifecycle.components.prepare.identity import salted
from kfp_lifecycle.components.prepare.options import Options
from kfp_lifecycle.components.shared.errors import SplitError

#: Columns of the frame that :func:`assign` takes: UInt64; the labels; UInt64 or the moment.
HASH, CLASS, BY = "hash", "class", "by"


@dataclass(frozen=True)
class Sides:
    """The outcome of a split.

    Args:
        test: For every row whether it is in the test split, Boolean without nulls.
        method: ``random``, ``stratified``, ``time`` or ``group``.
        boundary: For a time split the first moment of the test split (ISO text); None otherwise.
    """

    test: pl.Series
    method: str
    boundary: str | None = None


def split_method(asked: str, task: str) -> str:
    """The method that ``auto`` stands for: stratified for classes, random for regression.

    Raises:
        SplitError: A stratified split of a regression.
    """
    if asked == "auto":
        return "random" if task == "regression" else "stratified"
    if asked == "stratified" and task == "regression":
        raise SplitError(
            "A stratified split needs classes, and the task is regression.", "Set split to random."
        )
    return asked


def assign(rows: pl.DataFrame, method: str, options: Options) -> Sides:
    """Puts every row on a side.

    Args:
        rows: Per row its ``hash``; its ``class`` for classification; for a time or group split its ``by``:
            the moment, or the hash of the group.
        method: As :func:`split_method` gives it.
        options: ``test_size``, ``seed`` and ``split_column`` are read.

    Raises:
        SplitError: A side, or a class on a side, would be without rows. Names the class or column.
    """
    boundary = None
    if method in ("time", "group") and (missing := rows[BY].null_count()):
        raise SplitError(
            f"Split column {options.split_column!r} is missing in {missing:,} rows.",
            "Drop these rows, or split by another column.",
        )
    if method == "time":
        test, boundary = _by_time(rows[BY], options)
    elif method == "group":
        test = _by_hash(rows[BY], None, options)
    else:
        classes = rows[CLASS] if method == "stratified" else None
        test = _by_hash(rows[HASH], classes, options)
    if CLASS in rows.columns:
        _check_classes(rows[CLASS], test)
    return Sides(test, method, boundary)


def _by_hash(hashes: pl.Series, classes: pl.Series | None, options: Options) -> pl.Series:
    """Test is below the threshold of the class; without classes all rows are of one."""
    one_class = pl.Series(CLASS, [""]).new_from_index(0, hashes.len())
    frame = pl.DataFrame(
        {HASH: hashes, CLASS: one_class if classes is None else classes},
    ).with_columns(salted(pl.col(HASH), options.seed))
    threshold = pl.lit(int(options.test_size * 2**64), dtype=pl.UInt64)
    below = pl.col(HASH) < threshold
    lowest, highest = pl.col(HASH).min(), pl.col(HASH).max()
    own = (
        pl.when(below.not_().all()).then(lowest + pl.lit(1, dtype=pl.UInt64))
        .when(below.all()).then(highest)
        .otherwise(threshold)
    )  # fmt: skip
    thresholds = frame.group_by(CLASS).agg(own.alias("threshold"), (lowest == highest).alias("single"))
    if thresholds["single"].any():
        _refuse_single(frame, thresholds, options, classes is not None)
    if thresholds.select((pl.col("threshold") == threshold).all()).item():
        return frame.select(below).to_series()
    joined = frame.join(thresholds, on=CLASS, how="left", maintain_order="left")
    return joined.select(pl.col(HASH) < pl.col("threshold")).to_series()


def _refuse_single(frame: pl.DataFrame, thresholds: pl.DataFrame, options: Options, stratified: bool) -> None:
    single = thresholds.filter("single").sort(CLASS)[CLASS][0]
    count = frame.filter(pl.col(CLASS) == single).height
    if not stratified:
        what = f"group in column {options.split_column!r}" if options.split_column else "different row"
        raise SplitError(f"The table has only one {what}, so it cannot be split in two.", "Give more data.")
    members = "one member" if count == 1 else f"{count:,} equal members"
    raise SplitError(
        f"Class {single!r} of the target has {members}, and a stratified split needs two that differ.",
        "Add rows of that class, join it with another (target_expression), or set split to random.",
    )


def _by_time(moments: pl.Series, options: Options) -> tuple[pl.Series, str]:
    """Test is what comes last; equal moments stay together, on the side that gives the nearer share."""
    counts = moments.value_counts(sort=False).sort(moments.name)
    later = counts.select(
        moment=pl.col(moments.name), share=pl.col("count").reverse().cum_sum().reverse() / moments.len()
    )
    if later.height < 2:
        raise SplitError(
            f"All rows have the same moment in column {options.split_column!r}.", "Split by another column."
        )
    # The first moment cannot start the test split: nothing would be left to train on.
    starts = later[1:].with_columns(off=(pl.col("share") - options.test_size).abs())
    boundary = starts.sort("off", "moment", maintain_order=True)["moment"][0]
    return moments >= boundary, _iso(boundary)


def _iso(moment: Any) -> str:
    return moment.isoformat() if isinstance(moment, (dt.date, dt.datetime)) else str(moment)


def _check_classes(classes: pl.Series, test: pl.Series) -> None:
    sides = pl.DataFrame({CLASS: classes, "test": test}).group_by(CLASS).agg(
        test=pl.col("test").any(), train=pl.col("test").not_().any()
    )  # fmt: skip
    in_test = sorted(sides.filter("test")[CLASS])
    if len(in_test) < 2:
        raise SplitError(
            f"The test split has one class only, {in_test[0]!r}.",
            "Set split to stratified, or give more data or a larger test_size.",
        )
    if unseen := sorted(sides.filter(pl.col("train").not_())[CLASS]):
        raise SplitError(
            f"Class {unseen[0]!r} is in the test split alone, so it cannot be learned.",
            "Set split to stratified, or give more data of that class.",
        )
