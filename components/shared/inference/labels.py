"""Class labels: from the target column to positions in the schema's classes, and back."""

import numpy as np
import numpy.typing as npt
import polars as pl

from .errors import SchemaError
from .schema import TableSchema
from .settle import settle


def label_codes(target: pl.Series, schema: TableSchema) -> npt.NDArray[np.int64]:
    """The position in ``schema.classes`` of each label.

    Args:
        target: The target column, as in the source or settled, shape ``(n,)``.
        schema: The schema of a classification task.

    Raises:
        SchemaError: A label is missing or none of the classes.
    """
    values = settle(pl.DataFrame({schema.target: target}), schema, [schema.target])[schema.target]
    classes = _class_values(schema)
    codes = values.replace_strict(classes, pl.Series(range(len(classes)), dtype=pl.Int64), default=None)
    if codes.null_count():
        unknown = values.filter(codes.is_null())[0]
        raise SchemaError(
            f"Target column {schema.target!r} has the label {unknown!r}, which is none of its classes.",
            f"The classes are: {', '.join(schema.classes)}.",
        )
    return codes.to_numpy()


def own_labels(schema: TableSchema) -> npt.NDArray[np.generic]:
    """The classes in the target's own type, shape ``(classes,)``.

    That is the settled type; text for times, and for a boolean that the source has in words: ``Yes`` stays
    ``Yes``.
    """
    column = schema.column(schema.target)
    in_words = column.type == "boolean" and column.true_value is not None
    if in_words or column.type in ("string", "date", "timestamp"):
        return np.array(schema.classes, dtype=object)
    return _class_values(schema).to_numpy()


def _class_values(schema: TableSchema) -> pl.Series:
    """The classes as settled values: a label settles as the same text in the source does."""
    texts = pl.DataFrame({schema.target: schema.classes})
    return settle(texts, schema, [schema.target])[schema.target]
