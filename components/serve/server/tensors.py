"""Tensors of the Open Inference protocol (V2), the same over REST and gRPC: to rows, and from outputs.

Columns come as one tensor each, of shape ``[rows]`` or ``[rows, 1]``, or together in one tensor of shape
``[rows, columns]`` in the order of the model's inputs.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kfp_lifecycle.components.serve.server.failures import BadRequestError
from kfp_lifecycle.components.serve.server.models import TENSOR, ServedModel
from kfp_lifecycle.components.serve.server.table import Table, Values, as_list

#: V2's datatypes as NumPy has them; ``BYTES`` is text and has none.
DTYPES = {
    "BOOL": np.dtype("bool"),
    "INT8": np.dtype("int8"),
    "INT16": np.dtype("int16"),
    "INT32": np.dtype("int32"),
    "INT64": np.dtype("int64"),
    "UINT8": np.dtype("uint8"),
    "UINT16": np.dtype("uint16"),
    "UINT32": np.dtype("uint32"),
    "UINT64": np.dtype("uint64"),
    "FP16": np.dtype("float16"),
    "FP32": np.dtype("float32"),
    "FP64": np.dtype("float64"),
}
_NONE = type(None)
_JSON: dict[str, set[type]] = {
    "BYTES": {str, _NONE},
    "BOOL": {bool, _NONE},
    "FP16": {int, float, _NONE},
    "FP32": {int, float, _NONE},
    "FP64": {int, float, _NONE},
}
_WHOLE: set[type] = {int, _NONE}
#: V2's datatype by NumPy's kind of an array.
KINDS = {"f": "FP64", "i": "INT64", "u": "INT64", "b": "BOOL"}


@dataclass(slots=True)
class Tensor:
    """A tensor.

    Args:
        name: Its name.
        datatype: One of :data:`DTYPES`, or ``BYTES``.
        shape: Its shape.
        data: Its values in row-major order: a flat list (None is missing) or a NumPy array.
    """

    name: str
    datatype: str
    shape: Sequence[int]
    data: Values


def rows_of(tensors: Sequence[Tensor], served: ServedModel) -> Table:
    """The rows that tensors hold, by column.

    Raises:
        BadRequestError: A datatype or shape is none, the data does not fit it, or the rows differ.
    """
    if not tensors:
        raise BadRequestError("The request has no inputs.")
    for tensor in tensors:
        _check(tensor)
    height = int(tensors[0].shape[0])
    if not height:
        raise BadRequestError("The request has no rows.")
    if len(tensors) == 1 and (table := _together(tensors[0], served)) is not None:
        return table
    columns: dict[str, Values] = {}
    for tensor in tensors:
        if tensor.name in columns:
            raise BadRequestError(f"Input {tensor.name!r} is there twice.", tensor.name)
        if len(tensor.data) != height or tensor.shape[0] != height:
            raise BadRequestError(
                f"Input {tensor.name!r} has the shape {list(tensor.shape)}; a value a row is {[height, 1]}.",
                tensor.name,
            )
        columns[tensor.name] = tensor.data
    return Table(columns, height)


def tensors_of(outputs: Table, served: ServedModel, names: Sequence[str] = ()) -> list[Tensor]:
    """A model's output columns as tensors of shape ``[rows]``.

    Args:
        outputs: What the model gave.
        served: The model.
        names: Those that were asked for; empty is all.
    """
    declared = {column.name: column.datatype for column in served.outputs}
    return [
        Tensor(name, declared.get(name) or _datatype(values), [outputs.height], values)
        for name, values in outputs.columns.items()
        if not names or name in names
    ]


def from_raw(name: str, datatype: str, shape: Sequence[int], raw: bytes) -> Tensor:
    """A tensor from its bytes: little-endian numbers, or texts with their length in four bytes before each.

    Raises:
        BadRequestError: There is no such datatype, or the bytes are not of it.
    """
    try:
        data = _texts(raw) if datatype == "BYTES" else np.frombuffer(raw, DTYPES[datatype])
    except KeyError:
        raise _no_datatype(name, datatype) from None
    except (ValueError, struct.error) as error:
        raise BadRequestError(f"The bytes of input {name!r} are not of {datatype}: {error}.", name) from error
    return Tensor(name, datatype, shape, data)


def to_raw(tensor: Tensor) -> bytes:
    """A tensor's bytes, the inverse of :func:`from_raw`."""
    if tensor.datatype != "BYTES":
        return np.asarray(tensor.data, dtype=DTYPES[tensor.datatype]).tobytes()
    texts = [str(value).encode() for value in as_list(tensor.data)]
    return b"".join(struct.pack("<I", len(text)) + text for text in texts)


def _check(tensor: Tensor) -> None:
    name, datatype, data = tensor.name, tensor.datatype, tensor.data
    if not tensor.shape or any(type(size) is not int or size < 0 for size in tensor.shape):
        raise BadRequestError(f"Input {name!r} has the shape {tensor.shape}, which is none.", name)
    size = 1
    for each in tensor.shape:
        size *= each
    if len(data) != size:
        raise BadRequestError(
            f"Input {name!r} has {len(data)} values, but the shape {list(tensor.shape)} has {size}.", name
        )
    if isinstance(data, np.ndarray):
        return
    if datatype not in DTYPES and datatype != "BYTES":
        raise _no_datatype(name, datatype)
    allowed = _JSON.get(datatype, _WHOLE)
    if not set(map(type, data)) <= allowed:
        row = next(row for row, value in enumerate(data) if type(value) not in allowed)
        raise BadRequestError(
            f"Column {name!r} comes as {datatype}, but has {str(data[row])[:100]!r} in row {row}.", name
        )


def _together(tensor: Tensor, served: ServedModel) -> Table | None:
    """The rows of one tensor that holds all columns; None where it is one column."""
    names = [column.name for column in served.asked]
    height = int(tensor.shape[0])
    if names[0] == TENSOR:
        values: Values = np.asarray(tensor.data).reshape([int(size) for size in tensor.shape])
        return Table({TENSOR: values}, height)
    if tensor.name in names or len(tensor.shape) != 2:
        return None
    if tensor.shape[1] != len(names):
        raise BadRequestError(
            f"Input {tensor.name!r} has {tensor.shape[1]} columns, where the model takes {len(names)}: "
            f"{', '.join(names[:10])}{', …' if len(names) > 10 else ''}.",
            tensor.name,
        )
    return Table({name: tensor.data[place :: len(names)] for place, name in enumerate(names)}, height)


def _texts(raw: bytes) -> list[Any]:
    texts, place = [], 0
    while place < len(raw):
        (length,) = struct.unpack_from("<I", raw, place)
        text = raw[place + 4 : place + 4 + length]
        if len(text) < length:
            raise ValueError("they end within a text")
        texts.append(text.decode())
        place += 4 + length
    return texts


def _datatype(values: Values) -> str:
    return KINDS.get(np.asarray(values).dtype.kind, "BYTES")


def _no_datatype(name: str, datatype: str) -> BadRequestError:
    return BadRequestError(f"Input {name!r} has the datatype {datatype!r}; there is none of that name.", name)
