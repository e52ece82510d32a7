"""Rows keep their side, nobody is on both, and what cannot be split is said."""

import random

import polars as pl
import pytest

from kfp_lifecycle.components.shared.errors import ParameterError, SplitError
from kfp_lifecycle.components.shared.inference.schema import ROW_HASH


def rows(count, seed=0, **columns):
    draw = random.Random(seed)
    base = {
        "id": list(range(count)),
        "x": [round(draw.uniform(0, 9), 3) for _ in range(count)],
        "kind": [draw.choice("abc") for _ in range(count)],
        "y": [draw.choice(["no", "no", "yes"]) for _ in range(count)],
    }
    return pl.DataFrame({**base, **columns})


def sides(made, key="id"):
    return {**dict.fromkeys(made.train[key], "train"), **dict.fromkeys(made.test[key], "test")}


@pytest.mark.parametrize("split", ["random", "stratified"])
@pytest.mark.parametrize("keys", [[], ["id"]])
def test_a_row_keeps_its_side_when_the_table_grows(prepare, split, keys):
    small, grown = rows(500), rows(2000)
    # The first rows are the same, others come before, between and after them.
    grown = pl.concat(
        [rows(500, seed=1).with_columns(id=pl.col("id") - 1000), small, grown.slice(500)]
    ).sample(fraction=1, shuffle=True, seed=3)
    before = sides(prepare(small, target="y", split=split, key_columns=keys))
    after = sides(prepare(grown, target="y", split=split, key_columns=keys))
    assert len(before) == 500
    assert {row: after[row] for row in before} == before


def test_a_row_keeps_its_side_when_a_column_changes_type_as_the_table_grows(prepare):
    """Integers get a decimal, Yes and No a third word, dates a time of day: same rows, same hash."""
    small = rows(200).with_columns(
        amount=pl.col("id"),
        flag=pl.when(pl.col("id") % 2 == 0).then(pl.lit("Yes")).otherwise(pl.lit("No")),
        day=pl.lit("2024-01-02"),
    )
    more = rows(40).with_columns(
        pl.col("id") + 1000, amount=pl.lit(0.5), flag=pl.lit("Unknown"), day=pl.lit("2024-01-02 03:04:05")
    )
    first = prepare(small, target="y")
    grown = prepare(pl.concat([small, more], how="vertical_relaxed"), target="y")
    assert [first.schema.column(c).type for c in ("amount", "flag", "day")] == ["integer", "boolean", "date"]
    assert [grown.schema.column(c).type for c in ("amount", "flag", "day")] == [
        "number",
        "string",
        "timestamp",
    ]
    before, after = (dict(made.both.select("id", ROW_HASH).iter_rows()) for made in (first, grown))
    assert {row: after[row] for row in before} == before
    assert {row: sides(grown)[row] for row in before} == sides(first)


def test_the_seed_makes_another_split_and_the_same_seed_the_same(prepare):
    table = rows(400)
    one, same, other = (sides(prepare(table, target="y", seed=seed)) for seed in (1, 1, 2))
    assert one == same
    assert one != other


def test_the_row_hash_does_not_depend_on_the_seed(prepare):
    first, second = (prepare(rows(100), target="y", seed=seed).both.sort("id")[ROW_HASH] for seed in (1, 2))
    assert first.equals(second)


@pytest.mark.parametrize("test_size", [0.1, 0.5, 0.9])
def test_the_share_is_the_one_asked_for(prepare, test_size):
    made = prepare(rows(4000), target="y", split="random", test_size=test_size)
    assert made.test.height / 4000 == pytest.approx(test_size, abs=0.03)


def test_a_stratified_split_has_every_class_on_both_sides(prepare):
    table = rows(400).with_columns(y=pl.when(pl.col("id") < 2).then(pl.lit("rare")).otherwise("y"))
    for seed in range(12):
        made = prepare(table, target="y", seed=seed)
        assert made.train.filter(pl.col("y") == "rare").height == 1
        assert made.test.filter(pl.col("y") == "rare").height == 1


def test_a_class_with_one_member_cannot_be_stratified(prepare):
    table = rows(100).with_columns(y=pl.when(pl.col("id") == 7).then(pl.lit("lone")).otherwise("y"))
    with pytest.raises(SplitError, match="Class 'lone' of the target has one member"):
        prepare(table, target="y", split="stratified")


