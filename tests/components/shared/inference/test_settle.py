"""Rows as they are in a source come out typed, whichever way they come."""

import datetime as dt
import math

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kfp_lifecycle.components.shared.errors import SchemaError
from kfp_lifecycle.components.shared.inference.schema import TYPES, Column, TableSchema
from kfp_lifecycle.components.shared.inference.settle import DTYPES, settle

NOON = dt.datetime(2024, 1, 2, 12, 0, tzinfo=dt.UTC)
SCHEMA = TableSchema(
    [
        Column("tenure", "integer"),
        Column("charges", "number", source_type="string"),
        Column("partner", "boolean", source_type="string", true_value="Yes", false_value="No"),
        Column("contract", "string"),
        Column("since", "date", source_type="string"),
        Column("seen", "timestamp", source_type="string"),
    ],
    target="churn",
    task="binary",
    missing_values=["NA", "-999"],
)
ROW = {
    "tenure": 5,
    "charges": 9.5,
    "partner": True,
    "contract": "One year",
    "since": dt.date(2024, 1, 2),
    "seen": NOON,
}
SETTLED = pl.DataFrame([ROW], schema={column.name: DTYPES[column.type] for column in SCHEMA.columns})


def one(kind: str, values: object, **more: object) -> list[object]:
    """A column of one type, settled."""
    schema = TableSchema([Column("x", kind, **more)], "y", "binary", missing_values=["NA", "-999"])
    return settle(pl.DataFrame({"x": values}), schema)["x"].to_list()


def test_a_row_of_texts_comes_out_typed():
    texts = {
        "tenure": " 5 ",
        "charges": "9.5",
        "partner": "Yes",
        "contract": " One year",
        "since": "2024-01-02",
        "seen": "2024-01-02T14:00:00+02:00",
    }
    assert settle(pl.DataFrame([texts]), SCHEMA).equals(SETTLED)


def test_settled_rows_pass_unchanged_eager_and_lazy():
    assert settle(SETTLED, SCHEMA).equals(SETTLED)
    lazy = settle(SETTLED.lazy(), SCHEMA)
    assert isinstance(lazy, pl.LazyFrame)
    assert lazy.collect().equals(SETTLED)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("missing", ["", "  ", "NA", " NA ", "-999", None])
def test_what_means_missing_is_null_in_every_type(kind, missing):
    present = {"string": "x", "boolean": "true", "date": "2024-01-02", "timestamp": "2024-01-02"}.get(
        kind, "1"
    )
    assert one(kind, [present, missing])[1] is None


@pytest.mark.parametrize("kind", ["integer", "number"])
@pytest.mark.parametrize("missing", [-999, -999.0, math.nan, "-999.0", "nan", "NaN"])
def test_numbers_that_mean_missing_are_null_however_they_come(kind, missing):
    assert one(kind, [missing]) == [None]


@pytest.mark.parametrize(
    ("kind", "given", "expected"),
    [
        ("integer", ["7", "007", "+7", "7.0"], [7, 7, 7, 7]),
        ("integer", ["9007199254740993"], [2**53 + 1]),
        ("integer", [7.0, math.nan], [7, None]),
        ("integer", [True, False], [1, 0]),
        ("number", ["1e3", ".5", "5."], [1000.0, 0.5, 5.0]),
        ("number", [3], [3.0]),
        ("string", [501.0, 1.5, math.nan], ["501", "1.5", None]),
        ("string", [501], ["501"]),
        ("string", [True], ["true"]),
        ("boolean", ["true", "FALSE", "1", "0"], [True, False, True, False]),
        ("boolean", [1, 0], [True, False]),
        ("boolean", [1.0, 0.0, math.nan], [True, False, None]),
        ("date", ["2024-01-02", "2024-01-02T03:04:05"], [dt.date(2024, 1, 2)] * 2),
        ("date", [NOON], [dt.date(2024, 1, 2)]),
        ("timestamp", [dt.date(2024, 1, 2)], [NOON.replace(hour=0)]),
        ("timestamp", [NOON.replace(tzinfo=None)], [NOON]),
        (
            "timestamp",
            ["2024-01-02 12:00", "2024-01-02T12:00:00Z", "2024-01-02 12:00:00.0", "2024-01-02 13:00+0100"],
            [NOON] * 4,
        ),
    ],
)
def test_every_form_of_a_value_settles_alike(kind, given, expected):
    assert one(kind, given) == expected


