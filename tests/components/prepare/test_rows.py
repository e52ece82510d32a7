"""Which rows and columns stay, and which rules they must obey."""

import polars as pl
import pytest

from kfp_lifecycle.components.prepare.options import Rules
from kfp_lifecycle.components.shared.errors import ParameterError, RuleError
from kfp_lifecycle.components.shared.inference.schema import ROW_HASH

BASE = pl.DataFrame(
    {"id": range(40), "y": ["a", "b"] * 20, "n": [n / 2 for n in range(40)], "w": ["u", "v", "u", "x"] * 10}
)


def test_repeated_rows_are_dropped_and_counted(prepare):
    made = prepare(pl.concat([BASE, BASE.head(5), BASE.head(3)]), target="y")
    assert made.prepared.duplicates == 8
    assert made.both.sort("id").drop(ROW_HASH).equals(BASE)
    assert "Dropped: repeated" in made.profile


def test_rows_that_settle_to_the_same_are_repeated(prepare):
    text = (
        "y,n,w\n"
        + 'a,1,u\na, 1 ,u\na,1,"u "\nb,2,\nb,2,NA\n'
        + "".join(f"a,{n},x\nb,{n},x\n" for n in range(5, 12))
    )
    assert prepare(text, target="y").prepared.duplicates == 3


def test_repeated_rows_stay_if_asked(prepare):
    made = prepare(pl.concat([BASE, BASE.head(5)]), target="y", drop_duplicates=False)
    assert made.both.height == 45
    assert made.both[ROW_HASH].n_unique() == 40


def test_of_a_repeated_key_the_first_row_with_a_target_stays(prepare):
    again = BASE.head(3).with_columns(n=pl.lit(99.0))
    without = BASE.head(2).with_columns(n=pl.lit(77.0), y=pl.lit(None, pl.String))
    made = prepare(pl.concat([without, BASE, again]), target="y", key_columns=["id"])
    assert made.prepared.rows_without_target == 2
    assert made.prepared.duplicates == 3
    assert made.both.sort("id").drop(ROW_HASH).equals(BASE)
    assert made.schema.column("id").role == "key"


