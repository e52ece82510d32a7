"""Whether the alarm can be believed, on the flights of 2013: January is the reference."""

import polars as pl
import pytest

from kfp_lifecycle.components.monitor.options import Options
from tests.components.monitor.conftest import January, Look
from tests.conftest import SOAK

DRAWS = 100 if SOAK else 6


def test_random_halves_of_january_give_no_alarm(january: January, watch: Look) -> None:
    alarms = []
    for draw in range(DRAWS):
        half = january.month(1).sample(fraction=0.5, seed=100 + draw)
        # The labels take seconds to resample; some draws have them.
        rows = half if draw % 10 == 0 else half.drop("late")
        _, decision = watch(rows)
        if decision.verdict != "steady":
            alarms.append((draw, decision))
    assert len(alarms) <= (5 if SOAK else 0), alarms


def test_july_does(january: January, watch: Look) -> None:
    found, decision = watch(january.month(7).drop("late"))
    assert (decision.verdict, decision.retrain) == ("drift", True)
    assert found.drifted[0].name == "dep_delay"
    assert "probability_yes" in decision.reasons[0]
    assert "dep_delay" in decision.reasons[1]


@pytest.mark.parametrize(("rows", "seed"), [(100, 1), (100, 2), (100, 3)])
def test_a_hundred_rows_of_january_are_fine(january: January, watch: Look, rows: int, seed: int) -> None:
    _, decision = watch(january.month(1).drop("late").sample(rows, seed=seed))
    assert decision.verdict == "steady"


def test_a_hundred_rows_are_enough_for_a_large_drift(january: January, watch: Look) -> None:
    late = january.month(1).drop("late").with_columns(pl.col("dep_delay") + 60, pl.col("distance") * 2)
    found, decision = watch(late.sample(100, seed=1))
    assert {column.name for column in found.drifted} >= {"dep_delay", "distance"}
    assert decision.verdict == "drift"


def test_many_rows_do_not_make_a_speck_into_drift(january: January, watch: Look) -> None:
    # January twenty times over, a column a twentieth of its spread away: beyond any doubt, and nothing.
    rows = january.month(1).drop("late")
    spread = rows["dep_delay"].std()
    assert isinstance(spread, float)
    many = pl.concat([rows] * 20).with_columns(pl.col("dep_delay") + 0.05 * spread)
    found, decision = watch(many, reference=_reference(watch, rows))
    (delay,) = [column for column in found.columns if column.name == "dep_delay"]
    assert delay.q_value is not None
    assert delay.q_value < 1e-6
    assert not delay.drifted
    assert decision.verdict == "steady"
    assert watch(many, Options(method="ks"), reference=_reference(watch, rows))[0].drifted


def _reference(watch: Look, rows: pl.DataFrame) -> str:
    file = watch.folder / "reference.parquet"
    rows.write_parquet(file)
    return str(file)
