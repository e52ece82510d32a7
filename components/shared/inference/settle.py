"""Row-wise settling: a row as it is in the source becomes a row typed as the schema says.

The same function runs when a table is prepared and inside every model that serves, so the two cannot
differ. It looks at one row at a time and knows the data only through the schema.

A column settles in two steps. Cleaning makes null of what means missing and keeps the source's type;
conversion gives a clean value the schema's type, and null where it has none. So a value is refused if it is
clean and has no conversion, and neither step is run twice to find out.
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import polars as pl

from .errors import SchemaError, did_you_mean
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

#: Not a number, as text in a column of numbers.
_NAN = ("nan", "NaN", "NAN", "+nan", "-nan")

Frame = TypeVar("Frame", pl.DataFrame, pl.LazyFrame)


@dataclass(frozen=True)
class Settling:
    """How one column settles.

    Args:
        clean: The source's value, null where it is missing.
        convert: Makes of a clean value the settled one, null where there is none.
        cause: What a clean value without a settled one is; None where every clean value has one.
    """

    clean: pl.Expr
    convert: Callable[[pl.Expr], pl.Expr]
    cause: str | None = None

    @property
    def value(self) -> pl.Expr:
        """The source's value settled."""
        return self.convert(self.clean)


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
        reference = schema.column(absent[0]).reference
        fix = f"It is {reference} of the feature store: ask the model server, which looks it up, or pass it."
        raise SchemaError(
            f"The rows have no column {', '.join(map(repr, absent))}.",
            fix if reference else did_you_mean(absent[0], types),
        )
    settlings = {name: column_settling(schema.column(name), types[name], schema) for name in columns}
    clean = frame.select(**{name: settling.clean for name, settling in settlings.items()})
    settled = clean.select(**{name: settling.convert(pl.col(name)) for name, settling in settlings.items()})
    checked = {name: settling for name, settling in settlings.items() if settling.cause is not None}
    for name in _refused(clean, settled, checked):
        raise _refusal(clean, schema.column(name), settlings[name])
    return settled


def column_settling(column: Column, source: pl.DataType, schema: TableSchema) -> Settling:
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
    return _column_settling(what, source, tuple(schema.missing_values))


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
        has_offset = any(mark in time_format for mark in ("%z", "%:z", "%#z", "%+"))
        return moment.dt.convert_time_zone("UTC") if has_offset else moment.dt.replace_time_zone("UTC")
    spaced = text.str.replace(r"^(\S{10})[Tt]", "${1} ")
    aware = [spaced.str.to_datetime(form, strict=False, time_unit="us") for form in _AWARE]
    naive = [spaced.str.to_datetime(form, strict=False, time_unit="us") for form in _NAIVE]
    return pl.coalesce(*aware, *(moment.dt.replace_time_zone("UTC") for moment in naive))


def parse_date(text: pl.Expr, time_format: str | None = None) -> pl.Expr:
    """The date in a text; null where there is none. Arguments as for :func:`parse_time`."""
    if time_format is not None:
        return text.str.to_date(time_format, strict=False)
    return pl.coalesce(text.str.to_date("%Y-%m-%d", strict=False), parse_time(text).dt.date())


# Building the expressions costs more than running them on the one row of a request.
@functools.lru_cache(maxsize=4096)
def _column_settling(column: Column, source: pl.DataType, missing_values: tuple[str, ...]) -> Settling:
    raw = pl.col(column.name)
    if source == pl.Null:
        return Settling(raw.cast(DTYPES[column.type]), _as_it_is)
    if source in (pl.Categorical, pl.Enum):
        source, raw = pl.String(), raw.cast(pl.String)
    if source == pl.String:
        return _from_text(column, raw, missing_values)
    if source.is_numeric():
        return _from_number(column, raw, source, missing_values)
    if source == pl.Boolean and column.type not in ("date", "timestamp"):
        return Settling(raw, lambda value: value.cast(DTYPES[column.type]))
    if isinstance(source, (pl.Date, pl.Datetime)):
        return _from_time(column, raw, source)
    if source == pl.Time and column.type == "string":
        return Settling(raw.cast(pl.String), _as_it_is)
    raise _wrong_type(column, source)


def _as_it_is(value: pl.Expr) -> pl.Expr:
    return value


def _from_text(column: Column, raw: pl.Expr, missing_values: Sequence[str]) -> Settling:
    if column.type == "string":
        return Settling(present_text(raw, missing_values), _as_it_is)
    if column.type in ("integer", "number"):
        text = present_text(raw, (*missing_values, *_NAN))
        # The text "-999.0" is missing where "-999" is.
        clean = _without(_as_numbers(missing_values), text, parse_number(text))
        if column.type == "number":
            return Settling(clean, lambda value: _finite(parse_number(value)), "no finite number")
        return Settling(clean, _whole_of_text, "no integer of 64 bits")
    text = present_text(raw, missing_values)
    if column.type == "boolean":
        return Settling(text, functools.partial(_boolean_of_text, column), "neither of its two values")
    cause = f"no {column.type} of the form {column.time_format or 'ISO 8601'}"
    parse = parse_date if column.type == "date" else parse_time
    return Settling(text, lambda value: _in_calendar(parse(value, column.time_format)), cause)


