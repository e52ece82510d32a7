"""Safe SQL expressions over the columns of one row, run by Polars.

An expression is SQL that :func:`polars.sql_expr` parses, with three more rules: it reads only the columns
that it is given, each value comes from its own row alone, and it gives the same value whenever it is run.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager

import polars as pl

from .errors import ExpressionError, did_you_mean
from .settle import DTYPES

#: Longer or deeper expressions are refused: Polars works through them recursively, and at some 700 nested
#: operators the process runs out of stack.
MAX_LENGTH = 2000
MAX_DEPTH = 100

_QUOTED = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`[^`]*`")
_CLOCK = re.compile(
    r"\bnow\s*\(|\b(current_timestamp|current_date|current_time|localtimestamp|localtime)\b", re.I
)
# Polars' panics are no subclass of Exception.
_POLARS_PROBLEMS = (pl.exceptions.PolarsError, pl.exceptions.PanicException)


def row_expression(sql: str, columns: Collection[str]) -> pl.Expr:
    """Parses an SQL expression that computes a value from the columns of one row.

    What SQL can say of one row is allowed: arithmetic, comparisons, CASE, CAST, COALESCE, LIKE, string and
    date functions. Aggregates, window functions, subqueries, table functions, wildcards and the clock are
    not. ``7 / 2`` is 3.5 and ``7 // 2`` is 3; a missing value makes the result missing; integers have 64 bits
    and wrap around. A division by zero is infinite: :func:`derived_column` makes that missing too.

    Args:
        sql: The expression, such as ``tenure * monthly_charges``. A name with blanks goes in double quotes.
        columns: Names of the columns that it may read.

    Returns:
        The expression in Polars, not yet checked against the columns' types.

    Raises:
        ExpressionError: It does not parse, names an unknown column, or reaches outside the row.
    """
    if not isinstance(sql, str) or not sql.strip():
        raise ExpressionError(f"Expression {sql!r} is empty or no text.", "Write it in SQL, such as 'a * b'.")
    if len(sql) > MAX_LENGTH:
        raise ExpressionError(
            f"Expression {_short(sql)} is {len(sql)} characters long.",
            f"Keep it under {MAX_LENGTH}, or split it into several derived columns.",
        )
    expression = _parse(sql)
    _check_row_alone(sql, expression)
    _check_columns(sql, expression, columns)
    return expression


def reads(sql: str) -> set[str]:
    """The names of the columns that an expression reads; none where it does not parse."""
    try:
        return set(pl.sql_expr(sql).meta.root_names())
    except (*_POLARS_PROBLEMS, UnicodeError, TypeError):
        return set()


def derived_column(name: str, sql: str, types: Mapping[str, pl.DataType]) -> tuple[pl.Expr, str]:
    """The expression of a derived column and its type.

    The result is cast to one of the schema's types. A span of time becomes seconds. What is infinite or not a
    number (a division by zero, the logarithm of -1) becomes null.

    Args:
        name: Name of the new column.
        sql: As for :func:`row_expression`.
        types: The Polars types of the columns that it may read. As in SQL, timestamps have no zone; see
            :func:`without_zone`.

    Returns:
        The expression, named ``name``, and its type, one of :data:`.schema.TYPES`.

    Raises:
        ExpressionError: As :func:`row_expression`, or the types do not fit. Names the derived column.
    """
    try:
        expression = row_expression(sql, types)
    except ExpressionError as error:
        raise ExpressionError(f"Derived column {name!r}: {error.problem}", error.fix) from error
    with running({name: sql}):
        # Running it on no rows finds what the types alone do not.
        result = pl.DataFrame(schema=dict(types)).select(expression.alias(name)).schema[name]
    kind = _kind(result)
    if kind is None:
        raise ExpressionError(
            f"Derived column {name!r}: {_short(sql)} gives {result}.",
            "Cast it to a number, a text, a boolean, a date or a timestamp.",
        )
    return _as_kind(expression, result, kind).alias(name), kind


def without_zone(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """A timestamp as SQL has it, in UTC with no zone; any other column as it is."""
    if isinstance(dtype, pl.Datetime) and dtype.time_zone is not None:
        return column.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    return column


@contextmanager
def running(expressions: Mapping[str, str]) -> Iterator[None]:
    """Turns what Polars raises while it runs derived columns into an error that names them.

    Args:
        expressions: Name to SQL of the derived columns that run; where there is none, nothing is turned.

    Raises:
        ExpressionError: Polars refused a value or a type.
    """
    try:
        yield
    except _POLARS_PROBLEMS as error:
        if not expressions:
            raise
        shown = "; ".join(f"{name} = {_short(sql)}" for name, sql in expressions.items())
        raise ExpressionError(
            f"Derived column {shown} cannot be computed: {_said(error)}.",
            "Check the types of the columns that it reads; TRY_CAST gives null where CAST fails.",
        ) from error


def _parse(sql: str) -> pl.Expr:
    try:
        return pl.sql_expr(sql)
    except (*_POLARS_PROBLEMS, UnicodeError) as error:
        raise ExpressionError(
            f"Expression {_short(sql)} does not parse: {_said(error)}.",
            "Write one SQL expression over the columns of a row; names with blanks go in double quotes.",
        ) from error


def _check_row_alone(sql: str, expression: pl.Expr) -> None:
    if _CLOCK.search(_QUOTED.sub("''", sql)):
        raise ExpressionError(
            f"Expression {_short(sql)} reads the clock, so a row would not keep its value.",
            "Compute with a column or a fixed date, such as date '2024-01-01'.",
        )
    # An alias at the top is a forgotten operator: "tenure monthly_charges" is tenure, renamed.
    if not expression.meta.undo_aliases().meta.eq(expression):
        raise ExpressionError(
            f"Expression {_short(sql)} ends in a name of its own.",
            "Put the operator that is missing, or leave AS out.",
        )
    level, depth = [expression], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise ExpressionError(
                f"Expression {_short(sql)} nests more than {MAX_DEPTH} deep.",
                "Split it into several derived columns.",
            )
        if not all(_row_alone(node) for node in level):
            raise ExpressionError(
                f"Expression {_short(sql)} reaches outside the row: an aggregate, a window, a subquery, "
                "a wildcard or a table function.",
                "Compute each value from the columns of its own row.",
            )
        level = [part for node in level for part in node.meta.pop()]


def _row_alone(node: pl.Expr) -> bool:
    """Whether this node, its inputs aside, gives one value a row from that row alone."""
    if node.meta.is_literal() or node.meta.is_column():
        return True
    try:
        return node.meta.is_row_separable() and (node.meta.is_length_preserving() or node.meta.is_scalar())
    except pl.exceptions.ColumnNotFoundError:
        # SQL's own operators and scalar functions choose their kernel by the columns' types; all work by row.
        return True
    except pl.exceptions.PolarsError:
        # Subqueries and column selectors.
        return False


def _check_columns(sql: str, expression: pl.Expr, columns: Collection[str]) -> None:
    read = list(dict.fromkeys(expression.meta.root_names()))
    if not read:
        raise ExpressionError(f"Expression {_short(sql)} reads no column.", "Name at least one column in it.")
    for name in read:
        if name not in columns:
            raise ExpressionError(
                f"Expression {_short(sql)} reads {name!r}, which is no column here.",
                did_you_mean(name, columns),
            )


def _kind(dtype: pl.DataType) -> str | None:
    if dtype.is_integer():
        return "integer"
    if dtype.is_numeric() or dtype == pl.Duration:
        return "number"
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        return "string"
    if dtype == pl.Datetime:
        return "timestamp"
    return next((kind for kind, known in DTYPES.items() if known == dtype), None)


def _as_kind(expression: pl.Expr, result: pl.DataType, kind: str) -> pl.Expr:
    if result == pl.Duration:
        expression = expression.dt.total_microseconds() / 1e6
    typed = without_zone(expression, result).cast(pl.Datetime("us") if kind == "timestamp" else DTYPES[kind])
    return pl.when(typed.is_finite()).then(typed) if kind == "number" else typed


def _short(sql: str) -> str:
    return repr(sql if len(sql) <= 120 else f"{sql[:117]}...")


def _said(error: BaseException) -> str:
    """What Polars said, without the part of the plan that it shows after a blank line."""
    text = " ".join(str(error).split("\n\n")[0].split())
    return text[:200].rstrip(".:") or type(error).__name__