def test_a_class_of_equal_rows_cannot_be_stratified(prepare):
    table = pl.DataFrame(
        {"x": [1.0] * 3 + list(range(40)), "y": ["same"] * 3 + ["a", "b"] * 20}, strict=False
    )
    with pytest.raises(SplitError, match="Class 'same' of the target has 3 equal members"):
        prepare(table, target="y", drop_duplicates=False)


def test_equal_rows_are_on_one_side(prepare):
    table = pl.concat([rows(200).drop("id")] * 3)
    made = prepare(table, target="y", drop_duplicates=False)
    assert made.both.height == 600
    assert set(made.train[ROW_HASH]).isdisjoint(made.test[ROW_HASH])


def test_a_group_is_never_on_both_sides_and_keeps_its_side(prepare):
    table = rows(600).with_columns(person=pl.col("id") // 5)
    first = prepare(table.head(300), target="y", split="group", split_column="person")
    made = prepare(table, target="y", split="group", split_column="person")
    assert set(made.train["person"]).isdisjoint(made.test["person"])
    assert made.schema.column("person").role == "group"
    assert made.test.height / 600 == pytest.approx(0.2, abs=0.1)
    before = sides(first, "person")
    assert {group: sides(made, "person")[group] for group in before} == before


def test_a_time_split_keeps_equal_moments_together_and_says_its_boundary(prepare):
    table = rows(100).with_columns(
        day=pl.format("2024-01-{}", (pl.col("id") // 10 + 1).cast(pl.String).str.zfill(2))
    )
    made = prepare(
        table.sample(fraction=1, shuffle=True, seed=0), target="y", split="time", split_column="day"
    )
    assert made.schema.split.boundary == "2024-01-09"
    assert made.train["day"].max() < made.test["day"].min()
    assert (made.train.height, made.test.height) == (80, 20)
    assert made.schema.column("day").role == "time"


def test_a_time_split_may_be_by_a_number(prepare):
    made = prepare(rows(50), target="y", split="time", split_column="id", test_size=0.3)
    assert made.schema.split.boundary == "35"
    assert made.train["id"].max() == 34


def test_a_time_split_takes_the_nearer_share(prepare):
    """Three quarters of the rows are of the last day: less than that cannot be cut off."""
    table = rows(100).with_columns(day=pl.when(pl.col("id") < 25).then(1).otherwise(2))
    made = prepare(table, target="y", split="time", split_column="day")
    assert made.test.height == 75


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "time", "split_column": "same"}, "All rows have the same moment in column 'same'"),
        ({"split": "time", "split_column": "kind"}, "'kind' is string"),
        ({"split": "group", "split_column": "same"}, "only one group in column 'same'"),
        ({"split": "group", "split_column": "gaps"}, "Split column 'gaps' is missing in 2 rows"),
        ({"split": "time", "split_column": "gaps"}, "Split column 'gaps' is missing in 2 rows"),
        ({"split": "time", "split_column": "order"}, "The test split has one class only, 'yes'"),
        ({"split": "stratified", "target": "x"}, "A stratified split needs classes"),
    ],
)
def test_what_cannot_be_split_is_said(prepare, options, message):
    table = rows(60).with_columns(
        same=pl.lit(3),
        gaps=pl.when(pl.col("id") > 1).then("id"),
        order=pl.when(pl.col("y") == "yes").then(2).otherwise(1),
    )
    with pytest.raises(SplitError, match=message):
        prepare(table, **{"target": "y", **options})


def test_a_class_that_only_the_test_split_has_is_an_error(prepare):
    table = rows(60).with_columns(y=pl.when(pl.col("id") >= 58).then(pl.lit("new")).otherwise("y"))
    with pytest.raises(SplitError, match="Class 'new' is in the test split alone"):
        prepare(table, target="y", split="time", split_column="id")


def test_one_class_in_a_random_test_split_is_an_error(prepare):
    usual = pl.lit("usual")
    table = rows(300).with_columns(y=pl.when(pl.col("id") < 2).then(pl.lit("rare")).otherwise(usual))
    # By the salt that this seed is, both rare rows are in the training split.
    with pytest.raises(SplitError, match="The test split has one class only, 'usual'"):
        prepare(table, target="y", split="random", seed=42)


@pytest.mark.parametrize(
    "options",
    [
        {"split": "time"},
        {"split": "group"},
        {"split": "random", "split_column": "x"},
        {"split": "time", "split_column": "y"},
        {"split": "sideways"},
        {"test_size": 0.0},
        {"test_size": 1.0},
        {"seed": -1},
    ],
)
def test_options_that_contradict_each_other_are_parameter_errors(prepare, options):
    with pytest.raises(ParameterError):
        prepare(rows(20), target="y", **options)
