"""SQL expressions over the columns of one row: what they give, and what is refused."""

from datetime import UTC, date, datetime

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from polars.testing import assert_series_equal

from kfp_lifecycle.components.shared.errors import ExpressionError
from kfp_lifecycle.components.shared.inference.expressions import (
    MAX_LENGTH,
    derived_column,
    row_expression,
    running,
)

ROWS = pl.DataFrame(
    {
        "tenure": [1, 0, 7, None],
        "monthly_charges": [29.85, 10.0, None, 5.0],
        "contract": ["One year", "Two year", None, "One year"],
        "senior": [True, None, False, True],
        "signed": [date(2024, 1, 2), None, date(2023, 12, 31), date(2024, 2, 29)],
        "seen": [datetime(2024, 1, 2, 3, 4), datetime(2020, 5, 6), None, datetime(1999, 12, 31, 23, 59, 59)],
        "Total Charges": [1.0, 2.0, 3.0, 4.0],
    },
    schema_overrides={"seen": pl.Datetime("us")},
)
TYPES = dict(ROWS.schema)


def values(sql: str, rows: pl.DataFrame = ROWS) -> list[object]:
    expression, _ = derived_column("new", sql, TYPES)
    with running({"new": sql}):
        return rows.select(expression)["new"].to_list()


@pytest.mark.parametrize(
    ("sql", "kind", "expected"),
    [
        ("tenure * monthly_charges", "number", [29.85, 0.0, None, None]),
        ("tenure / 2", "number", [0.5, 0.0, 3.5, None]),
        ("tenure // 2", "integer", [0, 0, 3, None]),
        ("tenure % 2", "integer", [1, 0, 1, None]),
        ('"Total Charges" + 1', "number", [2.0, 3.0, 4.0, 5.0]),
        ("monthly_charges / tenure", "number", [29.85, None, None, None]),
        ("ln(tenure - 1)", "number", [None, None, pytest.approx(1.791759), None]),
        ("sqrt(0 - tenure)", "number", [None, 0.0, None, None]),
        ("coalesce(monthly_charges, 0)", "number", [29.85, 10.0, 0.0, 5.0]),
        ("least(tenure, monthly_charges)", "number", [1.0, 0.0, 7.0, 5.0]),
        ("round(monthly_charges)", "number", [30.0, 10.0, None, 5.0]),
        ("contract = 'One year'", "boolean", [True, False, None, True]),
        ("contract in ('One year', 'x')", "boolean", [True, False, None, True]),
        ("contract like 'One%'", "boolean", [True, False, None, True]),
        ("contract || '!'", "string", ["One year!", "Two year!", None, "One year!"]),
        ("contract is null", "boolean", [False, False, True, False]),
        ("senior and tenure > 0", "boolean", [True, False, False, None]),
        ("case when tenure > 5 then 'long' else 'short' end", "string", ["short", "short", "long", "short"]),
        ("cast(senior as integer)", "integer", [1, None, 0, 1]),
        ("try_cast(contract as integer)", "integer", [None] * 4),
        ("cast(tenure as decimal(10, 2))", "number", [1.0, 0.0, 7.0, None]),
        ("extract(year from signed)", "integer", [2024, None, 2023, 2024]),
        ("date_part('hour', seen)", "integer", [3, 0, None, 23]),
        ("signed - date '2024-01-01'", "number", [86400.0, None, -86400.0, 59 * 86400.0]),
        ("seen - timestamp '2024-01-02 00:00:00'", "number", [11040.0, -115430400.0, None, -757468801.0]),
        ("seen > timestamp '2023-01-01'", "boolean", [True, False, None, False]),
        ("signed + interval '1 day'", "date", [date(2024, 1, 3), None, date(2024, 1, 1), date(2024, 3, 1)]),
        ("contract = 'now()'", "boolean", [False, False, None, False]),
    ],
)
def test_what_sql_says_of_one_row(sql: str, kind: str, expected: list[object]) -> None:
    assert derived_column("new", sql, TYPES)[1] == kind
    assert values(sql) == expected


@pytest.mark.parametrize(
    "sql",
    [
        "avg(tenure)",
        "tenure - avg(tenure)",
        "coalesce(tenure, max(tenure))",
        "mod(max(tenure), 2)",
        "case max(tenure) when 1 then 2 else 3 end",
        "tenure / count(*)",
        "sum(tenure) over ()",
        "sum(tenure) filter (where tenure > 1)",
        "first(tenure) over (partition by contract)",
        "row_number() over (order by tenure)",
        "rank() over (order by tenure)",
        "lag(tenure) over (order by seen)",
        "array_agg(tenure)",
        "unnest(tenure)",
        "string_agg(contract, ',')",
        "(select 1)",
        "tenure in (select 1)",
        "exists (select 1)",
        "tenure = any(select 1)",
        "columns('^t.*')",
        '"^t.*$"',
    ],
)
def test_reaching_outside_the_row_is_refused(sql: str) -> None:
    with pytest.raises(ExpressionError, match="outside the row") as refused:
        row_expression(sql, ROWS.columns)
    assert sql[:20] in refused.value.problem


