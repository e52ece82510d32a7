"""Real tables as prepare and featurize would leave them, for tests that have no need of either."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from kfp_lifecycle.components.shared.inference.plan import CategoryPlan, NumberPlan, Plan
from kfp_lifecycle.components.shared.inference.schema import ROW_HASH, Column, Split, TableSchema
from kfp_lifecycle.components.shared.inference.transform import FeatureTransform
from kfp_lifecycle.components.train.training import TrainingInputs

_KINDS = {pl.Int64: "integer", pl.Float64: "number", pl.String: "string", pl.Boolean: "boolean"}


@dataclass(frozen=True)
class Prepared:
    """A prepared table in memory, its schema, and a plan for it."""

    rows: pl.DataFrame
    schema: TableSchema
    plan: FeatureTransform

    def write(self, folder: Path) -> TrainingInputs:
        """Writes what prepare and featurize write for a training split."""
        inputs = TrainingInputs(
            *(folder / name for name in ("rows", "features", "schema", "plan", "transform"))
        )
        for place in (inputs.rows, inputs.features):
            place.mkdir(parents=True)
        self.rows.write_parquet(inputs.rows / "part-0.parquet")
        self.schema.save(inputs.schema)
        self.plan.save(inputs.plan)
        fitted = FeatureTransform(self.plan.plan, self.plan.seed)
        features = fitted.fit_transform(self.rows, self.rows[self.schema.target])
        fitted.save(inputs.transform)
        table = pl.DataFrame(features, schema=list(fitted.get_feature_names_out()))
        table = table.with_columns(self.rows[self.schema.target], self.rows[ROW_HASH])
        table.write_parquet(inputs.features / "part-0.parquet")
        return inputs


def prepared(
    rows: pl.DataFrame,
    target: str,
    task: str,
    *,
    split: Split | None = None,
    roles: dict[str, str] | None = None,
    source_types: dict[str, str] | None = None,
    encode: str = "onehot",
    impute: str = "median",
    scale: str = "standard",
) -> Prepared:
    """``rows`` with hashes, a schema by their types, and a plan that takes every feature."""
    roles, source_types = {**(roles or {}), target: "target"}, source_types or {}
    rows = rows.with_columns(pl.col(pl.Int32, pl.Int8).cast(pl.Int64), pl.col(pl.Float32).cast(pl.Float64))
    columns = [_column(rows[name], roles, source_types) for name in rows.columns]
    classes = [] if task == "regression" else sorted(rows[target].cast(pl.String).unique())
    features = [column for column in columns if column.role == "feature"]
    plan = Plan(
        inputs={column.name: column.type for column in features},
        derive={},
        columns=[_plan(column, encode, impute, scale) for column in features],
        target=target,
        task=task,
        parameters={"encode": encode, "scale": scale},
    )
    schema = TableSchema(
        columns,
        target,
        task,
        classes,
        classes[-1] if task == "binary" else "",
        split=split or Split("random" if task == "regression" else "stratified"),
        source_uri="https://example.org/tables/table.csv",
        source_digest="sha256:" + "ab" * 32,
        parameters={"source": "https://example.org/tables/table.csv", "drop_columns": []},
    )
    # Where a table is long, equal rows are common: the row's position makes the hashes differ.
    hashes = rows.with_row_index("_position").hash_rows(seed=7).alias(ROW_HASH)
    return Prepared(rows.with_columns(hashes), schema, FeatureTransform(plan.to_dict()))


def _column(values: pl.Series, roles: dict[str, str], source_types: dict[str, str]) -> Column:
    kind = "timestamp" if values.dtype == pl.Datetime else _KINDS[type(values.dtype)]
    return Column(
        values.name,
        kind,
        role=roles.get(values.name, "feature"),
        source_type=source_types.get(values.name, kind),
        nullable=values.null_count() > 0,
    )


def _plan(column: Column, encode: str, impute: str, scale: str) -> Any:
    if column.type == "string":
        return CategoryPlan(column.name, encode=encode)
    return NumberPlan(column.name, column.name, impute=impute, scale=scale)
