"""Sources behind ``gs://``, ``s3://`` and ``http(s)://``: streamed to local files, with retries."""

import hashlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn
from urllib.parse import urlsplit

import requests
import urllib3

from kfp_lifecycle.components.prepare.files import Fetched, table_files
from kfp_lifecycle.components.shared.errors import SourceError, did_you_mean, redact
from kfp_lifecycle.components.shared.storage import is_clients, refusal

#: For how long a store that does not answer is tried, in seconds.
DEADLINE_S = 60.0
_ATTEMPTS = 4
_CHUNK = 1 << 20
_PARALLEL = 8


class _BrokenOffError(Exception):
    """A download that began and did not end."""


@dataclass(frozen=True)
class StoredObject:
    """A stored object: its name in the bucket, its version, and what downloads it to a path."""

    name: str
    version: str
    download: Callable[[str], object]


def fetch_objects(uri: str, file_format: str, folder: Path) -> Fetched:
    """Downloads an object, or every object of a table below a prefix.

    Args:
        uri: ``gs://bucket/path``, ``s3://bucket/path`` or ``http(s)://host/path``. Where no object has that
            name in a bucket, it is a folder's.
        file_format: ``csv``, ``parquet`` or ``auto``.
        folder: Where to put the files.

    Raises:
        SourceError: It is missing, refused, or cannot be reached after retries. Names the redacted URI.
    """
    if uri.lower().startswith(("http://", "https://")):
        return _fetch_http(uri, folder)
    chosen = list_objects(uri, file_format)
    files = [folder / f"{index:05d}-{PurePosixPath(o.name).name}" for index, o in enumerate(chosen)]
    with store_errors(uri), ThreadPoolExecutor(_PARALLEL) as pool:
        list(pool.map(lambda pair: pair[0].download(str(pair[1])), zip(chosen, files, strict=True)))
    path = uri.partition("://")[2].partition("/")[2]
    return Fetched(files, redact(uri), lambda: _version(chosen, path))


def list_objects(uri: str, file_format: str) -> list[StoredObject]:
    """The objects that make up the table at ``gs://bucket/path`` or ``s3://bucket/path``, in order.

    Download them within :func:`store_errors`. Raises as :func:`fetch_objects` does.
    """
    scheme, _, rest = uri.partition("://")
    bucket, _, path = rest.partition("/")
    if not bucket:
        raise SourceError(f"{uri} names no bucket.", f"Write it as {scheme}://bucket/path.")
    find = _find_gcs if scheme.lower() == "gs" else _find_s3
    with store_errors(uri):
        return _choose(find(bucket, path), path, uri, file_format)


def _choose(found: list[StoredObject], path: str, uri: str, file_format: str) -> list[StoredObject]:
    """Of the objects at or below ``path`` those that make up the table."""
    exact = [o for o in found if o.name == path]
    if exact:
        return exact
    prefix = f"{path.rstrip('/')}/" if path.rstrip("/") else ""
    below = {o.name.removeprefix(prefix): o for o in found if o.name.startswith(prefix)}
    if not below:
        near = did_you_mean(path, [o.name for o in found if not o.name.endswith("/")])
        raise SourceError(f"{redact(uri)} does not exist.", near or "Check the bucket and the path.")
    return [below[name] for name in table_files(below, file_format, redact(uri))]


def _version(objects: list[StoredObject], path: str) -> str:
    """The version of one object, or a SHA-256 of the names and versions of several."""
    if [o.name for o in objects] == [path]:
        return objects[0].version
    lines = "".join(f"{o.version}  {o.name}\n" for o in objects)
    return f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}"


