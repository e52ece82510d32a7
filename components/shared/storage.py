"""Files by URI, wherever they are: a folder, a mounted volume, ``gs://``, ``s3://``, ``minio://``.

For steps that read or write beyond the artifacts that Kubeflow hands them: checkpoints that outlive a pod,
and jobs that Kubeflow does not start (Katib's trials, the nodes of a TrainJob), which get artifacts by URI.

``minio://`` is what Kubeflow calls the object store inside the cluster: S3 at the endpoint that
``AWS_ENDPOINT_URL_S3`` or ``AWS_ENDPOINT_URL`` names, else the cluster's own ``minio-service.kubeflow:9000``.
"""

import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from kfp_lifecycle.components.shared.errors import StorageError, did_you_mean, redact
from kfp_lifecycle.components.shared.outputs import storage_problem

#: For how long a store that does not answer is tried, in seconds.
DEADLINE_S = 60.0
MINIO = "http://minio-service.kubeflow:9000"
SCHEMES = ("gs", "s3", "minio", "file")
_ATTEMPTS, _PARALLEL = 4, 8


class Store(Protocol):
    """The files below one URI, by their names relative to it (``a/b.bin``)."""

    uri: str

    def names(self, folder: str = "") -> list[str]:
        """The names of all files, or of those in a folder, sorted; empty where there is nothing."""

    def read(self, name: str, path: Path) -> None:
        """Copies a file to the local ``path``. Raises ``StorageError``, also where there is none."""

    def write(self, path: Path, name: str) -> None:
        """Copies the local ``path`` to a file, which appears whole or not at all. Raises ``StorageError``."""

    def delete(self, name: str) -> None:
        """Removes a file; one that is not there is no error. Raises ``StorageError``."""


def open_store(uri: str) -> Store:
    """The store at ``uri``: a local path, ``file://``, ``gs://``, ``s3://`` or ``minio://``.

    Raises:
        StorageError: The scheme is unknown, the bucket is not named, or a client library is not installed.
    """
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return _Folder(uri, Path(uri))
    scheme = scheme.lower()
    if scheme == "file":
        return _Folder(uri, Path(unquote(urlsplit(uri).path)))
    if scheme not in SCHEMES:
        near = did_you_mean(scheme, SCHEMES)
        raise StorageError(f"{redact(uri)} is in no storage that is known here.", near)
    bucket, _, prefix = rest.partition("?")[0].partition("/")
    if not bucket:
        raise StorageError(f"{redact(uri)} names no bucket.", f"Write it as {scheme}://bucket/path.")
    make = _gcs if scheme == "gs" else _s3
    with _declared(uri, "opened"):
        return make(uri, bucket, prefix.strip("/"), in_cluster=scheme == "minio")


def is_remote(uri: str) -> bool:
    """Whether ``uri`` is in an object store, and not a file of this machine or of a mounted volume."""
    return "://" in uri and not uri.lower().startswith("file://")


def fetch(uri: str, path: Path) -> Path:
    """The file or folder at ``uri`` as a local path: downloaded to ``path``, or itself where it is local.

    Raises:
        StorageError: It is not there, or cannot be read. Names the redacted URI.
    """
    store = open_store(uri)
    if isinstance(store, _Folder):
        if not store.root.exists():
            raise StorageError(f"{redact(uri)} does not exist.", "Check the path.")
        return store.root
    names = store.names()
    if not names:
        # It may be one object: its name is then the last part of the URI.
        parent, _, name = uri.rstrip("/").rpartition("/")
        open_store(parent).read(name, path)
        return path
    with ThreadPoolExecutor(_PARALLEL) as pool:
        list(pool.map(lambda name: store.read(name, path / name), names))
    return path


def upload(path: Path, uri: str) -> None:
    """Copies a local file or folder to ``uri``. Raises ``StorageError``."""
    if path.is_file():
        parent, _, name = uri.rstrip("/").rpartition("/")
        open_store(parent).write(path, name)
        return
    store = open_store(uri)
    files = [file for file in sorted(path.rglob("*")) if file.is_file()]
    with ThreadPoolExecutor(_PARALLEL) as pool:
        list(pool.map(lambda file: store.write(file, file.relative_to(path).as_posix()), files))


def check_writable(uri: str) -> None:
    """Writes a small file below ``uri`` and removes it. Raises ``StorageError`` where that fails."""
    store, name = open_store(uri), f".probe-{uuid.uuid4().hex}"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / name
        file.write_bytes(b"kfp-lifecycle")
        store.write(file, name)
    store.delete(name)


class _Folder:
    """A folder of this machine."""

    def __init__(self, uri: str, root: Path) -> None:
        self.uri, self.root = uri, root

    def names(self, folder: str = "") -> list[str]:
        files = (file for file in (self.root / folder).rglob("*") if file.is_file())
        return sorted(
            n for file in files if not (n := file.relative_to(self.root).as_posix()).endswith(".partial")
        )

    def read(self, name: str, path: Path) -> None:
        with _declared(f"{self.root / name}", "read"):
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.root / name, path)

    def write(self, path: Path, name: str) -> None:
        final = self.root / name
        # Its own name a process: two that write one file do not mix their bytes.
        partial = final.with_name(f".{final.name}.{uuid.uuid4().hex}.partial")
        with _declared(f"{final}", "written"):
            final.parent.mkdir(parents=True, exist_ok=True)
            try:
                with path.open("rb") as source, partial.open("wb") as target:
                    shutil.copyfileobj(source, target, 1 << 20)
                    target.flush()
                    os.fsync(target.fileno())
                partial.replace(final)
            finally:
                partial.unlink(missing_ok=True)

    def delete(self, name: str) -> None:
        with _declared(f"{self.root / name}", "deleted"):
            (self.root / name).unlink(missing_ok=True)


