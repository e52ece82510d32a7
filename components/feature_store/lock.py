"""One materialization or apply of a registry at a time: Feast's registries keep the last writer's state.

A lock of this machine's files is let go when its process dies. One in a bucket is a lease that its holder
renews, and one in PostgreSQL belongs to a connection.
"""

import fcntl
import hashlib
import json
import logging
import os
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from kfp_lifecycle.components.feature_store.repository import Repository
from kfp_lifecycle.components.shared.errors import FeatureStoreError, redact

log = logging.getLogger(__name__)

LEASE = timedelta(minutes=10)


class _Object(Protocol):
    """One object in a bucket that is written only if it is as it was."""

    def read(self) -> tuple[bytes, Any]:
        """The content and its version; empty and None where there is none."""

    def write(self, content: bytes, version: Any) -> Any:
        """Writes if the version is still that one (None: none is there). The new version, or None if not."""

    def delete(self) -> None:
        """Removes it."""


@contextmanager
def held(repository: Repository, what: str) -> Iterator[None]:
    """Holds the registry of ``repository`` for the block.

    Args:
        repository: The repository.
        what: What the block does, for the message that another gets.

    Raises:
        FeatureStoreError: Another holds it. Names it where that is known.
    """
    registry = repository.store.config.registry
    path, kind = str(registry.path), registry.registry_type
    with ExitStack() as stack:
        if kind == "sql" and path.startswith("postgresql"):
            stack.enter_context(_in_postgresql(repository))
        elif kind == "file" and path.startswith(("s3://", "gs://")):
            stack.enter_context(_lease(_object(f"{path}.lock"), what, repository.uri))
        elif kind == "file":
            stack.enter_context(_of_file(repository.folder / f"{path}.lock", what, repository.uri))
        else:
            log.warning("registry of type %s: no lock keeps another from writing it meanwhile", kind)
        yield


def _busy(uri: str, who: str) -> FeatureStoreError:
    return FeatureStoreError(
        f"The feature store {redact(uri)} is being written: {who}.",
        "Wait until that has ended; give a schedule max_concurrency 1.",
    )


@contextmanager
def _of_file(path: Path, what: str, uri: str) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise _busy(uri, file.read().strip() or "by a process of this machine") from None
        file.truncate(0)
        file.write(f"{what}, process {os.getpid()}")
        file.flush()
        yield


@contextmanager
def _in_postgresql(repository: Repository) -> Iterator[None]:
    from sqlalchemy import text

    name = f"kfp-lifecycle {repository.project}".encode()
    number = int.from_bytes(hashlib.sha256(name).digest()[:8], "big", signed=True)
    engine: Any = repository.store.registry.write_engine
    with engine.connect() as connection:
        if not connection.execute(text("SELECT pg_try_advisory_lock(:n)"), {"n": number}).scalar():
            raise _busy(repository.uri, "by another connection to its registry")
        try:
            yield
        finally:
            connection.execute(text("SELECT pg_advisory_unlock(:n)"), {"n": number})


@contextmanager
def _lease(item: _Object, what: str, uri: str) -> Iterator[None]:
    me = f"{what}, {socket.gethostname()} {uuid.uuid4().hex[:8]}"
    content, version = item.read()
    until, who = _read_lease(content)
    if version is not None and until > datetime.now(UTC):
        raise _busy(uri, f"{who}, until {until:%H:%M:%S} UTC if it does not renew that")
    state = {"version": item.write(_lease_until(me), version)}
    if state["version"] is None:
        raise _busy(uri, "another was faster")
    stop = threading.Event()

    def renew() -> None:
        while not stop.wait(LEASE.total_seconds() / 4):
            state["version"] = item.write(_lease_until(me), state["version"]) or state["version"]

    thread = threading.Thread(target=renew, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        item.delete()


def _lease_until(who: str) -> bytes:
    return json.dumps({"who": who, "until": (datetime.now(UTC) + LEASE).isoformat()}).encode()


def _read_lease(content: bytes) -> tuple[datetime, str]:
    try:
        found = json.loads(content)
        return datetime.fromisoformat(found["until"]), str(found["who"])
    except (ValueError, KeyError, TypeError):
        return datetime.min.replace(tzinfo=UTC), ""


def _object(uri: str) -> _Object:
    scheme, _, rest = uri.partition("://")
    bucket, _, key = rest.partition("/")
    return _S3Object(bucket, key) if scheme == "s3" else _GcsObject(bucket, key)


class _S3Object:
    def __init__(self, bucket: str, key: str) -> None:
        import boto3

        self._where = {"Bucket": bucket, "Key": key}
        self._client = boto3.client("s3")

    def read(self) -> tuple[bytes, Any]:
        try:
            found = self._client.get_object(**self._where)
        except self._client.exceptions.NoSuchKey:
            return b"", None
        return found["Body"].read(), found["ETag"]

    def write(self, content: bytes, version: Any) -> Any:
        condition = {"IfNoneMatch": "*"} if version is None else {"IfMatch": version}
        return _unless_changed(
            lambda: self._client.put_object(**self._where, Body=content, **condition)["ETag"],
            ("PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey"),
        )

    def delete(self) -> None:
        self._client.delete_object(**self._where)


class _GcsObject:
    def __init__(self, bucket: str, key: str) -> None:
        from google.cloud import storage

        self._bucket, self._key = storage.Client().bucket(bucket), key

    def read(self) -> tuple[bytes, Any]:
        blob = self._bucket.get_blob(self._key)
        return (b"", None) if blob is None else (blob.download_as_bytes(), blob.generation or "unknown")

    def write(self, content: bytes, version: Any) -> Any:
        blob = self._bucket.blob(self._key)

        def upload() -> Any:
            # A store that counts no generations (an emulator) has no conditional writes either.
            is_known = isinstance(version, int) or version is None
            blob.upload_from_string(content, if_generation_match=(version or 0) if is_known else None)
            return blob.generation or "unknown"

        return _unless_changed(upload, ("PreconditionFailed",))

    def delete(self) -> None:
        from google.api_core.exceptions import NotFound

        try:
            self._bucket.blob(self._key).delete()
        except NotFound:
            log.warning("the lock %s is gone already", self._key)


def _unless_changed(write: Callable[[], Any], codes: tuple[str, ...]) -> Any:
    """What ``write`` gives, or None where the store says that another has written before."""
    try:
        return write()
    except Exception as error:
        response = getattr(error, "response", None)
        code = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
        if code in codes or type(error).__name__ in codes:
            return None
        raise
