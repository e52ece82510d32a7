"""The state of the current data, held against the schema and the reference."""

import math
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.special import ndtr

from kfp_lifecycle.components.monitor.findings import ColumnQuality, Problem
from kfp_lifecycle.components.monitor.summary import ColumnSummary, Summary, thinned
from kfp_lifecycle.components.monitor.windows import Window
from kfp_lifecycle.components.shared.report import percent

#: By how much a share may be larger than in the reference before it is said, where it is no chance.
MORE_MISSING, MORE_DUPLICATES = 0.05, 0.1
#: From which share values out of range, of another type or of no known category are said.
STRANGE = 0.01
#: From which share of missing or unfit values a column cannot be judged any more.
BROKEN = 0.5
#: What is rarer than this by chance is not taken for chance.
RARE = 0.001
#: Rows of a window are usually this many times fewer or more before it is said.
UNUSUAL = 3.0


def column_quality(current: ColumnSummary, reference: ColumnSummary | None) -> ColumnQuality:
    """The shares of what is wrong in a column."""
    rows = max(1, current.rows)
    categories = current.column.categories
    unseen: list[str] = []
    count = 0
    if categories is not None and current.numbers is None:
        known = set(categories)
        strangers = {name: rows for name, rows in current.counts().items() if name not in known}
        unseen, count = list(strangers)[:5], sum(strangers.values())
    missing_reference = (
        reference.missing / max(1, reference.rows) if reference else current.column.missing_share
    )
    return ColumnQuality(
        current.column.name,
        missing=current.missing / rows,
        missing_reference=missing_reference,
        unfit=current.unfit / rows,
        out_of_range=current.out_of_range / rows,
        unseen=count / rows,
        examples=current.examples or unseen,
        distinct=current.distinct,
    )


def column_problems(
    quality: ColumnQuality, current: ColumnSummary, reference: ColumnSummary | None
) -> Iterator[Problem]:
    """What is wrong with a column, as sentences; what breaks it first."""
    name = quality.name
    had_values = reference is None or reference.values > 0
    if current.rows and not current.values and had_values and not current.unfit:
        yield Problem(
            "all null", f"Column {name!r} has no value in any of {current.rows:,} rows.", name, True
        )
        return
    if quality.unfit:
        examples = ", ".join(map(repr, quality.examples[:3]))
        said = f"Column {name!r} is {current.column.type}, but {percent(quality.unfit)} of its values are not"
        yield Problem("retyped", f"{said}, such as {examples}.", name, quality.unfit >= BROKEN)
    more = quality.missing - quality.missing_reference
    if reference is not None and more >= MORE_MISSING and _no_chance(current, reference):
        said = f"Column {name!r} is missing in {percent(quality.missing)} of the rows"
        yield Problem(
            "missing", f"{said}, {percent(quality.missing_reference)} in the reference.", name, more >= BROKEN
        )
    if quality.out_of_range >= STRANGE:
        low, high = current.column.minimum, current.column.maximum
        said = f"Column {name!r} is outside of {low:g} to {high:g}, the range it was trained on"
        yield Problem("out of range", f"{said}, in {percent(quality.out_of_range)} of the rows.", name)
    if quality.unseen >= STRANGE:
        examples = ", ".join(map(repr, quality.examples[:3]))
        said = f"Column {name!r} has categories new since training, in {percent(quality.unseen)} of the rows"
        yield Problem("unseen category", f"{said}: {examples}.", name)
    if reference is not None and (value := _only_value(current, reference)) is not None:
        said = f"Column {name!r} is {value!r} in every row that has a value"
        yield Problem("constant", f"{said}; the reference has {reference.distinct:,} values.", name)


def _no_chance(current: ColumnSummary, reference: ColumnSummary) -> bool:
    """Whether the shares of missing values differ beyond chance: a two-proportion z-test."""
    n, m = current.rows, reference.rows
    pooled = (current.missing + reference.missing) / (n + m)
    spread = math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    apart = current.missing / n - reference.missing / m
    return spread > 0 and float(ndtr(-apart / spread)) < RARE


def _only_value(current: ColumnSummary, reference: ColumnSummary) -> str | None:
    """The value that all rows have, if the reference has others so often that this is no chance."""
    if current.column.type in ("date", "timestamp") or current.distinct != 1 or reference.distinct < 2:
        return None
    now, before = _counted(current), _counted(reference)
    (value,) = now
    share = before.get(value, 0) / max(1, reference.values)
    return value if share**current.values < RARE else None


def _counted(side: ColumnSummary) -> Mapping[str, float]:
    if side.numbers is None:
        return side.counts()
    values, counts = side.numbers.points()
    return {f"{value:g}": float(count) for value, count in zip(values, counts, strict=True)}


def duplicate_share(hashes: npt.NDArray[np.uint64]) -> float:
    """Share of rows, by their hashes, that repeat an earlier one."""
    return 1 - pl.Series(hashes).n_unique() / len(hashes) if len(hashes) else 0.0


def duplicate_problems(current: Summary, reference: Summary, share: float, seed: int) -> Iterator[Problem]:
    """Whether more rows are repeated than in as many rows of the reference; ``share`` is that of all."""
    modulus = max(current.modulus, reference.modulus)
    sides = [thinned(side.hashes, modulus) for side in (current, reference)]
    size = min(map(len, sides))
    if not size or share < MORE_DUPLICATES:
        return
    random = np.random.default_rng(seed)
    now, before = (duplicate_share(random.permutation(side)[:size]) for side in sides)
    if now - before >= MORE_DUPLICATES:
        said = f"{percent(share)} of the rows repeat an earlier one in every input column"
        yield Problem("duplicates", f"{said}; in as many rows of the reference, {percent(before)} do.")


def volume_problems(rows: int, usual: float | None) -> Iterator[Problem]:
    """Whether there are far fewer or far more rows than in the windows before."""
    if usual and not usual / UNUSUAL <= max(rows, 0.5) <= usual * UNUSUAL:
        yield Problem("volume", f"The window has {rows:,} rows; the ones before had about {usual:,.0f}.")


def time_problems(newest: datetime | None, window: Window, now: datetime, later: int) -> Iterator[Problem]:
    """Whether rows stopped coming, or say that they come from the future."""
    end = min(window.end, now)
    if newest is not None and end - newest > (window.end - window.start) / 2:
        said = f"The newest row is of {newest:%Y-%m-%d %H:%M} UTC"
        yield Problem("stale", f"{said}: {_hours(end - newest)} before the window's end.")
    if later:
        yield Problem(
            "clock skew",
            f"{later:,} rows say that they are of a time that has not come yet; they are in no window. The "
            "clock of a server is wrong.",
        )


def _hours(time: timedelta) -> str:
    return f"{time.total_seconds() / 3600:,.1f} hours"