def test_keys_of_two_columns(prepare):
    table = BASE.with_columns(part=pl.col("id") % 2, whole=pl.col("id") // 2)
    made = prepare(pl.concat([table, table]), target="y", key_columns=["part", "whole"])
    assert (made.both.height, made.prepared.duplicates) == (40, 40)


def test_rows_without_a_target_are_dropped_and_counted(prepare):
    made = prepare(BASE.with_columns(y=pl.when(pl.col("id") > 3).then("y")), target="y")
    assert (made.prepared.rows_read, made.prepared.rows_without_target, made.both.height) == (40, 4, 36)


def test_columns_named_or_too_empty_are_dropped_with_the_reason(prepare):
    table = BASE.with_columns(
        some=pl.when(pl.col("id") < 20).then(1), few=pl.when(pl.col("id") < 10).then(1), none=pl.lit("")
    )
    made = prepare(table, target="y", drop_columns=["w"])
    assert made.schema.dropped == {
        "w": "named in drop_columns",
        "few": "75.0% missing, more than 50.0%",
        "none": "has no values",
    }
    assert "some" in made.train.columns
    assert prepare(table, target="y", max_missing_share=1.0).schema.dropped == {"none": "has no values"}
    assert "75.0% missing, more than 50.0%" in made.profile


def test_a_constant_column_stays_with_a_warning(prepare):
    made = prepare(BASE.with_columns(same=pl.lit("s"), one=pl.lit(1)), target="y")
    assert {"same", "one"} < set(made.train.columns)
    assert "&#39;same&#39; is constant" in made.profile
    assert "&#39;one&#39; is constant" in made.profile


def test_the_target_may_be_computed_from_columns_that_are_then_dropped(prepare):
    made = prepare(BASE, target="large", target_expression="n > 12 and w <> 'x'", drop_columns=["n"])
    truth = BASE.filter((pl.col("n") > 12) & (pl.col("w") != "x"))["id"].to_list()
    assert made.both.filter("large")["id"].sort().to_list() == truth
    assert "n" not in made.train.columns
    assert "w" in made.train.columns
    column = made.schema.column("large")
    assert (column.type, column.role, column.source_type) == ("boolean", "target", "boolean")
    assert made.schema.classes == ["false", "true"]


def test_the_target_may_be_computed_from_itself_and_from_times(prepare):
    table = BASE.with_columns(day=pl.date(2024, 1, 1) + pl.duration(days="id"))
    made = prepare(table, target="y", target_expression="case when y = 'a' then 'good' else 'bad' end")
    assert made.schema.classes == ["bad", "good"]
    assert made.train.columns.index("y") == 1
    late = prepare(table, target="late", target_expression="day >= date '2024-01-21'", drop_columns=["y"])
    assert late.both["late"].sum() == 20


@pytest.mark.parametrize(
    ("values", "task", "classes"),
    [
        (["x", "y"], "binary", ["x", "y"]),
        (["x", "y", "z"], "multiclass", ["x", "y", "z"]),
        ([1, 0], "binary", ["0", "1"]),
        ([1.5, 0.5], "binary", ["0.5", "1.5"]),
        (list(range(20)), "multiclass", sorted(map(str, range(20)))),
        (list(range(21)), "regression", []),
        ([0.5, 1.5, 2.5], "regression", []),
        ([True, False], "binary", ["false", "true"]),
    ],
)
def test_the_task_follows_from_the_target(prepare, values, task, classes):
    table = pl.DataFrame({"y": (values * 42)[: 42 * 2], "n": range(84)})
    schema = prepare(table, target="y").schema
    assert (schema.task, schema.classes) == (task, classes)
    assert schema.positive_class == (classes[-1] if task == "binary" else "")
    if task == "multiclass" and not isinstance(values[0], str):
        assert prepare(table, target="y", task="regression").schema.task == "regression"


def test_rules_that_hold_let_the_table_pass(prepare):
    table = BASE.with_columns(
        flag=pl.when(pl.col("id") % 2 == 0).then(pl.lit("Yes")).otherwise(pl.lit("No")),
        day=pl.date(2024, 1, 1) + pl.duration(days="id"),
        moment=pl.datetime(2024, 1, 1) + pl.duration(hours="id"),
    )
    rules = {
        "max_missing_share": {"n": 0.0},
        "ranges": {
            "id": (0, None),
            "n": (None, 19.5),
            "day": ("2024-01-01", "2024-02-09"),
            "moment": ("2024-01-01T00:00", "2024-01-03T00:00"),
        },
        "categories": {
            "w": ["u", "v", "x"],
            "flag": ["Yes", "No"],
            "id": [str(n) for n in range(40)],
            "y": ["a", "b"],
        },
    }
    assert prepare(table, target="y", rules=rules).both.height == 40


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        (
            {"ranges": {"day": (None, "2024-02-01")}},
            "column 'day' has 8 values outside -∞ to 2024-02-01, such as '2024-02-02'",
        ),
        ({"ranges": {"n": (1, None)}}, "column 'n' has 2 values outside 1 to ∞, such as 0.0"),
        ({"categories": {"flag": ["Yes"]}}, "column 'flag' has 20 values that are none of Yes, such as 'No'"),
        ({"categories": {"id": ["1"]}}, "column 'id' has 39 values that are none of 1"),
        ({"ranges": {"empty": (0, 1)}}, "column 'empty' was dropped (has no values)"),
        ({"max_missing_share": {"empty": 0.9}}, "column 'empty' is 100.0% missing"),
        ({"categories": {"y": ["a"]}}, "column 'y' has 20 values"),
    ],
)
def test_rules_that_are_broken_name_column_count_and_example(prepare, rules, said):
    table = BASE.with_columns(
        flag=pl.when(pl.col("id") % 2 == 0).then(pl.lit("Yes")).otherwise(pl.lit("No")),
        day=pl.date(2024, 1, 1) + pl.duration(days="id"),
        empty=pl.lit(None, pl.String),
    ).sort("id")  # fmt: skip
    with pytest.raises(RuleError) as raised:
        prepare(table, target="y", rules=rules)
    assert said in str(raised.value)


@pytest.mark.parametrize("rules", [{"ranges": {"w": (0, 1)}}, {"ranges": {"n": ("a", None)}}])
def test_a_rule_that_does_not_fit_its_column(prepare, rules):
    with pytest.raises(ParameterError, match="'rules: ranges: "):
        prepare(BASE, target="y", rules=rules)


def test_rules_come_as_json():
    rules = Rules.parse('{"ranges": {"tenure": [0, 100]}, "categories": {"n": [1, "b", 2.5]}}')
    assert rules.ranges == {"tenure": (0, 100)}
    assert rules.categories == {"n": ["1", "b", "2.5"]}
    assert rules.columns == ["tenure", "n"]
    assert Rules.parse("") == Rules.parse("{}") == Rules()
