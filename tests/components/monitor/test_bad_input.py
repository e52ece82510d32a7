"""Bad data and half-there logs: each ends in a report that says so or in a declared error."""

import json
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from kfp_lifecycle.components.monitor.findings import Decision, Findings, Problem
from kfp_lifecycle.components.monitor.options import Options
from kfp_lifecycle.components.monitor.watched import open_model
from kfp_lifecycle.components.monitor.windows import Window
from kfp_lifecycle.components.shared.errors import (
    MonitorError,
    ParameterError,
    SchemaError,
    ServingError,
    SourceError,
)
from kfp_lifecycle.components.shared.model_format import DATA, REFERENCE
from tests.components.monitor.conftest import NOW, January, Look
from tests.components.monitor.flights import write_log

ROWS = 600


def problems(found: Findings, kind: str) -> list[Problem]:
    return [problem for problem in found.quality.problems if problem.kind == kind]


@pytest.fixture
def rows(january: January) -> pl.DataFrame:
    return january.month(1).sample(ROWS, seed=3).drop("late")


# Windows and files


@pytest.mark.parametrize("there", [False, True])
def test_an_empty_window_is_not_judged(
    watch: Look, january: January, rows: pl.DataFrame, there: bool
) -> None:
    log = watch.folder / "log"
    log.mkdir()
    if there:  # other days have rows
        write_log(log, january.served(rows, at=NOW - timedelta(days=3)))
    found, decision = watch(log)
    assert (decision.verdict, decision.retrain) == ("unjudged", False)
    assert decision.reasons[0] == "The window has 0 rows; at least 100 are needed to judge it."
    assert found.drift_share is None


def test_a_window_that_is_too_small_is_not_judged(watch: Look, rows: pl.DataFrame) -> None:
    _, decision = watch(rows.head(99))
    assert decision.verdict == "unjudged"
    assert "99 rows; at least 100" in decision.reasons[0]


def test_a_log_that_is_not_there_is_an_error(watch: Look) -> None:
    with pytest.raises(SourceError, match=r"'current'.*nowhere"):
        watch(watch.folder / "nowhere")


def test_a_window_before_the_model_was_made_is_an_error(
    watch: Look, january: January, rows: pl.DataFrame
) -> None:
    log = write_log(watch.folder / "log", january.served(rows))
    made = january.model.watched.made
    assert made is not None
    with pytest.raises(MonitorError, match=r"lies before version .* was made"):
        watch(log, window=Window(made - timedelta(days=2), made - timedelta(days=1)))


def test_a_truncated_file_among_good_ones_is_skipped_counted_and_named(
    watch: Look, january: January, rows: pl.DataFrame
) -> None:
    log = write_log(watch.folder / "log", january.served(rows))
    write_log(log, january.served(rows), "b")
    broken = max(log.rglob("*-b-*.parquet"))
    broken.write_bytes(broken.read_bytes()[:-50])
    found, decision = watch(log)
    (said,) = problems(found, "damaged file")
    assert broken.name in said.text
    assert found.quality.rows == ROWS
    assert said.text in decision.reasons


def test_a_file_whose_middle_is_damaged_is_an_error(
    watch: Look, january: January, rows: pl.DataFrame
) -> None:
    log = write_log(watch.folder / "log", january.served(rows))
    (file,) = log.rglob("*.parquet")
    content = bytearray(file.read_bytes())
    content[4:3000] = bytes(2996)
    file.write_bytes(content)
    with pytest.raises((SourceError, MonitorError), match=r"cannot be read"):
        watch(log)


def test_rows_of_the_future_are_counted(watch: Look, january: January, rows: pl.DataFrame) -> None:
    log = write_log(watch.folder / "log", january.served(rows))
    write_log(log, january.served(rows.head(7), at=NOW + timedelta(days=2)), "ahead")
    found, decision = watch(log)
    (said,) = problems(found, "clock skew")
    assert said.text.startswith("7 rows say that they are of a time that has not come yet")
    assert found.quality.rows == ROWS
    assert said.text in decision.reasons


def test_rows_that_stopped_coming_are_stale(watch: Look, january: January, rows: pl.DataFrame) -> None:
    log = write_log(watch.folder / "log", january.served(rows, at=NOW - timedelta(hours=15)))
    found, _ = watch(log)
    assert "15.0 hours before" in problems(found, "stale")[0].text
    assert found.quality.age_hours == pytest.approx(15, abs=0.01)


def test_rows_of_other_versions_do_not_count(watch: Look, january: January, rows: pl.DataFrame) -> None:
    log = write_log(watch.folder / "log", january.served(rows))
    write_log(log, january.served(rows.head(50), version="other"), "b")
    found, _ = watch(log)
    assert (found.quality.rows, found.quality.other_versions) == (ROWS, {"other": 50})
    assert "50 rows" in problems(found, "other versions")[0].text


def test_far_fewer_rows_than_usual_are_said(watch: Look, rows: pl.DataFrame) -> None:
    found, _ = watch(rows, usual_rows=5000.0)
    assert problems(found, "volume")[0].text == "The window has 600 rows; the ones before had about 5,000."
    assert not problems(watch(rows, usual_rows=700.0)[0], "volume")


