"""Fitting a plan on training rows: streaming aggregates, one number or one small table a column."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from .encoders import LARGEST, CategoryEncoder, Encoder, NumberEncoder, number_source
from .errors import SchemaError
from .plan import CategoryPlan, NumberPlan, Plan
from .target_encoding import Floats, encode, held_out

#: Parts of the training rows whose target encoding comes from the other parts.
FOLDS = 5
#: Name of the column with a row's part; no column of a table has a zero byte in its name.
FOLD = "\0fold"

#: More distinct values than this in one column are refused.
MAX_CATEGORIES = 100_000
#: More features than this out of one column are refused.
MAX_ONEHOT = 1_000

#: A spread below this is none: one over it would be infinite.
_SMALLEST = 1e-300

#: An exact median holds its column in memory: so many bytes of columns at a time.
_MEDIAN_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Fitted:
    """What fitting gives.

    Args:
        encoders: One for each column of the plan, in order.
        held_out: Column to its target encodings for the training rows: one list a class, of each fold's
            slots and unseen category one after the other.
    """

    encoders: list[Encoder]
    held_out: dict[str, list[list[float]]]


def fit(rows: pl.LazyFrame, plan: Plan) -> Fitted:
    """Fits every column of the plan. Memory does not grow with the rows, but for one column at a time.

    Args:
        rows: Training rows with the plan's inputs and derived columns and, where the plan encodes the target,
            with the target and :data:`FOLD`.
        plan: The plan.

    Raises:
        SchemaError: There is no row, a column has too many categories, or the target has a gap.
    """
    numbers = iter(_fit_numbers(rows, plan.numbers))
    tables = _count(rows, plan.categories)
    shapes = {column.column: _shape(column, tables[column.column]) for column in plan.categories}
    encoded = [shape for shape in shapes.values() if shape.encode == "target"]
    values, outside = _encode_target(rows, plan, encoded) if encoded else ({}, {})
    categories = shapes | values
    encoders = [next(numbers) if isinstance(c, NumberPlan) else categories[c.column] for c in plan.columns]
    return Fitted(encoders, outside)


def with_fold(rows: pl.LazyFrame, seed: int) -> pl.LazyFrame:
    """``rows`` with :data:`FOLD`, by the row's number and the seed (Fibonacci hashing, which is even)."""
    numbered = rows.with_row_index(FOLD)
    mixed = (pl.col(FOLD).cast(pl.UInt64) + seed % 2**32) * pl.lit(0x9E3779B97F4A7C15, pl.UInt64)
    return numbered.with_columns((mixed // 2**33 % FOLDS).cast(pl.Int32).alias(FOLD))


def _fit_numbers(rows: pl.LazyFrame, plans: Sequence[NumberPlan]) -> list[NumberEncoder]:
    # By number, because two features may want one name. Within the features' bounds, so that no sum, square
    # or difference is beyond floats.
    numbers = rows.with_columns(
        number_source(plan.column, plan.part).clip(-LARGEST, LARGEST).alias(_key(place))
        for place, plan in enumerate(plans)
    )
    asked = [pl.len().alias("rows")]
    for place in range(len(plans)):
        column = pl.col(_key(place))
        moments = {"gaps": column.null_count(), "mean": column.mean(), "variance": column.var(ddof=0)}
        ends = {"minimum": column.min(), "maximum": column.max()}
        asked += [value.alias(kind + _key(place)) for kind, value in (moments | ends).items()]
    found = _collect(numbers.select(asked)).row(0, named=True)
    if not found["rows"]:
        raise SchemaError("There is no row to fit the features on.", "Pass a training split with rows.")
    wanted = [_key(place) for place, plan in enumerate(plans) if plan.impute == "median"]
    found |= _medians(numbers, wanted, found["rows"])
    return [_number(plan, _key(place), found) for place, plan in enumerate(plans)]


def _key(place: int) -> str:
    return f"\0{place}"


def _medians(numbers: pl.LazyFrame, names: Sequence[str], height: int) -> dict[str, float | None]:
    at_once = max(1, _MEDIAN_BYTES // (8 * height))
    found: dict[str, float | None] = {}
    for start in range(0, len(names), at_once):
        for column in _collect(numbers.select(names[start : start + at_once])).iter_columns():
            values = column.drop_nulls().to_numpy()
            # NumPy selects where Polars sorts: less than half the time.
            found[f"median{column.name}"] = float(np.median(values)) if len(values) else None
    return found


def _number(plan: NumberPlan, key: str, found: Mapping[str, Any]) -> NumberEncoder:
    """The encoder, scaled by the moments that the column has once its gaps are filled."""
    mean, variance, low, high, gaps = (
        found[kind + key] for kind in ("mean", "variance", "minimum", "maximum", "gaps")
    )
    if mean is None:
        return NumberEncoder(plan.name, plan.column, plan.part, None if plan.impute == "none" else 0.0)
    spread = math.sqrt(variance)
    mean = _steady(mean, spread)
    fills = {"mean": mean, "zero": 0.0, "none": None}
    fill = fills[plan.impute] if plan.impute in fills else found[f"median{key}"]
    if fill is not None and gaps:
        low, high = min(low, fill), max(high, fill)
        mean, spread = _filled(mean, spread, found["rows"] - gaps, fill, gaps)
    centre, scale = 0.0, 1.0
    if plan.scale == "standard":
        centre, scale = _steady(mean, spread), _steady(spread, spread)
    elif plan.scale == "minmax":
        centre, scale = low, high - low
    # A constant column keeps its scale, whatever rounding makes of its spread.
    scale = scale if low < high and scale > _SMALLEST else 1.0
    return NumberEncoder(plan.name, plan.column, plan.part, fill, centre, scale)


def _filled(mean: float, spread: float, count: int, fill: float, gaps: int) -> tuple[float, float]:
    """Mean and standard deviation of ``count`` values with these and ``gaps`` times ``fill``."""
    rows = count + gaps
    whole = mean + (fill - mean) * (gaps / rows)
    inside = math.hypot(spread, mean - whole) * math.sqrt(count / rows)
    return whole, math.hypot(inside, (fill - whole) * math.sqrt(gaps / rows))


def _steady(value: float, spread: float) -> float:
    """``value`` to ten digits of ``spread``: the order in which threads add must not change a stored file."""
    if spread <= _SMALLEST:
        return value
    return float(f"{value:.{max(1, 10 + _digits(value) - _digits(spread))}g}")


def _digits(value: float) -> int:
    return math.floor(math.log10(abs(value))) if abs(value) > _SMALLEST else -300


def _count(rows: pl.LazyFrame, plans: Sequence[CategoryPlan]) -> dict[str, pl.DataFrame]:
    """For each column a table of its values as text (null included) and their number of rows, sorted."""
    tables = pl.collect_all(
        [
            rows.group_by(pl.col(plan.column).cast(pl.String).alias("value")).agg(pl.len().alias("rows"))
            for plan in plans
        ],
        engine="streaming",
    )
    for plan, table in zip(plans, tables, strict=True):
        if table.height > MAX_CATEGORIES:
            raise SchemaError(
                f"Column {plan.column!r} has {table.height:,} categories; {MAX_CATEGORIES:,} are allowed.",
                "Exclude it, or derive a coarser column from it.",
            )
    return {plan.column: table.sort("value") for plan, table in zip(plans, tables, strict=True)}


def _shape(plan: CategoryPlan, table: pl.DataFrame) -> CategoryEncoder:
    """The column's slots, by how many rows have each value."""
    counts: dict[str | None, int] = dict(table.iter_rows())
    enough = plan.rare_share * sum(counts.values())
    present = {value: count for value, count in counts.items() if value is not None}
    gaps = counts.get(None, 0)
    fill: str | None = None
    if plan.impute == "most_frequent" and present:
        fill = min(present, key=lambda value: (-present[value], value))
        present[fill] += gaps
    kept = sorted(value for value, count in present.items() if count >= enough)
    own_slot = plan.impute == "missing" and gaps > 0
    missing = own_slot and gaps >= enough
    rare = len(kept) < len(present) or (own_slot and not missing)
    if plan.encode == "onehot" and len(kept) > MAX_ONEHOT:
        raise SchemaError(
            f"Column {plan.column!r} would become {len(kept):,} columns; {MAX_ONEHOT:,} are allowed.",
            "Encode it by target or ordinal, or raise rare_share.",
        )
    null_slot = len(kept) + rare if missing else len(kept) if rare else -1
    if fill in kept:
        null_slot = kept.index(fill)
    return CategoryEncoder(plan.column, plan.encode, kept, rare, missing, null_slot, [], [])


def _encode_target(
    rows: pl.LazyFrame, plan: Plan, shapes: Sequence[CategoryEncoder]
) -> tuple[dict[str, CategoryEncoder], dict[str, list[list[float]]]]:
    """The encoders with their values, and the values for the training rows."""
    labels, measures, offset = _measures(rows, plan)
    asked = [pl.len().alias("rows")]
    for number, measure in enumerate(measures):
        asked += [measure.sum().alias(f"sum{number}"), (measure * measure).sum().alias(f"square{number}")]
    keys = [[shape.slot().alias("slot"), FOLD] for shape in shapes]
    tables = pl.collect_all([rows.group_by(key).agg(asked) for key in keys], engine="streaming")
    encoders, outside = {}, {}
    for shape, table in zip(shapes, tables, strict=True):
        sums = [_by_fold(table, shape, "rows", f"sum{n}", f"square{n}") for n in range(len(measures))]
        values = [_stored(encode(*(part.sum(0) for part in parts)), offset) for parts in sums]
        outside[shape.column] = [_stored(held_out(*parts).ravel(), offset) for parts in sums]
        encoders[shape.column] = replace(shape, values=values, classes=labels)
    return encoders, outside


def _by_fold(table: pl.DataFrame, shape: CategoryEncoder, *columns: str) -> list[Floats]:
    """Columns of a table of fold and slot as arrays of shape ``(FOLDS, slots + 1)``, the unseen last."""
    arrays = []
    for column in columns:
        array = np.zeros((FOLDS, len(shape.slots) + 1))
        array[table[FOLD].to_numpy(), table["slot"].to_numpy()] = table[column].to_numpy()
        arrays.append(array)
    return arrays


def _stored(encodings: Floats, offset: float) -> list[float]:
    spread = float(np.abs(encodings).max(initial=0.0))  # They are centred, so this is their scale.
    return [_steady(value, spread) + offset for value in encodings.tolist()]


def _measures(rows: pl.LazyFrame, plan: Plan) -> tuple[list[str], list[pl.Expr], float]:
    """What is averaged: labels of several classes, one expression each, and what was taken off them.

    A binary target is measured by its last class in sorted order.
    """
    target = pl.col(plan.target)
    if _collect(rows.select(target.null_count())).item():
        raise SchemaError(f"The target {plan.target!r} has missing values.", "Drop these rows first.")
    if plan.task == "regression":
        number = target.cast(pl.Float64).clip(-LARGEST, LARGEST)
        mean, spread = _collect(rows.select(mean=number.mean(), spread=number.std(ddof=0))).row(0)
        offset = _steady(mean, spread)
        return [], [number - offset], offset
    label = target.cast(pl.String)
    labels = _collect(rows.select(label.unique())).to_series().sort().to_list()
    several = labels if len(labels) > 2 else []
    return several, [(label == name).cast(pl.Float64) for name in several or labels[-1:]], 0.0


def _collect(query: pl.LazyFrame) -> pl.DataFrame:
    return query.collect(engine="streaming")
