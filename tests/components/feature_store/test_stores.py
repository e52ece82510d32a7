"""Other stores by configuration alone, on real servers: buckets, Redis, PostgreSQL."""

import datetime as dt
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from kfp_lifecycle.components.feature_store import lock
from kfp_lifecycle.components.feature_store.apply import apply
from kfp_lifecycle.components.feature_store.historical import retrieve
from kfp_lifecycle.components.feature_store.materialize import failures, materialize
from kfp_lifecycle.components.feature_store.references import select
from kfp_lifecycle.components.feature_store.repository import open_repository
from kfp_lifecycle.components.shared.errors import FeatureStoreError, LifecycleError
from kfp_lifecycle.components.shared.storage import open_store, upload
from tests.components.feature_store.repositories import (
    NOW,
    OWN,
    UTC,
    known_at,
    make_users,
    some_history,
    write_configuration,
)
from tests.servers import RedisServer, free_port, gcs_server, postgres_server, redis_server, s3_server

pytestmark = pytest.mark.server

PASSWORD = "not-to-be-seen"
NAMES = ["purchases_7d", "amount_7d", "plan", "is_active"]


def set_all(environment: dict[str, str], patch: pytest.MonkeyPatch) -> None:
    for name, value in environment.items():
        patch.setenv(name, value)


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="module")
def postgres() -> Iterator[int]:
    with postgres_server(PASSWORD) as port:
        yield port


@pytest.fixture(params=["s3", "gs"])
def bucket(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A bucket's URI, with the environment that leads all clients to it."""
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.delenv("FEAST_S3_ENDPOINT_URL", raising=False)
        if request.param == "s3":
            set_all(stack.enter_context(s3_server(tmp_path)), patch)
            import boto3

            boto3.client("s3").create_bucket(Bucket="data")
        else:
            set_all(stack.enter_context(gcs_server(tmp_path)), patch)
        yield f"{request.param}://data/features"


def with_redis(redis: RedisServer) -> dict[str, Any]:
    online = {"type": "redis", "connection_string": f"127.0.0.1:{redis.port}"}
    return {**OWN, "online_store": online}


def check_all(uri: str, redis: bool = True) -> None:
    """Materializes twice, and holds online and offline values against each other."""
    repository = open_repository(uri)
    first = materialize(repository, (), "", NOW.isoformat())[0]
    assert (first.rows, first.error) == (2, "")
    again = materialize(open_repository(uri), (), "", NOW.isoformat())[0]
    assert (again.start, again.rows) == (None, 0)
    online = repository.store.get_online_features(
        [f"user_statistics:{name}" for name in NAMES], [{"user_id": user} for user in (2, 3, 4)]
    ).to_dict()
    rows = pl.DataFrame({"user_id": [2, 3, 4], "time": [NOW] * 3})
    selection = select(repository, "users_v1", [])
    offline = retrieve(rows, repository, selection, "time", selection.columns(rows.columns)).to_dicts()
    expected = [known_at(some_history(), user, NOW, dt.timedelta(days=30)) for user in (2, 3, 4)]
    assert offline == expected
    assert [{name: online[name][row] for name in NAMES} for row in range(3)] == expected
    assert NOW.tzinfo == UTC


def test_a_repository_and_its_registry_in_a_bucket_with_redis(
    bucket: str, redis: RedisServer, tmp_path: Path
) -> None:
    local = make_users(tmp_path / "local", some_history(), path=str(tmp_path / "local/data/events.parquet"))
    folder = tmp_path / "definitions"
    write_configuration(folder, {**with_redis(redis), "project": f"shop_{bucket[:2]}"})
    shutil.copy(local.folder / "definitions.py", folder)
    upload(folder, bucket)
    assert apply(bucket).changed
    assert not apply(bucket).changed
    # The registry lies beside the definitions, where the next step finds it.
    assert "data/registry.db" in open_store(bucket).names()
    check_all(bucket)
    assert not [name for name in open_store(bucket).names() if name.endswith(".lock")]


def test_one_at_a_time_in_a_bucket(bucket: str) -> None:
    item = lock._object(f"{bucket}/registry.db.lock")
    with lock._lease(item, "first", bucket):
        other = lock._object(f"{bucket}/registry.db.lock")
        with (
            pytest.raises(FeatureStoreError, match="is being written: first"),
            lock._lease(other, "b", bucket),
        ):
            pass
        if bucket.startswith("s3"):  # the emulator of Cloud Storage knows no conditions
            # One who saw nothing there a moment ago is refused by the bucket itself.
            assert other.write(b"mine", None) is None
    assert item.read() == (b"", None)


def test_an_sql_registry_on_postgresql_with_a_free_driver(
    postgres: int, redis: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGISTRY_PASSWORD", PASSWORD)
    registry = {
        "registry_type": "sql",
        # Feast fills in the environment: no password in a file.
        "path": f"postgresql+pg8000://owner:${{REGISTRY_PASSWORD}}@127.0.0.1:{postgres}/postgres",
        "cache_ttl_seconds": 0,
    }
    settings = {**with_redis(redis), "project": "shop_sql"}
    users = make_users(tmp_path, some_history(), settings, registry=registry)
    check_all(users.uri)
    with lock.held(users.open(), "first"):
        with pytest.raises(FeatureStoreError, match="another connection to its registry") as caught:
            materialize(users.open())
        assert PASSWORD not in str(caught.value)


def test_an_online_store_on_postgresql(postgres: int, tmp_path: Path) -> None:
    pytest.importorskip(
        "psycopg_pool", reason="Feast's PostgreSQL store needs psycopg, which its user brings"
    )
    online = {
        "type": "postgres",
        "host": "127.0.0.1",
        "port": postgres,
        "database": "postgres",
        "user": "owner",
        "password": PASSWORD,
        "sslmode": "disable",
    }
    check_all(make_users(tmp_path, some_history(), {**OWN, "online_store": online}).uri)


def test_a_store_that_cannot_be_reached_is_named_without_its_password(tmp_path: Path) -> None:
    port = free_port()
    registry = {"registry_type": "sql", "path": f"postgresql+pg8000://me:{PASSWORD}@127.0.0.1:{port}/x"}
    write_configuration(tmp_path, OWN, registry)
    with pytest.raises(LifecycleError) as caught:
        open_repository(str(tmp_path))
    assert PASSWORD not in str(caught.value)
    assert "feature store" in str(caught.value)


def test_a_redis_that_is_down_fails_the_view_and_not_the_window(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server:
        users = make_users(tmp_path / "repository", some_history(), with_redis(server))
    reports = materialize(users.open(), (), "", NOW.isoformat())
    error = failures(reports)
    assert error is not None
    assert "'user_statistics' failed" in str(error)
    with redis_server(tmp_path, server.port):
        assert materialize(users.open(), (), "", NOW.isoformat())[0].rows == 2