@pytest.mark.parametrize("sql", ["now() > seen", "seen - current_timestamp", "CURRENT_DATE - signed"])
def test_the_clock_is_refused(sql: str) -> None:
    with pytest.raises(ExpressionError, match="clock"):
        row_expression(sql, ROWS.columns)


def test_quoted_a_column_may_be_named_like_the_clock() -> None:
    assert row_expression('"current_date" + 1', ["current_date"]).meta.root_names() == ["current_date"]


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("", "empty"),
        ("  ", "empty"),
        (3, "empty or no text"),
        ("tenure +", "does not parse"),
        ("*", "does not parse"),
        ("tenure, monthly_charges", "does not parse"),
        ("tenure; drop table x", "does not parse"),
        ("select tenure", "does not parse|name of its own"),
        ("read_csv('/etc/passwd')", "does not parse"),
        ("read_parquet('x')", "does not parse"),
        ("random() + tenure", "does not parse"),
        ("log(tenure)", "does not parse"),
        ("tenure \ud800", "does not parse"),
        ("tenure \x00", "does not parse"),
        ("tenure as months", "name of its own"),
        ("tenure monthly_charges", "name of its own"),
        ("1", "reads no column"),
        ("'tenure'", "reads no column"),
        ("tenures * 2", "Did you mean 'tenure'"),
        ("Tenure * 2", "Did you mean 'tenure'"),
        ("other.tenure", "'other', which is no column"),
        ("+".join(["tenure"] * 150), "nests more than"),
        ("(" * 400 + "tenure" + ")" * 400, "does not parse"),
        ("tenure + " * MAX_LENGTH, "characters long"),
    ],
)
def test_what_cannot_be_an_expression_says_why(sql: str, said: str) -> None:
    with pytest.raises(ExpressionError, match=said) as refused:
        row_expression(sql, ROWS.columns)
    assert refused.value.fix


@pytest.mark.parametrize(
    "sql", ["upper(tenure)", "contract * 2", "extract(hour from signed)", "seen + contract"]
)
def test_types_that_do_not_fit_are_refused_before_any_row(sql: str) -> None:
    with pytest.raises(ExpressionError, match=r"Derived column new.*cannot be computed") as refused:
        derived_column("new", sql, TYPES)
    assert sql in refused.value.problem


@pytest.mark.parametrize("sql", ["contract::json", "array_agg(tenure)", "struct(tenure)"])
def test_results_that_are_no_column_type_are_refused(sql: str) -> None:
    with pytest.raises(ExpressionError, match="new"):
        derived_column("new", sql, TYPES)


@pytest.mark.parametrize("sql", ["cast(contract as integer)", "cast(contract as date)", "contract ~ '['"])
def test_values_that_cannot_be_cast_name_the_derived_column(sql: str) -> None:
    with pytest.raises(ExpressionError, match=r"Derived column new = "):
        values(sql)


def test_what_polars_raises_keeps_its_cause() -> None:
    with pytest.raises(ExpressionError) as refused, running({"new": "x"}):
        ROWS.select(pl.col("absent"))
    assert isinstance(refused.value.__cause__, pl.exceptions.ColumnNotFoundError)


_NAMES = [*ROWS.columns[:6], '"Total Charges"', "*"]
_WORDS = """1 2.5 0 'x' null true + - * / % // ( ) , = < and or not is_null in between like || . [ ] -- /* ;
:: case_when then else end coalesce( abs( sum( max( over_() select from cast( as_integer) date least( now()
extract(year_from count(*)"""
_PIECES = st.sampled_from([*_NAMES, *(word.replace("_", " ") for word in _WORDS.split())])


@settings(max_examples=300, deadline=None)
@example("99999999999999999999999999 * tenure * tenure")
@example("interval '1' + tenure")
@example("cast(tenure as decimal(400, 2))")
@example("a ~ '('")
@given(st.one_of(st.text(max_size=60), st.lists(_PIECES, max_size=12).map(" ".join)))
def test_any_text_ends_in_a_column_or_in_the_declared_error(sql: str) -> None:
    try:
        expression, kind = derived_column("new", sql, TYPES)
        with running({"new": sql}):
            whole = ROWS.select(expression)["new"]
            alone = pl.concat([ROWS[row : row + 1].select(expression) for row in range(ROWS.height)])["new"]
    except ExpressionError:
        return
    # Each value comes from its own row: one at a time they are what they are together.
    assert len(whole) == ROWS.height
    assert_series_equal(whole, alone)
    if kind == "number":
        assert whole.drop_nulls().is_finite().all()


def test_timestamps_with_an_offset_count_in_utc() -> None:
    berlin = pl.Datetime("us", "Europe/Berlin")
    expression, kind = derived_column("new", "t + interval '1 hour'", {"t": berlin})
    rows = pl.DataFrame({"t": [datetime(2024, 1, 1, 12, tzinfo=UTC)]}).cast({"t": berlin})
    assert kind == "timestamp"
    assert rows.select(expression)["new"].to_list() == [datetime(2024, 1, 1, 13)]
