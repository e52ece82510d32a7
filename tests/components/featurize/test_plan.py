"""What becomes of every column, and plans that are refused."""

import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from typing import Any

import pandas as pd
import polars as pl
import pytest

from kfp_lifecycle.components.featurize.options import Options
from kfp_lifecycle.components.featurize.plan import build_plan
from kfp_lifecycle.components.shared.errors import ExpressionError, ParameterError, SchemaError
from kfp_lifecycle.components.shared.inference.plan import CategoryPlan, NumberPlan, Plan
from kfp_lifecycle.components.shared.inference.schema import TableSchema
from tests.components.featurize.tables import churn, flights, schema_of

Table = Callable[[str], pd.DataFrame]


@pytest.fixture
def telco(table: Table) -> pl.DataFrame:
    return churn(table("churn"))


def plan_of(frame: pl.DataFrame, schema: TableSchema, **options: Any) -> Plan:
    return build_plan(schema, Options(**options), frame.lazy())


def by_column(plan: Plan) -> dict[str, list[NumberPlan | CategoryPlan]]:
    found: dict[str, list[NumberPlan | CategoryPlan]] = {}
    for column in plan.columns:
        found.setdefault(column.column, []).append(column)
    return found


def test_a_column_becomes_what_its_type_and_its_options_say(table: Table) -> None:
    frame = flights(table("flights"))
    schema = schema_of(frame, "late", flight="key", time_hour="time")
    plan = plan_of(
        frame,
        schema,
        derive={"speed": "distance / air_time", "route": "origin || '-' || dest", "far": "distance > 1000"},
        overrides={
            "month": {"encode": "ordinal"},
            "distance": {"scale": "minmax", "impute_numeric": "mean"},
            "carrier": {"rare_share": 0.0, "max_onehot": 5},
        },
        date_parts=["month", "weekday", "hour"],
    )
    columns = by_column(plan)
    assert columns["distance"] == [NumberPlan("distance", "distance", "", "mean", "minmax")]
    assert columns["speed"] == [NumberPlan("speed", "speed")]
    assert columns["far"] == [NumberPlan("far", "far", scale="none")]
    assert columns["month"] == [CategoryPlan("month", encode="ordinal", rare_share=0.01)]
    assert columns["flown"] == [
        NumberPlan("flown_month", "flown", "month"),
        NumberPlan("flown_weekday", "flown", "weekday"),
    ]
    # By their number of categories: 3 origins, 16 carriers, thousands of tails, 200 routes that are counted.
    assert columns["origin"] == [CategoryPlan("origin", encode="onehot", rare_share=0.01)]
    assert columns["carrier"] == [CategoryPlan("carrier", encode="target", rare_share=0.0)]
    assert columns["tailnum"] == [CategoryPlan("tailnum", encode="target", rare_share=0.0)]
    assert columns["route"] == [CategoryPlan("route", encode="target", rare_share=0.0)]
    # Neither key nor time nor target is learned from.
    assert {"flight", "time_hour", "late"}.isdisjoint(columns)
    assert {"flight", "time_hour", "late"}.isdisjoint(plan.inputs)
    assert Plan.from_dict(plan.to_dict()) == plan
    assert plan.parameters["date_parts"] == ["month", "weekday", "hour"]


def test_the_order_in_which_derived_columns_are_given_says_nothing(table: Table) -> None:
    # KFP shuffles the keys of a parameter that is a dict, anew in each run.
    frame = flights(table("flights"))
    schema = schema_of(frame, "late", time_hour="time")
    derive = {
        "busy": "evening and origin = 'JFK'",
        "evening": "extract(hour from time_hour) >= 18",
        "crowded": "busy and far",
        "far": "distance > 1000",
    }
    plans = [plan_of(frame, schema, derive=dict(some)) for some in itertools.permutations(derive.items())]
    assert list(plans[0].derive) == ["evening", "far", "busy", "crowded"]
    assert len({json.dumps(plan.to_dict()) for plan in plans}) == 1


@pytest.mark.parametrize(
    ("derive", "said"),
    [
        (
            {"a": "b + tenure", "b": "a * 2"},
            r"Derived columns read each other: '[ab]' reads '[ab]' reads '[ab]'",
        ),
        ({"a": "a + tenure"}, "Derived columns read each other: 'a' reads 'a'"),
    ],
)
def test_derived_columns_that_read_each_other_in_a_circle(
    telco: pl.DataFrame, derive: dict[str, str], said: str
) -> None:
    with pytest.raises(ExpressionError, match=said):
        plan_of(telco, schema_of(telco, "churn"), derive=derive)


