"""The target column: what task it makes, and its classes."""

from dataclasses import dataclass

import polars as pl

from kfp_lifecycle.components.prepare.options import Options
from kfp_lifecycle.components.prepare.settling import counted_limit
from kfp_lifecycle.components.shared.errors import ParameterError, TargetError, did_you_mean
from kfp_lifecycle.components.shared.inference.schema import Column

#: An integer target with up to so many distinct values is a class, with more a quantity.
MAX_INTEGER_CLASSES = 20


@dataclass(frozen=True)
class Target:
    """What is learned.

    Args:
        task: ``binary``, ``multiclass`` or ``regression``.
        classes: The labels as text, sorted; empty for regression.
        positive_class: The label that counts as positive; empty unless binary.
    """

    task: str
    classes: list[str]
    positive_class: str


def find_target(values: pl.LazyFrame, column: Column, options: Options) -> Target:
    """The task and classes of the target.

    Args:
        values: The settled table, with the target.
        column: The target's column.
        options: ``task``, ``positive_class``, ``max_categories`` and ``target_expression`` are read.

    Raises:
        TargetError: It has no values, or one only, or does not fit the task.
        ParameterError: ``positive_class`` is none of its classes.
    """
    if column.type in ("date", "timestamp"):
        raise TargetError(
            f"Target {column.name!r} is a {column.type}.",
            "Predict a number or a class: see target_expression.",
        )
    labels = _labels(values, column.name, counted_limit(options))
    if labels is not None and len(labels) < 2:
        raise _useless(column.name, labels, options)
    task = _task(column, labels, options.task)
    if task == "regression":
        if options.positive_class:
            raise ParameterError(
                f"Parameter 'positive_class' is {options.positive_class!r}, but the task is regression.",
                "Leave it empty, or set task to binary.",
            )
        return Target(task, [], "")
    if labels is None or len(labels) > options.max_categories:
        raise TargetError(
            f"Target {column.name!r} has more than {options.max_categories:,} classes.",
            "Choose another target, or a task of regression if it is a number.",
        )
    return Target(task, labels, _positive(labels, task, options.positive_class))


def _labels(values: pl.LazyFrame, name: str, limit: int) -> list[str] | None:
    """The distinct values as sorted text, without null; None where there are too many to be classes."""
    if values.select(pl.col(name).approx_n_unique()).collect(engine="streaming").item() > limit:
        return None
    label = pl.col(name).cast(pl.String)
    distinct = values.select(label).group_by(name).agg().collect(engine="streaming")
    return sorted(distinct[name].drop_nulls())


def _useless(name: str, labels: list[str], options: Options) -> TargetError:
    where = f"Target {name!r}"
    if options.target_expression:
        where += f" (computed by {options.target_expression!r})"
    if not labels:
        return TargetError(
            f"{where} has no values: all rows are missing it.", "Check the column, and missing_values."
        )
    return TargetError(
        f"{where} is constant: every row has {labels[0]!r}.", "Choose a target with at least two values."
    )


def _task(column: Column, labels: list[str] | None, asked: str) -> str:
    many = labels is None or len(labels) > MAX_INTEGER_CLASSES
    is_text = column.type in ("string", "boolean")
    if asked == "auto":
        if labels is not None and len(labels) == 2:
            return "binary"
        return "multiclass" if is_text or (column.type == "integer" and not many) else "regression"
    if asked == "regression" and is_text:
        raise TargetError(
            f"Target {column.name!r} is {column.type}, and the task is regression.",
            "Set task to binary, multiclass or auto, or choose a number.",
        )
    if asked == "binary" and (labels is None or len(labels) != 2):
        shown = "many" if labels is None else f"{len(labels):,}"
        raise TargetError(
            f"Target {column.name!r} has {shown} distinct values, and the task is binary.",
            "Set task to multiclass, regression or auto, or compute two classes with target_expression.",
        )
    if asked == "multiclass" and labels is not None and len(labels) == 2:
        raise TargetError(
            f"Target {column.name!r} has two distinct values, and the task is multiclass.",
            "Set task to binary or auto.",
        )
    return asked


def _positive(labels: list[str], task: str, asked: str) -> str:
    if task != "binary":
        if asked:
            raise ParameterError(
                f"Parameter 'positive_class' is {asked!r}, but the task is {task}.", "Leave it empty."
            )
        return ""
    if asked and asked not in labels:
        raise ParameterError(
            f"Parameter 'positive_class' is {asked!r}, which is none of the classes.",
            did_you_mean(asked, labels),
        )
    return asked or labels[-1]
