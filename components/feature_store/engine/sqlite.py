"""Feast's SQLite online store that writes a chunk in one statement.

No old value replaces a newer one.

Chosen in ``feature_store.yaml`` by ``online_store: {type: …engine.sqlite.ChunkedSqliteOnlineStore}``.
Tables and reading are Feast's own: a database that either has written, the other reads.
"""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from feast.feature_view import FeatureView
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.infra.online_stores.helpers import compute_table_id, extract_text_and_num
from feast.infra.online_stores.sqlite import SqliteOnlineStore, SqliteOnlineStoreConfig
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.repo_config import RepoConfig
from feast.utils import to_naive_utc

Row = tuple[EntityKey, dict[str, Value], datetime, datetime | None]


class ChunkedSqliteOnlineStoreConfig(SqliteOnlineStoreConfig):
    """Configuration: the type, and Feast's own settings."""

    type: str = "kfp_lifecycle.components.feature_store.engine.sqlite.ChunkedSqliteOnlineStore"  # type: ignore[assignment]


class ChunkedSqliteOnlineStore(SqliteOnlineStore):
    """Feast's SQLite store; only the writing of a batch is another."""

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
        name = compute_table_id(config.project, table, config.registry.enable_online_feature_view_versioning)
        columns = ("entity_key", "feature_name", "value", "value_text", "event_ts", "created_ts")
        update = ", ".join(f"{column} = excluded.{column}" for column in columns[2:])
        quoted = '"' + name.replace('"', '""') + '"'
        connection = self._get_conn(config)
        with connection:
            connection.executemany(
                f"INSERT INTO {quoted} ({', '.join(columns)}) VALUES (?, ?, ?, ?, ?, ?) "
                f"ON CONFLICT(entity_key, feature_name) DO UPDATE SET {update} "
                f"WHERE excluded.event_ts >= {quoted}.event_ts",
                _values(data, config.entity_key_serialization_version),
            )
        if progress:
            progress(len(data))


def _values(data: list[Row], version: int) -> Iterator[tuple[Any, ...]]:
    for key, values, time, created in data:
        binary = serialize_entity_key(key, entity_key_serialization_version=version)
        when = to_naive_utc(time)
        made = None if created is None else to_naive_utc(created)
        for name, value in values.items():
            yield binary, name, value.SerializeToString(), extract_text_and_num(value, False)[0], when, made
