"""Small Feast repositories, and the slow, obvious answer to what was known when."""

import datetime as dt
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from kfp_lifecycle.components.feature_store.apply import apply
from kfp_lifecycle.components.feature_store.repository import Repository, open_repository

UTC = dt.UTC
NOW = dt.datetime(2026, 6, 1, tzinfo=UTC)
ENGINE = "kfp_lifecycle.components.feature_store.engine"

OWN = {
    "offline_store": {"type": f"{ENGINE}.offline.PolarsOfflineStore"},
    "batch_engine": {"type": f"{ENGINE}.compute.PolarsComputeEngine"},
    "online_store": {"type": f"{ENGINE}.sqlite.ChunkedSqliteOnlineStore", "path": "data/online.db"},
}
FEASTS = {"offline_store": {"type": "file"}, "online_store": {"type": "sqlite", "path": "data/online.db"}}

#: The guide's: the `user` entity and `user_statistics`, with a TTL of 30 days and four features.
USERS = """
from datetime import timedelta
import pandas as pd
from feast import Entity, FeatureService, FeatureView, Field, FileSource, RequestSource, ValueType
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Bool, Float64, Int64, String

user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.INT64)
events = FileSource(
    name="events", path="{path}", timestamp_field="event_timestamp", created_timestamp_column="created"
)
user_statistics = FeatureView(
    name="user_statistics",
    entities=[user],
    ttl=timedelta(days=30),
    schema=[
        Field(name="user_id", dtype=Int64),
        Field(name="purchases_7d", dtype=Int64),
        Field(name="amount_7d", dtype=Float64),
        Field(name="plan", dtype=String),
        Field(name="is_active", dtype=Bool),
    ],
    source=events,
)
basket = RequestSource(name="basket", schema=[Field(name="basket", dtype=Float64)])

@on_demand_feature_view(sources=[user_statistics, basket], schema=[Field(name="basket_share", dtype=Float64)])
def basket_view(inputs: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({{"basket_share": inputs["basket"] / inputs["amount_7d"]}})

users_v1 = FeatureService(name="users_v1", features=[user_statistics], tags={{"version": "1"}})
with_basket = FeatureService(name="with_basket", features=[user_statistics, basket_view])
"""


@dataclass
class Users:
    """A repository of user statistics."""

    folder: Path

    @property
    def uri(self) -> str:
        return str(self.folder)

    @property
    def source(self) -> Path:
        return self.folder / "data" / "events.parquet"

    def open(self) -> Repository:
        return open_repository(self.uri)


def write_configuration(
    folder: Path, settings: Mapping[str, Any], registry: Any = "data/registry.db"
) -> None:
    import yaml

    folder.mkdir(parents=True, exist_ok=True)
    configuration = {"project": "shop", "provider": "local", "registry": registry, **settings}
    (folder / "feature_store.yaml").write_text(yaml.safe_dump(configuration))


def make_users(
    folder: Path,
    history: pl.DataFrame,
    settings: Mapping[str, Any] = OWN,
    *,
    registry: Any = "data/registry.db",
    path: str = "data/events.parquet",
) -> Users:
    """Writes and applies the repository with these events."""
    write_configuration(folder, settings, registry)
    (folder / "data").mkdir(exist_ok=True)
    (folder / "definitions.py").write_text(textwrap.dedent(USERS).format(path=path))
    users = Users(folder)
    history.write_parquet(users.source)
    apply(users.uri)
    return users


def history(rows: Sequence[tuple[Any, ...]]) -> pl.DataFrame:
    """Events ``(user, time, created, purchases, amount, plan, active)``."""
    return pl.DataFrame(
        rows,
        schema={
            "user_id": pl.Int64,
            "event_timestamp": pl.Datetime("us", "UTC"),
            "created": pl.Datetime("us", "UTC"),
            "purchases_7d": pl.Int64,
            "amount_7d": pl.Float64,
            "plan": pl.String,
            "is_active": pl.Boolean,
        },
        orient="row",
    )


def some_history() -> pl.DataFrame:
    """Three users: one of long ago, one with a correction, one with a gap in it."""
    day = dt.timedelta(days=1)
    return history(
        [
            (1, NOW - 40 * day, NOW - 40 * day, 9, 90.0, "basic", True),
            (2, NOW - 3 * day, NOW - 3 * day, 2, 20.0, "basic", True),
            (2, NOW - 3 * day, NOW - 2 * day, 3, 25.0, "basic", True),
            (3, NOW - 2 * day, NOW - 2 * day, None, 5.5, None, False),
            (3, NOW - 5 * day, NOW - 5 * day, 7, 70.0, "premium", True),
        ]
    )


def known_at(events: pl.DataFrame, user: int | None, time: dt.datetime, ttl: dt.timedelta) -> dict[str, Any]:
    """What was known of a user at a time, looked for row by row."""
    best: dict[str, Any] | None = None
    for row in events.iter_rows(named=True):
        if user is None or row["user_id"] != user or row["event_timestamp"] is None:
            continue
        if not time - ttl <= row["event_timestamp"] <= time:
            continue
        if best is None or _rank(row) >= _rank(best):  # of equals the later row
            best = row
    names = ("purchases_7d", "amount_7d", "plan", "is_active")
    return {name: None if best is None else best[name] for name in names}


def _rank(row: Mapping[str, Any]) -> tuple[dt.datetime, dt.datetime]:
    return row["event_timestamp"], row["created"] or dt.datetime.min.replace(tzinfo=UTC)
