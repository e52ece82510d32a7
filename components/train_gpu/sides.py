"""Which rows of a prepared table are fitted on and which are judged, as columns of a lazy frame."""

import logging
import math
from typing import Any

import polars as pl

from kfp_lifecycle.components.shared.errors import SchemaError, SplitError, TargetError
from kfp_lifecycle.components.shared.inference.labels import label_codes
from kfp_lifecycle.components.shared.inference.schema import ROW_HASH, TableSchema
from kfp_lifecycle.components.shared.inference.settle import settle
from kfp_lifecycle.components.train_gpu.hold_out import collect, held_out, impossible

log = logging.getLogger(__name__)

#: Columns that are added: a row's side, its target and its number. No column of a table has a zero byte in
#: its name.
SIDE, Y, AT = "\0side", "\0y", "\0position"
#: Sides: to fit on, held out, and neither.
FIT, JUDGE, NEITHER = range(3)


def labelled(table: pl.LazyFrame, schema: TableSchema) -> pl.LazyFrame:
    """The rows with their number and target: a class position, or float64."""
    have = table.collect_schema().names()
    for name in (schema.target, ROW_HASH, schema.split.column):
        if name and name not in have:
            raise SchemaError(
                f"The training rows have no column {name!r}.", "Pass the train output of prepare."
            )
    target = settle(table, schema, [schema.target]).select(_target(schema).alias(Y))
    marked = pl.concat([table, target], how="horizontal").with_row_index(AT)
    # A class position is never NaN, but has to be asked as a number.
    wrong_here = pl.col(Y).is_null() | pl.col(Y).cast(pl.Float64).is_nan()
    rows, wrong = collect(target.select(pl.len(), wrong_here.sum().alias("wrong"))).row(0)
    if not rows:
        raise SchemaError("There is no row to train on.", "Pass a training split with rows.")
    if wrong and schema.task == "regression":
        raise TargetError(
            f"The target {schema.target!r} is missing in {wrong:,} rows.", "Drop these rows first."
        )
    if wrong:
        unknown = marked.filter(pl.col(Y).is_null()).select(schema.target).head(1)
        label_codes(collect(unknown)[schema.target], schema)  # raises, and names the label
    return marked


def _target(schema: TableSchema) -> pl.Expr:
    values = pl.col(schema.target)
    if schema.task == "regression":
        return values.cast(pl.Float64)
    texts = pl.DataFrame({schema.target: schema.classes})
    classes = settle(texts, schema, [schema.target])[schema.target]
    places = pl.Series(range(len(classes)), dtype=pl.Int32)
    return values.replace_strict(classes, places, default=None, return_dtype=pl.Int32)


def sided(
    table: pl.LazyFrame, schema: TableSchema, share: float, seed: int
) -> tuple[pl.LazyFrame, dict[str, Any]]:
    """The rows with their side, and how many there are: of each side, and by class of those to fit on."""
    label = pl.lit(0, pl.Int32) if schema.task == "regression" else pl.col(Y)
    side = pl.lit(FIT, pl.Int8)
    if share:
        chosen = held_out(table, label, schema, share, seed).fill_null(value=False)
        side = pl.when(chosen).then(pl.lit(JUDGE, pl.Int8)).otherwise(side)
    rows = table.with_columns(side.alias(SIDE))
    sizes = collect(rows.group_by(SIDE, label.alias(Y)).agg(pl.len().alias("rows")))
    fit: dict[int, int] = dict(sizes.filter(pl.col(SIDE) == FIT).select(Y, "rows").iter_rows())
    judge: dict[int, int] = dict(sizes.filter(pl.col(SIDE) == JUDGE).select(Y, "rows").iter_rows())
    _check_fit(fit, schema, share)
    unknown = sorted(set(judge) - set(fit))
    if unknown:
        _say_unknown(unknown, judge, schema)
        unjudged = (pl.col(SIDE) == JUDGE) & pl.col(Y).is_in(unknown)
        rows = rows.with_columns(pl.when(unjudged).then(pl.lit(NEITHER, pl.Int8)).otherwise(SIDE).alias(SIDE))
    return rows, {
        "fit_rows": sum(fit.values()),
        "judge_rows": sum(count for code, count in judge.items() if code in fit),
        "class_counts": [fit.get(code, 0) for code in range(len(schema.classes))],
    }


def _check_fit(fit: dict[int, int], schema: TableSchema, share: float) -> None:
    if not fit:
        raise impossible(share, "the rows, or their groups, all have one hash")
    if schema.task != "regression" and len(fit) < 2:
        (only,) = fit
        raise TargetError(
            f"The rows to fit on have one class of {schema.target!r} only, {schema.classes[only]!r}.",
            "Give more data, or set validation_share lower.",
        )


def _say_unknown(unknown: list[int], judge: dict[int, int], schema: TableSchema) -> None:
    names = ", ".join(repr(schema.classes[code]) for code in unknown)
    if len(unknown) == len(judge):
        raise SplitError(
            f"Every held-out row is of a class that no other row has: {names}.",
            "Set validation_share to 0, or give more data of that class.",
        )
    rows = sum(judge[code] for code in unknown)
    log.warning("%d held-out rows are not judged: no row to fit on has the class %s", rows, names)


def spread(fit_rows: pl.LazyFrame, schema: TableSchema) -> dict[str, float]:
    """Mean and standard deviation of a regression's target, to ten digits of the latter."""
    if schema.task != "regression":
        return {"centre": 0.0, "scale": 1.0}
    y = pl.col(Y)
    largest = collect(fit_rows.select(y.abs().max())).item() or 1.0
    # By way of the largest, so that no sum or square overflows.
    small = y / largest
    mean, scale = collect(fit_rows.select(mean=small.mean(), scale=small.std(ddof=0))).row(0)
    if scale <= 1e-12:
        return {"centre": mean * largest, "scale": 1.0}
    # The order in which threads add must not be seen: machines of one training make this each for itself.
    digits = 10 - math.floor(math.log10(scale))
    return {"centre": round(mean, digits) * largest, "scale": round(scale, digits) * largest}
