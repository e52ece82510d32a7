"""Scores against Evidently's own, and what chance alone gives."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import pytest
from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset
from hypothesis import given, settings
from hypothesis import strategies as st

from kfp_lifecycle.components.monitor import distances
from kfp_lifecycle.components.monitor.drift import Compared, benjamini_hochberg, compare
from kfp_lifecycle.components.monitor.findings import ColumnDrift
from kfp_lifecycle.components.monitor.methods import METHODS
from kfp_lifecycle.components.monitor.options import Options
from kfp_lifecycle.components.monitor.quality import duplicate_share
from kfp_lifecycle.components.monitor.sketch import Sketch
from kfp_lifecycle.components.monitor.summary import summarize
from kfp_lifecycle.components.shared.errors import ParameterError
from kfp_lifecycle.components.shared.inference.schema import Column, TableSchema

TYPES = {pl.Float64: "number", pl.Int64: "integer", pl.String: "string"}


def random_table(rows: int, seed: int, shift: float = 0.0) -> pl.DataFrame:
    """Numbers of several shapes, whole numbers, few values, categories; with gaps."""
    random = np.random.default_rng(seed)
    odds = 1 / np.arange(1, 41)
    odds[0] += shift
    gaps = random.random(rows) < 0.1
    return pl.DataFrame(
        {
            "normal": random.normal(shift, 1, rows),
            "long": random.lognormal(shift, 1, rows),
            "gaps": [
                None if gap else value for gap, value in zip(gaps, random.normal(0, 2, rows), strict=True)
            ],
            "whole": random.integers(0, 500, rows),
            "few": random.integers(0, 4, rows),
            "ten": random.integers(0, 10, rows),
            "many": random.choice(40, rows, p=odds / odds.sum()),
            "two": random.choice(["no", "yes"], rows, p=[0.7 - shift / 4, 0.3 + shift / 4]),
        }
    ).with_columns(pl.col("many").cast(pl.String))


def drifts(reference: pl.DataFrame, current: pl.DataFrame, options: Options) -> dict[str, ColumnDrift]:
    columns = [Column(name, TYPES[type(dtype)]) for name, dtype in reference.schema.items()]
    schema = TableSchema(columns, "y", "binary")
    ours, theirs = (summarize(side.lazy(), schema, columns).columns for side in (reference, current))
    found = compare([Compared(c.name, ours[c.name], theirs[c.name]) for c in columns], options)
    return {one.name: one for one in found}


def evidently(reference: pl.DataFrame, current: pl.DataFrame, **asked: Any) -> dict[str, tuple[float, bool]]:
    """Score and verdict of each column, from Evidently's preset on all rows."""
    texts = [name for name, dtype in reference.schema.items() if dtype == pl.String]
    definition = DataDefinition(
        numerical_columns=[name for name in reference.columns if name not in texts], categorical_columns=texts
    )
    sides = [
        Dataset.from_pandas(side.to_pandas(), data_definition=definition) for side in (current, reference)
    ]
    found = Report([DataDriftPreset(**asked)], include_tests=True).run(*sides).dict()
    scores = {m["config"]["column"]: float(m["value"]) for m in found["metrics"] if "column" in m["config"]}
    status = {
        test["metric_config"]["params"]["column"]: test["status"].value == "FAIL"
        for test in found["tests"]
        if "column" in test["metric_config"]["params"]
    }
    return {name: (score, status[name]) for name, score in scores.items()}


