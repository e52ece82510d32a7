"""Which columns the prepared table has, what type and role each has, and which are left out and why."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import polars as pl
import polars.selectors as cs

from kfp_lifecycle.components.prepare.options import Options
from kfp_lifecycle.components.prepare.reading import RawTable
from kfp_lifecycle.components.prepare.settling import Found, find_types
from kfp_lifecycle.components.prepare.target import Target, find_target
from kfp_lifecycle.components.shared.errors import (
    ParameterError,
    RuleError,
    SchemaError,
    TargetError,
    did_you_mean,
)
from kfp_lifecycle.components.shared.inference.expressions import (
    derived_column,
    row_expression,
    running,
    without_zone,
)
from kfp_lifecycle.components.shared.inference.schema import ROW_HASH, Column, TableSchema
from kfp_lifecycle.components.shared.inference.settle import column_settling, settle

#: Whether a row is in the test split: a column beside the source's while the splits are written.
SIDE = "_row_is_test"


@dataclass(frozen=True)
class Plan:
    """The columns of the prepared table.

    Args:
        columns: What is written, in order, roles filled in.
        identity: What rows are told apart by: the key, or every column that no parameter drops.
        target: Task and classes.
        dropped: Column to the reason it is left out.
        missing_shares: Share of missing values by column, of all rows of the source.
        table: The settled rows of the source, target included, lazily.
        values: How each column of the source settles.
        few: The columns that have few distinct values.
        computed: The target's expression, if it is computed.
    """

    columns: list[Column]
    identity: list[Column]
    target: Target
    dropped: dict[str, str]
    missing_shares: dict[str, float]
    table: pl.LazyFrame
    values: dict[str, pl.Expr] = field(repr=False)
    few: set[str]
    computed: pl.Expr | None = field(repr=False, default=None)

    def settled(self, raw: pl.LazyFrame, *beside: str) -> pl.LazyFrame:
        """Rows of the source settled, with the target; columns ``beside`` pass as they are."""
        return _with_target(raw.select(*beside, **self.values), self.computed)


def plan_columns(raw: RawTable, options: Options) -> Plan:
    """Finds types, computes the target and decides what stays.

    Raises:
        TargetError: The target is not there, or of no use.
        ParameterError: A parameter names a column that is not there.
        SchemaError: A column cannot be settled, or no feature is left.
        ExpressionError: ``target_expression`` does not parse or cannot be computed.
        RuleError: A text feature has too many categories.
    """
    own = (ROW_HASH, SIDE)
    found_names = raw.frame.collect_schema().names()
    names = [name for name in found_names if name not in own]
    _check_names(names, options)
    dropped = raw.dropped | {name: "the name is prepare's own" for name in found_names if name in own}
    dropped |= dict.fromkeys(options.drop_columns, "named in drop_columns")
    found = find_types(raw, _needed(names, dropped, options), options)
    values = _settling(raw.frame, found, options)
    table = raw.frame.select(**values)
    computed, columns = None, [one.column for one in found]
    if options.target_expression:
        computed, columns = _computed_target(table, columns, options)
        table = _with_target(table, computed)
    columns = [_with_role(column, options) for column in columns if column.name not in dropped]
    counted = {one.column.name: one.missing for one in found if one.missing is not None}
    counted.pop(options.target, None)
    missing = _missing_shares(table, columns, counted, raw.rows)
    _check_keys(missing, options)
    target = find_target(table.select(options.target), _named(columns, options.target), options)
    identity = [_named(columns, name) for name in options.key_columns] or columns
    dropped |= _too_empty(columns, missing, options)
    kept = [column for column in columns if column.name not in dropped]
    _check_features(kept, found, options)
    return Plan(kept, identity, target, dropped, missing, table, values, _few(kept, found), computed)


def _check_names(names: Sequence[str], options: Options) -> None:
    for name in (*names, options.target):
        # Polars, and so all that follows, takes these for many columns.
        if name == "*" or (name.startswith("^") and name.endswith("$")):
            raise SchemaError(
                f"A column cannot be named {name!r}: it is a pattern.", "Rename it in the source."
            )
    if options.target not in names and not options.target_expression:
        raise TargetError(
            f"Target {options.target!r} is no column of the source.",
            _hint(options.target, names, options),
        )
    needed = {
        "key_columns": options.key_columns,
        "split_column": [options.split_column] if options.split_column else [],
        "drop_columns": options.drop_columns,
        "column_types": list(options.column_types),
        "rules": options.rules.columns,
    }
    for parameter, columns in needed.items():
        for name in columns:
            if name not in names and not (parameter == "rules" and name == options.target):
                raise ParameterError(
                    f"Parameter {parameter!r} names {name!r}, which is no column of the source.",
                    _hint(name, names, options),
                )
            if parameter == "rules" and name in options.drop_columns:
                raise ParameterError(
                    f"Parameter 'rules' names {name!r}, which 'drop_columns' leaves out.",
                    "Keep it or drop its rule.",
                )


def _hint(name: str, names: Sequence[str], options: Options) -> str:
    if len(names) == 1:
        for other in ";\t|,":
            if other != options.separator and other in names[0]:
                return f"The source has one column, {names[0][:60]!r}: set delimiter to {other!r}."
    return did_you_mean(name, names)


def _needed(names: Sequence[str], dropped: dict[str, str], options: Options) -> list[str]:
    """The columns to settle: those that stay, and those that the target is computed from."""
    roots: set[str] = set()
    if options.target_expression:
        roots = set(row_expression(options.target_expression, names).meta.root_names())
    return [name for name in names if name not in dropped or name in roots]


def _settling(raw: pl.LazyFrame, found: list[Found], options: Options) -> dict[str, pl.Expr]:
    """How each column settles, once no value is refused. What is settled already passes as it is."""
    reading = TableSchema(
        [one.reading for one in found], options.target, "", missing_values=list(options.missing_values)
    )
    types = raw.collect_schema()
    as_is = {one.column.name for one in found if one.is_settled and types[one.column.name] == pl.String}
    # Called for the check that it makes; the expressions are put together below.
    settle(raw, reading, [column.name for column in reading.columns if column.name not in as_is])
    return {
        c.name: pl.col(c.name) if c.name in as_is else column_settling(c, types[c.name], reading).value
        for c in reading.columns
    }


def _with_target(table: pl.LazyFrame, computed: pl.Expr | None) -> pl.LazyFrame:
    if computed is None:
        return table
    in_utc = cs.datetime().dt.replace_time_zone("UTC")
    return _as_sql(table).with_columns(computed).with_columns(in_utc)


def _as_sql(table: pl.LazyFrame) -> pl.LazyFrame:
    """The table with its timestamps, all in UTC, without their zone: those of SQL have none."""
    types = table.collect_schema()
    return table.with_columns(without_zone(pl.col(name), dtype) for name, dtype in types.items())


def _computed_target(
    table: pl.LazyFrame, columns: list[Column], options: Options
) -> tuple[pl.Expr, list[Column]]:
    name, sql = options.target, options.target_expression
    expression, kind = derived_column(name, sql, _as_sql(table).collect_schema())
    with running({name: sql}):
        _with_target(table, expression).select(pl.col(name).null_count()).collect(engine="streaming")
    target = Column(name, kind, source_type=kind)
    others = [column for column in columns if column.name != name]
    place = next((i for i, column in enumerate(columns) if column.name == name), len(columns))
    return expression, [*others[:place], target, *others[place:]]


def _with_role(column: Column, options: Options) -> Column:
    if column.name == options.target:
        return replace(column, role="target")
    if column.name in options.key_columns:
        return replace(column, role="key")
    if column.name == options.split_column:
        return replace(column, role=options.split)
    return column


def _missing_shares(
    table: pl.LazyFrame, columns: list[Column], counted: dict[str, int], rows: int
) -> dict[str, float]:
    names = [column.name for column in columns]
    others = table.select(pl.col(name).null_count() for name in names if name not in counted)
    missing = counted | others.collect(engine="streaming").row(0, named=True)
    return {name: missing[name] / rows for name in names}


def _check_keys(missing: dict[str, float], options: Options) -> None:
    for name in options.key_columns:
        if missing[name]:
            raise SchemaError(
                f"Key column {name!r} is missing in {missing[name]:.2%} of the rows.",
                "A key must be in every row.",
            )


def _too_empty(columns: list[Column], missing: dict[str, float], options: Options) -> dict[str, str]:
    dropped = {}
    for column in columns:
        share = missing[column.name]
        if column.role != "feature":
            continue
        if share == 1:
            dropped[column.name] = "has no values"
        elif share > options.max_missing_share:
            dropped[column.name] = f"{share:.1%} missing, more than {options.max_missing_share:.1%}"
    return dropped


def _check_features(columns: list[Column], found: list[Found], options: Options) -> None:
    features = {column.name for column in columns if column.role == "feature"}
    if not features:
        raise SchemaError("No feature column is left.", "Drop fewer columns, or read a table with more.")
    for one in found:
        name, distinct = one.column.name, one.distinct
        if name not in features or one.column.type != "string" or distinct is None:
            continue
        if distinct > options.max_categories:
            about = "" if one.is_distinct_exact else "about "
            raise RuleError(
                f"Text column {name!r} has {about}{distinct:,} categories, more than max_categories "
                f"({options.max_categories:,}).",
                "Drop it (drop_columns), name it as a key (key_columns), give its type (column_types), "
                "or raise max_categories.",
            )


def _few(columns: list[Column], found: list[Found]) -> set[str]:
    counted = {one.column.name for one in found if one.distinct is not None and one.is_distinct_exact}
    return {c.name for c in columns if c.type == "boolean" or c.name in counted or c.role == "target"}


def _named(columns: Sequence[Column], name: str) -> Column:
    return next(column for column in columns if column.name == name)
