"""Dynamic batching: who goes together, and that nobody notices."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kfp_lifecycle.components.serve.server.alike import groups
from kfp_lifecycle.components.serve.server.batching import BatchingPredictor
from kfp_lifecycle.components.serve.server.direct import DirectPredictor
from kfp_lifecycle.components.serve.server.failures import BadRequestError, ModelError, RequestError
from kfp_lifecycle.components.serve.server.host import Host
from kfp_lifecycle.components.serve.server.http import HttpRequest
from kfp_lifecycle.components.serve.server.loading import load
from kfp_lifecycle.components.serve.server.metrics import Metrics
from kfp_lifecycle.components.serve.server.table import Table, as_list, by_column
from tests.components.serve.server.small import Small, row, table
from tests.conftest import SOAK


class Direct:
    """Predicts at once, as the server's own predictor does for a few rows. A test double."""

    async def predict(self, served, rows):
        await asyncio.sleep(0)
        return served.predict(rows)


def together(served, tables, max_rows=32, wait_ms=5.0):
    """What requests that come at once are answered: columns as lists, or the error."""

    async def ask(predictor, rows):
        try:
            answer = await predictor.predict(served, rows)
        except RequestError as error:
            return type(error), error.reason
        return {name: as_list(values) for name, values in answer.columns.items()}

    async def all_of_them():
        predictor = BatchingPredictor(Direct(), max_rows, wait_ms)
        return await asyncio.gather(*(ask(predictor, served.check(rows)) for rows in tables))

    return asyncio.run(all_of_them())


def alone(tables):
    return [together(Small(), [rows], max_rows=1)[0] for rows in tables]


def test_requests_that_come_together_are_predicted_together():
    served, tables = Small(), [row(age=number) for number in range(20)]
    assert together(served, tables) == alone(tables)
    assert served.calls == [20]


def test_batches_are_counted_by_their_rows():
    async def ask():
        host = Host(Small())
        metrics = Metrics(host)
        predictor = BatchingPredictor(Direct(), 8, 1.0, metrics.batched)
        await asyncio.gather(*(predictor.predict(host.stable, host.stable.check(row())) for _ in range(11)))
        await predictor.predict(host.stable, table(age=list(range(9))))
        return (await metrics.expose(HttpRequest("GET", "/metrics", [], b"", "r", ""))).body.decode()

    text = asyncio.run(ask())
    assert 'model_batch_rows_sum{model="small",version="1"} 20.0' in text
    assert 'model_batch_rows_count{model="small",version="1"} 3.0' in text
    assert 'model_batch_rows_bucket{le="5.0",model="small",version="1"} 1.0' in text


def test_no_more_rows_go_together_than_may():
    served, tables = Small(), [row(age=number) for number in range(20)]
    assert together(served, tables, max_rows=8) == alone(tables)
    assert served.calls == [8, 8, 4]


def test_a_request_of_several_rows_is_not_cut_and_a_large_one_goes_alone():
    served = Small()
    tables = [table(age=[1, 2, 3]), table(age=[4, 5, 6]), table(age=list(range(9))), row(age=7)]
    assert together(served, tables, max_rows=4) == alone(tables)
    assert sorted(served.calls) == [3, 4, 9]


def test_a_request_waits_no_longer_than_the_delay():
    async def ask():
        served = Small()
        predictor = BatchingPredictor(Direct(), 1000, 1.0)
        await asyncio.wait_for(predictor.predict(served, served.check(row())), 30)
        return served.calls

    assert asyncio.run(ask()) == [1]


def test_the_fault_of_one_request_is_its_own():
    served = Small()
    tables = [row(age=1), row(fare="much"), row(age=2), row(age=-1), row(age=3)]
    answers = together(served, tables)
    assert answers == alone(tables)
    assert [answers[1][0], answers[3][0]] == [BadRequestError, ModelError]
    assert [answers[place]["prediction"] for place in (0, 2, 4)] == [[8.5], [9.5], [10.5]]


