"""Row-wise settling: a row as it is in the source becomes a row typed as the schema says.

The same function runs when a table is prepared and inside every model that serves, so the two cannot
differ. It looks at one row at a time and knows the data only through the schema.
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import polars as pl

from .errors import SchemaError
from .schema import Column, TableSchema

#: The Polars type of each type in :data:`.schema.TYPES`.
DTYPES: dict[str, pl.DataType] = {
    "integer": pl.Int64(),
    "number": pl.Float64(),
    "boolean": pl.Boolean(),
    "string": pl.String(),
    "date": pl.Date(),
    "timestamp": pl.Datetime("us", "UTC"),
}

#: ISO 8601 with a space between date and time; those with an offset first.
_AWARE = ("%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%d %H:%M%#z")
_NAIVE = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d")

Frame = TypeVar("Frame", pl.DataFrame, pl.LazyFrame)


@dataclass(frozen=True)
class Settled:
    """How one column settles.

    Args:
        value: The settled value; null where it is missing, of no meaning where it is bad.
        bad: True where the source has a value that cannot be settled; None where that cannot happen.
        cause: What is wrong with such a value.
    """

    value: pl.Expr
    bad: pl.Expr | None = None
    cause: str = ""


def settle(frame: Frame, schema: TableSchema, columns: Sequence[str] | None = None) -> Frame:
    """Types the rows of ``frame`` as the schema has them.

    Numbers may come as text, missing values as blank, NaN or one of the schema's ``missing_values``, booleans
    in the words of the source, times as ISO 8601 text (without an offset: UTC). Settled rows pass unchanged.

    Args:
        frame: Rows as they are in the source, eager or lazy. Columns the schema does not know are left out.
        schema: The schema that prepare wrote.
        columns: Names of the columns to return, in order; None is every column of the schema that is there.

    Returns:
        The same kind of frame with exactly these columns. A lazy frame is read once for a check here, if its
        types leave anything to check, so that an error names the value and comes now.

    Raises:
        SchemaError: A named column is absent, or a value is infinite or cannot be settled. Names the column,
            and an example of the value.
    """
    types: dict[str, pl.DataType] = dict(frame.collect_schema())
    if columns is None:
        columns = [column.name for column in schema.columns if column.name in types]
    if absent := [name for name in columns if name not in types]:
        raise SchemaError(
            f"The rows have no column {', '.join(map(repr, absent))}.",
            f"Pass every column asked for; the rows have: {', '.join(list(types)[:20])}.",
        )
    settled = {name: settled_column(schema.column(name), types[name], schema) for name in columns}
    check = any_bad(settled)
    if check is not None and _first(frame.select(check)):
        _refuse(frame, schema, settled)
    return frame.select(**{name: column.value for name, column in settled.items()})


def settled_column(column: Column, source: pl.DataType, schema: TableSchema) -> Settled:
    """How ``column`` settles when it comes as the Polars type ``source``.

    Raises:
        SchemaError: A column of that type cannot be settled as the schema's type.
    """
    what = Column(
        column.name,
        column.type,
        true_value=column.true_value,
        false_value=column.false_value,
        time_format=column.time_format,
    )
    return _settled(what, source, tuple(schema.missing_values))


# Building the expressions costs more than running them on the one row of a request.
@functools.lru_cache(maxsize=4096)
def _settled(column: Column, source: pl.DataType, missing_values: tuple[str, ...]) -> Settled:
    raw = pl.col(column.name)
    if source == pl.Null:
        return Settled(raw.cast(DTYPES[column.type]))
    if source in (pl.Categorical, pl.Enum):
        source, raw = pl.String(), raw.cast(pl.String)
    if source == pl.String:
        return _from_text(column, present_text(raw, missing_values), missing_values)
    if source.is_numeric():
        return _from_number(column, raw, source, missing_values)
    if source == pl.Boolean:
        return _from_boolean(column, raw)
    if source == pl.Date or source == pl.Datetime:
        return _from_time(column, raw, source)
    if source == pl.Time and column.type == "string":
        return Settled(raw.cast(pl.String))
    raise _wrong_type(column, source)


def any_bad(settled: dict[str, Settled]) -> pl.Expr | None:
    """Whether any value in the frame cannot be settled, as one Boolean; None where none can be."""
    checks = [column.bad for column in settled.values() if column.bad is not None]
    return pl.any_horizontal(checks).any().alias("bad") if checks else None


def refusal(column: Column, example: object, cause: str) -> SchemaError:
    """The error for a value that cannot be settled."""
    return SchemaError(
        f"Column {column.name!r} is {column.type}, but has {example!r}, which is {cause}.",
        "Mend it, let it mean missing (missing_values) or give the column another type (column_types).",
    )


def present_text(raw: pl.Expr, missing_values: Sequence[str]) -> pl.Expr:
    """Text without the blanks around it; null where nothing is left, or what is left means missing."""
    text = raw.str.strip_chars()
    missing = ["", *(value.strip() for value in missing_values)]
    return pl.when(text.is_in(missing).not_()).then(text)


def parse_number(text: pl.Expr) -> pl.Expr:
    """The Float64 in a text without blanks around it; null where there is none."""
    return text.cast(pl.Float64, strict=False)


def parse_time(text: pl.Expr, time_format: str | None = None) -> pl.Expr:
    """The moment in a text, in UTC; null where there is none.

    Args:
        text: Text without blanks around it.
        time_format: strptime format; None is ISO 8601, a date alone (midnight) included.
    """
    if time_format is not None:
        moment = text.str.to_datetime(time_format, strict=False, time_unit="us")
        return (
            moment.dt.convert_time_zone("UTC")
            if _has_offset(time_format)
            else moment.dt.replace_time_zone("UTC")
        )
    spaced = text.str.replace(r"^(\S{10})[Tt]", "${1} ")
    aware = [spaced.str.to_datetime(form, strict=False, time_unit="us") for form in _AWARE]
    naive = [spaced.str.to_datetime(form, strict=False, time_unit="us") for form in _NAIVE]
    return pl.coalesce(*aware, *(moment.dt.replace_time_zone("UTC") for moment in naive))


def parse_date(text: pl.Expr, time_format: str | None = None) -> pl.Expr:
    """The date in a text; null where there is none. Arguments as for :func:`parse_time`."""
    if time_format is not None:
        return text.str.to_date(time_format, strict=False)
    return pl.coalesce(text.str.to_date("%Y-%m-%d", strict=False), parse_time(text).dt.date())


def _has_offset(time_format: str) -> bool:
    return any(mark in time_format for mark in ("%z", "%:z", "%#z", "%+"))


def _from_text(column: Column, text: pl.Expr, missing_values: Sequence[str]) -> Settled:
    if column.type == "string":
        return Settled(text)
    if column.type in ("integer", "number"):
        # The text "-999.0" is missing where "-999" is.
        text = _without(missing_values, text, parse_number(text))
        return _number(column, parse_number(text), text, exact=text)
    if column.type == "boolean":
        value = _boolean_of_text(column, text)
        cause = "neither of its two values"
    elif column.type == "date":
        value, cause = parse_date(text, column.time_format), _no_time("date", column)
    else:
        value, cause = parse_time(text, column.time_format), _no_time("timestamp", column)
    return Settled(value, text.is_not_null() & value.is_null(), cause)


def _no_time(kind: str, column: Column) -> str:
    return f"no {kind} of the form {column.time_format or 'ISO 8601'}"


def _boolean_of_text(column: Column, text: pl.Expr) -> pl.Expr:
    # "true" and "false" are how a settled boolean is written as text again.
    lower = text.str.to_lowercase()
    true = {"true", (column.true_value or "true").lower()}
    false = {"false", (column.false_value or "false").lower()}
    return pl.when(lower.is_in(sorted(true))).then(True).when(lower.is_in(sorted(false))).then(False)


def _from_number(column: Column, raw: pl.Expr, source: pl.DataType, missing_values: Sequence[str]) -> Settled:
    raw = _without(missing_values, raw, raw.cast(pl.Float64))
    if column.type == "string":
        return Settled(_number_as_text(raw, source))
    if column.type == "boolean":
        raw = raw.fill_nan(None) if source.is_float() else raw
        value: pl.Expr = pl.when(raw == 1).then(True).when(raw == 0).then(False)
        return Settled(value, raw.is_not_null() & value.is_null(), "neither 0 nor 1")
    if column.type not in ("integer", "number"):
        raise _wrong_type(column, source)
    if source.is_integer() and column.type == "integer":
        value = raw.cast(pl.Int64, strict=False)
        fits = source not in (pl.UInt64, pl.Int128, pl.UInt128)
        return Settled(value, None if fits else raw.is_not_null() & value.is_null(), "no 64-bit integer")
    if source.is_float() and column.type == "number":
        return Settled(raw.cast(pl.Float64).fill_nan(None), raw.is_infinite(), "infinite")
    return _number(column, raw.cast(pl.Float64), raw, exact=raw if source.is_integer() else None)


def _without(missing_values: Sequence[str], raw: pl.Expr, number: pl.Expr) -> pl.Expr:
    """``raw``, null where ``number`` is one of the numbers that mean missing."""
    missing = [value for value in map(_as_number, missing_values) if value is not None]
    return pl.when(number.is_in(missing).not_().fill_null(True)).then(raw) if missing else raw


def _as_number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return None if math.isnan(number) else number


def _number(column: Column, number: pl.Expr, raw: pl.Expr, exact: pl.Expr | None) -> Settled:
    """Settles a Float64; ``exact`` is where an integer beyond 2**53 can be read from without rounding."""
    wrong = raw.is_not_null() & (number.is_finite() | number.is_nan()).not_().fill_null(True)
    if column.type == "number":
        return Settled(pl.when(number.is_finite()).then(number), wrong, "infinite or no number")
    whole = pl.when(number == number.floor()).then(number).cast(pl.Int64, strict=False)
    value = whole if exact is None else pl.coalesce(exact.cast(pl.Int64, strict=False), whole)
    broken = value.is_null() & number.is_not_nan()
    return Settled(value, wrong | broken.fill_null(False), "no integer")


def _number_as_text(raw: pl.Expr, source: pl.DataType) -> pl.Expr:
    if not source.is_float():
        return raw.cast(pl.String)
    # A column of codes with a gap comes out of pandas as floats: 501.0 is the code "501".
    raw = raw.fill_nan(None)
    whole = pl.when(raw == raw.floor()).then(raw).cast(pl.Int64, strict=False)
    return pl.coalesce(whole.cast(pl.String), raw.cast(pl.String))


def _from_boolean(column: Column, raw: pl.Expr) -> Settled:
    if column.type in ("date", "timestamp"):
        raise _wrong_type(column, pl.Boolean())
    return Settled(raw.cast(DTYPES[column.type]))


def _from_time(column: Column, raw: pl.Expr, source: pl.DataType) -> Settled:
    if isinstance(source, pl.Datetime):
        zoned = (
            raw.dt.replace_time_zone("UTC") if source.time_zone is None else raw.dt.convert_time_zone("UTC")
        )
        moment = zoned.dt.cast_time_unit("us")
    else:
        moment = raw.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    if column.type == "timestamp":
        return Settled(moment)
    if column.type == "date":
        return Settled(moment.dt.date())
    if column.type == "string":
        return Settled(raw.cast(pl.String))
    raise _wrong_type(column, source)


def _wrong_type(column: Column, source: pl.DataType) -> SchemaError:
    return SchemaError(
        f"Column {column.name!r} is {column.type} in the schema, but comes as {source}.",
        f"Pass it as {column.type}, or as text.",
    )


def _refuse(frame: pl.DataFrame | pl.LazyFrame, schema: TableSchema, settled: dict[str, Settled]) -> None:
    """Raises the error for the first column with a bad value."""
    for name, column in settled.items():
        if column.bad is None:
            continue
        example = _first(frame.filter(column.bad).select(name).head(1))
        if example is not None:
            raise refusal(schema.column(name), example, column.cause)


def _first(frame: pl.DataFrame | pl.LazyFrame) -> object:
    """The first value of the frame's only column; None where there is no row."""
    values = frame.collect(engine="streaming") if isinstance(frame, pl.LazyFrame) else frame
    return values.item(0, 0) if values.height else None
