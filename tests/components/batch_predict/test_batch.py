"""A table scored in shards: the same scores as MLflow's own, each row once, whatever stops a run midway."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from kfp_lifecycle.components.batch_predict.manifest import MANIFEST, collect
from kfp_lifecycle.components.batch_predict.model import Scorer
from kfp_lifecycle.components.batch_predict.plan import Plan
from kfp_lifecycle.components.batch_predict.planning import Request, make_plan
from kfp_lifecycle.components.batch_predict.scoring import score_shards, share_of_files, share_of_shards
from kfp_lifecycle.components.batch_predict.table import SourceFile
from kfp_lifecycle.components.collect_shards.step import collect_shards_step
from kfp_lifecycle.components.register.registry import make_champion
from kfp_lifecycle.components.shared.errors import (
    ParameterError,
    RegistryError,
    SchemaError,
    SourceError,
    StorageError,
)
from kfp_lifecycle.components.shared.model_format import describe, load_predictor
from kfp_lifecycle.components.shared.tracking import connect
from tests.components.batch_predict.conftest import Batch, run
from tests.components.conftest import Telco
from tests.components.trained import Artifact, prepare, train

KEY = {"key_columns": ["customer"]}
SCORES = ["prediction", "probability_No", "probability_Yes"]


def write(rows: pl.DataFrame, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".csv":
        rows.write_csv(path)
    else:
        rows.write_parquet(path)
    return path


def contents(batch: Batch) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in batch.parts}


# What comes out


@pytest.mark.parametrize("name", ["table.parquet", "table.csv"])
def test_the_scores_are_those_of_mlflow_s_own_predict(
    place: Path, rows: pl.DataFrame, telco: Telco, expected: Callable[[Path], pl.DataFrame], name: str
) -> None:
    batch = run(write(rows, place / name), place / "out", shard_rows=300, **KEY)
    assert batch.table.columns == ["customer", "model_version", *SCORES]
    assert batch.table["customer"].equals(rows["customer"])
    assert set(batch.table["model_version"]) == {"1"}
    assert_frame_equal(batch.table.select(SCORES), expected(telco.good_model), abs_tol=1e-12)
    assert batch.done.rows == batch.manifest["rows"] == rows.height
    assert [part["name"] for part in batch.manifest["parts"]] == [path.name for path in batch.parts]
    assert [part["first_row"] for part in batch.manifest["parts"]] == list(range(0, rows.height, 300))
    assert batch.manifest["model"]["uri"] == "models:/churn/1"
    assert batch.manifest["source"]["files"][0]["version"].startswith("sha256:")


def test_without_keys_a_row_has_its_file_and_place(place: Path, rows: pl.DataFrame) -> None:
    for number, part in enumerate((rows.head(250), rows.slice(250, 90))):
        write(part, place / "table" / f"{number}.parquet")
    table = run(place / "table", place / "out", shard_rows=100).table
    assert table.columns == ["_file", "_row", "model_version", *SCORES]
    assert table["_file"].to_list() == ["0.parquet"] * 250 + ["1.parquet"] * 90
    assert table["_row"].to_list() == [*range(250), *range(90)]


def test_the_workers_share_the_rows_and_change_nothing(place: Path, rows: pl.DataFrame) -> None:
    for number in range(5):
        write(rows.slice(number * 120, 120), place / "table" / f"{number}.csv")
    alone = run(place / "table", place / "one", shard_rows=50, **KEY)
    assert alone.table["customer"].equals(rows["customer"].head(600))
    for workers in (2, 7):
        batch = run(place / "table", place / f"w{workers}", shard_rows=50, workers=workers, **KEY)
        assert len(batch.shares) == workers
        assert all(batch.scored[:2])
        assert sum(batch.scored) == len(alone.parts)
        assert contents(batch) == contents(alone)


def test_a_regression_has_no_probabilities(
    telco: Telco, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", telco.store(tmp_path))
    table = pl.DataFrame({"x": [float(n) for n in range(60)], "y": [2.0 * n for n in range(60)]})
    train(
        prepare(tmp_path / "p", table, "y", "regression"),
        tmp_path / "m",
        estimator="sklearn.linear_model.Ridge",
    )
    plan = Plan("t.csv", [], "m", "7", "", "auto", "utf-8", ",", [], 10)
    scorer = Scorer(plan, load_predictor(tmp_path / "m"), describe(tmp_path / "m"))
    scores = scorer.score(table.select("x"))
    assert scores.schema == {"model_version": pl.String, "prediction": pl.Float64}
    assert scores["prediction"].to_list() == pytest.approx(table["y"].to_list(), abs=2)


def test_a_table_without_rows_gives_columns_without_rows(place: Path, rows: pl.DataFrame) -> None:
    for name in ("empty.parquet", "empty.csv"):
        batch = run(write(rows.head(0), place / name), place / "out", **KEY)
        assert batch.done.rows == 0
        assert batch.table.height == 0
        assert batch.table.columns == ["customer", "model_version", *SCORES]


@settings(max_examples=60, deadline=None)
@given(sizes=st.lists(st.integers(0, 50), min_size=1, max_size=12), workers=st.integers(1, 15))
def test_every_shard_is_one_worker_s(sizes: list[int], workers: int) -> None:
    files = [SourceFile(f"{number}", "v", size) for number, size in enumerate(sizes)]
    plan = Plan("s", files, "m", "1", "", "auto", "utf-8", ",", [], 10)
    seen = [
        (file, shard)
        for worker in range(workers)
        for file in share_of_files(plan, worker, workers)
        for shard in range(20)[
            share_of_shards(plan, worker, workers)[0] :: share_of_shards(plan, worker, workers)[1]
        ]
    ]
    assert sorted(seen) == [(file, shard) for file in range(len(files)) for shard in range(20)]


# One version for all


def test_a_promotion_midway_changes_nothing(place: Path, rows: pl.DataFrame) -> None:
    source = write(rows, place / "table.parquet")
    shares = make_plan(Request(str(source), "churn", str(place / "out"), shard_rows=300, workers=2, **KEY))
    records = [score_shards(str(place / "out"), shares[0])]
    make_champion(connect(), "churn", "2")
    records.append(score_shards(str(place / "out"), shares[1]))
    first = Batch(str(place / "out"), shares, records, collect(str(place / "out"), records))
    assert set(first.table["model_version"]) == {"1"}
    # A new run has the new champion, in a folder of its own.
    second = run(source, place / "out", shard_rows=300, **KEY)
    assert set(second.table["model_version"]) == {"2"}
    assert second.done.uri != first.done.uri
    assert not second.table.select(SCORES).equals(first.table.select(SCORES))
    assert set(run(source, place / "out", model_version="1", shard_rows=300, **KEY).scored) == {0}


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"model_name": "empty"}, "'empty' has no champion to score with. .*kfp-lifecycle promote empty"),
        ({"model_name": "chrun"}, "no registered model 'chrun'. Did you mean 'churn'"),
        ({"model_version": "9"}, "no version '9'. It has: 1, 2"),
    ],
)
def test_without_such_a_version_nothing_begins(
    place: Path, rows: pl.DataFrame, asked: dict[str, str], said: str
) -> None:
    with pytest.raises(RegistryError, match=said):
        run(write(rows, place / "table.csv"), place / "out", **asked)
    assert not (place / "out").exists()


# Stopped midway


def test_killed_midway_it_goes_on_where_it_was(place: Path, rows: pl.DataFrame) -> None:
    source = write(pl.concat([rows] * 20).with_row_index("n"), place / "table.parquet")
    asked = {"shard_rows": 250, "key_columns": ["n"]}
    whole = run(source, place / "whole", **asked)
    (share,) = make_plan(Request(str(source), "churn", str(place / "out"), **asked))
    results = place / "out" / share.partition("/")[0]
    code = (
        f"from {score_shards.__module__} import score_shards; score_shards({str(place / 'out')!r}, {share!r})"
    )
    for kills in (1, 2):
        worker = subprocess.Popen([sys.executable, "-c", code], env=dict(os.environ))
        before = len(list(results.glob("part-*")))
        deadline = time.monotonic() + 60
        while len(list(results.glob("part-*"))) < before + 3 * kills and time.monotonic() < deadline:
            assert worker.poll() is None
            time.sleep(0.001)
        worker.send_signal(signal.SIGKILL)
        worker.wait()
    found = {path.name: path.stat().st_mtime_ns for path in results.glob("part-*")}
    assert 0 < len(found) < len(whole.parts)
    assert not (results / MANIFEST).exists()
    again = run(source, place / "out", **asked)
    assert sum(again.scored) == len(whole.parts) - len(found)
    assert {name: (results / name).stat().st_mtime_ns for name in found} == found
    assert contents(again) == contents(whole)
    assert again.table["n"].to_list() == list(range(rows.height * 20))
    assert sum(run(source, place / "out", **asked).scored) == 0


def test_a_damaged_part_is_made_again_and_no_other(place: Path, rows: pl.DataFrame) -> None:
    source = write(rows, place / "table.parquet")
    first = run(source, place / "out", shard_rows=200, **KEY)
    good = contents(first)
    cut, spoilt, short, *_ = first.parts
    cut.write_bytes(good[cut.name][:-20])
    middle = len(good[spoilt.name]) // 2
    spoilt.write_bytes(good[spoilt.name][: middle - 200] + bytes(400) + good[spoilt.name][middle + 200 :])
    pl.read_parquet(short).head(10).write_parquet(short)
    again = run(source, place / "out", shard_rows=200, **KEY)
    assert sum(again.scored) == 3
    assert contents(again) == good


def test_a_table_that_has_changed_gets_scores_of_its_own(place: Path, rows: pl.DataFrame) -> None:
    files = [write(rows.slice(n * 100, 100), place / "table" / f"{n}.csv") for n in range(3)]
    before = run(place / "table", place / "out", **KEY)
    write(rows.slice(700, 50), files[1])
    after = run(place / "table", place / "out", **KEY)
    expected = pl.concat([rows[:100], rows[700:750], rows[200:300]])
    assert after.table["customer"].equals(expected["customer"])
    assert after.done.rows == 250
    assert before.table.height == 300


def test_a_full_disk_ends_in_one_line_and_the_parts_before_stay(
    place: Path, rows: pl.DataFrame, small_disk: Path
) -> None:
    source = write(pl.concat([rows] * 10), place / "table.parquet")
    with pytest.raises(StorageError, match="no space left"):
        run(source, small_disk, shard_rows=500)
    parts = list(small_disk.glob("*/part-*"))
    assert parts
    assert all(pl.read_parquet(part).height == 500 for part in parts)


# What is wrong with a table, and where


def test_a_missing_column_is_named_with_its_file(place: Path, rows: pl.DataFrame) -> None:
    write(rows.head(50), place / "table" / "a.csv")
    write(rows.head(50).rename({"tenure": "tenur"}).drop("contract"), place / "table" / "b.csv")
    with pytest.raises(
        SchemaError, match=r"b\.csv has no column 'tenure', 'contract'.*Did you mean 'tenur'\?"
    ):
        run(place / "table", place / "out")
    with pytest.raises(SchemaError, match=r"a\.csv has no column 'customr', which is a key.*'customer'"):
        run(place / "table", place / "out2", key_columns=["customr"])


@pytest.mark.parametrize("name", ["table.parquet", "table.csv"])
def test_a_wrong_value_is_named_with_column_file_and_rows(place: Path, rows: pl.DataFrame, name: str) -> None:
    wrong = rows.with_columns(
        pl.when(pl.col("customer") == "00450")
        .then(pl.lit("soon"))
        .otherwise(pl.col("tenure").cast(pl.String))
        .alias("tenure")
    )
    source = write(wrong, place / name)
    with pytest.raises(SchemaError, match=rf"{name}, rows 400 to 500: Column 'tenure' .*'soon'"):
        run(source, place / "out", shard_rows=100)
    assert len(list((place / "out").glob("*/part-*"))) == 4
    # Mended, it is another table; nothing of the wrong one is taken for its scores.
    assert run(write(rows, place / name), place / "out", shard_rows=100).done.rows == rows.height


def test_a_column_of_another_type_is_named(place: Path, rows: pl.DataFrame) -> None:
    wrong = rows.with_columns(pl.lit([1.0, 2.0]).alias("tenure"))
    with pytest.raises(SchemaError, match="Column 'tenure'"):
        run(write(wrong, place / "table.parquet"), place / "out")


def test_a_truncated_source_is_said(place: Path, rows: pl.DataFrame) -> None:
    source = write(rows, place / "table.parquet")
    source.write_bytes(source.read_bytes()[:-300])
    with pytest.raises(SourceError, match=r"table\.parquet is not a whole Parquet file"):
        run(source, place / "out")


def test_a_source_that_changes_or_goes_between_plan_and_work_is_said(place: Path, rows: pl.DataFrame) -> None:
    source = write(rows, place / "table.csv")
    (share,) = make_plan(Request(str(source), "churn", str(place / "out")))
    os.utime(source, ns=(1, 1))
    with pytest.raises(SourceError, match=r"table\.csv has changed since the shards were planned"):
        score_shards(str(place / "out"), share)
    source.unlink()
    with pytest.raises(SourceError, match="was there when the shards were planned, and is gone"):
        score_shards(str(place / "out"), share)


@pytest.mark.parametrize(
    ("source", "kind", "said"),
    [
        ("nowhere.csv", SourceError, "nowhere.csv does not exist"),
        ("ftp://host/t.csv", SourceError, "ftp://, which batch inference does not read"),
        ("s3://user:hush@bucket/t.csv", ParameterError, "holds a password"),
    ],
)
def test_a_source_that_cannot_be_is_refused(
    place: Path, source: str, kind: type[Exception], said: str
) -> None:
    with pytest.raises(kind, match=said) as caught:
        run(source, place / "out")
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    "asked", [{"shard_rows": 0}, {"workers": -1}, {"file_format": "xlsx"}, {"key_columns": [1.0]}]
)
def test_a_wrong_parameter_is_named(asked: dict[str, object]) -> None:
    with pytest.raises(ParameterError, match=next(iter(asked))):
        Request("t.csv", "churn", "out", **asked)


def test_a_key_cannot_have_the_name_of_a_score(place: Path, rows: pl.DataFrame) -> None:
    source = write(rows.rename({"customer": "prediction"}), place / "table.csv")
    with pytest.raises(ParameterError, match="The key column 'prediction'"):
        run(source, place / "out", key_columns=["prediction"])


def test_an_output_that_the_steps_do_not_share_is_said(place: Path, rows: pl.DataFrame) -> None:
    (share,) = make_plan(Request(str(write(rows, place / "t.csv")), "churn", str(place / "out")))
    with pytest.raises(StorageError, match="Give an output that all steps reach"):
        score_shards(str(place / "elsewhere"), share)


# The end


def test_the_artifact_is_the_folder_of_the_scores(place: Path, rows: pl.DataFrame) -> None:
    batch = run(write(rows, place / "t.csv"), place / "out", shard_rows=400, **KEY)
    artifact = Artifact(str(place / "artifact"))
    uri = collect_shards_step(records=batch.records, output=batch.output, predictions=artifact)
    assert artifact.uri == uri == batch.done.uri
    assert artifact.metadata["rows"] == rows.height
    assert artifact.metadata["model_version"] == "1"
    assert artifact.metadata["model_digest"].startswith("sha256:")


def test_scores_with_a_gap_get_no_manifest(place: Path, rows: pl.DataFrame) -> None:
    source = write(rows, place / "t.parquet")
    shares = make_plan(Request(str(source), "churn", str(place / "out"), shard_rows=200, workers=2))
    records = [score_shards(str(place / "out"), share) for share in shares]
    results = place / "out" / shares[0].partition("/")[0]
    with pytest.raises(StorageError, match=r"end at row 200 of t\.parquet"):
        collect(str(place / "out"), records[:1])
    sorted(results.glob("part-*"))[3].unlink()
    with pytest.raises(StorageError, match=r"end at row 600 of t\.parquet"):
        collect(str(place / "out"), records)
    assert not (results / MANIFEST).exists()


def test_a_model_that_is_not_ours_is_said(place: Path, rows: pl.DataFrame) -> None:
    client = connect()
    client.create_registered_model("other")
    folder = place / "other"
    folder.mkdir()
    (folder / "MLmodel").write_text("flavors: {}\n")
    client.create_model_version("other", folder.as_uri())
    with pytest.raises(SchemaError, match="is not a Model artifact of kfp-lifecycle"):
        run(write(rows, place / "t.csv"), place / "out", model_name="other", model_version="1")
