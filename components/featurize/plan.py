"""From the schema and the parameters to a plan that says what becomes of every column."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter

import polars as pl

from kfp_lifecycle.components.featurize.options import Options
from kfp_lifecycle.components.shared.errors import ExpressionError, ParameterError, SchemaError, did_you_mean
from kfp_lifecycle.components.shared.inference.expressions import derived_column, reads, running
from kfp_lifecycle.components.shared.inference.plan import (
    CategoryPlan,
    ColumnPlan,
    NumberPlan,
    Plan,
    sql_types,
    typed,
)
from kfp_lifecycle.components.shared.inference.schema import ROW_HASH, TableSchema

_NUMBER = ("impute_numeric", "scale")
_CATEGORY = ("impute_category", "encode", "max_onehot", "rare_share")
_TIME = ("impute_numeric", "scale", "date_parts")


@dataclass(frozen=True)
class Derived:
    """A derived column that has been checked.

    Args:
        sql: What the user wrote.
        expression: What computes it.
        kind: Its type, as in the schema.
        reads: The columns that it reads, derived ones included.
    """

    sql: str
    expression: pl.Expr
    kind: str
    reads: set[str]


def build_plan(schema: TableSchema, options: Options, train: pl.LazyFrame) -> Plan:
    """The plan for a table.

    Args:
        schema: The schema from prepare.
        options: The component's parameters.
        train: The training split. It is read only where ``encode`` is auto and the schema does not list the
            categories of a text column.

    Raises:
        ParameterError: A parameter names a column that is not there or does not suit it, or no column is left
            to learn from.
        ExpressionError: A derived column's expression is refused, or reads the target.
        SchemaError: A column's name reads as a pattern.
    """
    _check_patterns([*(column.name for column in schema.columns), *options.derive])
    options = replace(options, derive=in_order(options.derive))
    derived = _derive(schema, options)
    kinds = {column.name: column.type for column in schema.features}
    kinds |= {name: column.kind for name, column in derived.items()}
    _check_names(schema, options, kinds)
    for name in options.exclude_columns:
        kinds.pop(name, None)
    sizes = {column.name: len(column.categories) for column in schema.columns if column.categories}
    unlisted = [name for name in kinds if name not in sizes and _encodes_auto(name, kinds[name], options)]
    sizes |= _count(train, schema, derived, unlisted)
    columns: list[ColumnPlan] = []
    for name, kind in kinds.items():
        columns += _columns(name, kind, options, sizes.get(name, 0))
    if not columns:
        raise ParameterError(
            "No column is left to learn from.",
            "Exclude fewer columns, or choose date parts that the dates have.",
        )
    needed = _needed({column.column for column in columns}, derived)
    return Plan(
        inputs={column.name: column.type for column in schema.columns if column.name in needed},
        derive={name: sql for name, sql in options.derive.items() if name in needed},
        columns=columns,
        target=schema.target,
        task=schema.task,
        parameters=options.to_dict(),
    )


def _check_patterns(names: Iterable[str]) -> None:
    """Refuses names that Polars takes for a pattern of names."""
    for name in names:
        if name == "*" or name.startswith("^"):
            raise SchemaError(
                f"Column {name!r} cannot be told from a pattern of column names.", "Rename it in the source."
            )


def in_order(derive: Mapping[str, str]) -> dict[str, str]:
    """Derived columns such that each comes after those that it reads, and else by name.

    Their own order says nothing: KFP keeps none in a parameter that is a dict, and gives another in each run.

    Raises:
        ExpressionError: Some read each other in a circle.
    """
    sorter = TopologicalSorter({name: reads(sql) & derive.keys() for name, sql in derive.items()})
    try:
        sorter.prepare()
    except CycleError as error:
        circle = " reads ".join(map(repr, error.args[1][::-1]))
        raise ExpressionError(
            f"Derived columns read each other: {circle}.", "Compute one of them from other columns."
        ) from error
    ordered: dict[str, str] = {}
    while sorter.is_active():
        ready = sorter.get_ready()
        ordered |= {name: derive[name] for name in sorted(ready)}
        sorter.done(*ready)
    return ordered


def _derive(schema: TableSchema, options: Options) -> dict[str, Derived]:
    types = sql_types({column.name: column.type for column in schema.columns})
    derived = {}
    for name, sql in options.derive.items():
        if not name.strip() or name in types or name == ROW_HASH:
            raise ParameterError(
                f"Parameter 'derive' names a column {name!r}, which is there already or empty.",
                "Give the derived column a new name.",
            )
        expression, kind = derived_column(name, sql, types)
        read = set(expression.meta.root_names())
        if schema.target in read:
            raise ExpressionError(
                f"Derived column {name!r} reads the target {schema.target!r}, which a model has to predict.",
                "Compute it from other columns.",
            )
        derived[name] = Derived(sql, expression, kind, read)
        types |= sql_types({name: kind})
    return derived


def _check_names(schema: TableSchema, options: Options, kinds: Mapping[str, str]) -> None:
    known = {*kinds, *(column.name for column in schema.columns), *schema.dropped}
    for name in options.exclude_columns:
        if name not in known:
            raise ParameterError(
                f"Parameter 'exclude_columns' names {name!r}, which is no column.", did_you_mean(name, known)
            )
    for name, given in options.overrides.items():
        if name not in kinds or name in options.exclude_columns:
            raise ParameterError(
                f"Parameter 'overrides' names {name!r}, which is no feature.", did_you_mean(name, kinds)
            )
        allowed = _allowed(kinds[name], given)
        for parameter in given:
            if parameter not in allowed:
                raise ParameterError(
                    f"Parameter 'overrides' has {parameter!r} for column {name!r}, which is {kinds[name]}.",
                    f"Give some of: {', '.join(allowed)}.",
                )


def _allowed(kind: str, given: Iterable[str]) -> tuple[str, ...]:
    """The parameters that suit a column of this type, given what the user overrides."""
    if _is_category(kind, given):
        return _CATEGORY
    if kind in ("date", "timestamp"):
        return _TIME
    return _NUMBER if kind == "number" else (*_NUMBER, *_CATEGORY)


def _is_category(kind: str, given: Iterable[str]) -> bool:
    """Text is categories; so are whole numbers and booleans that are to be encoded."""
    return kind == "string" or (kind in ("integer", "boolean") and "encode" in given)


def _encodes_auto(name: str, kind: str, options: Options) -> bool:
    return _is_category(kind, options.overrides.get(name, {})) and options.of(name).encode == "auto"


def _count(
    train: pl.LazyFrame, schema: TableSchema, derived: Mapping[str, Derived], names: list[str]
) -> dict[str, int]:
    """The number of categories of these columns in the training split."""
    if not names:
        return {}
    needed = _needed(set(names), derived)
    used = {name: column for name, column in derived.items() if name in needed}
    rows = typed(train, {column.name: column.type for column in schema.columns if column.name in needed})
    for column in used.values():
        rows = rows.with_columns(column.expression)
    with running({name: column.sql for name, column in used.items()}):
        counts = rows.select(pl.col(names).n_unique()).collect(engine="streaming")
    return counts.row(0, named=True)


def _needed(names: set[str], derived: Mapping[str, Derived]) -> set[str]:
    """These columns and all that they are computed from."""
    needed = set(names)
    for name, column in reversed(list(derived.items())):
        if name in needed:
            needed |= column.reads
    return needed


def _columns(name: str, kind: str, options: Options, categories: int) -> list[ColumnPlan]:
    """What becomes of one column."""
    given = options.overrides.get(name, {})
    own = options.of(name)
    if _is_category(kind, given):
        encode = own.encode
        if encode == "auto":
            encode = "onehot" if categories <= own.max_onehot else "target"
        # Target encoding draws rare categories to the mean by itself, and would lose them as one.
        rare_share = 0.0 if encode == "target" and "rare_share" not in given else float(own.rare_share)
        return [CategoryPlan(name, own.impute_category, encode, rare_share)]
    if kind in ("date", "timestamp"):
        parts = [
            part
            for part in dict.fromkeys(own.date_parts)
            if kind == "timestamp" or part not in ("hour", "minute")
        ]
        return [NumberPlan(f"{name}_{part}", name, part, own.impute_numeric, own.scale) for part in parts]
    scale = "none" if kind == "boolean" and "scale" not in given else own.scale
    return [NumberPlan(name, name, "", own.impute_numeric, scale)]
