"""The table to score: which files it is made of, and one of them as rows."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from kfp_lifecycle.components.prepare.files import Fetched
from kfp_lifecycle.components.prepare.options import Options
from kfp_lifecycle.components.prepare.reading import RawTable, read
from kfp_lifecycle.components.prepare.remote import list_objects, store_errors
from kfp_lifecycle.components.prepare.sources import local_files, refuse_password
from kfp_lifecycle.components.shared.errors import SourceError, redact

_SCHEMES = ("gs", "s3")
_HASHED_AT_ONCE = 2


@dataclass(frozen=True)
class SourceFile:
    """One file of the table.

    Args:
        name: Its path below the source, or of an object in a bucket its key.
        version: Its content's ``sha256:…``, or of an object ``generation:…`` or ``etag:…``.
        bytes: Size of a local file; 0 for an object, which its version tells enough of.
        modified: When a local file was last written, in nanoseconds since 1970; 0 for an object.
    """

    name: str
    version: str
    bytes: int = 0
    modified: int = 0


def list_files(source: str, file_format: str) -> list[SourceFile]:
    """The files that make up the table at ``source`` (a local path, ``gs://`` or ``s3://``), in order.

    A local file is read once for its digest; of an object only its version is asked.

    Raises:
        SourceError: There is no such table, or it cannot be reached. Names the source without credentials.
        ParameterError: A password is in the source.
    """
    if _is_local(source):
        root, paths = local_files(_local_path(source), file_format)
        with ThreadPoolExecutor(_HASHED_AT_ONCE) as pool:
            return list(pool.map(lambda path: _local_file(root, path), paths))
    refuse_password(source)
    return [SourceFile(found.name, found.version) for found in list_objects(source, file_format)]


def open_file(file: SourceFile, options: Options, folder: Path) -> RawTable:
    """A file's rows; those of a CSV are parsed into ``folder``, and an object is downloaded there.

    Args:
        file: One of the files that :func:`list_files` gave for ``options.source``.
        options: How prepare reads it.
        folder: An empty local folder.

    Raises:
        SourceError: It is gone, has changed since it was listed, is damaged or of another format.
        SchemaError: Two of its columns have one name.
    """
    path = _fetch(options.source, options.file_format, file, folder)
    uri = redact(options.source)
    if PurePosixPath(uri).name != PurePosixPath(file.name).name:
        uri = f"{uri.rstrip('/')}: {PurePosixPath(file.name).name}"
    return read(Fetched([path], uri, lambda: file.version), options, folder, may_be_empty=True)


def _is_local(source: str) -> bool:
    scheme = source.partition("://")[0].lower() if "://" in source else "file"
    if scheme not in ("file", *_SCHEMES):
        raise SourceError(
            f"Source {redact(source)!r} starts with {scheme}://, which batch inference does not read.",
            "Give a local path, gs:// or s3://: a CSV or Parquet file, or a folder of them.",
        )
    return scheme == "file"


def _local_path(source: str) -> str:
    return source.removeprefix("file://")


def _local_file(root: Path, path: Path) -> SourceFile:
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    name = path.name if path == root else path.relative_to(root).as_posix()
    found = path.stat()
    return SourceFile(name, f"sha256:{digest}", found.st_size, found.st_mtime_ns)


def _fetch(source: str, file_format: str, file: SourceFile, folder: Path) -> Path:
    """The file on the local disk, the same that was listed."""
    if _is_local(source):
        root = Path(_local_path(source)).expanduser()
        path = root / file.name if root.is_dir() else root
        if not path.exists():
            raise SourceError(f"{path} was there when the shards were planned, and is gone.", "Run it again.")
        found = path.stat()
        if (found.st_size, found.st_mtime_ns) != (file.bytes, file.modified):
            raise _changed(str(path))
        return path
    found_objects = {found.name: found for found in list_objects(source, file_format)}
    if file.name not in found_objects or found_objects[file.name].version != file.version:
        raise _changed(f"{file.name} of {redact(source)}")
    path = folder / PurePosixPath(file.name).name
    with store_errors(source):
        found_objects[file.name].download(str(path))
    return path


def _changed(where: str) -> SourceError:
    return SourceError(
        f"{where} has changed since the shards were planned.",
        "Run the pipeline again.",
    )