def test_derived_columns_may_read_others_and_columns_that_are_no_features(table: Table) -> None:
    frame = flights(table("flights"))
    schema = schema_of(frame, "late", time_hour="time")
    derive = {
        "evening": "extract(hour from time_hour) >= 18",
        "unused": "dep_delay * 2",
        "busy": "evening and origin = 'JFK'",
    }
    plan = plan_of(
        frame,
        schema,
        derive=derive,
        exclude_columns=["evening", "unused", "dep_delay", "origin", "time_hour"],
    )
    assert list(plan.derive) == ["evening", "busy"]
    assert {"time_hour", "origin"} <= set(plan.inputs)
    assert "dep_delay" not in plan.inputs
    assert "evening" not in by_column(plan)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"exclude_columns": ["tenur"]}, r"'exclude_columns' names 'tenur'.*Did you mean 'tenure'"),
        ({"overrides": {"tenur": {"scale": "none"}}}, r"'overrides' names 'tenur'.*Did you mean 'tenure'"),
        ({"overrides": {"churn": {"scale": "none"}}}, "'overrides' names 'churn', which is no feature"),
        (
            {"overrides": {"tenure": {"scale": "none"}}, "exclude_columns": ["tenure"]},
            "'tenure', which is no feature",
        ),
        ({"overrides": {"contract": {"scale": "none"}}}, r"'scale' for column 'contract', which is string"),
        ({"overrides": {"monthly_charges": {"encode": "onehot"}}}, "'encode' for column 'monthly_charges'"),
        ({"overrides": {"tenure": {"date_parts": ["year"]}}}, "'date_parts' for column 'tenure'"),
        ({"derive": {"tenure": "monthly_charges * 2"}}, "a column 'tenure', which is there already"),
        ({"derive": {"churn": "monthly_charges * 2"}}, "a column 'churn', which is there already"),
        ({"derive": {"_row_hash": "monthly_charges * 2"}}, "a column '_row_hash', which is there already"),
        ({"derive": {" ": "monthly_charges * 2"}}, "empty"),
    ],
)
def test_parameters_that_do_not_suit_the_table(
    telco: pl.DataFrame, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ParameterError, match=said):
        plan_of(telco, schema_of(telco, "churn"), **options)


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("tenure *", "'value'.* does not parse"),
        ("tenures * 2", "'value'.*'tenures'.*Did you mean 'tenure'"),
        ("value * 2", "'value' reads 'value'"),
        ("case when churn = 'Yes' then 1 else 0 end", "'value' reads the target 'churn'"),
        ("tenure - avg(tenure)", "'value'.*outside the row"),
        ("(select max(tenure) from self)", "'value'"),
        ("upper(tenure)", "Derived column value = 'upper.tenure.' cannot be computed"),
    ],
)
def test_expressions_that_are_refused(telco: pl.DataFrame, sql: str, said: str) -> None:
    derive = {"value": sql, "later": "monthly_charges * 2"}
    with pytest.raises(ExpressionError, match=said):
        plan_of(telco, schema_of(telco, "churn"), derive=derive)


@pytest.mark.parametrize("name", ["*", "^ten.*$"])
def test_names_that_read_as_patterns_are_refused(telco: pl.DataFrame, name: str) -> None:
    renamed = telco.rename({"tenure": name})
    with pytest.raises(SchemaError, match="pattern of column names"):
        plan_of(renamed, schema_of(renamed, "churn"))
    with pytest.raises(SchemaError, match="pattern of column names"):
        plan_of(telco, schema_of(telco, "churn"), derive={name: "tenure * 2"})


def test_what_was_dropped_may_be_excluded(telco: pl.DataFrame) -> None:
    schema = replace(schema_of(telco, "churn"), dropped={"customer": "missing in 60% of the rows"})
    assert plan_of(telco, schema, exclude_columns=["customer"]).columns


def test_nothing_left_to_learn_from_is_an_error(telco: pl.DataFrame) -> None:
    with pytest.raises(ParameterError, match="No column is left"):
        plan_of(telco, schema_of(telco, "churn"), exclude_columns=telco.columns)
    days = telco.select("churn", pl.lit(date(2024, 1, 1)).alias("day"))
    with pytest.raises(ParameterError, match="No column is left"):
        plan_of(days, schema_of(days, "churn"), date_parts=["hour"])