class _Objects:
    """Objects below a prefix of a bucket; an object appears when its upload is complete.

    Args:
        uri: What the user wrote.
        prefix: The prefix, without a slash at either end.
        found: Gives the keys that begin with a text.
        download: Copies the object of a key to a path.
        upload: Copies a path to the object of a key.
        remove: Removes the object of a key.
    """

    def __init__(
        self,
        uri: str,
        prefix: str,
        found: Callable[[str], list[str]],
        download: Callable[[str, str], Any],
        upload: Callable[[str, str], Any],
        remove: Callable[[str], Any],
    ) -> None:
        self.uri, self._start = uri, f"{prefix}/" if prefix else ""
        self._found, self._download, self._upload, self._remove = found, download, upload, remove

    def names(self, folder: str = "") -> list[str]:
        with _declared(self.uri, "read"):
            keys = self._found(self._start + (f"{folder}/" if folder else ""))
        return sorted(n for key in keys if (n := key.removeprefix(self._start)) and not n.endswith("/"))

    def read(self, name: str, path: Path) -> None:
        with _declared(f"{self.uri}/{name}", "read"):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._download(self._start + name, str(path))

    def write(self, path: Path, name: str) -> None:
        with _declared(f"{self.uri}/{name}", "written"):
            self._upload(self._start + name, str(path))

    def delete(self, name: str) -> None:
        with _declared(f"{self.uri}/{name}", "deleted"):
            self._remove(self._start + name)


def _gcs(uri: str, bucket: str, prefix: str, *, in_cluster: bool) -> Store:
    from google.api_core.exceptions import NotFound
    from google.cloud import storage
    from google.cloud.storage.retry import DEFAULT_RETRY

    client = storage.Client()
    retry = DEFAULT_RETRY.with_timeout(DEADLINE_S)
    blob = client.bucket(bucket).blob
    how: dict[str, Any] = {"retry": retry, "timeout": DEADLINE_S}

    def remove(key: str) -> None:
        with suppress(NotFound):
            blob(key).delete(**how)

    return _Objects(
        uri,
        prefix,
        found=lambda start: [found.name for found in client.list_blobs(bucket, prefix=start, **how)],
        download=lambda key, path: blob(key).download_to_filename(path, **how),
        upload=lambda key, path: blob(key).upload_from_filename(path, **how),
        remove=remove,
    )


def _s3(uri: str, bucket: str, prefix: str, *, in_cluster: bool) -> Store:
    import boto3
    from botocore.config import Config

    named = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    client = boto3.client(
        "s3",
        endpoint_url=MINIO if in_cluster and not named else None,
        config=Config(
            retries={"total_max_attempts": _ATTEMPTS, "mode": "standard"},
            connect_timeout=10,
            read_timeout=DEADLINE_S,
        ),
    )

    def found(start: str) -> list[str]:
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=start)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    return _Objects(
        uri,
        prefix,
        found=found,
        download=lambda key, path: client.download_file(bucket, key, path),
        upload=lambda key, path: client.upload_file(path, bucket, key),
        remove=lambda key: client.delete_object(Bucket=bucket, Key=key),
    )


@contextmanager
def _declared(uri: str, doing: str) -> Iterator[None]:
    """Turns what the disk and the stores' clients raise into a ``StorageError`` that names ``uri``."""
    try:
        yield
    except StorageError:
        raise
    except ImportError as error:
        extra = "gcs" if uri.lower().startswith("gs://") else "s3"
        raise StorageError(
            f"{redact(uri)} cannot be {doing}: {error}.", f"pip install 'kfp-lifecycle[{extra}]'"
        ) from error
    except Exception as error:
        if not is_clients(error) and not isinstance(error, OSError):
            raise
        said, fix = refusal(error)
        raise StorageError(f"{redact(uri)} cannot be {doing}: {said}.", fix) from error


def is_clients(error: Exception) -> bool:
    """Whether ``error`` comes from one of the clients that reach object stores and web servers."""
    module = type(error).__module__.partition(".")[0]
    return module in ("google", "botocore", "boto3", "requests", "urllib3")


def refusal(error: Exception) -> tuple[str, str]:
    """What a disk, a store or the way to it said, in a line without credentials, and what mends it."""
    said = storage_problem(error) or redact(" ".join(str(error).split()))[:300] or type(error).__name__
    status = getattr(error, "code", None) or getattr(error, "response", None)
    if isinstance(status, dict):
        status = status.get("ResponseMetadata", {}).get("HTTPStatusCode")
    if status in (401, 403):
        fix = "Give this account access, or pass other credentials in the environment."
    elif status == 404 or isinstance(error, FileNotFoundError):
        fix = "Check the bucket and the path."
    elif isinstance(error, OSError) and error.errno is not None:
        fix = "Free space there, give this user the right to it, or choose another place."
    else:
        fix = "Check that the store can be reached from here and that credentials are in the environment."
    return said.rstrip("."), fix
