"""The signature and input example of a model that takes rows as they are in the source."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd
import polars as pl
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema, TensorSpec
from mlflow.types.schema import AnyType

from kfp_lifecycle.components.shared.inference.columns import PREDICTION, probability_column
from kfp_lifecycle.components.shared.inference.labels import own_labels
from kfp_lifecycle.components.shared.inference.schema import Column, TableSchema

#: MLflow's type by NumPy's kind of a label.
_LABEL_TYPES = {"O": DataType.string, "b": DataType.boolean, "i": DataType.long, "f": DataType.double}


def signature(schema: TableSchema, input_columns: Sequence[str]) -> ModelSignature:
    """The model's signature: source columns in, prediction and probabilities out.

    Args:
        schema: The schema of the training data.
        input_columns: The columns that the model reads. Those of a feature store are optional: who serves the
            model may look them up.
    """
    columns = [schema.column(name) for name in input_columns]
    inputs: list[ColSpec | TensorSpec] = [
        ColSpec(_source_type(column), column.name, required=not (column.nullable or column.reference))
        for column in columns
    ]
    kind = _LABEL_TYPES[own_labels(schema).dtype.kind] if schema.classes else DataType.double
    outputs: list[ColSpec | TensorSpec] = [ColSpec(kind, PREDICTION)]
    outputs += [ColSpec(DataType.double, probability_column(label)) for label in schema.classes]
    return ModelSignature(inputs=Schema(inputs), outputs=Schema(outputs))


def input_sources(schema: TableSchema, input_columns: Sequence[str]) -> dict[str, Any]:
    """Which inputs come with a request and which from a feature store, for the model's metadata in MLflow.

    Args:
        schema: The schema of the training data.
        input_columns: The columns that the model reads.

    Returns:
        ``request``: the columns of a request, entity keys included; ``feature_store``: the store, with
        the reference of each of the other columns. Empty for a model without a store.
    """
    source = schema.feature_source
    if source is None:
        return {}
    references = {name: schema.column(name).reference for name in input_columns}
    own = [name for name, reference in references.items() if not reference]
    return {
        "request": list(dict.fromkeys([*source.entities, *source.request, *own])),
        "feature_store": {
            **asdict(source),
            "columns": {name: reference for name, reference in references.items() if reference},
        },
    }


def _source_type(column: Column) -> DataType | AnyType:
    """MLflow's type of a source column: text where it always is, any type elsewhere.

    pandas reads one and the same source column as int64 or float64 by the rows at hand, text with gaps as
    object or float64, and MLflow's check of a named type lets only one of them pass (int64 is refused as a
    double, NaN as a string). Whether a value fits, the model itself checks, naming column and value.
    """
    text = column.type == "string" and column.source_type in ("", "string")
    return DataType.string if text and not column.nullable else AnyType()  # type: ignore[no-untyped-call]


def as_source(rows: pl.DataFrame, schema: TableSchema, columns: Sequence[str]) -> pd.DataFrame:
    """Settled rows as the source has them: text where the source has text.

    Args:
        rows: Settled rows.
        schema: Their schema.
        columns: The columns to return, in order.
    """
    return pd.DataFrame({name: _values(rows[name], schema.column(name)) for name in columns})


def _values(values: pl.Series, column: Column) -> "pd.Series[Any]":
    if column.type in ("date", "timestamp"):
        return pd.Series(_time_texts(values, column), dtype=object)
    if column.source_type == "string" and column.type == "boolean":
        words = {True: column.true_value or "true", False: column.false_value or "false", None: None}
        return pd.Series([words[value] for value in values], dtype=object)
    if column.source_type == "string":
        values = values.cast(pl.String)
    return pd.Series(values.to_list(), dtype=object if values.dtype == pl.String else None)


def _time_texts(values: pl.Series, column: Column) -> list[str | None]:
    """Times as text even where the source has a time type: a row in JSON, as servers get it, has none."""
    form = column.time_format or ("%Y-%m-%d" if column.type == "date" else "%Y-%m-%dT%H:%M:%S%.6f%:z")
    return values.dt.strftime(form).to_list()
