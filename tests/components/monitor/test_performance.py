"""Labels that arrive late, twice, for nobody or as nonsense; and what the model was worth before."""

import math
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from kfp_lifecycle.components.evaluate.bootstrap import Estimate
from kfp_lifecycle.components.monitor.findings import Findings
from kfp_lifecycle.components.monitor.options import Options
from kfp_lifecycle.components.monitor.performance import change
from kfp_lifecycle.components.shared.errors import ParameterError, SourceError
from tests.components.monitor.conftest import NOW, January, Look
from tests.components.monitor.flights import write_log
from tests.components.monitor.test_bad_input import problems

#: As register writes them.
TAGS = {"test_roc_auc": "0.96", "test_roc_auc_low": "0.94", "test_roc_auc_high": "0.98"}


@pytest.fixture
def truth(january: January) -> pl.DataFrame:
    return january.month(1).sample(900, seed=5)


@pytest.fixture
def log(watch: Look, january: January, truth: pl.DataFrame) -> Path:
    return write_log(watch.folder / "log", january.served(truth))


def labels(watch: Look, rows: pl.DataFrame, name: str = "labels.csv") -> str:
    """Labels by the flight's own key, as another system would export them."""
    file = watch.folder / name
    rows.select("id", "late").write_csv(file)
    return str(file)


def test_labels_are_joined_by_key_and_held_against_registration(
    watch: Look, january: January, log: Path, truth: pl.DataFrame
) -> None:
    model = replace(january.model, tags=TAGS)
    found, decision = watch(log, model=model, labels=labels(watch, truth.head(700)), label_keys=["id"])
    assert found.performance is not None
    assert (found.performance.rows, found.performance.predictions) == (700, 900)
    assert "at registration" in found.performance.source
    main = found.performance.metrics["roc_auc"]
    assert main.before == Estimate(0.96, 0.94, 0.98)
    assert main.now.low < main.now.value < main.now.high
    assert main.drop.value == pytest.approx(0.96 - main.now.value)
    assert math.isnan(found.performance.metrics["accuracy"].before.value)
    assert decision.verdict == "steady"
    assert "within what is allowed" in decision.reasons[2]


def test_without_a_registration_the_out_of_fold_predictions_stand_in(
    watch: Look, log: Path, truth: pl.DataFrame
) -> None:
    found, _ = watch(log, labels=labels(watch, truth), label_keys=["id"])
    assert found.performance is not None
    assert found.performance.source.startswith("Out-of-fold predictions of 2,000 training rows")
    assert found.performance.metrics["roc_auc"].before.value == pytest.approx(0.95, abs=0.04)


def test_worse_predictions_lead_to_retraining(
    watch: Look, january: January, log: Path, truth: pl.DataFrame
) -> None:
    wrong = truth.with_columns(
        pl.when(pl.int_range(900) % 3 == 0).then(pl.lit("yes")).otherwise("late").alias("late")
    )
    model = replace(january.model, tags=TAGS)
    found, decision = watch(log, model=model, labels=labels(watch, wrong), label_keys=["id"])
    assert (decision.verdict, decision.retrain) == ("drift", True)
    assert decision.reasons[0].startswith("roc_auc fell from 0.960 at registration to 0.")
    assert decision.reasons[0].endswith("on 900 labelled rows.")
    # The same drop of few rows decides nothing, and it is said.
    found, decision = watch(log, model=model, labels=labels(watch, wrong.head(60)), label_keys=["id"])
    assert decision.verdict == "steady"
    assert "Only 60 predictions have labels" in problems(found, "few labels")[0].text


def test_late_labels_are_joined_to_earlier_windows(
    watch: Look, january: January, log: Path, truth: pl.DataFrame
) -> None:
    before = january.month(1).sample(400, seed=6)
    write_log(log, january.served(before, at=NOW - timedelta(days=9)), "before")
    late = labels(watch, before)
    found, _ = watch(log, labels=late, label_keys=["id"], label_window=timedelta(days=14))
    assert found.performance is not None
    assert (found.performance.rows, found.performance.predictions) == (400 + _both(before, truth), 1300)
    assert found.quality.rows == 900


def _both(one: pl.DataFrame, other: pl.DataFrame) -> int:
    return other.join(one, on="id", how="semi").height


def test_no_label_of_the_window_has_arrived(watch: Look, january: January, log: Path) -> None:
    others = january.month(7).head(100)
    found, decision = watch(log, labels=labels(watch, others), label_keys=["id"])
    assert found.performance is None
    assert (
        "100 of 100 labels are of keys that no prediction in the window has"
        in problems(found, "unknown keys")[0].text
    )
    assert problems(found, "no labels")
    assert "No labels have arrived to judge the predictions by." in decision.reasons


