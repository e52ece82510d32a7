"""Feast's SQLite online store that writes a chunk in one statement.

No old value replaces a newer one.

Chosen in ``feature_store.yaml`` by ``online_store: {type: …engine.sqlite.ChunkedSqliteOnlineStore}``.
Tables and reading are Feast's own: a database that either has written, the other reads.
"""

import operator
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any

from feast.entity import Entity
from feast.feature_view import FeatureView
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.infra.online_stores.helpers import compute_table_id, extract_text_and_num
from feast.infra.online_stores.sqlite import SqliteOnlineStore, SqliteOnlineStoreConfig
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.repo_config import RepoConfig
from feast.utils import to_naive_utc

#: How much of the database is held in memory while it is written.
_CACHE_KB = 64_000

Row = tuple[EntityKey, dict[str, Value], datetime, datetime | None]


class ChunkedSqliteOnlineStoreConfig(SqliteOnlineStoreConfig):
    """Configuration: the type, and Feast's own settings."""

    type: str = "kfp_lifecycle.components.feature_store.engine.sqlite.ChunkedSqliteOnlineStore"  # type: ignore[assignment]


class ChunkedSqliteOnlineStore(SqliteOnlineStore):
    """Feast's SQLite store; only the writing of a batch is another."""

    def update(
        self,
        config: RepoConfig,
        tables_to_delete: Sequence[FeatureView],
        tables_to_keep: Sequence[FeatureView],
        entities_to_delete: Sequence[Entity],
        entities_to_keep: Sequence[Entity],
        partial: bool,
    ) -> None:
        """Makes the tables as Feast does, without the index that repeats the beginning of the primary key."""
        super().update(
            config, tables_to_delete, tables_to_keep, entities_to_delete, entities_to_keep, partial
        )
        for table in tables_to_keep:
            self._get_conn(config).execute(f"DROP INDEX IF EXISTS {_quoted(_table(config, table) + '_ek')}")

    def online_write_batch(
        self,
        config: RepoConfig,
        table: FeatureView,
        data: list[Row],
        progress: Callable[[int], Any] | None,
    ) -> None:
        """Writes each value unless a newer one of the same entity is there."""
        store = config.online_store
        if store.vector_enabled or getattr(store, "enable_openai_compatible_store", False):
            super().online_write_batch(config, table, data, progress)
            return
        columns = ("entity_key", "feature_name", "value", "value_text", "event_ts", "created_ts")
        update = ", ".join(f"{column} = excluded.{column}" for column in columns[2:])
        quoted = _quoted(_table(config, table))
        connection = self._get_conn(config)
        connection.execute(f"PRAGMA cache_size = {-_CACHE_KB}")
        with connection:
            connection.executemany(
                f"INSERT INTO {quoted} ({', '.join(columns)}) VALUES (?, ?, ?, ?, ?, ?) "
                f"ON CONFLICT(entity_key, feature_name) DO UPDATE SET {update} "
                f"WHERE excluded.event_ts >= {quoted}.event_ts",
                _values(data, config.entity_key_serialization_version),
            )
        if progress:
            progress(len(data))


def _table(config: RepoConfig, view: FeatureView) -> str:
    versioned = config.registry.enable_online_feature_view_versioning
    return str(compute_table_id(config.project, view, versioned))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _values(data: list[Row], version: int) -> Iterator[tuple[Any, ...]]:
    keyed = [(serialize_entity_key(row[0], entity_key_serialization_version=version), row) for row in data]
    # In the order of the primary key, neighbours are written to the same pages.
    keyed.sort(key=operator.itemgetter(0))
    for binary, (_, values, time, created) in keyed:
        # As Feast's adapter writes them, once a row.
        when = int(to_naive_utc(time).timestamp())
        made = None if created is None else int(to_naive_utc(created).timestamp())
        for name, value in values.items():
            yield binary, name, value.SerializeToString(), extract_text_and_num(value, False)[0], when, made
