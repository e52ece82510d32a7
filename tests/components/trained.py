"""Real tables split by hand and real models of them, for tests that begin where train ends."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl

from kfp_lifecycle.components.shared.inference.plan import CategoryPlan, NumberPlan, Plan
from kfp_lifecycle.components.shared.inference.schema import ROW_HASH, Column, Split, TableSchema
from kfp_lifecycle.components.shared.inference.transform import FeatureTransform
from kfp_lifecycle.components.train.training import (
    TrainingInputs,
    TrainingOptions,
    TrainingResult,
    train_model,
)

TYPES = {pl.Int64: "integer", pl.Float64: "number", pl.Boolean: "boolean", pl.String: "string"}


@dataclass
class Prepared:
    """A table in two splits with its schema, as prepare leaves them."""

    folder: Path
    schema: TableSchema
    train: pl.DataFrame
    test: pl.DataFrame

    @property
    def test_path(self) -> Path:
        return self.folder / "test"

    @property
    def schema_path(self) -> Path:
        return self.folder / "schema.json"

    def write(self) -> "Prepared":
        for name, rows in (("train", self.train), ("test", self.test)):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
            rows.write_parquet(self.folder / name / "part-0.parquet")
        self.schema.save(self.schema_path)
        return self

    def with_schema(self, folder: Path, **changes: Any) -> "Prepared":
        """The same rows under a changed schema, elsewhere."""
        return Prepared(folder, replace(self.schema, **changes), self.train, self.test).write()


def prepare(folder: Path, rows: pl.DataFrame, target: str, task: str, *, positive: str = "") -> Prepared:
    """Splits settled rows four to one by their hash."""
    rows = rows.with_columns(rows.hash_rows(seed=1).alias(ROW_HASH))
    columns = [
        Column(
            name,
            TYPES[type(dtype)],
            role="target" if name == target else "feature",
            source_type=TYPES[type(dtype)],
            nullable=bool(rows[name].null_count()),
        )
        for name, dtype in rows.schema.items()
        if name != ROW_HASH
    ]
    classes = [] if task == "regression" else sorted(rows[target].unique().cast(pl.String).to_list())
    schema = TableSchema(
        columns,
        target,
        task,
        classes=classes,
        positive_class=positive or (classes[-1] if task == "binary" else ""),
        split=Split("random", 0.2, 42),
        source_uri=f"data/{folder.name}.csv",
        source_digest="sha256:0123456789abcdef",
        parameters={"source": f"data/{folder.name}.csv", "target": target},
    )
    side = rows[ROW_HASH] % 5 == 0
    return Prepared(folder, schema, rows.filter(~side), rows.filter(side)).write()


@dataclass
class Artifact:
    """Stands in for a KFP artifact: the attributes that a step uses."""

    path: str
    uri: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)


def train(
    prepared: Prepared,
    model: Path,
    *,
    exclude: Sequence[str] = (),
    estimator: str = "sklearn.linear_model.LogisticRegression",
    parameters: dict[str, Any] | None = None,
) -> TrainingResult:
    """A Model artifact, logged to the MLflow store that the environment names."""
    schema = prepared.schema
    features = [column for column in schema.features if column.name not in exclude]
    plan = Plan(
        inputs={column.name: column.type for column in features},
        derive={},
        columns=[
            CategoryPlan(column.name) if column.type == "string" else NumberPlan(column.name, column.name)
            for column in features
        ],
        target=schema.target,
        task=schema.task,
        parameters={"exclude_columns": list(exclude)},
    )
    folder = model.parent / f"{model.name}-inputs"
    (folder / "features").mkdir(parents=True)
    transform = FeatureTransform(plan.to_dict())
    transform.save(folder / "plan.json")
    values = transform.fit_transform(prepared.train, prepared.train[schema.target])
    transform.save(folder / "transform.json")
    table = pl.DataFrame(values, schema=list(transform.get_feature_names_out()))
    table.with_columns(prepared.train[ROW_HASH]).write_parquet(folder / "features" / "part-0.parquet")
    return train_model(
        TrainingInputs(
            prepared.folder / "train",
            folder / "features",
            prepared.schema_path,
            folder / "plan.json",
            folder / "transform.json",
        ),
        model,
        TrainingOptions(
            estimator=estimator, estimator_parameters=parameters or {}, folds=0, reference_rows=50
        ),
    )


def churn(table: Callable[[str], Any], rows: int | None = None) -> pl.DataFrame:
    """The Telco table, settled by hand."""
    frame = pl.from_pandas(table("churn")).drop("customer_id", "customerID", strict=False)
    if rows:
        frame = frame.head(rows)
    return frame.with_columns(pl.col(pl.Int32, pl.Int8).cast(pl.Int64))


def evaluation_file(path: Path, **metrics: float) -> Path:
    """An evaluation artifact with the parts that register reads."""
    found = {
        name: {"value": value, "low": value - 0.02, "high": value + 0.02} for name, value in metrics.items()
    }
    path.write_text(json.dumps({"metrics": found, "options": {"confidence": 0.95}}))
    return path


def namespace(**values: Any) -> SimpleNamespace:
    return SimpleNamespace(**values)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)
