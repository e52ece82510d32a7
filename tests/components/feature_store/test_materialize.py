"""Materialization: incremental, idempotent, resumed after a failure, one at a time, and told about."""

import datetime as dt
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from kfp_lifecycle.components.feature_store import lock
from kfp_lifecycle.components.feature_store.apply import apply
from kfp_lifecycle.components.feature_store.materialize import failures, materialize
from kfp_lifecycle.components.feature_store_apply.component import feature_store_apply
from kfp_lifecycle.components.feature_store_materialize.component import feature_store_materialize
from kfp_lifecycle.components.shared.errors import FeatureStoreError, ParameterError
from tests.components.feature_store.repositories import (
    FEASTS,
    NOW,
    OWN,
    Users,
    history,
    make_users,
    some_history,
)
from tests.components.trained import Artifact

DAY = dt.timedelta(days=1)

SECOND_VIEW = """
visits = FileSource(name="visits", path="data/visits.parquet", timestamp_field="event_timestamp")
a_visits = FeatureView(
    name="a_visits", entities=[user], schema=[Field(name="visits", dtype=Int64)], source=visits
)
"""


@pytest.fixture(params=[OWN, FEASTS], ids=["our stores", "feast's stores"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Users:
    return make_users(tmp_path / "repository", some_history(), request.param)


def online(users: Users) -> list[tuple[Any, ...]]:
    with sqlite3.connect(users.folder / "data" / "online.db") as connection:
        return sorted(connection.execute("SELECT * FROM shop_user_statistics").fetchall(), key=repr)


def two_views(folder: Path) -> Users:
    users = make_users(folder, some_history())
    with (folder / "definitions.py").open("a") as file:
        file.write(SECOND_VIEW)
    pl.DataFrame({"user_id": [1, 2], "event_timestamp": [NOW, NOW], "visits": [5, 6]}).write_parquet(
        folder / "data" / "visits.parquet"
    )
    apply(users.uri)
    return users


def test_increments_go_on_where_the_last_one_ended_and_repeat_harmlessly(store: Users) -> None:
    repository = store.open()
    first = materialize(repository, (), "", NOW.isoformat())[0]
    assert (first.start, first.end, first.rows) == (NOW - 30 * DAY, NOW, 2)
    assert (first.newest, first.age) == (NOW - 2 * DAY, 2 * DAY)
    written = online(store)
    again = materialize(store.open(), (), "", NOW.isoformat())[0]
    assert (again.start, again.rows) == (None, 0)
    later = history([(1, NOW + DAY, NOW + DAY, 1, 1.0, "new", True)])
    pl.concat([some_history(), later]).write_parquet(store.source)
    second = materialize(store.open(), (), "", (NOW + 2 * DAY).isoformat())[0]
    assert (second.start, second.rows, second.age) == (NOW, 1, DAY)
    # The whole window anew gives what is there, beside the new row.
    materialize(store.open(), (), (NOW - 30 * DAY).isoformat(), NOW.isoformat())
    assert {row[:4] for row in written} <= {row[:4] for row in online(store)}


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        ("2026-05-02", "2026-05-01", "is empty"),
        ("2026-05-02", "2026-05-02", "is empty"),
        ("", "9999-01-01", "is in the future"),
        ("yesterday", "", "which is no time"),
    ],
)
def test_windows_that_cannot_be(users: Users, start: str, end: str, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        materialize(users.open(), (), start, end)


def test_a_window_in_which_nothing_happened(tmp_path: Path) -> None:
    repository = make_users(tmp_path, some_history()).open()
    report = materialize(repository, (), "2020-01-01", "2020-02-01")[0]
    assert (report.rows, report.newest, report.error) == (0, None, "")


def test_a_view_that_is_not_there(users: Users) -> None:
    with pytest.raises(FeatureStoreError, match="Did you mean 'user_statistics'"):
        materialize(users.open(), ["user_statistic"])


def test_a_view_that_fails_keeps_no_other_and_is_done_by_the_next_run(tmp_path: Path) -> None:
    users = two_views(tmp_path)
    visits = users.folder / "data" / "visits.parquet"
    visits.rename(visits.with_suffix(".away"))
    reports = materialize(users.open(), (), "", NOW.isoformat())
    assert [(report.view, report.rows, bool(report.error)) for report in reports] == [
        ("a_visits", None, True),
        ("user_statistics", 2, False),
    ]
    error = failures(reports)
    assert error is not None
    assert "'a_visits' failed" in str(error)
    assert "1 of 2 views are done" in str(error)
    visits.with_suffix(".away").rename(visits)
    again = materialize(users.open(), (), "", NOW.isoformat())
    assert [(report.view, report.rows, report.error) for report in again] == [
        ("a_visits", 2, ""),
        ("user_statistics", 0, ""),
    ]


KILLED = """
import sys, time
from kfp_lifecycle.components.feature_store.repository import open_repository
from kfp_lifecycle.components.feature_store.materialize import materialize
from kfp_lifecycle.components.feature_store.engine.sqlite import ChunkedSqliteOnlineStore as Store
write = Store.online_write_batch
def slow(self, *arguments, **named):
    write(self, *arguments, **named)
    print("written", file=sys.__stdout__, flush=True)  # Feast's own output goes to nobody
    time.sleep(600)
Store.online_write_batch = slow
materialize(open_repository(sys.argv[1]), ["user_statistics"], "", sys.argv[2])
"""


def test_a_run_that_is_killed_half_way_is_finished_by_the_next(tmp_path: Path) -> None:
    events = history([(n, NOW - DAY, NOW - DAY, n, float(n), "basic", True) for n in range(25)])
    chunked = {**OWN, "batch_engine": {**OWN["batch_engine"], "chunk": 10}}
    users = make_users(tmp_path, events, chunked)
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, users.uri, NOW.isoformat()], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    child.stdout.readline()
    # Meanwhile no other may write.
    with pytest.raises(FeatureStoreError, match=f"is being written: materialization, process {child.pid}"):
        materialize(users.open(), (), "", NOW.isoformat())
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert 0 < len(online(users)) < 25 * 4
    report = materialize(users.open(), (), "", NOW.isoformat())[0]
    assert (report.rows, report.error) == (25, "")
    assert len(online(users)) == 25 * 4


