"""Rows from pandas, and labels to positions and back."""

import datetime
import decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from kfp_lifecycle.components.shared.inference.errors import SchemaError
from kfp_lifecycle.components.shared.inference.frames import to_polars
from kfp_lifecycle.components.shared.inference.labels import label_codes, own_labels
from kfp_lifecycle.components.shared.inference.schema import Column, TableSchema

MOMENT = datetime.datetime(2020, 1, 1, 3)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2], pl.Series([1, 2])),
        ([1.5, np.nan], pl.Series([1.5, float("nan")])),
        (["x", None], pl.Series(["x", None])),
        (["5", 3.5, " "], pl.Series(["5", "3.5", " "])),
        ([True, None], pl.Series([True, None])),
        ([None, None], pl.Series([None, None], dtype=pl.Null)),
        ([np.nan, "x"], pl.Series([None, "x"])),
        (pd.Categorical(["u", None]), pl.Series(["u", None])),
        (pd.array([1, None], dtype="Int64"), pl.Series([1, None])),
        (pd.array(["x", None], dtype="string"), pl.Series(["x", None])),
        (pd.to_datetime(["2020-01-01T03:00", None]), pl.Series([MOMENT, None])),
        (pd.to_datetime(["2020-01-01T05:00+02:00", None], utc=True), pl.Series([MOMENT, None])),
        ([datetime.date(2020, 1, 1), None], pl.Series([datetime.date(2020, 1, 1), None])),
        ([decimal.Decimal("1.5"), None], pl.Series([decimal.Decimal("1.5"), None])),
    ],
)
def test_a_pandas_column_becomes_one_type(values: Any, expected: pl.Series) -> None:
    found = to_polars(pd.DataFrame({"a": values, "other": 1}), ["a", "absent"])
    assert found.columns == ["a"]
    assert found["a"].dtype == expected.dtype
    assert found["a"].equals(expected)


def test_a_column_that_is_there_twice_is_refused() -> None:
    frame = pd.DataFrame([[1, 2]], columns=["a", "a"])
    with pytest.raises(SchemaError, match="'a' twice"):
        to_polars(frame, ["a"])


def _schema(classes: list[str], kind: str, **column: Any) -> TableSchema:
    return TableSchema([Column("y", kind, role="target", **column)], "y", "multiclass", classes)


@pytest.mark.parametrize(
    ("schema", "values", "codes", "labels"),
    [
        (_schema(["a", "b"], "string"), ["b", " a "], [1, 0], ["a", "b"]),
        (_schema(["-1", "10", "9"], "integer"), [9, -1, 10], [2, 0, 1], [-1, 10, 9]),
        (_schema(["0.5", "1.0"], "number"), [1, 0.5], [1, 0], [0.5, 1.0]),
        (_schema(["false", "true"], "boolean"), [True, False], [1, 0], [False, True]),
        (
            _schema(["No", "Yes"], "boolean", true_value="Yes", false_value="No"),
            [True, False],
            [1, 0],
            ["No", "Yes"],
        ),
        (
            _schema(["No", "Yes"], "boolean", true_value="Yes", false_value="No"),
            ["Yes", "No"],
            [1, 0],
            ["No", "Yes"],
        ),
    ],
)
def test_labels_and_back(schema: TableSchema, values: list[Any], codes: list[int], labels: list[Any]) -> None:
    assert label_codes(pl.Series("y", values, strict=False), schema).tolist() == codes
    assert own_labels(schema).tolist() == labels


def test_a_label_that_is_no_class_is_named() -> None:
    schema = _schema(["a", "b"], "string")
    with pytest.raises(SchemaError, match="'c', which is none of its classes"):
        label_codes(pl.Series("y", ["a", "c"]), schema)
    with pytest.raises(SchemaError, match="None, which is none"):
        label_codes(pl.Series("y", ["a", None]), schema)
