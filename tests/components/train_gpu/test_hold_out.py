"""Which rows are held out: the right number of each class, and the same ones whatever the rows' order."""

import math
from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kfp_lifecycle.components.prepare.identity import salted
from kfp_lifecycle.components.shared.errors import SplitError
from kfp_lifecycle.components.shared.inference.schema import ROW_HASH, Column, Split, TableSchema
from kfp_lifecycle.components.train_gpu.hold_out import held_out
from tests.conftest import SOAK


def schema(split: Split, task: str = "multiclass") -> TableSchema:
    columns = [Column("y", "integer", "target")]
    if split.column:
        kind = "timestamp" if split.method == "time" else "string"
        columns.append(Column(split.column, kind, split.method))
    return TableSchema(columns, "y", task, ["0", "1", "2"] if task != "regression" else [], split=split)


def rows(classes: list[int], **columns: object) -> pl.DataFrame:
    """Rows of these classes, with hashes as prepare gives them: random, of 64 bits."""
    hashes = np.random.default_rng(len(classes)).integers(0, 2**64, len(classes), dtype=np.uint64)
    return pl.DataFrame({"y": pl.Series(classes, dtype=pl.Int32), ROW_HASH: hashes, **columns})


def chosen(
    frame: pl.DataFrame, split: Split, share: float, seed: int = 0, task: str = "multiclass"
) -> pl.Series:
    label = pl.lit(0, pl.Int32) if task == "regression" else pl.col("y")
    expression = held_out(frame.lazy(), label, schema(split, task), share, seed)
    return frame.lazy().select(expression.alias("out")).collect(engine="streaming")["out"]


@given(
    counts=st.lists(st.integers(1, 300), min_size=1, max_size=3),
    share=st.floats(0.01, 0.95),
    seed=st.integers(0, 5),
)
@settings(max_examples=500 if SOAK else 40, deadline=None)
def test_each_class_gives_its_share_and_keeps_a_row(counts: list[int], share: float, seed: int) -> None:
    frame = rows([code for code, count in enumerate(counts) for _ in range(count)])
    try:
        out = chosen(frame, Split("stratified"), share, seed)
    except SplitError:
        assert all(count == 1 for count in counts)
        return
    for code, count in enumerate(counts):
        found = int(out.filter(frame["y"] == code).sum())
        assert found < count
        assert abs(found - share * count) <= 1 or found == count - 1
    if all(count > 20 for count in counts) and share < 0.9:
        assert out.sum() == math.ceil(round(share * sum(counts), 6))


@pytest.mark.parametrize("method", ["random", "stratified"])
def test_a_row_keeps_its_side_in_any_order(method: str) -> None:
    frame = rows([number % 3 for number in range(600)])
    out = frame.with_columns(chosen(frame, Split(method), 0.2, seed=4))
    mixed = frame.sample(fraction=1, shuffle=True, seed=1)
    again = mixed.with_columns(chosen(mixed, Split(method), 0.2, seed=4))
    assert again.sort(ROW_HASH).equals(out.sort(ROW_HASH))
    assert not chosen(frame, Split(method), 0.2, seed=5).equals(out["out"])


def test_equal_rows_stay_together() -> None:
    frame = pl.concat([rows([number % 3 for number in range(300)])] * 2)
    out = frame.with_columns(chosen(frame, Split("random"), 0.3))
    assert out.group_by(ROW_HASH).agg(pl.col("out").n_unique())["out"].max() == 1


def test_the_choice_has_nothing_to_do_with_prepares_of_the_same_seed() -> None:
    """prepare has put the rows with the lowest hashes, salted with its seed, into the test split."""
    frame = rows([number % 3 for number in range(4000)]).with_columns(
        salted(pl.col(ROW_HASH), 42).alias("salted")
    )
    train = frame.filter(pl.col("salted") >= 0.2 * 2**64)
    out = chosen(train, Split("stratified"), 0.2, seed=42)
    means = [train.filter(side)["salted"].cast(pl.Float64).mean() for side in (out, ~out)]
    # Of a uniform number between 0.2 and 1, each mean is 0.6, give or take 0.01.
    assert np.array(means) / 2**64 == pytest.approx(0.6, abs=0.04)


@pytest.mark.parametrize("pile", [lambda n: n, lambda n: n // 3, lambda n: 2**64 - 1 - n])
def test_hashes_need_not_be_uniform(pile: Callable[[int], int]) -> None:
    hashes = pl.Series([pile(number) for number in range(900)], dtype=pl.UInt64)
    frame = rows([number % 3 for number in range(900)]).with_columns(hashes.alias(ROW_HASH))
    assert chosen(frame, Split("stratified"), 0.1).sum() == pytest.approx(90, abs=6)


def test_a_regression_holds_out_at_random() -> None:
    frame = rows([0] * 205)
    assert chosen(frame, Split("random"), 0.1, task="regression").sum() == 21


def test_groups_are_whole() -> None:
    names = [f"g{number % 23}" for number in range(500)]
    frame = rows([number % 3 for number in range(500)], who=names)
    out = frame.with_columns(chosen(frame, Split("group", column="who"), 0.2))
    sides = out.group_by("who").agg(pl.col("out").n_unique().alias("sides"), pl.col("out").first())
    assert sides["sides"].max() == 1
    assert sides["out"].sum() == math.ceil(0.2 * 23)


def test_the_latest_are_held_out_and_moments_are_whole() -> None:
    moments = pl.Series([number // 7 for number in range(700)]).cast(pl.Datetime("us", "UTC"))
    frame = rows([number % 3 for number in range(700)], when=moments)
    out = chosen(frame, Split("time", column="when"), 0.2)
    assert out.sum() == 140
    assert out.to_list() == [number >= 560 for number in range(700)]
    # 0.0001 of the rows is less than a moment: the last one is held out.
    assert chosen(frame, Split("time", column="when"), 0.0001).sum() == 7
    # And the first is always left to fit on.
    assert chosen(frame, Split("time", column="when"), 0.9999).sum() == 693


@pytest.mark.parametrize(
    ("frame", "split", "said"),
    [
        (rows([0]), Split("random"), "there are 1 rows"),
        (rows([0, 1, 2]), Split("stratified"), "the 3 rows are too few for every class to keep one"),
        (rows([0, 1], who=["a", "a"]), Split("group", column="who"), "'who' has one value"),
        (
            rows([0, 1], when=pl.Series([5, 5]).cast(pl.Datetime("us"))),
            Split("time", column="when"),
            "'when' has one value",
        ),
    ],
)
def test_where_nothing_can_be_held_out_it_is_said(frame: pl.DataFrame, split: Split, said: str) -> None:
    with pytest.raises(SplitError, match=f"No rows can be held out .* {said}"):
        chosen(frame, split, 0.5)