def test_labels_twice(watch: Look, log: Path, truth: pl.DataFrame) -> None:
    """Twice the same is one label; two that differ are none."""
    flipped = (
        truth.head(5).with_columns(late=pl.lit("yes")).vstack(truth.head(5).with_columns(late=pl.lit("no")))
    )
    found, _ = watch(log, labels=labels(watch, pl.concat([truth, truth, flipped])), label_keys=["id"])
    assert found.performance is not None
    assert found.performance.rows == 895
    assert "5 keys have two different labels" in problems(found, "labels twice")[0].text


def test_labels_that_are_no_class(watch: Look, log: Path, truth: pl.DataFrame) -> None:
    odd = truth.with_columns(
        pl.when(pl.int_range(900) < 30).then(pl.lit("perhaps")).otherwise("late").alias("late")
    )
    found, _ = watch(log, labels=labels(watch, odd), label_keys=["id"])
    assert found.performance is not None
    assert found.performance.rows == 870
    assert (
        "30 labels are none of the classes no, yes, such as 'perhaps'"
        in problems(found, "unknown label")[0].text
    )


def test_labels_of_one_class_define_no_curve(watch: Look, log: Path, truth: pl.DataFrame) -> None:
    found, decision = watch(log, labels=labels(watch, truth.filter(late="no")), label_keys=["id"])
    assert "do not define roc_auc" in problems(found, "no metric")[0].text
    assert found.performance is not None
    assert "accuracy" in found.performance.metrics
    assert decision.verdict == "steady"


def test_labels_by_request(watch: Look, log: Path, january: January, truth: pl.DataFrame) -> None:
    """What a log is joined by, unless told otherwise."""
    answered = january.served(truth).select("_request_id", "_row").hstack(truth.select("late"))
    answered.write_parquet(watch.folder / "labels.parquet")
    found, _ = watch(log, labels=str(watch.folder / "labels.parquet"))
    assert found.performance is not None
    assert found.performance.rows == 900


@pytest.mark.parametrize(
    ("keys", "columns", "said"),
    [
        (["idd"], ["id", "late"], "'label_keys' names 'idd', which is no column of the current data.*id"),
        (["_row"], ["id", "late"], "'_row', which is no column of the labels"),
        (["id"], ["id"], "no column 'late'"),
    ],
)
def test_labels_that_cannot_be_joined(
    watch: Look, log: Path, truth: pl.DataFrame, keys: list[str], columns: list[str], said: str
) -> None:
    truth.select(columns).write_csv(watch.folder / "labels.csv")
    with pytest.raises((ParameterError, SourceError), match=said):
        watch(log, labels=str(watch.folder / "labels.csv"), label_keys=keys)


def test_a_table_needs_keys(watch: Look, truth: pl.DataFrame) -> None:
    with pytest.raises(ParameterError, match="what they are joined by"):
        watch(truth.drop("late"), labels=labels(watch, truth))
    found, _ = watch(truth.drop("late"), labels=labels(watch, truth), label_keys=["id"])
    assert found.performance is not None
    assert found.performance.rows == 900


def test_labels_that_are_not_there(watch: Look, log: Path) -> None:
    with pytest.raises(SourceError, match="Parameter 'labels'"):
        watch(log, labels=str(watch.folder / "none.csv"), label_keys=["id"])


@pytest.mark.parametrize(
    ("name", "now", "before", "drop", "worse"),
    [
        ("accuracy", (0.85, 0.84, 0.86), (0.90, 0.89, 0.91), 0.05, True),
        ("accuracy", (0.86, 0.85, 0.87), (0.90, 0.89, 0.91), 0.04, False),  # less than is allowed
        ("accuracy", (0.80, 0.60, 0.95), (0.90, 0.85, 0.93), 0.10, False),  # not sure
        ("rmse", (22.0, 21.5, 22.5), (20.0, 19.5, 20.5), 0.10, True),  # a share of what it was
        ("rmse", (18.0, 17.5, 18.5), (20.0, 19.5, 20.5), -0.10, False),
    ],
)
def test_worse_is_large_enough_and_sure(
    name: str, now: tuple[float, ...], before: tuple[float, ...], drop: float, worse: bool
) -> None:
    found = change(name, Estimate(*now), Estimate(*before), Options(max_drop=0.05 - 1e-12), 1000)
    assert found.drop.value == pytest.approx(drop)
    assert found.drop.low < found.drop.value < found.drop.high
    assert found.worse == worse
    assert not change(name, Estimate(*now), Estimate(*before), Options(max_drop=0.0), 99).worse


def test_findings_without_labels_say_so(watch: Look, log: Path) -> None:
    found, decision = watch(log)
    assert isinstance(found, Findings)
    assert found.performance is None
    assert "No labels have arrived to judge the predictions by." in decision.reasons