def test_a_mistake_of_the_models_reaches_who_waits():
    class Broken(Small):
        def predict(self, rows):
            raise ZeroDivisionError("no")

    with pytest.raises(ZeroDivisionError):
        together(Broken(), [row(), row()])


def test_models_do_not_mix():
    async def ask():
        first, second = Small("1"), Small("2")
        predictor = BatchingPredictor(Direct(), 32, 2.0)
        calls = [predictor.predict(served, served.check(row())) for served in (first, second) * 4]
        await asyncio.gather(*calls)
        return first.calls, second.calls

    assert asyncio.run(ask()) == ([4], [4])


def test_a_client_that_has_gone_is_left_out_and_the_others_are_answered():
    async def ask():
        served = Small()
        predictor = BatchingPredictor(Direct(), 32, 20.0)
        tasks = [asyncio.ensure_future(predictor.predict(served, served.check(row()))) for _ in range(3)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        return served.calls, answers

    calls, answers = asyncio.run(ask())
    assert calls == [2]
    assert isinstance(answers[1], asyncio.CancelledError)
    assert [list(answers[place].columns["prediction"]) for place in (0, 2)] == [[37.5], [37.5]]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2], [[0, 1]]),
        ([1, None, 2], [[0, 1, 2]]),
        ([None, "a", 1], [[0, 1], [2]]),
        ([501.0, "abc", 502.0], [[0, 2], [1]]),
        ([True, 1], [[0], [1]]),
    ],
)
def test_only_rows_of_the_same_types_go_together(values, expected):
    assert groups([Table({"x": [value]}, 1) for value in values]) == expected


VALUES = st.none() | st.booleans() | st.integers(-5, 2**70) | st.floats(allow_nan=True) | st.text(max_size=3)
CODES = VALUES | st.sampled_from(["501", "501.0", "nan", "true", " "])
ROWS = st.builds(
    lambda age, fare, code: row(age=age, fare=fare, code=code),
    st.none() | st.integers(-2, 90) | st.sampled_from(["31", 31.0, "x", ""]),
    st.none() | st.floats() | st.integers(-3, 3) | st.sampled_from(["7.5", "nan", "much"]),
    CODES,
)


@settings(max_examples=2000 if SOAK else 60, deadline=None)
@given(st.lists(ROWS, min_size=1, max_size=12))
def test_the_answers_are_those_that_each_request_gets_alone(tables):
    answers, expected = together(Small(), tables, wait_ms=0), alone(tables)
    for answer, other in zip(answers, expected, strict=True):
        assert repr(answer) == repr(other)  # NaN is not equal to itself


def test_a_real_models_answers_are_those_that_each_request_gets_alone(models):
    """Also of rows that it refuses, and over the way that a few rows take and many do not."""
    served = load(str(models.binary), "churn")
    rows = [dict(row) for row in models.rows[:60]]
    rows[7]["tenure"], rows[20]["tenure"], rows[30]["contract"] = "12", "long", None
    requests = [by_column(rows[start : start + 1 + start % 3]) for start in range(0, 60, 3)]

    async def ask(predictor, given):
        try:
            answer = await predictor.predict(served, served.check(given))
        except RequestError as error:
            return error.reason
        return {name: as_list(values) for name, values in answer.columns.items()}

    async def all_of_them(predictor):
        return await asyncio.gather(*(ask(predictor, given) for given in requests))

    direct = DirectPredictor(1, 60)
    alone = asyncio.run(all_of_them(direct))
    answers = asyncio.run(all_of_them(BatchingPredictor(direct, 64, 1.0)))
    assert sum(isinstance(answer, str) for answer in alone) >= 1
    for answer, other in zip(answers, alone, strict=True):
        if isinstance(other, str):
            assert answer == other
            continue
        assert answer["prediction"] == other["prediction"]
        for name in other:
            assert answer[name] == other[name] or answer[name] == pytest.approx(other[name], rel=1e-12)