@pytest.mark.parametrize("rows", [800, 5000])
def test_evidentlys_choice_and_verdict_are_its_own(rows: int) -> None:
    reference, current = random_table(rows, 1), random_table(rows, 2, 0.2)
    ours, theirs = drifts(reference, current, Options(method="evidently")), evidently(reference, current)
    assert ours.keys() == theirs.keys()
    for name, one in ours.items():
        assert one.score == pytest.approx(theirs[name][0], rel=1e-9, abs=1e-12), (name, one.method)
        assert one.drifted == theirs[name][1]
    assert 0 < sum(one.drifted for one in ours.values()) < len(ours)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_each_method_scores_as_evidently_does_within_the_stated_error(method: str) -> None:
    """With more distinct numbers than a sketch keeps, so that the error is put to the test too."""
    of = METHODS[method]
    reference, current = random_table(40_000, 1), random_table(40_000, 2, 0.1)
    kept = [
        name
        for name, dtype in reference.schema.items()
        if (of.categories if dtype == pl.String else of.numbers) and (method != "z" or name == "two")
    ]
    reference, current = reference.select(kept), current.select(kept)
    ours = drifts(reference, current, Options(method=method))
    theirs = evidently(reference, current, method=method)
    for name, one in ours.items():
        assert one.score is not None
        assert abs(one.score - theirs[name][0]) <= one.error + 1e-9, name
        # A share of nearly nothing has a logarithm of nearly anything.
        assert one.error < (0.1 if method in ("psi", "kl_div") else 0.03)
        assert one.drifted == theirs[name][1], name
    if of.numbers:
        assert ours["normal"].error > 0
        assert ours["ten"].error == 0


def test_a_threshold_of_a_column_holds_for_it_alone() -> None:
    reference, current = random_table(3000, 1), random_table(3000, 2, 0.3)
    asked = Options(method="evidently", column_thresholds={"normal": 5.0})
    found = drifts(reference, current, asked)
    assert (found["normal"].threshold, found["normal"].drifted) == (5.0, False)
    assert (found["long"].threshold, found["long"].drifted) == (0.1, True)


def test_a_method_that_does_not_fit_its_column_is_refused() -> None:
    reference = random_table(100, 1)
    with pytest.raises(ParameterError, match="'two' the method 'wasserstein', but its values are categories"):
        drifts(reference, reference, Options(column_methods={"two": "wasserstein"}))


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(1, 60_000), min_size=1, max_size=4),
    st.sampled_from(["normal", "lognormal", "standard_cauchy", "whole"]),
    st.integers(0, 1000),
)
def test_a_sketchs_error_is_what_it_says(parts: Sequence[int], shape: str, seed: int) -> None:
    random = np.random.default_rng(seed)
    values = [
        random.integers(0, 50_000, size).astype(float)
        if shape == "whole"
        else getattr(random, shape)(size=size)
        for size in parts
    ]
    sketch = Sketch()
    for part in values:
        sketch.add(part)
    together = np.sort(np.concatenate(values))
    points, counts = sketch.points()
    assert counts.sum() == sketch.count == len(together)
    assert sketch.mean == pytest.approx(together.mean(), rel=1e-6, abs=1e-6)
    assert sketch.std == pytest.approx(together.std(), rel=1e-6)
    moved = np.abs(np.repeat(points, counts.astype(int)) - together).sum()
    assert moved <= sketch.moved * (1 + 1e-9) + 1e-6
    at = np.quantile(together, np.linspace(0, 1, 50))
    exact = np.searchsorted(together, at, side="right")
    ours = np.concatenate([[0.0], np.cumsum(counts)])[np.searchsorted(points, at, side="right")]
    assert np.abs(exact - ours).max() <= sketch.misplaced + 1e-9


@pytest.mark.parametrize(("n", "m"), [(2000, 100), (500, 3000)])
@pytest.mark.parametrize("shape", ["normal", "exponential"])
def test_what_chance_gives_is_known(n: int, m: int, shape: str) -> None:
    random = np.random.default_rng(7)

    def side(rows: int) -> Sketch:
        sketch = Sketch()
        sketch.add(getattr(random, shape)(size=rows))
        return sketch

    pairs = [(side(n), side(m)) for _ in range(200)]
    seen = np.array([distances.wasserstein(*pair).value for pair in pairs])
    said = np.array([distances.wasserstein_by_chance(*pair) for pair in pairs]).mean(axis=0)
    assert said[0] == pytest.approx(seen.mean(), rel=0.1)
    assert said[1] == pytest.approx(seen.std(), rel=0.25)


