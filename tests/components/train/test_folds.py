"""Folds follow prepare's split: each class in its share, never the future, never a shared group or row."""

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kfp_lifecycle.components.shared.errors import ParameterError, SplitError
from kfp_lifecycle.components.shared.inference.schema import ROW_HASH, Column, Split, TableSchema
from kfp_lifecycle.components.train.folds import Fold, hold_out, make_folds


def _schema(method: str, task: str = "binary") -> TableSchema:
    column = {"time": "when", "group": "who"}.get(method, "")
    columns = [Column("y", "string", role="target"), Column("when", "integer"), Column("who", "string")]
    return TableSchema(columns, "y", task, ["a", "b"], "b", split=Split(method, column=column))


def _rows(n: int, seed: int = 0, moments: int = 50, groups: int = 20) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "when": rng.integers(0, moments, n),
            "who": [f"g{group}" for group in rng.integers(0, groups, n)],
            ROW_HASH: rng.integers(0, 2**63, n).astype(np.uint64),
        }
    )


def _target(n: int, seed: int = 0, share: float = 0.3) -> npt.NDArray[Any]:
    return (np.random.default_rng(seed).random(n) < share).astype(np.int64)


def _check_partition(folds: list[Fold], n: int) -> None:
    judged = np.concatenate([fold.judge for fold in folds])
    assert sorted(judged) == list(range(n))
    for fold in folds:
        assert sorted([*fold.fit, *fold.judge]) == list(range(n))


def test_no_folds() -> None:
    assert make_folds(_rows(10), _target(10), _schema("random"), 0, 1) == []


@pytest.mark.parametrize("count", [1, -3])
def test_a_number_of_folds_that_cannot_be(count: int) -> None:
    with pytest.raises(ParameterError, match="'folds'"):
        make_folds(_rows(10), _target(10), _schema("random"), count, 1)


def test_stratified_folds_have_each_class_in_its_share() -> None:
    y = _target(1000)
    folds = make_folds(_rows(1000), y, _schema("stratified"), 5, 1)
    _check_partition(folds, 1000)
    for fold in folds:
        assert y[fold.judge].mean() == pytest.approx(y.mean(), abs=0.006)


def test_folds_do_not_depend_on_the_order_of_the_rows() -> None:
    rows, y = _rows(200), _target(200)
    order = np.random.default_rng(3).permutation(200)
    one = make_folds(rows, y, _schema("stratified"), 4, 1)
    other = make_folds(rows[order], y[order], _schema("stratified"), 4, 1)
    for first, second in zip(one, other, strict=True):
        assert set(first.judge) == set(order[second.judge])


@pytest.mark.parametrize("method", ["random", "stratified"])
def test_equal_rows_stay_in_one_fold(method: str) -> None:
    hashes = np.repeat(np.arange(100, dtype=np.uint64), 3)
    rows = _rows(300).with_columns(pl.Series(ROW_HASH, hashes))
    folds = make_folds(rows, np.repeat(_target(100), 3), _schema(method), 5, 1)
    _check_partition(folds, 300)
    for fold in folds:
        assert not set(hashes[fold.fit]) & set(hashes[fold.judge])


def test_too_few_of_a_class_makes_fewer_folds(caplog: pytest.LogCaptureFixture) -> None:
    y = np.array([1, 1, 1, *[0] * 97])
    folds = make_folds(_rows(100), y, _schema("stratified"), 5, 1)
    assert len(folds) == 3
    assert "3 folds instead of 5: there are too few rows of the rarest class" in caplog.text


def test_one_of_a_class_makes_no_folds() -> None:
    with pytest.raises(SplitError, match="too few rows of the rarest class"):
        make_folds(_rows(100), np.array([1, *[0] * 99]), _schema("stratified"), 5, 1)


def test_one_class_to_fit_on_is_refused() -> None:
    rows = _rows(100).with_columns(when=pl.arange(100))
    with pytest.raises(SplitError, match="one class of 'y' only"):
        make_folds(rows, np.repeat([0, 1], [90, 10]), _schema("time"), 4, 1)


