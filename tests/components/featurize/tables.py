"""Settled tables with their schemas, made by hand from real ones: what prepare gives, without prepare."""

from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl

from kfp_lifecycle.components.featurize.options import Options
from kfp_lifecycle.components.featurize.plan import build_plan
from kfp_lifecycle.components.shared.inference.schema import ROW_HASH, Column, TableSchema
from kfp_lifecycle.components.shared.inference.transform import FeatureTransform

_KINDS = {
    pl.Int64(): "integer",
    pl.Float64(): "number",
    pl.Boolean(): "boolean",
    pl.String(): "string",
    pl.Date(): "date",
    pl.Datetime("us", "UTC"): "timestamp",
}


def schema_of(frame: pl.DataFrame, target: str, task: str = "binary", **roles: str) -> TableSchema:
    """A schema for a settled frame; ``roles`` are those of columns that are no feature."""
    columns = []
    for name, dtype in frame.schema.items():
        if name == ROW_HASH:
            continue
        text = dtype == pl.String
        columns.append(
            Column(
                name,
                _KINDS[dtype],
                role="target" if name == target else roles.get(name, "feature"),
                categories=sorted(frame[name].drop_nulls().unique()) if text else None,
            )
        )
    classes = [] if task == "regression" else sorted(frame[target].cast(pl.String).drop_nulls().unique())
    return TableSchema(columns, target, task, classes)


def splits(frame: pl.DataFrame, every: int = 5) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Training and test rows, each with a row hash."""
    hashed = frame.with_row_index("index").with_columns(
        (pl.col("index").cast(pl.UInt64) * 0x9E3779B97F4A7C15).alias(ROW_HASH)
    )
    test = pl.col("index") % every == 0
    return hashed.filter(~test).drop("index"), hashed.filter(test).drop("index")


def churn(table: pd.DataFrame) -> pl.DataFrame:
    """The Telco table, settled: flags are booleans."""
    flags = ["female", "partner", "dependents", "phone_service", "paperless_billing"]
    return pl.from_pandas(table).with_columns(pl.col(flags).cast(pl.Boolean))


def flights(table: pd.DataFrame, rows: int = 20_000) -> pl.DataFrame:
    """Every so many of the flights that arrived, with a timestamp, a date and a Boolean target."""
    frame = pl.from_pandas(table).filter(pl.col("arr_delay").is_not_null())
    frame = frame.gather_every(max(1, frame.height // rows))
    moment = pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us", time_zone="UTC")
    late = (pl.col("arr_delay") > 15).alias("late")
    return frame.with_columns(moment, late, pl.date("year", "month", "day").alias("flown")).drop("arr_delay")


def write(frame: pl.DataFrame, folder: Path) -> Path:
    """The frame as a Dataset artifact's folder."""
    folder.mkdir(parents=True)
    frame.write_parquet(folder / "part-0.parquet")
    return folder


def unfitted(frame: pl.DataFrame, schema: TableSchema, **options: Any) -> FeatureTransform:
    """The transform that featurize would plan for the table, not fitted."""
    plan = build_plan(schema, Options(**options), frame.lazy())
    return FeatureTransform(plan.to_dict(), plan.parameters["seed"])
