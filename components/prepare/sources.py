"""Brings any source to local files."""

import hashlib
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from kfp_lifecycle.components.prepare.files import Fetched, table_files
from kfp_lifecycle.components.prepare.options import Options
from kfp_lifecycle.components.shared.errors import ParameterError, SourceError, did_you_mean, redact

_OBJECTS = ("gs", "s3", "http", "https")
_DATABASES = ("postgresql", "postgres")
_EXTRAS = {"gs": "gcs", "s3": "s3", "postgresql": "sql", "postgres": "sql"}


def fetch(options: Options, folder: Path) -> Fetched:
    """The files of ``options.source``, fetched into ``folder`` if they are not local.

    Raises:
        ParameterError: A password is in the source, or ``query`` or ``revision`` does not fit it.
        SourceError: The source is missing, empty or cannot be reached. Names it without credentials.
    """
    scheme = options.source.partition("://")[0].lower() if "://" in options.source else "file"
    _check_fit(scheme, options)
    if scheme == "file":
        return _local(options.source.removeprefix("file://"), options.file_format)
    refuse_password(options.source)
    try:
        return _fetch_remote(scheme, options, folder)
    except ModuleNotFoundError as error:
        needed = "dvc" if scheme == "dvc" else f"kfp-lifecycle[{_EXTRAS.get(scheme, 'steps')}]"
        raise SourceError(
            f"Source {redact(options.source)!r} needs the package {error.name!r}, which is not installed.",
            f"Install it: pip install '{needed}'.",
        ) from error


def _fetch_remote(scheme: str, options: Options, folder: Path) -> Fetched:
    # Each client is heavy, and a step needs at most one of them.
    if scheme in _OBJECTS:
        from kfp_lifecycle.components.prepare.remote import fetch_objects

        return fetch_objects(options.source, options.file_format, folder)
    if scheme in _DATABASES:
        from kfp_lifecycle.components.prepare.sql import fetch_query

        return fetch_query(options.source, options.query, folder)
    if scheme == "dvc":
        from kfp_lifecycle.components.prepare.dvc import fetch_tracked

        return fetch_tracked(options.source, options.revision, options.file_format, folder)
    raise SourceError(
        f"Source {redact(options.source)!r} starts with {scheme}://, which is not known.",
        did_you_mean(scheme, (*_OBJECTS, *_DATABASES, "dvc")),
    )


def _check_fit(scheme: str, options: Options) -> None:
    if bool(options.query.strip()) != (scheme in _DATABASES):
        raise ParameterError(
            f"Parameter 'query' is {'given' if options.query else 'empty'}, but the source is {scheme}://.",
            "A database (postgresql://host/database) needs a query; nothing else takes one.",
        )
    if options.revision and scheme != "dvc":
        raise ParameterError(
            f"Parameter 'revision' is {options.revision!r}, but the source is {scheme}://.",
            "Only a DVC-tracked path (dvc://repository/path) has revisions.",
        )


def refuse_password(source: str) -> None:
    """Raises ``ParameterError`` for credentials in a URI: parameters are shown in Kubeflow's UI."""
    scheme, _, rest = source.partition("://")
    authority = rest if scheme in _DATABASES else re.split(r"[/?#]", rest)[0]
    user_info, at, _ = authority.rpartition("@")
    in_user_info = bool(at) and (":" in user_info or scheme in ("http", "https"))
    in_query = re.search(r"[?&](password|passwd|pwd)=", rest, re.I)
    if in_user_info or in_query:
        raise ParameterError(
            f"Parameter 'source' ({scheme}://…) holds a password.",
            "Take it out and pass credentials in the environment (PGPASSWORD, AWS_SECRET_ACCESS_KEY, "
            "GOOGLE_APPLICATION_CREDENTIALS, a .netrc file): parameters are shown in the user interface.",
        )


def _local(source: str, file_format: str) -> Fetched:
    path, files = local_files(source, file_format)
    return Fetched(files, str(path), _in_background(lambda: _digest(files, path)))


def local_files(source: str, file_format: str) -> tuple[Path, list[Path]]:
    """A local source and the files that make up its table, in order.

    Raises:
        SourceError: It is not there, cannot be read, or is a folder without such files.
    """
    path = Path(source).expanduser()
    try:
        if path.is_dir():
            names = [found.relative_to(path).as_posix() for found in path.rglob("*") if found.is_file()]
            files = [path / name for name in table_files(names, file_format, str(path))]
        elif path.is_file():
            files = [path]
        else:
            raise _missing(path)
        for file in files:
            file.open("rb").close()
    except PermissionError as error:
        raise SourceError(f"{path} cannot be read: permission denied.", "Let this user read it.") from error
    return path, files


def _missing(path: Path) -> SourceError:
    """The error for a path that is not there, with the nearest name where it was looked for."""
    if path.exists():
        return SourceError(
            f"{path} is neither a file nor a folder.", "Name a CSV or Parquet file or a folder."
        )
    existing = next(parent for parent in path.absolute().parents if parent.is_dir())
    step = path.absolute().relative_to(existing).parts[0]
    names = [found.name for found in existing.iterdir() if not found.name.startswith(".")]
    return SourceError(
        f"{path} does not exist: there is no {step!r} in {existing}.", did_you_mean(step, names)
    )


def _digest(files: list[Path], root: Path) -> str:
    """SHA-256 of a file, or of the names and digests of a folder's files."""
    digests = []
    for file in files:
        with file.open("rb") as stream:
            digests.append((file, hashlib.file_digest(stream, "sha256").hexdigest()))
    if files == [root]:
        return f"sha256:{digests[0][1]}"
    lines = "".join(f"{digest}  {file.relative_to(root).as_posix()}\n" for file, digest in digests)
    return f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}"


def _in_background(compute: Callable[[], str]) -> Callable[[], str]:
    """Starts ``compute`` in a thread (hashing releases the GIL) and gives what waits for its result."""
    pool = ThreadPoolExecutor(1)
    future = pool.submit(compute)
    pool.shutdown(wait=False)
    return future.result