def test_group_folds_keep_groups_whole() -> None:
    rows, y = _rows(500), _target(500)
    folds = make_folds(rows, y, _schema("group"), 5, 1)
    _check_partition(folds, 500)
    groups = rows["who"].to_numpy()
    for fold in folds:
        assert not set(groups[fold.fit]) & set(groups[fold.judge])
        assert y[fold.judge].any()


def test_many_groups_are_folded_quickly_and_whole() -> None:
    n = 30_000
    rows, y = _rows(n).with_columns(who=pl.arange(n) // 2), _target(n)
    folds = make_folds(rows, y, _schema("group"), 5, 1)
    _check_partition(folds, n)
    groups = rows["who"].to_numpy()
    assert not any(set(groups[fold.fit]) & set(groups[fold.judge]) for fold in folds)


def test_fewer_groups_make_fewer_folds(caplog: pytest.LogCaptureFixture) -> None:
    rows = _rows(60, groups=3)
    assert len(make_folds(rows, _target(60), _schema("group"), 5, 1)) == 3
    assert "too few groups" in caplog.text
    with pytest.raises(SplitError, match="too few groups"):
        make_folds(rows.with_columns(who=pl.lit("one")), _target(60), _schema("group"), 5, 1)


@settings(max_examples=60, deadline=None)
@given(
    times=st.lists(st.one_of(st.none(), st.integers(0, 12)), min_size=4, max_size=60),
    count=st.integers(2, 6),
)
def test_forward_folds_never_look_forward_nor_cut_a_moment(times: list[int | None], count: int) -> None:
    rows = pl.DataFrame({"when": pl.Series(times, dtype=pl.Int64)})
    y = np.arange(len(times)) % 2
    schema = _schema("time", "regression")
    known = [-1 if time is None else time for time in times]
    try:
        folds = make_folds(rows, y, schema, count, 1)
    except SplitError:
        assert len(set(known)) < 3
        return
    assert len(folds) == min(count, len(set(known)) - 1)
    moments = np.array(known)
    for fold in folds:
        assert moments[fold.fit].max() < moments[fold.judge].min()
    for before, after in itertools.pairwise(folds):
        assert set(after.fit) == set(before.fit) | set(before.judge)
    assert set(folds[-1].fit) | set(folds[-1].judge) == set(range(len(times)))


def test_forward_folds_are_of_about_one_size() -> None:
    hours = pl.datetime_range(pl.datetime(2013, 1, 1), pl.datetime(2013, 1, 31), "1h", eager=True)
    rows = pl.DataFrame({"when": hours})
    folds = make_folds(rows, np.zeros(rows.height), _schema("time", "regression"), 5, 1)
    sizes = [len(fold.judge) for fold in folds]
    assert len(folds) == 5
    assert max(sizes) - min(sizes) <= 2
    assert len(folds[0].fit) == pytest.approx(sizes[0], abs=2)


def test_rows_held_out_for_early_stopping_follow_the_split() -> None:
    rows, y = _rows(1000), _target(1000)
    stratified = hold_out(rows, y, _schema("stratified"), 0.1, 1)
    assert y[stratified.judge].mean() == pytest.approx(y.mean(), abs=0.01)
    assert len(hold_out(rows, y, _schema("random"), 100, 1).judge) == 100
    times = rows["when"].to_numpy()
    forward = hold_out(rows, y, _schema("time"), 0.1, 1)
    assert times[forward.fit].max() < times[forward.judge].min()
    assert len(forward.judge) == pytest.approx(100, abs=40)
    grouped = hold_out(rows, y, _schema("group"), 0.1, 1)
    groups = rows["who"].to_numpy()
    assert not set(groups[grouped.fit]) & set(groups[grouped.judge])
    assert len(grouped.fit) + len(grouped.judge) == 1000


@pytest.mark.parametrize(("method", "column"), [("time", "when"), ("group", "who")])
def test_one_moment_or_group_leaves_nothing_to_hold_out(method: str, column: str) -> None:
    rows = _rows(50).with_columns(pl.lit(1).alias(column))
    with pytest.raises(SplitError, match=f"{column!r} has one value"):
        hold_out(rows, _target(50), _schema(method), 0.1, 1)