def test_the_components(tmp_path: Path) -> None:
    users = make_users(tmp_path / "repository", some_history())
    definitions, metrics, report = (
        Artifact(str(tmp_path / name)) for name in ("definitions", "metrics", "report")
    )
    digest, changed = feature_store_apply.python_func(feature_store=users.uri, definitions=definitions)
    assert (digest, changed) == (users.open().digest(), False)
    assert "`user_statistics`" in Path(definitions.path).read_text()
    rows = feature_store_materialize.python_func(
        feature_store=users.uri, metrics=metrics, report=report, end=NOW.isoformat()
    )
    assert rows == 2
    assert metrics.metadata == {"user_statistics_rows": 2, "user_statistics_age_hours": 48.0}
    page = Path(report.path).read_text()
    assert re.search(r"<td>user_statistics</td>.*2 d", page.replace("\n", " "))
    assert "Age of each feature view" in page
    # Materializing is no change of the definitions.
    assert users.open().digest() == digest


def test_a_view_that_failed_fails_the_step_with_its_report_removed(tmp_path: Path) -> None:
    users = make_users(tmp_path / "repository", some_history())
    users.source.unlink()
    metrics, report = (Artifact(str(tmp_path / name)) for name in ("metrics", "report"))
    with pytest.raises(FeatureStoreError, match=r"'user_statistics' failed.*does not exist"):
        feature_store_materialize.python_func(feature_store=users.uri, metrics=metrics, report=report)


def test_a_changed_definition_changes_the_digest(tmp_path: Path) -> None:
    users = make_users(tmp_path, some_history())
    before = users.open().digest()
    definitions = users.folder / "definitions.py"
    definitions.write_text(definitions.read_text().replace("days=30", "days=31"))
    applied = apply(users.uri)
    assert applied.changed
    assert applied.digest != before


class Memory:
    """Stands in for one object of a bucket with conditional writes."""

    def __init__(self) -> None:
        self.content, self.version = b"", None

    def read(self) -> tuple[bytes, Any]:
        return self.content, self.version

    def write(self, content: bytes, version: Any) -> Any:
        if version != self.version:
            return None
        self.content, self.version = content, (self.version or 0) + 1
        return self.version

    def delete(self) -> None:
        self.content, self.version = b"", None


def test_a_lease_is_exclusive_renewed_and_taken_over_when_its_holder_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    item = Memory()
    monkeypatch.setattr(lock, "LEASE", dt.timedelta(seconds=0.4))
    with lock._lease(item, "first", "s3://a"):
        time.sleep(0.6)  # beyond the lease, which was renewed
        with (
            pytest.raises(FeatureStoreError, match="is being written: first"),
            lock._lease(item, "second", "s3://a"),
        ):
            pass
    assert item.version is None
    item.write(lock._lease_until("dead"), None)
    time.sleep(0.5)
    with lock._lease(item, "third", "s3://a"):
        assert b"third" in item.content