def _from_number(
    column: Column, raw: pl.Expr, source: pl.DataType, missing_values: Sequence[str]
) -> Settling:
    known = raw.fill_nan(None) if source.is_float() else raw
    clean = _without(_as_numbers(missing_values), known, raw.cast(pl.Float64))
    if column.type == "string":
        return Settling(clean, functools.partial(_text_of_number, source))
    if column.type == "boolean":
        return Settling(
            clean,
            lambda value: pl.when(value == 1).then(True).when(value == 0).then(False),
            "neither 0 nor 1",
        )
    if column.type == "number":
        is_finite = source.is_integer() or source.is_decimal()
        return Settling(
            clean, lambda value: _finite(value.cast(pl.Float64)), None if is_finite else "infinite"
        )
    if column.type != "integer":
        raise _wrong_type(column, source)
    if source.is_integer():
        fits = source not in (pl.UInt64, pl.Int128, pl.UInt128)
        cause = None if fits else "no integer of 64 bits"
        return Settling(clean, lambda value: value.cast(pl.Int64, strict=False), cause)
    return Settling(clean, lambda value: _whole(value.cast(pl.Float64)), "no integer of 64 bits")


def _from_time(column: Column, raw: pl.Expr, source: pl.Date | pl.Datetime) -> Settling:
    cause = "outside the years 1 to 9999"
    if column.type == "string":
        return Settling(raw, lambda value: _in_calendar(value).cast(pl.String), cause)
    if column.type not in ("date", "timestamp"):
        raise _wrong_type(column, source)

    def convert(value: pl.Expr) -> pl.Expr:
        zone = source.time_zone if isinstance(source, pl.Datetime) else None
        moment = _in_calendar(value).cast(pl.Datetime("us", zone))
        moment = moment.dt.convert_time_zone("UTC") if zone else moment.dt.replace_time_zone("UTC")
        return moment if column.type == "timestamp" else moment.dt.date()

    return Settling(raw, convert, cause)


def _as_numbers(texts: Sequence[str]) -> list[float]:
    """The numbers among ``texts``."""
    numbers = []
    for text in texts:
        try:
            numbers.append(float(text))
        except ValueError:
            continue
    return [number for number in numbers if not math.isnan(number)]


def _without(missing: Sequence[float], raw: pl.Expr, number: pl.Expr) -> pl.Expr:
    """``raw``, null where ``number`` is one of the numbers that mean missing."""
    return pl.when(number.is_in(missing).not_().fill_null(True)).then(raw) if missing else raw


def _finite(number: pl.Expr) -> pl.Expr:
    return pl.when(number.is_finite()).then(number)


def _whole(number: pl.Expr) -> pl.Expr:
    """A Float64 without a fraction as Int64; null for any other."""
    return pl.when(number == number.floor()).then(number).cast(pl.Int64, strict=False)


def _whole_of_text(text: pl.Expr) -> pl.Expr:
    # Beyond 2**53 a Float64 would round.
    return pl.coalesce(text.cast(pl.Int64, strict=False), _whole(parse_number(text)))


def _text_of_number(source: pl.DataType, number: pl.Expr) -> pl.Expr:
    if not source.is_float():
        return number.cast(pl.String)
    # A column of codes with a gap comes out of pandas as floats: 501.0 is the code "501".
    return pl.coalesce(_whole(number).cast(pl.String), number.cast(pl.String))


def _boolean_of_text(column: Column, text: pl.Expr) -> pl.Expr:
    # "true" and "false" are how a settled boolean is written as text again, 1 and 0 how others write it.
    lower = text.str.to_lowercase()
    true = {"true", "1", (column.true_value or "true").lower()}
    false = {"false", "0", (column.false_value or "false").lower()}
    return pl.when(lower.is_in(sorted(true))).then(True).when(lower.is_in(sorted(false))).then(False)


def _in_calendar(moment: pl.Expr) -> pl.Expr:
    """A date or timestamp, null outside the years 1 to 9999: Python has none there, and infinity is one."""
    return pl.when(moment.dt.year().is_between(1, 9999)).then(moment)


def _wrong_type(column: Column, source: pl.DataType) -> SchemaError:
    return SchemaError(
        f"Column {column.name!r} is {column.type} in the schema, but comes as {source}.",
        f"Pass it as {column.type}, or as text.",
    )


def _refused(clean: Frame, settled: Frame, checked: Mapping[str, Settling]) -> list[str]:
    """The columns in which a clean value has no settled one."""
    if not checked:
        return []
    if isinstance(clean, pl.DataFrame) and isinstance(settled, pl.DataFrame):
        return [name for name in checked if clean[name].null_count() != settled[name].null_count()]
    lost = {
        name: settling.convert(pl.col(name)).null_count() - pl.col(name).null_count()
        for name, settling in checked.items()
    }
    counts: dict[str, int] = clean.lazy().select(**lost).collect(engine="streaming").row(0, named=True)
    return [name for name, count in counts.items() if count]


def _refusal(clean: pl.DataFrame | pl.LazyFrame, column: Column, settling: Settling) -> SchemaError:
    value = pl.col(column.name)
    bad = clean.lazy().filter(value.is_not_null() & settling.convert(value).is_null())
    # As text: Python has no value for every moment.
    example: Any = bad.select(value.cast(pl.String)).head(1).collect(engine="streaming").item(0, 0)
    return SchemaError(
        f"Column {column.name!r} is {column.type}, but has {example!r}, which is {settling.cause}.",
        "Mend it, let it mean missing (missing_values) or give the column another type (column_types).",
    )
