"""The quick way for a few rows gives to the last bit what the general way gives, or leaves it to that."""

import math
from datetime import date
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from kfp_lifecycle.components.serve.server.table import Table
from kfp_lifecycle.components.shared.errors import LifecycleError
from kfp_lifecycle.components.shared.inference.few import FewRows, NotPlainError, few_rows
from kfp_lifecycle.components.shared.inference.plan import CategoryPlan, NumberPlan, Plan
from kfp_lifecycle.components.shared.inference.schema import Column, TableSchema
from kfp_lifecycle.components.shared.inference.settle import settle
from kfp_lifecycle.components.shared.inference.transform import FeatureTransform
from tests.conftest import SOAK

MISSING = ["NA", " -999 ", "n/a", "7.50"]
SCHEMA = TableSchema(
    [
        Column("count", "integer", nullable=True),
        Column("amount", "number", nullable=True),
        Column("raw", "number", nullable=True),
        Column("plan", "string", categories=["basic", "gold", "silver"], nullable=True),
        Column("city", "string", nullable=True),
        Column("code", "integer", nullable=True),
        Column("active", "boolean", true_value="Yes", false_value="No", nullable=True),
        Column("since", "date", nullable=True),
        Column("seen", "timestamp", nullable=True),
        Column("label", "boolean", role="target"),
    ],
    "label",
    "binary",
    classes=["false", "true"],
    missing_values=MISSING,
)
DAYS = ("year", "month", "day", "weekday", "dayofyear")
PLAN = Plan(
    inputs={column.name: column.type for column in SCHEMA.columns if column.name != "label"},
    derive={"ratio": "amount / count", "late": "seen > since", "text": "plan || '-' || city"},
    columns=[
        NumberPlan("count", "count", impute="median", scale="standard"),
        NumberPlan("amount", "amount", impute="mean", scale="minmax"),
        NumberPlan("raw", "raw", impute="none", scale="none"),
        NumberPlan("active", "active", impute="zero", scale="none"),
        *(
            NumberPlan(f"since_{p}", "since", part=p)
            for p in ("year", "month", "day", "weekday", "dayofyear")
        ),
        *(NumberPlan(f"seen_{part}", "seen", part=part) for part in ("hour", "minute", "weekday")),
        NumberPlan("ratio", "ratio", impute="none", scale="standard"),
        CategoryPlan("plan", encode="onehot"),
        CategoryPlan("city", encode="target", rare_share=0.2),
        CategoryPlan("code", encode="ordinal", impute="most_frequent"),
        CategoryPlan("active", encode="onehot"),
        CategoryPlan("late", encode="ordinal"),
        CategoryPlan("text", encode="target"),
    ],
    target="label",
    task="binary",
    parameters={},
)


@pytest.fixture(scope="module")
def transform() -> FeatureTransform:
    rng = np.random.default_rng(0)

    def some(values: list[Any], gaps: float = 0.1) -> list[Any]:
        return [None if rng.random() < gaps else values[rng.integers(len(values))] for _ in range(200)]

    rows = pl.DataFrame(
        {
            "count": some(list(range(1, 40))),
            "amount": some([float(x) for x in rng.normal(50, 20, 30)]),
            "raw": some([float(x) for x in rng.normal(size=30)]),
            "plan": some(["basic", "gold", "silver"]),
            "city": some(["Rome", "Rome", "Oslo", "Bern", "Lima"]),
            "code": some([1, 2, 3]),
            "active": some(["Yes", "No"]),
            "since": some(["2020-01-31", "2021-12-01", "2019-07-04"]),
            "seen": some(["2022-01-31T10:11:12", "2022-02-28 23:59:59"]),
        }
    )
    settled = settle(rows, SCHEMA, list(PLAN.inputs))
    return FeatureTransform(PLAN.to_dict()).fit(
        settled, pl.Series([bool(x) for x in rng.integers(0, 2, 200)])
    )


@pytest.fixture(scope="module")
def few(transform: FeatureTransform) -> FewRows:
    found = few_rows(SCHEMA, transform.featurizer_)
    assert found is not None
    return found


