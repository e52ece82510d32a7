"""What monitoring keeps: on a folder and on a real S3 server."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import polars as pl
import pytest

from kfp_lifecycle.components.monitor.history import History, Retraining, Row, retraining_name
from kfp_lifecycle.components.shared.errors import MonitorError
from tests.servers import s3_server

NOON = datetime(2013, 7, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def row(day: int = 0, *, model: str = "flights late/1", version: str = "3", alarm: bool = False) -> Row:
    return Row(
        model=model,
        version=version,
        start=NOON + (day - 1) * DAY,
        end=NOON + day * DAY,
        looked=NOON + day * DAY + timedelta(minutes=5),
        rows=1000,
        verdict="drift" if alarm else "steady",
        retrain=False,
        reasons=["month: psi 0.9 > 0.1"],
        drift_share=0.25,
        drifted=["month", "dep_time"],
        scores={"month": 0.9, "dep_time": 0.2, "origin": 0.0},
        accuracy=0.8,
    )


def retraining(day: int, **more: str) -> Retraining:
    end = NOON + day * DAY
    return Retraining(retraining_name("m", "3", end), "m", "3", end, end, **more)


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with s3_server(tmp_path_factory.mktemp("s3")) as there, pytest.MonkeyPatch.context() as patch:
        for name, value in there.items():
            patch.setenv(name, value)
        boto3.client("s3").create_bucket(Bucket="monitoring")
        yield "s3://monitoring/history"


@pytest.fixture(params=["folder", "bucket"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "folder":
        return str(tmp_path / "history")
    return f"{request.getfixturevalue('bucket')}/{tmp_path.name}"


@pytest.mark.server
def test_what_is_kept_is_read_back(uri: str) -> None:
    history = History(uri)
    assert history.recent("flights late/1", "3", NOON, 5) == []
    for day in (1, 0, 2):
        history.append(row(day))
    assert history.rows("flights late/1") == [row(0), row(1), row(2)]
    assert History(uri).recent("flights late/1", "3", NOON + 2 * DAY, 1) == [row(1)]
    assert history.recent("flights late/1", "3", NOON + 3 * DAY, 2) == [row(1), row(2)]

    history.keep(retraining(2))
    history.keep(retraining(1))
    history.keep(done := retraining(2, run_id="r", link="http://ui/r", state="running"))
    assert history.retrainings("m") == [retraining(1), done]


def test_a_window_that_is_looked_at_again_is_kept_once(tmp_path: Path) -> None:
    history = History(str(tmp_path))
    history.append(row(alarm=False))
    history.append(again := replace(row(alarm=True), looked=NOON + DAY))
    assert history.rows("flights late/1") == [again]


def test_models_and_versions_are_kept_apart(tmp_path: Path) -> None:
    history = History(str(tmp_path))
    for model, version in (("a", "1"), ("a", "2"), ("a/b", "1")):
        history.append(row(model=model, version=version))
    assert [one.version for one in history.rows("a")].count("1") == 1
    assert history.recent("a", "2", NOON + DAY, 9) == [row(model="a", version="2")]
    assert history.rows("a/b") == [row(model="a/b", version="1")]


def test_it_is_a_table_for_anybody(tmp_path: Path) -> None:
    history = History(str(tmp_path))
    for day in (0, 1):
        history.append(row(day))
    table = pl.read_parquet(tmp_path / "windows" / "**" / "*.parquet")
    assert table["drift_share"].to_list() == [0.25, 0.25]
    scores = table.explode("scores").unnest("scores").filter(pl.col("column") == "month")
    assert scores["score"].to_list() == [0.9, 0.9]


@pytest.mark.parametrize("name", ["windows", "retrainings"])
@pytest.mark.parametrize("content", [b"PAR1 and no more", b'{"name": 1}', b""])
def test_a_damaged_file_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    history = History(str(tmp_path))
    history.append(row(model="m"))
    history.keep(retraining(0))
    (file,) = (tmp_path / name / "m").iterdir()
    file.write_bytes(content)
    with pytest.raises(MonitorError, match=file.name):
        history.rows("m") if name == "windows" else history.retrainings("m")


def test_a_runs_name_is_of_model_version_and_window() -> None:
    name = retraining_name("Flights late/1", "3", NOON)
    assert name.startswith("retrain-flights-late-1-20130701-1200-")
    assert name == retraining_name("Flights late/1", "3", NOON.astimezone())
    others = {retraining_name("flights late/1", "3", NOON), retraining_name("Flights late/1", "4", NOON)}
    assert name not in others
