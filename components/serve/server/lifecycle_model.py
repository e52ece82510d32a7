"""Our Model artifacts as the server runs them: past MLflow's wrapper, and without pandas."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from kfp_lifecycle.components.serve.server import devices
from kfp_lifecycle.components.serve.server.checks import Columns, gap_error
from kfp_lifecycle.components.serve.server.failures import BadRequestError
from kfp_lifecycle.components.serve.server.models import InputColumn, OutputColumn, ServedModel
from kfp_lifecycle.components.serve.server.table import Table, Values, as_list, by_column
from kfp_lifecycle.components.shared.errors import SchemaError
from kfp_lifecycle.components.shared.model_example import read_example
from kfp_lifecycle.components.shared.model_format import describe, load_predictor

#: Up to here a request's rows go one value at a time; beyond, Polars is faster.
FEW = 1_000

_DATATYPES = {"f": "FP64", "i": "INT64", "u": "INT64", "b": "BOOL"}


class LifecycleModel(ServedModel):
    """A Model artifact of this library.

    Args:
        folder: Its local folder.
        beside: Names of columns that requests may have beside the schema's.
        name: Its name in URLs.
        version: Its version.
        uri: Where it came from.
        digest: The digest of its files.
    """

    def __init__(
        self, folder: Path, beside: Collection[str], *, name: str, version: str, uri: str, digest: str
    ) -> None:
        super().__init__(name, version, uri, digest)
        self.description = describe(folder)
        schema = self.description.schema
        # Any: an older version of this library may have saved a class with less in it.
        model: Any = load_predictor(folder)
        self._model = model
        columns = [schema.column(name) for name in self.description.input_columns]
        self.inputs = [InputColumn(column.name, column.type, not column.nullable) for column in columns]
        self._required = [column.name for column in columns if not column.nullable]
        known = {column.name for column in schema.columns}
        self._columns = Columns(self.inputs, {*known, *schema.dropped, *beside})
        # A model of an older version of this library has no quick way, and none but predict.
        self._few: Any = getattr(model, "few", None)
        recorded = read_example(folder)
        self.example = by_column(recorded.inputs) if recorded else None
        self.recorded = by_column(recorded.outputs) if recorded else None
        self.outputs = self._outputs()

    def move(self, device: str) -> None:
        """See :meth:`.ServedModel.move`."""
        devices.move(getattr(self._model, "estimator", None), device)

    def check(self, rows: Table) -> Table:
        """See :meth:`.ServedModel.check`."""
        return self._columns.check(rows)

    def predict(self, rows: Table) -> Table:
        """See :meth:`.ServedModel.predict`."""
        if self._few is not None and rows.height <= FEW:
            outputs = self._quickly(rows)
            if outputs is not None:
                return outputs
        settled = self.settled(rows)
        for name in self._required:
            if settled[name].null_count():
                raise gap_error(name, settled[name].is_null().arg_max() or 0)
        if not hasattr(self._model, "outputs"):
            return Table.of(pl.from_pandas(self._model.predict(settled)))
        return Table(self._model.outputs(self._model.features(settled)), rows.height)

    def settled(self, rows: Table) -> pl.DataFrame:
        """See :meth:`.ServedModel.settled`."""
        try:
            if hasattr(self._model, "settle"):
                return self._model.settle(rows.frame())  # type: ignore[no-any-return]
            return rows.frame()
        except Exception as error:
            raise _as_bad_request(error, rows) from error

    def _quickly(self, rows: Table) -> Table | None:
        """The answer without Polars; None where a value is not plain."""
        columns: dict[str, Values] = {name: as_list(values) for name, values in rows.columns.items()}
        try:
            settled = self._few.settle(columns)
            for name in self._required:
                # What settling left as it was has been looked through by check.
                if settled[name] is not columns[name] and None in settled[name]:
                    raise gap_error(name, settled[name].index(None))
            features = self._few.features(settled, rows.height)
        except BadRequestError:
            raise
        except Exception as error:
            # The class is that of the model's own code.
            if type(error).__name__ != "NotPlainError":
                raise
            return None
        return Table(self._model.outputs(features), rows.height)

    def _outputs(self) -> list[OutputColumn]:
        """What an empty request is answered with shows the columns and their types."""
        nothing: dict[str, Values] = {column.name: [] for column in self.inputs}
        answered = self.predict(Table(nothing, 0))
        return [
            OutputColumn(name, _DATATYPES.get(np.asarray(values).dtype.kind, "BYTES"))
            for name, values in answered.columns.items()
        ]


def _as_bad_request(error: Exception, rows: Table) -> Exception:
    """What the model's settling says of a value, as the client's mistake; anything else as it is."""
    if not (isinstance(error, SchemaError) or getattr(error, "is_declared", False)):
        return error
    said = getattr(error, "problem", str(error))
    column = next((name for name in rows.columns if f"{name!r}" in said[:300]), "")
    return BadRequestError(said, column)
