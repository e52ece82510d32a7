"""Predictions beside what has turned out to be true."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from kfp_lifecycle.components.evaluate.predictions import Scored
from kfp_lifecycle.components.monitor.findings import Problem
from kfp_lifecycle.components.monitor.watched import OpenModel
from kfp_lifecycle.components.shared.errors import ParameterError, SchemaError, SourceError, did_you_mean
from kfp_lifecycle.components.shared.inference.columns import PREDICTION, probability_column
from kfp_lifecycle.components.shared.inference.labels import label_codes
from kfp_lifecycle.components.shared.inference.schema import TableSchema
from kfp_lifecycle.components.shared.inference.settle import column_settling
from kfp_lifecycle.components.shared.model_format import load_predictor

#: Rows that a model scores where a table has no predictions; intervals from more are no narrower to the eye.
MAX_SCORED = 50_000


@dataclass(frozen=True)
class Labelled:
    """Rows that a label has arrived for, with their predictions.

    Args:
        rows: The target, the columns of a prediction, and the inputs where there are no predictions yet.
        predictions: Rows that labels were looked for, those among them.
        problems: What is wrong with the labels.
    """

    rows: pl.DataFrame
    predictions: int
    problems: list[Problem] = field(default_factory=list)


def join_labels(
    rows: pl.LazyFrame, labels: pl.LazyFrame, keys: Sequence[str], model: OpenModel, seed: int
) -> Labelled:
    """The rows whose labels have arrived.

    Keys are compared as text: a log has them as they were sent. A key that has two different labels has none.

    Args:
        rows: Rows with the keys.
        labels: The keys and the target; further columns are ignored.
        keys: Columns of both.
        model: The model.
        seed: Seed of the part that is scored where rows have no predictions and are many.

    Raises:
        ParameterError: A key is no column of one of the two.
        SourceError: The labels have no target.
    """
    target = model.schema.target
    _check_keys(rows, labels, keys, target)
    as_text = [pl.col(key).cast(pl.String) for key in keys]
    given = labels.select(*as_text, pl.col(target)).collect(engine="streaming").unique()
    clashing = given.filter(given.select(keys).is_duplicated())
    given = given.join(clashing, on=keys, how="anti", nulls_equal=True)
    wanted = [name for name in _needed(rows, model) if name not in keys]
    ours = rows.select(*as_text, *wanted)
    predictions = int(ours.select(pl.len()).collect(engine="streaming").item())
    found = ours.join(given.lazy(), on=keys, how="inner").collect(engine="streaming")
    known = ours.select(keys).unique().collect(engine="streaming")
    unknown = given.join(known, on=keys, how="anti")
    problems = [*_clashes(clashing, keys), *_unknown(unknown, given.height, keys)]
    return Labelled(_some(found, model, seed), predictions, problems)


def own_labels(rows: pl.LazyFrame, model: OpenModel, seed: int) -> Labelled:
    """The rows of a table that has the target itself."""
    target = model.schema.target
    needed = rows.select(target, *_needed(rows, model))
    predictions = int(rows.select(pl.len()).collect(engine="streaming").item())
    found = needed.filter(pl.col(target).is_not_null()).collect(engine="streaming")
    return Labelled(_some(found, model, seed), predictions)


def scored(labelled: Labelled, model: OpenModel) -> tuple[Scored | None, list[Problem]]:
    """Predictions and truth as arrays; None where no row has a label that is one."""
    schema = model.schema
    rows = labelled.rows
    if PREDICTION not in rows.columns and not rows.is_empty():
        rows = rows.select(schema.target).hstack(predict(model, rows.drop(schema.target)))
    rows, problems = _with_labels(rows, schema)
    if rows.is_empty():
        return None, problems
    if schema.task == "regression":
        truth, predicted = (rows[name].cast(pl.Float64).to_numpy() for name in (schema.target, PREDICTION))
        return Scored(schema.task, truth, predicted, np.empty((len(truth), 0))), problems
    probabilities = rows.select(map(probability_column, schema.classes)).to_numpy().astype(np.float64)
    return (
        Scored(
            schema.task,
            label_codes(rows[schema.target], schema),
            label_codes(rows[PREDICTION], schema),
            probabilities,
            tuple(schema.classes),
            schema.positive_class,
        ),
        problems,
    )


def predict(model: OpenModel, rows: pl.DataFrame) -> pl.DataFrame:
    """The model's predictions of rows.

    Raises:
        SchemaError: A value does not fit. Names the column.
    """
    predictor: Any = load_predictor(model.folder)
    try:
        answer: pl.DataFrame = pl.from_pandas(predictor.predict(rows.select(model.description.input_columns)))
    except Exception as error:
        if not getattr(error, "is_declared", False):
            raise
        # The model brings its own copy of the error classes.
        raise SchemaError(getattr(error, "problem", str(error)), getattr(error, "fix", "")) from error
    return answer


def has_predictions(rows: pl.LazyFrame, model: OpenModel) -> bool:
    """Whether a table has every column of a prediction."""
    return {column.name for column in model.predictions} <= set(rows.collect_schema())


def _needed(rows: pl.LazyFrame, model: OpenModel) -> list[str]:
    if has_predictions(rows, model):
        return [column.name for column in model.predictions]
    return list(model.description.input_columns)


def _some(found: pl.DataFrame, model: OpenModel, seed: int) -> pl.DataFrame:
    if PREDICTION in found.columns or found.height <= MAX_SCORED:
        return found
    return found.sample(MAX_SCORED, seed=seed)


def _check_keys(rows: pl.LazyFrame, labels: pl.LazyFrame, keys: Sequence[str], target: str) -> None:
    ours, theirs = rows.collect_schema(), labels.collect_schema()
    if not keys:
        raise ParameterError(
            "Labels are given, but not what they are joined by.",
            "Name the columns with parameter 'label_keys'.",
        )
    for side, columns in (("current data", ours), ("labels", theirs)):
        for key in keys:
            if key not in columns:
                raise ParameterError(
                    f"Parameter 'label_keys' names {key!r}, which is no column of the {side}.",
                    did_you_mean(key, columns),
                )
    if target not in theirs:
        raise SourceError(
            f"The labels have no column {target!r}, which the model predicts.", did_you_mean(target, theirs)
        )


def _clashes(clashing: pl.DataFrame, keys: Sequence[str]) -> list[Problem]:
    if clashing.is_empty():
        return []
    count = clashing.select(keys).unique().height
    said = f"{count:,} keys have two different labels and count as having none"
    return [Problem("labels twice", f"{said}, such as {_example(clashing, keys)}.")]


def _unknown(unknown: pl.DataFrame, labels: int, keys: Sequence[str]) -> list[Problem]:
    if unknown.is_empty():
        return []
    said = f"{unknown.height:,} of {labels:,} labels are of keys that no prediction in the window has"
    return [Problem("unknown keys", f"{said}, such as {_example(unknown, keys)}.")]


def _example(rows: pl.DataFrame, keys: Sequence[str]) -> str:
    return ", ".join(f"{key} {rows[key][0]!r}" for key in keys)


def _with_labels(rows: pl.DataFrame, schema: TableSchema) -> tuple[pl.DataFrame, list[Problem]]:
    """Rows with the target settled, without those whose label is missing or none."""
    settling = column_settling(schema.column(schema.target), rows.schema[schema.target], schema)
    clean = rows.select(settling.clean.alias(schema.target))
    values = clean.select(settling.convert(pl.col(schema.target)))[schema.target]
    fits = values.is_not_null()
    if schema.classes:
        known = [value for value in values.drop_nulls().unique() if _is_class(value, schema)]
        fits = values.is_in(known) if known else pl.Series([False] * len(values), dtype=pl.Boolean)
    said = clean[schema.target].is_not_null()
    problems = []
    if wrong := int((said & ~fits.fill_null(False)).sum()):
        example = clean[schema.target].filter(said & ~fits.fill_null(False))[0]
        what = f"none of the classes {', '.join(schema.classes)}" if schema.classes else "no number"
        problems.append(
            Problem("unknown label", f"{wrong:,} labels are {what}, such as {example!r}.", schema.target)
        )
    return rows.with_columns(values).filter(fits.fill_null(False)), problems


def _is_class(value: Any, schema: TableSchema) -> bool:
    try:
        label_codes(pl.Series([value]), schema)
    except SchemaError:
        return False
    return True
