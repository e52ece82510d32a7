"""A model that needs no training, for tests of what happens around a model. A test double."""

from typing import Any

import polars as pl

from kfp_lifecycle.components.serve.server.failures import BadRequestError, ModelError
from kfp_lifecycle.components.serve.server.inference import Answer, Call
from kfp_lifecycle.components.serve.server.models import InputColumn, OutputColumn, ServedModel
from kfp_lifecycle.components.serve.server.table import Table
from kfp_lifecycle.components.shared.errors import SchemaError
from kfp_lifecycle.components.shared.inference.schema import Column, TableSchema
from kfp_lifecycle.components.shared.inference.settle import settle

SCHEMA = TableSchema(
    [
        Column("age", "integer", nullable=True),
        Column("fare", "number", nullable=True),
        Column("code", "string", nullable=True),
        Column("member", "boolean", true_value="Yes", false_value="No"),
    ],
    target="prediction",
    task="regression",
)
NAMES = [column.name for column in SCHEMA.columns]


class Small(ServedModel):
    """Predicts the fare plus the age, and says what it saw of the code. Its settling is the product's own."""

    def __init__(self, version: str = "1", name: str = "small") -> None:
        super().__init__(name, version, f"models:/{name}/{version}", "0" * 64)
        self.inputs = [InputColumn(column.name, column.type, False) for column in SCHEMA.columns]
        self.outputs = [OutputColumn("prediction", "FP64"), OutputColumn("seen", "BYTES")]
        #: How many rows each call of predict had.
        self.calls: list[int] = []

    def check(self, rows: Table) -> Table:
        return Table({name: rows.columns.get(name, [None] * rows.height) for name in NAMES}, rows.height)

    def predict(self, rows: Table) -> Table:
        self.calls.append(rows.height)
        settled = self.settled(rows)
        if (settled["age"] < 0).any():
            raise ModelError("the model broke")
        sums = settled["fare"].fill_null(0) + settled["age"].fill_null(0)
        columns: dict[str, Any] = {"prediction": sums.to_numpy(), "seen": settled["code"].to_list()}
        return Table(columns, rows.height)

    def settled(self, rows: Table) -> pl.DataFrame:
        try:
            return settle(rows.frame(), SCHEMA, NAMES)
        except SchemaError as error:
            raise BadRequestError(str(error), "fare") from error


def row(**values: Any) -> Table:
    """One row as a client sends it."""
    given = {"age": 30, "fare": 7.5, "code": "a", "member": "Yes", **values}
    return Table({name: [value] for name, value in given.items()}, 1)


def table(**columns: list[Any]) -> Table:
    """Several rows."""
    height = len(next(iter(columns.values())))
    given = {"age": [1] * height, "fare": [0.5] * height, "code": ["a"] * height, "member": ["No"] * height}
    return Table({**given, **columns}, height)


def answered(served: ServedModel, given: Table, request_id: str = "r") -> Answer:
    """What the observers are told of a request."""
    call = Call(request_id, "v2", served)
    call.rows = given.height
    inputs = served.check(given)
    return Answer(call, given, inputs, served.predict(inputs))