def test_the_words_of_the_source_mean_true_and_false_in_any_case():
    assert one("boolean", ["yes", "NO", "Yes"], true_value="Yes", false_value="No") == [True, False, True]


def test_a_format_of_ones_own_is_used_for_dates_and_times():
    assert one("date", ["02/01/2024"], time_format="%d/%m/%Y") == [dt.date(2024, 1, 2)]
    assert one("timestamp", ["02.01.2024 12:00"], time_format="%d.%m.%Y %H:%M") == [NOON]
    assert one("timestamp", ["02.01.2024 13:00 +0100"], time_format="%d.%m.%Y %H:%M %z") == [NOON]


def test_categoricals_and_columns_of_nothing_settle():
    assert one("string", pl.Series(["a", None], dtype=pl.Categorical)) == ["a", None]
    assert one("timestamp", [None]) == [None]


@pytest.mark.parametrize("make", [lambda frame: frame, pl.DataFrame.lazy], ids=["eager", "lazy"])
@pytest.mark.parametrize(
    ("kind", "bad"),
    [
        ("integer", "1.5"),
        ("integer", 1.5),
        ("integer", "twelve"),
        ("integer", 2**63),
        ("integer", "9223372036854775808"),
        ("number", "1,5"),
        ("number", "inf"),
        ("number", math.inf),
        ("number", -math.inf),
        ("boolean", "maybe"),
        ("boolean", 2),
        ("date", "02/01/2024"),
        ("date", "2024-02-30"),
        ("timestamp", "noon"),
        ("timestamp", pl.Series([2**62]).cast(pl.Datetime("us"))),
    ],
)
def test_a_value_that_cannot_be_settled_is_refused_with_column_and_value(make, kind, bad):
    schema = TableSchema([Column("a", "integer"), Column("x", kind)], "y", "binary")
    values = bad if isinstance(bad, pl.Series) else [bad]
    with pytest.raises(SchemaError, match=r"Column 'x' is .* but has") as raised:
        settle(make(pl.DataFrame({"a": [1], "x": values})), schema)
    if not isinstance(bad, pl.Series):
        assert str(bad) in str(raised.value)


@pytest.mark.parametrize(
    ("kind", "value"), [("timestamp", 3), ("integer", [1]), ("date", True), ("number", NOON)]
)
def test_a_column_of_another_kind_is_refused(kind, value):
    with pytest.raises(SchemaError, match=r"Column 'x' is .* in the schema, but comes as"):
        one(kind, [value])


def test_columns_asked_for_come_in_that_order_and_others_are_left_out():
    rows = SETTLED.with_columns(other=pl.lit(1))
    assert settle(rows, SCHEMA, ["seen", "tenure"]).columns == ["seen", "tenure"]
    assert settle(rows.drop("charges"), SCHEMA).columns == [
        c.name for c in SCHEMA.columns if c.name != "charges"
    ]


def test_an_absent_column_that_is_asked_for_is_named_with_the_nearest():
    with pytest.raises(SchemaError, match=r"no column 'tenure'. Did you mean 'tenur'\?"):
        settle(pl.DataFrame({"tenur": [1]}), SCHEMA, ["tenure"])


def test_no_rows_are_no_problem():
    assert settle(SETTLED.clear(), SCHEMA).schema == SETTLED.schema


@given(
    st.lists(
        st.one_of(
            st.none(), st.text(max_size=8), st.integers(-(10**20), 10**20).map(str), st.floats().map(str)
        ),
        min_size=1,
        max_size=6,
    ),
    st.sampled_from(TYPES),
)
def test_any_text_settles_or_is_refused_and_settled_text_stays(values, kind):
    schema = TableSchema([Column("x", kind)], "y", "binary", missing_values=["NA"])
    frame = pl.DataFrame({"x": values}, schema={"x": pl.String})
    try:
        settled = settle(frame, schema)
    except SchemaError:
        return
    assert settled.schema == {"x": DTYPES[kind]}
    assert settle(settled, schema).equals(settled)
    if kind == "number":
        assert settled["x"].is_finite().all()


@given(st.lists(st.one_of(st.none(), st.floats()), min_size=1, max_size=6), st.sampled_from(TYPES[:4]))
def test_any_floats_settle_or_are_refused(values, kind):
    schema = TableSchema([Column("x", kind)], "y", "binary")
    try:
        settled = settle(pl.DataFrame({"x": values}, schema={"x": pl.Float64}), schema)
    except SchemaError:
        return
    assert settle(settled, schema).equals(settled)