def test_columns_that_have_not_moved_are_seldom_called_drifted() -> None:
    """Forty columns of two samples of one distribution each, at every size."""
    called = 0
    for rows, seed in itertools.product((100, 1000, 20_000), range(5)):
        found = drifts(random_table(2000, 2 * seed), random_table(rows, 2 * seed + 1), Options())
        called += sum(one.drifted for one in found.values())
    assert called == 0


def test_rare_categories_are_no_drift_and_common_ones_are() -> None:
    """A column of thousands of codes, of which a sample of the reference has seen but a part."""
    random = np.random.default_rng(0)
    codes = [f"N{code}" for code in range(3000)]

    def table(rows: int) -> pl.DataFrame:
        return pl.DataFrame({"code": random.choice(codes, rows)})

    raw = drifts(table(2000), table(20_000), Options(method="jensenshannon"))["code"]
    own = drifts(table(2000), table(20_000), Options())["code"]
    assert raw.drifted  # Evidently's method takes the size of the sample for drift
    assert not own.drifted
    moved = table(20_000).with_columns(
        pl.when(pl.int_range(20_000) % 3 == 0).then(pl.lit("N7")).otherwise("code").alias("code")
    )
    assert drifts(table(2000), moved, Options())["code"].drifted


def test_false_discoveries_are_held_over_all_columns() -> None:
    # The example of Benjamini and Hochberg (1995), section 3.1.
    p = [
        0.0001,
        0.0004,
        0.0019,
        0.0095,
        0.0201,
        0.0278,
        0.0298,
        0.0344,
        0.0459,
        0.324,
        0.4262,
        0.5719,
        0.6528,
        0.759,
        1.0,
    ]
    adjusted = benjamini_hochberg([*p, None])
    assert adjusted[-1] is None
    assert sum(q <= 0.05 for q in adjusted[:-1] if q is not None) == 4
    assert adjusted[0] == pytest.approx(0.0015)


@pytest.mark.parametrize(
    ("reference", "current", "why"),
    [
        ([None, None], ["a", "b"], "The reference has no value."),
        (["a", "b"], [None, None], "No current row has a value."),
    ],
)
def test_what_cannot_be_compared_says_why(reference: list[Any], current: list[Any], why: str) -> None:
    sides = [pl.DataFrame({"x": pl.Series(values, dtype=pl.String)}) for values in (reference, current)]
    found = drifts(*sides, Options())["x"]
    assert (found.score, found.drifted, found.why_not) == (None, False, why)


def test_identifiers_are_not_compared() -> None:
    table = pl.DataFrame({"x": [f"id {number}" for number in range(60_000)]})
    found = drifts(table, table, Options())["x"]
    assert (found.score, found.drifted) == (None, False)
    assert "more than 50,000 distinct texts" in found.why_not


def test_duplicates_of_many_rows_are_counted_in_a_part_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kfp_lifecycle.components.monitor.summary.MAX_HASHES", 5_000)
    table = pl.DataFrame({"x": np.repeat(np.arange(20_000), 2)})  # each row twice
    column = Column("x", "integer")
    found = summarize(table.lazy(), TableSchema([column], "y", "binary"), [column], hashed=["x"])
    assert found.rows == 40_000
    assert found.modulus in (8, 16)
    assert len(found.hashes) == pytest.approx(40_000 / found.modulus, rel=0.2)
    assert duplicate_share(found.hashes) == 0.5
    same = summarize(
        pl.LazyFrame({"x": [1] * 20_000}), TableSchema([column], "y", "binary"), [column], hashed=["x"]
    )
    assert duplicate_share(same.hashes) == pytest.approx(1, abs=1e-3) or not len(same.hashes)
