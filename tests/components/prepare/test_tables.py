"""Real tables, from the file to the splits."""

import polars as pl
import pytest

from kfp_lifecycle.components.shared.inference.schema import ROW_HASH
from kfp_lifecycle.components.shared.inference.settle import DTYPES, settle


@pytest.fixture
def file(table, tmp_path):
    """A real table as a CSV file, as pandas writes it."""

    def write(name, **how):
        path = tmp_path / f"{name}.csv"
        table(name).to_csv(path, index=False, **how)
        return path

    return write


def check(made, rows):
    """What holds of every result: columns and types as the schema says, nobody lost, nobody on both sides."""
    schema, train, test = made.schema, made.train, made.test
    assert train.columns == test.columns == [*(c.name for c in schema.columns), ROW_HASH]
    for column in schema.columns:
        assert train[column.name].dtype == test[column.name].dtype == DTYPES[column.type]
        assert made.both[column.name].null_count() == round(column.missing_share * made.both.height)
    assert train[ROW_HASH].dtype == pl.UInt64
    assert train.height + test.height == rows
    assert set(train[ROW_HASH]).isdisjoint(test[ROW_HASH])
    assert schema == made.prepared.schema


def test_churn(prepare, file):
    made = prepare(file("churn"), target="churn", drop_duplicates=False)
    check(made, 7043)
    schema = made.schema
    assert (schema.task, schema.classes, schema.positive_class) == ("binary", ["No", "Yes"], "Yes")
    assert schema.split.method == "stratified"
    assert schema.column("contract").categories == ["Month-to-month", "One year", "Two year"]
    assert (schema.column("tenure").minimum, schema.column("tenure").maximum) == (0, 72)
    assert schema.column("total_charges").nullable
    assert made.test.height / 7043 == pytest.approx(0.2, abs=0.015)
    assert (made.test["churn"] == "Yes").mean() == pytest.approx(0.265, abs=0.03)


def test_churn_as_ibm_writes_it(prepare, file, table):
    """Yes and No for flags, numbers as text with blanks: what the sample table looks like at its source."""
    frame = table("churn")
    for flag in ("partner", "dependents", "phone_service", "paperless_billing"):
        frame[flag] = frame[flag].map({1: "Yes", 0: "No"})
    frame["total_charges"] = frame["total_charges"].map(lambda value: " " if value != value else str(value))
    path = file("churn").with_name("ibm.csv")
    frame.to_csv(path, index=False)
    plain, words = prepare(file("churn"), target="churn"), prepare(path, target="churn")
    assert words.schema.column("partner").type == "boolean"
    assert (words.schema.column("partner").true_value, words.schema.column("partner").false_value) == (
        "Yes",
        "No",
    )
    assert words.schema.column("total_charges").source_type == "string"
    assert words.both["total_charges"].null_count() == 11
    # The same customers, whatever their flags look like.
    assert sorted(words.both["total_charges"].drop_nulls()) == sorted(
        plain.both["total_charges"].drop_nulls()
    )
    assert words.both["partner"].sum() == plain.both["partner"].sum()


def test_credit(prepare, file):
    made = prepare(file("credit"), target="Status", positive_class="bad")
    check(made, 4454 - 2)
    assert made.prepared.duplicates == 2
    assert made.schema.positive_class == "bad"
    records = made.schema.column("Records")
    assert (records.type, records.true_value, records.false_value) == ("boolean", "yes", "no")
    assert made.schema.column("Income").missing_share == pytest.approx(0.0855, abs=0.001)


def test_diamonds_price_and_cut(prepare, file):
    source = file("diamonds")
    price = prepare(source, target="price", drop_duplicates=False)
    check(price, 53940)
    assert (price.schema.task, price.schema.split.method, price.schema.classes) == (
        "regression",
        "random",
        [],
    )
    cut = prepare(source, target="cut", drop_duplicates=False)
    check(cut, 53940)
    assert cut.schema.task == "multiclass"
    assert cut.schema.classes == ["Fair", "Good", "Ideal", "Premium", "Very Good"]
    shares = cut.both["cut"].value_counts(normalize=True).sort("cut")["proportion"].to_list()
    in_test = cut.test["cut"].value_counts(normalize=True).sort("cut")["proportion"].to_list()
    assert in_test == pytest.approx(shares, abs=0.02)


def test_flights_late_by_time(prepare, file):
    source = file("flights")
    made = prepare(
        source,
        target="late",
        target_expression="arr_delay > 15",
        drop_columns=["year", "dep_time", "dep_delay", "arr_time", "arr_delay", "air_time", "tailnum"],
        drop_duplicates=False,
        split="time",
        split_column="time_hour",
    )
    # 9,430 flights have no arrival delay: cancelled or diverted.
    assert made.prepared.rows_without_target == 9430
    check(made, 336_776 - 9430)
    assert made.schema.task == "binary"
    assert made.schema.column("late").type == "boolean"
    assert "arr_delay" not in made.train.columns
    assert made.schema.column("time_hour").role == "time"
    assert made.train["time_hour"].max() < made.test["time_hour"].min()
    assert made.test["time_hour"].min().isoformat() == made.schema.split.boundary
    assert made.test.height / made.both.height == pytest.approx(0.2, abs=0.001)


@pytest.mark.parametrize("name", ["churn", "credit", "diamonds"])
def test_a_row_of_the_source_settles_to_the_row_that_was_prepared(prepare, file, name):
    """No skew: what serving does to a source row is what prepare did."""
    source = file(name)
    target = {"churn": "churn", "credit": "Status", "diamonds": "price"}[name]
    made = prepare(source, target=target, drop_duplicates=False)
    rows = pl.read_csv(source, infer_schema=False)
    served = settle(rows, made.schema)
    prepared = made.both.select(served.columns)
    assert served.sort(served.columns).equals(prepared.sort(served.columns))
