"""The prediction log as its readers see it: files by day, in a folder and in a real bucket."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import polars as pl
import pytest

from kfp_lifecycle.components.shared.errors import ParameterError
from kfp_lifecycle.components.shared.prediction_log import (
    COLUMNS,
    MODEL,
    REQUEST_ID,
    ROW,
    TIME,
    VERSION,
    part_name,
    read_log,
)
from kfp_lifecycle.components.shared.storage import open_store
from tests.servers import s3_server

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def write(uri, tmp_path, moment, columns, sequence=0):
    """One file as a server writes it, with one row for each value of the columns."""
    count = len(next(iter(columns.values())))
    rows = pl.DataFrame(
        {
            TIME: [moment] * count,
            REQUEST_ID: ["a"] * count,
            ROW: range(count),
            MODEL: ["churn"] * count,
            VERSION: ["1"] * count,
        },
        schema=COLUMNS,
    ).with_columns(pl.Series(name, values) for name, values in columns.items())
    name, file = part_name(moment, "web-1", sequence), tmp_path / "part.parquet"
    rows.write_parquet(file)
    open_store(uri).write(file, name)
    return name


@pytest.fixture(scope="module")
def bucket(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch, s3_server(tmp_path_factory.mktemp("s3")) as s3:
        for name, value in s3.items():
            patch.setenv(name, value)
        boto3.client("s3").create_bucket(Bucket="log")
        yield "s3://log/predictions"


@pytest.fixture(params=["folder", "file", pytest.param("bucket", marks=pytest.mark.server)])
def place(request, tmp_path):
    if request.param == "bucket":
        return f"{request.getfixturevalue('bucket')}/{tmp_path.name}"
    return str(tmp_path / "log [1]") if request.param == "folder" else f"file://{tmp_path}/log"


def test_a_name_says_the_day_in_utc_and_the_moment():
    tokyo = datetime.fromisoformat("2026-11-23T08:00:00.5+09:00")
    assert part_name(tokyo, "web-1", 7) == "date=2026-11-22/part-1795388400500-web-1-000007.parquet"


def test_the_rows_between_two_moments_come_back_and_those_of_other_days_are_not_read(place, tmp_path):
    for days in range(-3, 4):
        write(place, tmp_path, NOON + timedelta(days=days), {"x": [days]})
    # Files of days that are not asked for would be named if they were read.
    for day in ("2026-11-20", "2026-11-24"):
        junk = tmp_path / "junk"
        junk.write_bytes(b"junk")
        open_store(place).write(junk, f"date={day}/part-0-web-0.parquet")
    rows, problems = read_log(place, NOON - timedelta(days=1), NOON + timedelta(days=1))
    assert problems == []
    assert sorted(rows.collect()["x"]) == [-1, 0], "from the start, and up to but not with the end"
    assert problems == []
    assert rows.collect_schema().names()[:5] == list(COLUMNS)


def test_a_day_that_begins_when_the_window_ends_is_not_read(tmp_path):
    midnight = datetime(2026, 11, 23)  # UTC, as no zone is said
    (tmp_path / "log" / "date=2026-11-23").mkdir(parents=True)
    (tmp_path / "log" / "date=2026-11-23" / "part-0-a-0.parquet").write_bytes(b"junk")
    assert read_log(str(tmp_path / "log"), midnight - timedelta(days=1), midnight).problems == []
    assert len(read_log(str(tmp_path / "log"), midnight, midnight + timedelta(hours=1)).problems) == 1


def test_files_that_were_cut_short_are_skipped_and_each_is_named(place, tmp_path):
    names = [write(place, tmp_path, NOON, {"x": list(range(50))}, sequence) for sequence in range(4)]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    open_store(place).read(names[1], whole)
    for name, size in ((names[1], 0), (names[2], 60), (names[3], whole.stat().st_size - 5)):
        cut.write_bytes(whole.read_bytes()[:size])
        open_store(place).write(cut, name)
    rows, problems = read_log(place, NOON, NOON + timedelta(seconds=1))
    assert rows.collect().height == 50
    assert len(problems) == 3
    for name, problem in zip(names[1:], sorted(problems), strict=True):
        assert problem.startswith(name)
        assert "no whole Parquet file" in problem


def test_versions_with_other_columns_and_types_are_read_together(tmp_path):
    place = str(tmp_path / "log")
    write(place, tmp_path, NOON, {"tenure": [1, 2], "prediction": ["yes", "no"]}, 0)
    write(place, tmp_path, NOON, {"tenure": [2.5], "city": ["Rome"], "prediction": ["no"]}, 1)
    write(place, tmp_path, NOON, {"tenure": ["5e884898da28"], "prediction": ["no"]}, 2)
    found = read_log(place, NOON, NOON + timedelta(days=1)).rows.sort("city", "tenure").collect()
    assert sorted(found["tenure"]) == sorted(["1", "2", "2.5", "5e884898da28"])
    assert found["city"].drop_nulls().to_list() == ["Rome"]
    assert found["prediction"].null_count() == 0


def test_other_tables_in_the_folder_are_named(tmp_path):
    folder = tmp_path / "log" / "date=2026-11-22"
    folder.mkdir(parents=True)
    pl.DataFrame({"x": [1]}).write_parquet(folder / "part-0-a-0.parquet")
    pl.DataFrame({name: ["text"] for name in COLUMNS}).write_parquet(folder / "part-1-a-0.parquet")
    (folder / "notes.txt").write_text("not a part of the log")
    rows, problems = read_log(str(tmp_path / "log"), NOON, NOON + timedelta(days=1))
    assert rows.collect().height == 0
    assert [problem.partition(" ")[0] for problem in problems] == [
        "date=2026-11-22/part-0-a-0.parquet",
        "date=2026-11-22/part-1-a-0.parquet",
    ]
    assert "no column _time" in problems[0]


def test_a_log_without_a_file_has_its_columns_and_no_rows(place):
    rows, problems = read_log(place, NOON - timedelta(days=7), NOON)
    assert dict(rows.collect().schema) == COLUMNS
    assert rows.collect().height == 0
    assert problems == []


def test_moments_the_wrong_way_round_are_refused(tmp_path):
    with pytest.raises(ParameterError, match=r"from 2026-11-22 .* to 2026-11-21"):
        read_log(str(tmp_path), NOON, NOON - timedelta(days=1))
    assert read_log(str(tmp_path), NOON, NOON).rows.collect().height == 0


@pytest.mark.server
def test_a_file_of_the_bucket_that_goes_while_the_log_is_read_is_named(bucket, tmp_path, monkeypatch):
    place = f"{bucket}/{tmp_path.name}"
    gone, kept = (write(place, tmp_path, NOON, {"x": [1]}, sequence) for sequence in range(2))
    listed = type(open_store(place)).names

    def listing(store, folder=""):
        names = listed(store, folder)
        store.delete(gone)
        return names

    monkeypatch.setattr(type(open_store(place)), "names", listing)
    rows, problems = read_log(place, NOON, NOON + timedelta(days=1))
    assert rows.collect().height == 1
    assert len(problems) == 1
    assert Path(gone).name in problems[0]
    assert kept not in problems[0]
