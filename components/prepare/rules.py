"""Checks the prepared table against the rules that the parameters declare."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from kfp_lifecycle.components.prepare.options import Rules
from kfp_lifecycle.components.shared.errors import ParameterError, RuleError
from kfp_lifecycle.components.shared.inference.schema import Column
from kfp_lifecycle.components.shared.inference.settle import DTYPES, parse_date, parse_time


@dataclass(frozen=True)
class _Check:
    """A rule as an expression that is true for a row that breaks it."""

    column: str
    broken: pl.Expr
    shown: pl.Expr
    rule: str


def check_rules(
    table: pl.LazyFrame,
    columns: Sequence[Column],
    rules: Rules,
    missing: Mapping[str, float],
    dropped: Mapping[str, str],
) -> None:
    """Checks every rule in one pass.

    Args:
        table: The prepared rows, both splits.
        columns: Their columns.
        rules: The rules.
        missing: Share of missing values by column, of the columns that were dropped too.
        dropped: Column to the reason it was dropped.

    Raises:
        RuleError: Rules are broken. Names for each the column, the number of rows and an example.
        ParameterError: A rule does not fit its column's type.
    """
    by_name = {column.name: column for column in columns}
    broken = [
        f"column {name!r} is {missing[name]:.1%} missing, more than the allowed {share:.1%}"
        for name, share in rules.max_missing_share.items()
        if missing.get(name, 0.0) > share
    ]
    checks = []
    for name in [*rules.ranges, *rules.categories]:
        if name not in by_name:
            broken.append(f"column {name!r} was dropped ({dropped.get(name, 'it is not there')})")
        elif name in rules.ranges:
            checks.append(_range(by_name[name], *rules.ranges[name]))
        if name in by_name and name in rules.categories:
            checks.append(_categories(by_name[name], rules.categories[name]))
    broken += _count(table, checks)
    if broken:
        more = f"; and {len(broken) - 5} more" if len(broken) > 5 else ""
        raise RuleError(
            f"The data breaks its rules: {'; '.join(dict.fromkeys(broken[:5]))}{more}.",
            "Mend the data, or change the 'rules' parameter.",
        )


def _count(table: pl.LazyFrame, checks: Sequence[_Check]) -> list[str]:
    if not checks:
        return []
    expressions = {}
    for index, check in enumerate(checks):
        expressions[f"rows{index}"] = check.broken.sum()
        expressions[f"example{index}"] = check.shown.filter(check.broken).first()
    found = table.select(**expressions).collect(engine="streaming").row(0, named=True)
    return [
        f"column {check.column!r} has {found[f'rows{index}']:,} values {check.rule}, such as "
        f"{found[f'example{index}']!r}"
        for index, check in enumerate(checks)
        if found[f"rows{index}"]
    ]


def _range(column: Column, smallest: Any, largest: Any) -> _Check:
    value = pl.col(column.name)
    low, high = _bound(column, smallest), _bound(column, largest)
    broken = pl.lit(False)
    if low is not None:
        broken = broken | (value < low)
    if high is not None:
        broken = broken | (value > high)
    shown = value if column.type in ("integer", "number") else value.cast(pl.String)
    return _Check(column.name, broken, shown, f"outside {_side(smallest, '-∞')} to {_side(largest, '∞')}")


def _side(bound: Any, open_end: str) -> str:
    return open_end if bound is None else f"{bound:g}" if isinstance(bound, (int, float)) else str(bound)


def _bound(column: Column, bound: Any) -> pl.Expr | None:
    if bound is None:
        return None
    if column.type in ("integer", "number") and not isinstance(bound, str):
        return pl.lit(bound)
    if column.type in ("date", "timestamp") and isinstance(bound, str):
        parse = parse_date if column.type == "date" else parse_time
        value = pl.select(parse(pl.lit(bound))).item()
        if value is not None:
            return pl.lit(value, dtype=DTYPES[column.type])
    raise ParameterError(
        f"Parameter 'rules: ranges: {column.name}' has the bound {bound!r}, but the column is {column.type}.",
        "Numbers have numbers as bounds, dates and timestamps ISO 8601 text, other types have categories.",
    )


def _categories(column: Column, allowed: list[str]) -> _Check:
    value = pl.col(column.name)
    shown = value.cast(pl.String)
    if column.type == "boolean":
        true, false = pl.lit(column.true_value or "true"), pl.lit(column.false_value or "false")
        shown = pl.when(value).then(true).when(value.not_()).then(false)
    listed = ", ".join(allowed[:5]) + (", …" if len(allowed) > 5 else "")
    return _Check(column.name, shown.is_in(allowed).not_(), shown, f"that are none of {listed}")
