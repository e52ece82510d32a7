"""Plain MLflow models as the server runs them: any flavour that loads as a pyfunc."""

import copy
import datetime
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl

from kfp_lifecycle.components.serve.server.checks import Columns
from kfp_lifecycle.components.serve.server.failures import BadRequestError
from kfp_lifecycle.components.serve.server.models import TENSOR, InputColumn, OutputColumn, ServedModel
from kfp_lifecycle.components.serve.server.table import Table, Values
from kfp_lifecycle.components.shared.inference.columns import PREDICTION

#: MLflow's types as those of our schema, with what Python's values of them are.
_TYPES: dict[str, tuple[str, tuple[type, ...]]] = {
    "long": ("integer", (int,)),
    "integer": ("integer", (int,)),
    "double": ("number", (int, float)),
    "float": ("number", (int, float)),
    "boolean": ("boolean", (bool,)),
    "string": ("string", (str,)),
    "datetime": ("timestamp", (str, datetime.datetime)),
}
_NUMPY: dict[str, "np.dtype[Any]"] = {
    "long": np.dtype("int64"),
    "integer": np.dtype("int32"),
    "double": np.dtype("float64"),
    "float": np.dtype("float32"),
    "boolean": np.dtype("bool"),
}
_KINDS = {"f": "FP64", "i": "INT64", "u": "INT64", "b": "BOOL"}


class MlflowModel(ServedModel):
    """A model of any of MLflow's flavours.

    Args:
        folder: Its local folder.
        beside: Names of columns that requests may have and the model does not.
        name: Its name in URLs.
        version: Its version.
        uri: Where it came from.
        digest: The digest of its files.
    """

    def __init__(
        self, folder: Path, beside: Collection[str], *, name: str, version: str, uri: str, digest: str
    ) -> None:
        super().__init__(name, version, uri, digest)
        import mlflow.pyfunc
        from mlflow.models import Model

        about = Model.load(str(folder))
        loaded = mlflow.pyfunc.load_model(str(folder), suppress_warnings=True)
        self._predict = _predict_function(loaded, about)
        signature = about.signature
        takes: Any = signature.inputs if signature is not None else None
        by_name = takes is not None and takes.has_input_names() and not takes.is_tensor_spec()
        self._types = _types(takes) if by_name else {}
        required = set(takes.required_input_names()) if by_name else set()
        self.inputs = [
            InputColumn(column, _TYPES.get(kind, ("any", ()))[0], column in required)
            for column, kind in self._types.items()
        ] or [InputColumn(TENSOR, "number", True)]
        self._columns = Columns(self.inputs, beside)
        self._named = bool(self._types)
        self.outputs = _outputs(signature)
        self.scalar = len(self.outputs) == 1
        self.example = _example(about, folder) if self._named else None
        self._on_arrays = _on_arrays(self._predict, self._types, self.example)

    def check(self, rows: Table) -> Table:
        """See :meth:`.ServedModel.check`; here the values have their types already."""
        if not self._named:
            return self._columns.check(rows)
        given = rows.columns
        # First the types: a column of numbers then shows its gaps at one look.
        columns = {
            name: _converted(name, self._types[name], values) if name in self._types else values
            for name, values in given.items()
        }
        return self._columns.check(Table(columns, rows.height))

    def predict(self, rows: Table) -> Table:
        """See :meth:`.ServedModel.predict`."""
        if not self._named:
            return _table(self._predict(_matrix(rows.columns[TENSOR])), rows.height)
        if self._on_arrays is not None:
            return _table(self._on_arrays(np.column_stack(list(rows.columns.values()))), rows.height)
        return _table(self._predict(pd.DataFrame(rows.columns)), rows.height)

    def settled(self, rows: Table) -> pl.DataFrame:
        """See :meth:`.ServedModel.settled`."""
        return rows.frame()


def _predict_function(loaded: Any, about: Any) -> Callable[[Any], Any]:
    """What predicts: of scikit-learn models the estimator's own method, as MLflow's wrapper calls it.

    The wrapper checks again what was checked here, which takes longer than predicting a row.
    """
    flavour = about.flavors.get("python_function", {})
    if flavour.get("loader_module") != "mlflow.sklearn":
        predict: Callable[[Any], Any] = loaded.predict
        return predict
    estimator = loaded.get_raw_model()
    method: Callable[[Any], Any] = getattr(estimator, flavour.get("predict_fn", "predict"))
    return method