number_texts = st.one_of(
    st.integers(-(10**17), 10**17).map(str),
    st.floats().map(str),
    st.from_regex(r"-?[0-9]{1,18}(\.[0-9]{0,18})?", fullmatch=True),
    st.sampled_from([*MISSING, "-999", "-999.0", "7.5", "1e5", "+3", "0x1", "1_0", "٣", "", " 4", "nan"]),
)
numbers = st.one_of(
    st.integers(-50, 50),
    st.integers(-(2**70), 2**70),
    st.sampled_from([-999, -999.0, 7.5, -0.0, 2**53, 2**53 + 1, 1e308, 5e-324]),
    st.floats(),
)
texts = st.one_of(
    st.sampled_from(["basic", "gold", "Rome", *MISSING, "-999", "", " ", "gold ", "\u2003Rome", "\x1fRome"]),
    st.text(max_size=5),
)
booleans = st.one_of(
    st.booleans(),
    st.sampled_from([0, 1, 2, 0.0, 1.0, "Yes", "NO", "yes", "true", "1", "0", "İ", "maybe", *MISSING]),
)
dates = st.one_of(
    st.dates().map(str),
    st.sampled_from(["2020-02-30", "2020-2-3", "0001-01-01", "2020-01-01T10:00:00", *MISSING, "0000-01-01"]),
)
times = st.one_of(
    st.datetimes().map(str),
    st.datetimes(timezones=st.timezones()).map(str),
    st.dates().map(str),
    st.sampled_from(
        [
            "2020-01-01T10:00:00Z",
            "2020-01-01T10:00:00+05:30",
            "2020-01-01 24:00:00",
            "2020-01-01T10:00",
            *MISSING,
        ]
    ),
)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "count": st.one_of(st.none(), numbers, number_texts, st.booleans()),
    "amount": st.one_of(st.none(), numbers, number_texts, st.booleans()),
    "raw": st.one_of(st.none(), numbers, number_texts),
    "plan": st.one_of(st.none(), texts, st.integers(0, 3)),
    "city": st.one_of(st.none(), texts),
    "code": st.one_of(st.none(), st.integers(-5, 5), number_texts),
    "active": st.one_of(st.none(), booleans),
    "since": st.one_of(st.none(), dates),
    "seen": st.one_of(st.none(), times),
}
PLAIN: dict[str, Any] = {
    "count": 3, "amount": 1.5, "raw": 0.5, "plan": "gold", "city": "Rome", "code": 2, "active": "Yes",
    "since": "2020-01-31", "seen": "2022-01-31T10:11:12",
}  # fmt: skip


def both(
    few: FewRows, transform: FeatureTransform, columns: dict[str, list[Any]]
) -> tuple[Any, Any, Any, Any]:
    """Settled columns and features by the quick way and by the general one."""
    height = len(columns["count"])
    settled = few.settle(columns)
    features = few.features(settled, height)
    frame = settle(Table(dict(columns), height).frame(), SCHEMA, list(PLAN.inputs))
    return settled, features, frame, transform.transform(frame)


def check(few: FewRows, transform: FeatureTransform, columns: dict[str, list[Any]]) -> None:
    settled, features, frame, wanted = both(few, transform, columns)
    for name, values in settled.items():
        assert values == frame[name].to_list(), name
    assert features.tobytes() == np.ascontiguousarray(wanted + 0.0).tobytes() or np.array_equal(
        features, wanted, equal_nan=True
    )


@settings(max_examples=5_000 if SOAK else 250, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data(), st.sampled_from(list(VALUES)), st.integers(1, 4))
def test_one_odd_column_is_settled_alike_or_left_alone(
    few: FewRows, transform: FeatureTransform, data: st.DataObject, name: str, height: int
) -> None:
    columns = {column: [value] * height for column, value in PLAIN.items()}
    columns[name] = data.draw(st.lists(VALUES[name], min_size=height, max_size=height))
    try:
        few.features(few.settle(columns), height)
    except NotPlainError:
        assume(False)
    check(few, transform, columns)


@pytest.mark.parametrize("name", list(PLAIN))
@pytest.mark.parametrize("value", [[1], {"a": 1}, 2**80, math.inf, "☃ no", True])
def test_what_the_general_way_refuses_is_never_answered(
    few: FewRows, transform: FeatureTransform, name: str, value: Any
) -> None:
    columns = {column: [plain] for column, plain in PLAIN.items()} | {name: [value]}
    try:
        settle(Table(dict(columns), 1).frame(), SCHEMA, list(PLAN.inputs))
    except LifecycleError:
        with pytest.raises(NotPlainError):
            few.features(few.settle(columns), 1)
    else:
        try:
            few.settle(columns)
        except NotPlainError:
            return
        check(few, transform, columns)


def test_plain_rows_go_the_quick_way(few: FewRows, transform: FeatureTransform) -> None:
    gaps = dict.fromkeys(PLAIN)
    words = {
        "count": "3",
        "amount": "-2.25",
        "active": "no",
        "since": "NA",
        "plan": "unseen",
        "city": "Nowhere",
    }
    for row in (PLAIN, gaps, {**PLAIN, **words}):
        check(few, transform, {name: [value] for name, value in row.items()})
    rows = [PLAIN, gaps, PLAIN]
    check(few, transform, {name: [row[name] for row in rows] for name in PLAIN})
    assert few.settle({name: [value] for name, value in PLAIN.items()})["since"] == [date(2020, 1, 31)]


@pytest.mark.parametrize(
    ("column", "plan"),
    [
        (Column("x", "date", time_format="%d.%m.%Y"), NumberPlan("x", "x", part="year")),
        (Column("x", "number"), CategoryPlan("x")),
        (Column("x", "boolean", true_value="1", false_value="2"), CategoryPlan("x")),
    ],
)
def test_a_transform_that_needs_the_general_way_has_no_quick_one(column: Column, plan: Any) -> None:
    missing = ["1"] if column.type == "boolean" else []
    schema = TableSchema([column], "y", "regression", missing_values=missing)
    made = Plan({"x": column.type}, {}, [plan], "y", "regression", {})
    values = {"date": ["01.02.2020"], "number": [1.0], "boolean": ["2"]}[column.type]
    rows = settle(pl.DataFrame({"x": values}), schema, ["x"])
    fitted = FeatureTransform(made.to_dict()).fit(rows, [1.0])
    assert few_rows(schema, fitted.featurizer_) is None