# Columns


def test_a_missing_column_breaks_a_table(watch: Look, rows: pl.DataFrame) -> None:
    found, decision = watch(rows.drop("dep_delay"))
    assert (decision.verdict, decision.retrain) == ("broken", False)
    assert decision.reasons[0] == "Column 'dep_delay' is missing from the current data."
    assert "learn the damage" in decision.reasons[-1]
    assert found.predictions == []


def test_a_column_that_is_not_logged_is_said(watch: Look, january: January, rows: pl.DataFrame) -> None:
    found, decision = watch(write_log(watch.folder / "log", january.served(rows).drop("dest")))
    assert decision.verdict == "steady"
    assert "'dest' is not in the log" in problems(found, "missing column")[0].text


def test_a_hashed_column_is_not_compared(watch: Look, january: January, rows: pl.DataFrame) -> None:
    hashed = january.served(rows).with_columns(carrier=pl.lit("0f" * 32), distance=pl.lit("1e" * 32))
    found, decision = watch(write_log(watch.folder / "log", hashed))
    assert [problem.column for problem in problems(found, "hashed")] == ["distance", "carrier"]
    assert not {"distance", "carrier"} & {column.name for column in found.columns}
    assert decision.verdict == "steady"


def test_extra_columns_are_said(watch: Look, rows: pl.DataFrame) -> None:
    found, decision = watch(rows.with_columns(weather=pl.lit("fine"), gate=pl.lit(3)))
    assert problems(found, "extra column")[0].text.startswith("The model does not know 2 columns")
    assert "'gate', 'weather'" in problems(found, "extra column")[0].text
    assert decision.verdict == "steady"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (pl.lit("soon").alias("dep_delay"), "Column 'dep_delay' is number, but 100.0% of its values are not"),
        (pl.lit(NOW).alias("dep_delay"), "Column 'dep_delay' is number in the schema, but comes as"),
    ],
)
def test_a_retyped_column_breaks_a_table(watch: Look, rows: pl.DataFrame, change: pl.Expr, said: str) -> None:
    found, decision = watch(rows.with_columns(change))
    assert (decision.verdict, decision.retrain) == ("broken", False)
    assert problems(found, "retyped")[0].text.startswith(said)


def test_numbers_as_text_are_numbers(watch: Look, rows: pl.DataFrame) -> None:
    _, decision = watch(rows.with_columns(pl.col("dep_delay", "distance").cast(pl.String)))
    assert decision.verdict == "steady"


def test_some_values_of_another_type_are_counted(watch: Look, rows: pl.DataFrame) -> None:
    odd = pl.when(pl.int_range(ROWS) < 60).then(pl.lit("late")).otherwise(pl.col("dep_delay").cast(pl.String))
    found, _ = watch(rows.with_columns(dep_delay=odd))
    (said,) = problems(found, "retyped")
    assert (said.broken, said.text) == (
        False,
        "Column 'dep_delay' is number, but 10.0% of its values are not, such as 'late'.",
    )


def test_an_all_null_column_breaks_a_table(watch: Look, rows: pl.DataFrame) -> None:
    found, decision = watch(rows.with_columns(dep_delay=pl.lit(None, pl.Float64)))
    assert decision.verdict == "broken"
    assert "'dep_delay' has no value in any of 600 rows" in problems(found, "all null")[0].text
    (column,) = [one for one in found.columns if one.name == "dep_delay"]
    assert (column.score, column.why_not) == (None, "No current row has a value.")


def test_a_constant_column_is_said_and_has_drifted(watch: Look, rows: pl.DataFrame) -> None:
    found, decision = watch(rows.with_columns(distance=pl.lit(500)))
    assert "'distance' is '500' in every row" in problems(found, "constant")[0].text
    assert "distance" in {one.name for one in found.drifted}
    assert problems(found, "constant")[0].text in decision.reasons


def test_one_category_only_is_said_and_has_drifted(watch: Look, rows: pl.DataFrame) -> None:
    found, _ = watch(rows.with_columns(origin=pl.lit("JFK")))
    assert "'origin' is 'JFK' in every row" in problems(found, "constant")[0].text
    assert "origin" in {one.name for one in found.drifted}


def test_a_column_that_was_constant_before_is_fine(watch: Look, rows: pl.DataFrame) -> None:
    same = rows.with_columns(distance=pl.lit(500))
    same.write_parquet(watch.folder / "reference.parquet")
    found, decision = watch(same, reference=str(watch.folder / "reference.parquet"))
    assert not problems(found, "constant")
    assert decision.verdict == "steady"


