"""Metrics by the values of columns."""

import datetime as dt
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from kfp_lifecycle.components.evaluate.slices import MAX_VALUES, Slice, check_slices, slice_metrics
from kfp_lifecycle.components.shared.errors import ParameterError
from tests.components.evaluate.tables import binary, multiclass, regression

ROWS = 400


@pytest.fixture
def test_split(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    start = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    table = pl.DataFrame(
        {
            "y": generator.integers(0, 2, ROWS),
            "plan": generator.choice(["month", "year", None], ROWS, p=[0.6, 0.3, 0.1]),
            "tenure": generator.integers(0, 72, ROWS),
            "price": np.where(generator.random(ROWS) < 0.8, 1.0, generator.random(ROWS)),
            "young": generator.random(ROWS) < 0.5,
            "level": generator.integers(1, 4, ROWS),
            "city": [f"city {number}" for number in generator.integers(0, 60, ROWS)],
            "since": [start + dt.timedelta(days=int(day)) for day in generator.integers(0, 900, ROWS)],
            "nothing": [None] * ROWS,
            "_row_hash": generator.integers(0, 9, ROWS),
        },
        schema_overrides={"nothing": pl.String},
    )
    table.write_parquet(tmp_path / "part-0.parquet")
    return tmp_path


def sliced(test_split: Path, column: str) -> list[Slice]:
    return slice_metrics(binary(rows=ROWS), test_split, [column], samples=40)


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("plan", ["month", "year", "(missing)"]),
        ("young", ["False", "True"]),
        ("level", ["1", "2", "3"]),
        ("nothing", ["(missing)"]),
    ],
)
def test_a_column_of_few_values_is_sliced_by_value(test_split: Path, column: str, values: list[str]) -> None:
    assert [part.value for part in sliced(test_split, column)] == values


@pytest.mark.parametrize("column", ["tenure", "since"])
def test_a_column_of_many_numbers_or_times_is_cut_at_its_quartiles(test_split: Path, column: str) -> None:
    parts = sliced(test_split, column)
    assert len(parts) == 4
    assert all(ROWS / 4 - 15 < part.rows < ROWS / 4 + 15 for part in parts)
    assert all(" to " in part.value for part in parts)


def test_quartiles_that_fall_together_are_one_slice(test_split: Path) -> None:
    assert len(sliced(test_split, "price")) == 2


def test_rare_values_are_one_slice(test_split: Path) -> None:
    parts = sliced(test_split, "city")
    assert len(parts) == MAX_VALUES + 1
    assert parts[-1].value == "(40 other values)"


@pytest.mark.parametrize("column", ["plan", "tenure", "price", "city", "since", "young", "level"])
def test_slices_are_all_rows_once(test_split: Path, column: str) -> None:
    assert sum(part.rows for part in sliced(test_split, column)) == ROWS


def test_a_slice_has_the_metrics_of_its_rows(test_split: Path) -> None:
    scored = binary(rows=ROWS)
    of_months = pl.read_parquet(test_split / "*.parquet")["plan"].eq("month").fill_null(False).to_numpy()
    part = sliced(test_split, "plan")[0]
    for name, value in scored.take(of_months).metrics().items():
        assert part.metrics[name].value == value
        assert part.metrics[name].low <= value <= part.metrics[name].high


def test_a_slice_of_few_rows_or_few_of_a_class_is_marked(test_split: Path) -> None:
    assert not any(part.small for part in sliced(test_split, "young"))
    assert any(part.small for part in sliced(test_split, "city"))
    rare = binary(rows=ROWS)
    rare.truth[:] = 0
    rare.truth[:8] = 1
    assert all(part.small for part in slice_metrics(rare, test_split, ["young"], samples=5))


def test_a_slice_of_one_class_has_no_roc_curve(test_split: Path) -> None:
    young = pl.read_parquet(test_split / "*.parquet")["young"].to_numpy()
    scored = binary(rows=ROWS)
    scored.truth[young] = 0
    parts = {part.value: part for part in slice_metrics(scored, test_split, ["young"], samples=5)}
    assert "roc_auc" not in parts["True"].metrics
    assert "accuracy" in parts["True"].metrics
    assert "roc_auc" in parts["False"].metrics


@pytest.mark.parametrize("maker", [multiclass, regression])
def test_every_task_can_be_sliced(test_split: Path, maker) -> None:  # type: ignore[no-untyped-def]
    parts = slice_metrics(maker(rows=ROWS), test_split, ["plan", "young"], samples=10)
    assert [part.column for part in parts] == ["plan"] * 3 + ["young"] * 2


def test_an_unknown_column_names_the_nearest(test_split: Path) -> None:
    with pytest.raises(ParameterError, match=r"'slices' names 'tenur', .*Did you mean 'tenure'"):
        check_slices(test_split, ["plan", "tenur"], "y")
    with pytest.raises(ParameterError, match="'slices' names '_row_hash'"):
        check_slices(test_split, ["_row_hash"], "y")


def test_the_target_is_no_slice(test_split: Path) -> None:
    with pytest.raises(ParameterError, match="'slices' names the target 'y'"):
        check_slices(test_split, ["y"], "y")
