"""The flights of 2013 by month, and a model that says in January whether one will be late."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from kfp_lifecycle.components.shared.inference.plan import CategoryPlan, NumberPlan, Plan
from kfp_lifecycle.components.shared.inference.schema import ROW_HASH, Column, Split, TableSchema
from kfp_lifecycle.components.shared.inference.transform import FeatureTransform
from kfp_lifecycle.components.shared.prediction_log import part_name
from kfp_lifecycle.components.train.training import TrainingInputs, TrainingOptions, train_model

FEATURES = {
    "sched_dep_time": "integer",
    "sched_arr_time": "integer",
    "dep_delay": "number",
    "distance": "integer",
    "air_time": "number",
    "carrier": "string",
    "origin": "string",
    "dest": "string",
}
TARGET = "late"


def flights(table: Callable[[str], Any], months: list[int]) -> pl.DataFrame:
    """Flights that arrived: a key, the month, the features and whether they were over a quarter late."""
    rows = pl.from_pandas(table("flights")).with_row_index("id")
    return (
        rows.filter(pl.col("month").is_in(months) & pl.col("arr_delay").is_not_null())
        .select(
            pl.col("id").cast(pl.String),
            "month",
            *FEATURES,
            (pl.col("arr_delay") > 15).replace_strict({True: "yes", False: "no"}).alias(TARGET),
        )
        .with_columns(pl.col(name).cast(pl.Int64) for name, kind in FEATURES.items() if kind == "integer")
    )


def schema_of(rows: pl.DataFrame) -> TableSchema:
    """As prepare writes it."""
    columns = [_column(rows[name], kind) for name, kind in FEATURES.items()]
    target = Column(TARGET, "string", role="target", source_type="string", categories=["no", "yes"])
    return TableSchema(
        [Column("id", "string", role="key", source_type="string"), *columns, target],
        TARGET,
        "binary",
        classes=["no", "yes"],
        positive_class="yes",
        split=Split("random", 0.2, 42),
        source_uri="flights.parquet",
        source_digest="sha256:0123",
    )


def _column(values: pl.Series, kind: str) -> Column:
    missing = values.null_count() / len(values)
    common: dict[str, Any] = {"source_type": kind, "nullable": missing > 0, "missing_share": missing}
    if kind == "string":
        return Column(values.name, kind, **common, categories=sorted(values.drop_nulls().unique()))
    return Column(values.name, kind, **common, minimum=float(values.min()), maximum=float(values.max()))  # type: ignore[arg-type]


def train_on(rows: pl.DataFrame, model: Path, *, folds: int = 2, reference_rows: int = 2000) -> None:
    """A Model artifact, logged to the MLflow store that the environment names."""
    rows = rows.with_columns(rows.select("id").hash_rows(seed=1).alias(ROW_HASH)).drop("month")
    schema = schema_of(rows)
    folder = model.parent / f"{model.name}-inputs"
    for part in ("train", "features"):
        (folder / part).mkdir(parents=True)
    rows.write_parquet(folder / "train" / "part-0.parquet")
    schema.save(folder / "schema.json")
    plans = [CategoryPlan(n) if kind == "string" else NumberPlan(n, n) for n, kind in FEATURES.items()]
    plan = Plan(inputs=FEATURES, derive={}, columns=plans, target=TARGET, task="binary", parameters={})
    transform = FeatureTransform(plan.to_dict())
    transform.save(folder / "plan.json")
    values = transform.fit_transform(rows, rows[TARGET])
    transform.save(folder / "transform.json")
    features = pl.DataFrame(values, schema=list(transform.get_feature_names_out()))
    features.with_columns(rows[ROW_HASH]).write_parquet(folder / "features" / "part-0.parquet")
    train_model(
        TrainingInputs(
            folder / "train",
            folder / "features",
            folder / "schema.json",
            folder / "plan.json",
            folder / "transform.json",
        ),
        model,
        TrainingOptions(
            estimator="sklearn.linear_model.LogisticRegression", folds=folds, reference_rows=reference_rows
        ),
    )


def answered(rows: pl.DataFrame, predictions: pl.DataFrame, *, version: str, at: datetime) -> pl.DataFrame:
    """Rows as serve logs them: one request each, a second apart, the last one at ``at``."""
    times = [at - timedelta(seconds=rows.height - 1 - index) for index in range(rows.height)]
    return (
        pl.DataFrame(
            {
                "_time": pl.Series(times, dtype=pl.Datetime("us", "UTC")),
                "_request_id": [f"r{index}" for index in range(rows.height)],
                "_row": pl.Series([0] * rows.height, dtype=pl.Int32),
                "_model": ["late"] * rows.height,
                "_version": [version] * rows.height,
            }
        )
        .hstack(rows.select(*FEATURES, "id"))
        .hstack(predictions)
    )


def write_log(folder: Path, rows: pl.DataFrame, instance: str = "a") -> Path:
    """A prediction log of rows."""
    for number, ((day,), part) in enumerate(rows.group_by(pl.col("_time").dt.date(), maintain_order=True)):
        moment = datetime(day.year, day.month, day.day, tzinfo=UTC)  # type: ignore[attr-defined]
        file = folder / part_name(moment, instance, number)
        file.parent.mkdir(parents=True, exist_ok=True)
        part.write_parquet(file)
    return folder
