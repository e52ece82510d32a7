"""No leak: every joined value against a slow, obvious search; and offline and online agree."""

import datetime as dt
import os
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kfp_lifecycle.components.feature_store.historical import retrieve
from kfp_lifecycle.components.feature_store.materialize import materialize
from kfp_lifecycle.components.feature_store.references import select
from kfp_lifecycle.components.feature_store.repository import Repository
from tests.components.feature_store.repositories import (
    FEASTS,
    NOW,
    UTC,
    Users,
    history,
    known_at,
    make_users,
    some_history,
)

TTL = dt.timedelta(days=30)
EXAMPLES = 2000 if os.environ.get("SOAK") else 60

#: Few moments, so that ties, and rows at either end of the TTL, come up often.
MOMENTS = st.sampled_from(
    [
        NOW + offset + jitter
        for offset in (-2 * TTL, -TTL, dt.timedelta(days=-1), dt.timedelta(0), dt.timedelta(days=1))
        for jitter in (dt.timedelta(0), dt.timedelta(microseconds=1), -dt.timedelta(microseconds=1))
    ]
)
EVENTS = st.lists(
    st.tuples(
        st.sampled_from([1, 2, 3, None]),
        st.one_of(MOMENTS, st.none()),
        st.one_of(MOMENTS, st.none()),
        st.one_of(st.integers(-5, 5), st.none()),
        st.one_of(st.floats(-5, 5, width=32), st.none()),
        st.sampled_from(["basic", "premium", None]),
        st.sampled_from([True, False, None]),
    ),
    max_size=25,
)
QUESTIONS = st.lists(st.tuples(st.sampled_from([1, 2, 3, 4, None]), MOMENTS), min_size=1, max_size=15)


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> tuple[Users, Repository]:
    users = make_users(tmp_path_factory.mktemp("random"), some_history())
    return users, users.open()


def ask(repository: Repository, rows: pl.DataFrame) -> list[dict[str, Any]]:
    selection = select(repository, "users_v1", [])
    found = retrieve(rows, repository, selection, "time", selection.columns(rows.columns))
    return found.to_dicts()


def questions(rows: list[tuple[int | None, dt.datetime]], zone: str = "UTC") -> pl.DataFrame:
    frame = pl.DataFrame(rows, schema={"user_id": pl.Int64, "time": pl.Datetime("us", "UTC")}, orient="row")
    return frame.with_columns(pl.col("time").dt.convert_time_zone(zone))


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=EVENTS, asked=QUESTIONS, zone=st.sampled_from(["UTC", "Asia/Tokyo", "America/New_York", None]))
def test_every_joined_value_is_the_newest_that_was_known(
    opened: tuple[Users, Repository],
    events: list[tuple[Any, ...]],
    asked: list[tuple[int | None, dt.datetime]],
    zone: str | None,
) -> None:
    users, repository = opened
    table = history(events)
    # The same moments as the source may have them: in any zone, or in UTC without one.
    times = pl.col("event_timestamp", "created")
    written = times.dt.convert_time_zone(zone) if zone else times.dt.replace_time_zone(None)
    table.with_columns(written).write_parquet(users.source)
    expected = [known_at(table, user, time, TTL) for user, time in asked]
    assert ask(repository, questions(asked)) == expected


@pytest.mark.parametrize("settings_", [FEASTS], ids=["feast's own store"])
def test_feasts_own_store_gives_the_same_on_rows_without_ties(
    settings_: dict[str, Any], tmp_path: Path, opened: tuple[Users, Repository]
) -> None:
    table = some_history()
    ours, repository = opened
    table.write_parquet(ours.source)
    theirs = make_users(tmp_path / "feasts", table, settings_).open()
    day = dt.timedelta(days=1)
    rows = questions(
        [(user, NOW - back * day) for user in (1, 2, 3, 4) for back in (0, 1, 2.5, 4, 20, 41)] * 2
    )
    assert ask(repository, rows) == ask(theirs, rows)


def test_a_row_of_many_chunks_keeps_its_place(opened: tuple[Users, Repository]) -> None:
    users, repository = opened
    some_history().write_parquet(users.source)
    asked = [(user, NOW - dt.timedelta(hours=hours)) for hours in range(200) for user in (3, 2, None, 1)]
    expected = [known_at(some_history(), user, time, TTL) for user, time in asked]
    assert ask(repository, questions(asked)) == expected


@settings(max_examples=EXAMPLES // 6, deadline=None, suppress_health_check=list(HealthCheck))
@given(events=EVENTS)
def test_offline_and_online_agree_for_every_entity(
    tmp_path_factory: pytest.TempPathFactory, events: list[tuple[Any, ...]]
) -> None:
    folder = tmp_path_factory.mktemp("agree")
    users = make_users(folder, history(events))
    repository = users.open()
    end = NOW + dt.timedelta(hours=1)
    materialize(repository, (), "", end.isoformat())
    names = ["purchases_7d", "amount_7d", "plan", "is_active"]
    online = repository.store.get_online_features(
        [f"user_statistics:{name}" for name in names], [{"user_id": user} for user in (1, 2, 3, 4)]
    ).to_dict()
    offline = ask(repository, questions([(user, end) for user in (1, 2, 3, 4)]))
    assert [{name: online[name][row] for name in names} for row in range(4)] == offline


def test_an_older_window_replaces_no_newer_value(tmp_path: Path) -> None:
    repository = make_users(tmp_path, some_history()).open()
    day = dt.timedelta(days=1)
    materialize(repository, (), "", NOW.isoformat())
    materialize(repository, (), (NOW - 6 * day).isoformat(), (NOW - 4 * day).isoformat())
    found = repository.store.get_online_features(["user_statistics:amount_7d"], [{"user_id": 3}]).to_dict()
    assert found["amount_7d"] == [5.5]


def test_moments_are_moments_in_any_zone(opened: tuple[Users, Repository]) -> None:
    users, repository = opened
    table = history([(1, dt.datetime(2026, 3, 29, 1, 30, tzinfo=UTC), None, 1, 1.0, None, None)])
    table.write_parquet(users.source)
    # Half past one UTC is half past three in Berlin, in the hour that its clocks leave out.
    before = dt.datetime(2026, 3, 29, 1, 29, 59, tzinfo=UTC)
    after = dt.datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
    rows = questions([(1, before), (1, after)], zone="Europe/Berlin")
    assert [row["purchases_7d"] for row in ask(repository, rows)] == [None, 1]
