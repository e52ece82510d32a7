"""Writing outputs so that nothing half-written looks whole."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from kfp_lifecycle.components.shared.errors import StorageError


class OutputArtifact(Protocol):
    """What a step needs of a KFP output artifact: somewhere to write, and metadata to say about it."""

    path: str
    uri: str
    metadata: dict[str, Any]


class InputArtifact(Protocol):
    """What a step needs of a KFP input artifact."""

    path: str
    uri: str
    metadata: dict[str, Any]


@contextmanager
def whole_folder(path: str | Path) -> Iterator[Path]:
    """A folder that appears at ``path`` only when it is complete.

    Yields an empty folder beside ``path``; on success it replaces ``path``, on any error it is removed.

    Raises:
        StorageError: The disk is full or the place cannot be written.
    """
    final = Path(path)
    with _partial(final) as partial:
        partial.mkdir(parents=True)
        yield partial


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """A file that appears at ``path`` only when it is complete. Raises as :func:`whole_folder` does."""
    with _partial(Path(path)) as partial:
        partial.parent.mkdir(parents=True, exist_ok=True)
        yield partial


@contextmanager
def _partial(final: Path) -> Iterator[Path]:
    partial = final.with_name(f".{final.name}.partial")
    try:
        remove(partial)
        yield partial
        remove(final)
        partial.replace(final)
    except BaseException as error:
        remove(partial)
        if isinstance(error, StorageError):  # says already what cannot be written
            raise
        if (said := storage_problem(error)) is not None:
            raise StorageError(
                f"{final} cannot be written: {said}.", "Free space there or choose another output folder."
            ) from error
        raise


def remove(path: str | Path) -> None:
    """Removes a file or a folder, whichever is there."""
    if os.path.isdir(path) and not os.path.islink(path):  # noqa: PTH112, PTH114
        shutil.rmtree(path, ignore_errors=True)
    else:
        Path(path).unlink(missing_ok=True)


_FULL = {errno.ENOSPC: "no space left on device", errno.EDQUOT: "disk quota exceeded"}
_REFUSED = {errno.EACCES: "permission denied", errno.EROFS: "read-only file system"}


def storage_problem(error: BaseException) -> str | None:
    """What the storage said, if ``error`` (or what caused it) is a full or read-only disk; else None.

    Polars and Arrow wrap the operating system's error, some of them in text only, so the text counts too.
    """
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in _FULL | _REFUSED:
            return (_FULL | _REFUSED)[seen.errno]
        text = str(seen).lower()
        for phrase in (*_FULL.values(), _REFUSED[errno.EROFS]):
            if phrase in text:
                return phrase
        # What Polars says when the disk is full at the end of a Parquet file.
        if "thrift: transport error" in text:
            return f"a write failed, most likely with {_FULL[errno.ENOSPC]}"
        seen = seen.__cause__ or seen.__context__
    return None