def test_missing_values_ranges_and_new_categories(watch: Look, rows: pl.DataFrame) -> None:
    some = pl.int_range(ROWS) % 5 == 0
    found, decision = watch(
        rows.with_columns(
            pl.when(~some).then("air_time").alias("air_time"),
            pl.when(some).then(9999).otherwise("distance").alias("distance"),
            pl.when(some).then(pl.lit("QQ")).otherwise("carrier").alias("carrier"),
        )
    )
    assert "'air_time' is missing in 20.0% of the rows, 0.0% in" in problems(found, "missing")[0].text
    assert "'distance' is outside of" in problems(found, "out of range")[0].text
    (new,) = problems(found, "unseen category")
    assert "20.0% of the rows: 'QQ'" in new.text
    assert new.text in decision.reasons


def test_repeated_rows_are_said(watch: Look, rows: pl.DataFrame) -> None:
    found, _ = watch(pl.concat([rows.head(200)] * 3))
    assert found.quality.duplicates == pytest.approx(2 / 3, abs=0.01)
    assert "66.7% of the rows repeat" in problems(found, "duplicates")[0].text
    assert not problems(watch(rows)[0], "duplicates")


# Models and references


def test_a_version_without_a_reference_is_an_error_that_says_what_to_do(
    watch: Look, january: January, rows: pl.DataFrame
) -> None:
    folder = shutil.copytree(january.model.folder, watch.folder / "late")
    (folder / DATA / REFERENCE).unlink()
    model = replace(january.model, folder=folder)
    with pytest.raises(MonitorError, match=r"'late' holds no reference .* parameter 'reference'"):
        watch(rows, model=model)
    rows.write_parquet(watch.folder / "reference.parquet")
    _, decision = watch(rows, model=model, reference=str(watch.folder / "reference.parquet"))
    assert decision.verdict == "steady"


def test_predictions_without_folds_cannot_be_compared_and_it_is_said(
    watch: Look, january: January, rows: pl.DataFrame
) -> None:
    folder = shutil.copytree(january.model.folder, watch.folder / "late")
    file = folder / DATA / REFERENCE
    sample = pl.read_parquet(file)
    sample.with_columns(
        pl.lit(None, kind).alias(n) for n, kind in sample.schema.items() if n.startswith("_p")
    ).write_parquet(file)
    found, decision = watch(rows, model=replace(january.model, folder=folder))
    assert "The reference has no predictions" in problems(found, "no predictions")[0].text
    assert "The predictions could not be compared." in decision.reasons


def test_a_folder_that_is_no_model_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ServingError, match="no model"):
        open_model(str(tmp_path), tmp_path)
    (tmp_path / "MLmodel").write_text("flavors: {}\n")
    with pytest.raises(SchemaError, match="not a Model artifact"):
        open_model(str(tmp_path), tmp_path)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"columns": ["dep_dely"]}, "'columns' names 'dep_dely'.*dep_delay"),
        ({"column_methods": {"orgin": "psi"}}, "'column_methods' names 'orgin'.*origin"),
        ({"column_thresholds": {"orgin": 1.0}}, "'column_thresholds' names 'orgin'"),
        ({"metric": "rmse"}, "'metric' is 'rmse', which a binary model"),
        ({"method": "wasserstien"}, "'method'"),
        ({"metric": "acuracy"}, "'metric' is 'acuracy'.*accuracy"),
        ({"drift_share": 0.0}, "'drift_share' is 0"),
        ({"min_rows": 0}, "'min_rows' is 0"),
        ({"max_drop": -1.0}, "'max_drop' is -1"),
    ],
)
def test_wrong_parameters_are_named(
    watch: Look, rows: pl.DataFrame, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ParameterError, match=said):
        watch(rows, Options(**options))


def test_a_time_column_that_is_not_there_is_named(watch: Look, rows: pl.DataFrame) -> None:
    with pytest.raises(ParameterError, match="'time_column' is 'tme'"):
        watch(rows, time_column="tme")


def test_seasons(watch: Look, january: January, rows: pl.DataFrame) -> None:
    """July against July a week before is steady, against January it is drift."""
    july = january.month(7).drop("late")
    log = write_log(watch.folder / "log", january.served(july.sample(3000, seed=1)))
    write_log(log, january.served(july.sample(3000, seed=2), at=NOW - timedelta(days=7)), "before")
    assert watch(log)[1].verdict == "drift"
    found, decision = watch(log, season=timedelta(days=7))
    assert decision.verdict == "steady"
    assert (found.quality.reference_rows, found.prediction_drift is not None) == (3000, True)
    with pytest.raises(ParameterError, match="Both 'reference' and 'season'"):
        watch(log, season=timedelta(days=7), reference="x")
    # A season without rows compares nothing, and says so.
    _, decision = watch(log, season=timedelta(days=14))
    assert decision.verdict == "unjudged"
    assert decision.reasons[0] == "No column could be compared with the reference."


def test_a_decision_is_pure(watch: Look, rows: pl.DataFrame) -> None:
    from kfp_lifecycle.components.monitor.decision import decide
    from kfp_lifecycle.components.monitor.written import to_json

    found, decision = watch(rows)
    assert decide(found, Options()) == decision == decide(found, Options())
    assert isinstance(decision, Decision)
    assert json.loads(to_json(found, decision, Options()))["verdict"] == "steady"