def _on_arrays(
    predict: Callable[[Any], Any], types: Mapping[str, str], example: Table | None
) -> Callable[[Any], Any] | None:
    """The estimator's method for rows as an array, where all are numbers; None where it needs their names.

    scikit-learn takes four times as long to look at the names of a frame's columns as to predict a row; that
    they are right was checked here. An estimator without the names that it was fitted on does not look at
    them. Whether it gives the same without, the model's example tells, or some rows at random.
    """
    estimator: Any = getattr(predict, "__self__", None)
    by_names = "feature_names_in_" in vars(estimator) if hasattr(estimator, "__dict__") else False
    if not by_names or {_NUMPY.get(kind) for kind in types.values()} != {np.dtype(float)}:
        return None
    nameless = copy.copy(estimator)
    del nameless.feature_names_in_
    method: Callable[[Any], Any] = getattr(nameless, predict.__name__)
    some = example.columns if example else np.random.default_rng(0).normal(size=(8, len(types)))
    frame = pd.DataFrame(some, columns=list(types))
    try:
        alike = np.array_equal(np.asarray(method(frame.to_numpy(float))), np.asarray(predict(frame)))
    except Exception:  # it needs a frame
        return None
    return method if alike else None


def _types(schema: Any) -> dict[str, str]:
    """Column to MLflow's type of it; ``any`` for those that are no plain value."""
    return {
        column.name: getattr(column.type, "name", "any") if hasattr(column, "type") else "any"
        for column in schema.inputs
    }


def _converted(name: str, kind: str, values: Values) -> Values:
    """The values of a column in its type, as pandas is to hold them.

    Raises:
        BadRequestError: A value is of another type.
    """
    if isinstance(values, np.ndarray):
        return _converted_array(name, kind, values)
    allowed = _TYPES.get(kind, ("any", ()))[1]
    if allowed and not set(map(type, values)) <= {*allowed, type(None)}:
        row = next(row for row, value in enumerate(values) if type(value) not in (*allowed, type(None)))
        raise BadRequestError(
            f"Column {name!r} is {kind}, but has {str(values[row])[:100]!r} in row {row}.", name
        )
    if kind == "datetime":
        return _times(name, values)
    if (dtype := _NUMPY.get(kind)) is None or (None in values and dtype.kind != "f"):
        return values
    try:
        # None becomes a number that is none.
        return np.array(values, dtype=dtype)
    except (OverflowError, ValueError, TypeError) as error:
        raise BadRequestError(f"Column {name!r} is {kind}: {error}.", name) from error


def _converted_array(name: str, kind: str, values: Any) -> Values:
    dtype = _NUMPY.get(kind)
    if dtype is None or values.dtype == dtype:
        return values  # type: ignore[no-any-return]
    if not np.can_cast(values.dtype, dtype, "same_kind") and values.dtype.kind not in "iu":
        raise BadRequestError(f"Column {name!r} is {kind}, but comes as {values.dtype}.", name)
    return values.astype(dtype)  # type: ignore[no-any-return]


def _times(name: str, values: Sequence[Any]) -> Values:
    try:
        return pd.to_datetime(pd.Series(list(values), dtype=object), utc=True).dt.tz_localize(None).to_numpy()
    except (ValueError, TypeError, OverflowError) as error:
        raise BadRequestError(f"Column {name!r} is a timestamp: {str(error)[:200]}", name) from error


def _matrix(rows: Values) -> Any:
    try:
        return np.asarray(rows, dtype=np.float64)
    except (ValueError, TypeError) as error:
        raise BadRequestError(f"Each row is to be a list of numbers, all of one length: {error}.") from error


def _outputs(signature: Any) -> list[OutputColumn]:
    if signature is None or signature.outputs is None:
        return [OutputColumn(PREDICTION, "FP64")]
    specs = signature.outputs.inputs
    names = [getattr(spec, "name", None) or PREDICTION for spec in specs]
    return [OutputColumn(name, _datatype(spec)) for name, spec in zip(names, specs, strict=True)]


def _datatype(spec: Any) -> str:
    kind = spec.type.kind if isinstance(spec.type, np.dtype) else _TYPES.get(spec.type.name, ("", ()))[0]
    return {"integer": "INT64", "number": "FP64", "boolean": "BOOL", **_KINDS}.get(kind, "BYTES")


def _example(about: Any, folder: Path) -> Table | None:
    try:
        frame = about.load_input_example(str(folder))
    except Exception:  # an example that MLflow cannot read is no reason not to serve
        return None
    if not isinstance(frame, pd.DataFrame):
        return None
    return Table({str(name): column.to_list() for name, column in frame.items()}, len(frame))


def _table(answered: Any, height: int) -> Table:
    """What a model gave, by column."""
    if isinstance(answered, pd.DataFrame):
        columns: dict[str, Values] = {}
        for name, column in answered.items():
            columns[str(name)] = column.to_numpy()
        return Table(columns, height)
    values = np.asarray(answered)
    if values.ndim <= 1:
        return Table({PREDICTION: values.reshape(-1)}, height)
    flat = values.reshape(len(values), -1)
    return Table({f"{PREDICTION}_{place}": flat[:, place] for place in range(flat.shape[1])}, height)