def _find_gcs(bucket: str, path: str) -> list[StoredObject]:
    """The object at ``path`` and those below it; its neighbours where there is neither."""
    from google.auth.exceptions import DefaultCredentialsError
    from google.cloud import storage
    from google.cloud.storage.retry import DEFAULT_RETRY

    try:
        client = storage.Client()
    except (DefaultCredentialsError, OSError):
        # Public data needs no account.
        client = storage.Client.create_anonymous_client()
    retry = DEFAULT_RETRY.with_timeout(DEADLINE_S)

    def objects(prefix: str) -> list[StoredObject]:
        def found(blob: Any) -> StoredObject:
            download = partial(blob.download_to_filename, retry=retry, timeout=DEADLINE_S)
            return StoredObject(blob.name, f"generation:{blob.generation}", download)

        return [
            found(blob) for blob in client.list_blobs(bucket, prefix=prefix, retry=retry, timeout=DEADLINE_S)
        ]

    return objects(path) or objects(_parent(path))


def _find_s3(bucket: str, path: str) -> list[StoredObject]:
    """As :func:`_find_gcs`."""
    import boto3
    from botocore import UNSIGNED
    from botocore.config import Config

    config = Config(
        retries={"total_max_attempts": _ATTEMPTS, "mode": "standard"},
        connect_timeout=10,
        read_timeout=DEADLINE_S,
    )
    session = boto3.Session()
    if session.get_credentials() is None:
        # Public data needs no account.
        config = config.merge(Config(signature_version=UNSIGNED))
    client = session.client("s3", config=config)

    def objects(prefix: str) -> list[StoredObject]:
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return [
            StoredObject(
                entry["Key"],
                f"etag:{entry['ETag'].strip(chr(34))}",
                partial(client.download_file, bucket, entry["Key"]),
            )
            for page in pages
            for entry in page.get("Contents", [])
        ]

    return objects(path) or objects(_parent(path))


def _parent(path: str) -> str:
    return f"{path.rstrip('/').rpartition('/')[0]}/".lstrip("/")


@contextmanager
def store_errors(uri: str) -> Iterator[None]:
    """Turns what the stores' clients raise into a ``SourceError``; each client's own retries lie before."""
    try:
        yield
    except SourceError:
        raise
    except Exception as error:
        if not is_clients(error):
            raise
        _refused(uri, error)


def _refused(uri: str, error: Exception) -> NoReturn:
    said, fix = refusal(error)
    raise SourceError(f"{redact(uri)} cannot be read: {said}.", fix) from error


def _fetch_http(uri: str, folder: Path) -> Fetched:
    file = folder / (PurePosixPath(urlsplit(uri).path).name or "download")
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            digest = _download(uri, file)
            break
        except _BrokenOffError as error:
            if attempt == _ATTEMPTS:
                _refused(uri, error)
            time.sleep(0.5 * attempt)
        except requests.RequestException as error:
            _refused(uri, error)
    return Fetched([file], redact(uri), lambda: digest)


def _download(uri: str, file: Path) -> str:
    """Streams ``uri`` to ``file`` and gives the content's digest. What fails to begin is retried here."""
    retry = urllib3.Retry(
        total=_ATTEMPTS,
        backoff_factor=0.3,
        status_forcelist=(429, 500, 502, 503, 504),
        raise_on_status=False,
        respect_retry_after_header=False,  # it may say an hour
    )
    digest = hashlib.sha256()
    with requests.Session() as session:
        for scheme in ("http://", "https://"):
            session.mount(scheme, requests.adapters.HTTPAdapter(max_retries=retry))
        with session.get(uri, stream=True, timeout=(10, DEADLINE_S)) as answer, file.open("wb") as out:
            if answer.status_code >= 400:
                _refuse_status(uri, answer.status_code, answer.reason)
            try:
                for chunk in answer.iter_content(_CHUNK):
                    digest.update(chunk)
                    out.write(chunk)
            except requests.RequestException as error:
                raise _BrokenOffError(f"the download broke off: {error}") from error
    return f"sha256:{digest.hexdigest()}"


def _refuse_status(uri: str, status: int, reason: str) -> NoReturn:
    fix = {
        401: "Put the credentials into a .netrc file.",
        403: "Put the credentials into a .netrc file.",
        404: "Check the address.",
    }.get(status, "Try again later.")
    raise SourceError(f"{redact(uri)} cannot be read: the server answers {status} {reason}.", fix)
