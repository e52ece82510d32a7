"""The online store as a model is given it: the same values as the point-in-time join gives for now."""

import datetime as dt
import random
from pathlib import Path

import polars as pl
from polars.testing import assert_frame_equal

from kfp_lifecycle.components.feature_store.historical import retrieve
from kfp_lifecycle.components.feature_store.materialize import materialize
from kfp_lifecycle.components.feature_store.online import OnlineFeatures
from kfp_lifecycle.components.feature_store.references import select
from tests.components.feature_store.repositories import Users, history, make_users

TTL = dt.timedelta(days=30)


def some_events(users: int, now: dt.datetime) -> pl.DataFrame:
    """Up to four events a user: fresh, old, just within and just beyond the time to live, with gaps."""
    chance = random.Random(3)
    rows = []
    for user in range(users):
        for _ in range(chance.randrange(4)):
            minute = dt.timedelta(minutes=chance.choice([-10, 10]))
            age = chance.choice([dt.timedelta(days=chance.randrange(1, 90) + 0.3), TTL + minute])
            known = now - age
            plan = chance.choice(["basic", "premium", None])
            values = [
                chance.choice([None, chance.randrange(9)]),
                chance.uniform(1, 99),
                plan,
                chance.random() < 0.5,
            ]
            rows.append((user, known, known, *values))
    return history(rows).unique(["user_id", "event_timestamp"], maintain_order=True)


def test_online_gives_what_the_join_gives_for_now(tmp_path: Path) -> None:
    now = dt.datetime.now(dt.UTC)
    users: Users = make_users(tmp_path / "users", some_events(150, now))
    repository = users.open()
    materialize(repository, ["user_statistics"], (now - dt.timedelta(days=200)).isoformat())
    selection = select(repository, "with_basket", [])
    columns = selection.columns(["user_id", "basket"])
    asked = pl.DataFrame({"user_id": range(155), "basket": [4.0] * 155, "at": [now] * 155})
    offline = retrieve(asked, repository, selection, "at", columns)
    looked = OnlineFeatures(repository, selection, columns).look_up(
        {"user_id": asked["user_id"].to_list(), "basket": asked["basket"].to_list()}
    )
    fresh = {
        name: [
            None if late else value
            for value, late in zip(values, looked.stale.get(name, [False] * 155), strict=True)
        ]
        for name, values in looked.values.items()
    }
    online = pl.DataFrame(fresh, schema={name: offline.schema[name] for name in fresh})
    assert_frame_equal(online.select(offline.columns), offline)
    # There is something to agree on, and something that is stale.
    assert 20 < offline["plan"].null_count() < 150
    assert sum(looked.stale["purchases_7d"]) > 10


def test_a_ping_needs_no_entity(tmp_path: Path) -> None:
    now = dt.datetime.now(dt.UTC)
    users = make_users(tmp_path / "users", some_events(3, now))
    repository = users.open()
    selection = select(repository, "", ["basket_view:basket_share"])
    online = OnlineFeatures(repository, selection, selection.columns([]))
    online.ping()
    assert online.look_up({"user_id": [], "basket": []}).values == {"basket_share": []}
    assert online.look_up({"user_id": [None], "basket": [1.0]}).values == {"basket_share": [None]}
