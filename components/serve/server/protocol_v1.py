"""KServe's V1 protocol: JSON rows in, JSON predictions out.

A body has one of ``instances`` (records, or lists of values in the order of the inputs), ``inputs`` (columns,
or as instances), ``dataframe_split`` and ``dataframe_records``, which are MLflow's names.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from kfp_lifecycle.components.serve.server.failures import BadRequestError
from kfp_lifecycle.components.serve.server.models import TENSOR, ServedModel
from kfp_lifecycle.components.serve.server.table import Table, Values, as_list, by_column

FORMS = ("instances", "inputs", "dataframe_split", "dataframe_records")


def decode(body: bytes, served: ServedModel) -> Table:
    """The rows of a request's body.

    Raises:
        BadRequestError: It is no JSON, or not of this form.
    """
    data = parse_json(body)
    form = next((name for name in FORMS if name in data), None)
    if form is None:
        raise BadRequestError(f"The body has none of {', '.join(FORMS)}.")
    rows = data[form]
    if form == "dataframe_split":
        table = _split(rows)
    elif form == "inputs" and isinstance(rows, dict):
        table = _columns(rows)
    else:
        table = _rows(rows, form, served)
    if not table.height:
        raise BadRequestError(f"The request has no rows in {form!r}.")
    return table


def encode(served: ServedModel, outputs: Table) -> bytes:
    """The body of the answer: a record a row, or of a model with one unnamed output a value a row."""
    if served.scalar:
        columns = [as_list(values) for values in outputs.columns.values()]
        rows = columns[0] if len(columns) == 1 else [list(row) for row in zip(*columns, strict=True)]
        return orjson.dumps({"predictions": rows}, default=str)
    return orjson.dumps({"predictions": outputs.records()}, default=str)


def parse_json(body: bytes) -> dict[str, Any]:
    """The JSON object in a body. Raises ``BadRequestError``."""
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        hint = " JSON has no NaN: send null where a value is missing." if b"NaN" in body else ""
        raise BadRequestError(f"The body is no JSON: {error}.{hint}") from error
    if not isinstance(data, dict):
        raise BadRequestError("The body is no JSON object.")
    return data


def _rows(rows: Any, form: str, served: ServedModel) -> Table:
    if not isinstance(rows, list):
        raise BadRequestError(f"{form!r} is no list of rows.")
    kinds = set(map(type, rows))
    if kinds <= {dict}:
        return by_column(rows) if rows else Table({}, 0)
    if served.asked[0].name == TENSOR:
        return Table({TENSOR: rows}, len(rows))
    if kinds <= {list}:
        return positional(rows, [column.name for column in served.asked])
    if len(served.asked) == 1 and dict not in kinds and list not in kinds:
        return Table({served.asked[0].name: rows}, len(rows))
    row = next(row for row, value in enumerate(rows) if not isinstance(value, type(rows[0])) or row == 0)
    raise BadRequestError(f"Row {row} of {form!r} is no object of column names and values.")


def positional(rows: Sequence[list[Any]], names: Sequence[str]) -> Table:
    """Rows of values in the order of ``names``. Raises ``BadRequestError``."""
    if set(map(len, rows)) != {len(names)}:
        row = next(row for row, values in enumerate(rows) if len(values) != len(names))
        raise BadRequestError(
            f"Row {row} has {len(rows[row])} values, where there are {len(names)} columns: "
            f"{', '.join(names[:10])}{', …' if len(names) > 10 else ''}."
        )
    columns: list[Values] = [list(values) for values in zip(*rows, strict=True)]
    return Table(dict(zip(names, columns, strict=True)), len(rows))


def _split(split: Any) -> Table:
    if not isinstance(split, dict) or not {"columns", "data"} <= split.keys():
        raise BadRequestError("'dataframe_split' is no object with 'columns' and 'data'.")
    names, rows = split["columns"], split["data"]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise BadRequestError("'columns' of 'dataframe_split' is no list of names.")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise BadRequestError(f"Column {twice!r} is there twice.", twice)
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        raise BadRequestError("'data' of 'dataframe_split' is no list of rows.")
    return positional(rows, names) if rows else Table({}, 0)


def _columns(columns: Mapping[str, Any]) -> Table:
    lengths = {name: len(values) if isinstance(values, list) else -1 for name, values in columns.items()}
    if not lengths:
        return Table({}, 0)
    height = max(lengths.values())
    for name, length in lengths.items():
        if length != height or length < 0:
            said = "is no list" if length < 0 else f"has {length} values, where others have {height}"
            raise BadRequestError(f"Column {name!r} of 'inputs' {said}.", name)
    return Table(dict(columns), height)
