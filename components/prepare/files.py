"""Which files make up a source, wherever they lie."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from kfp_lifecycle.components.shared.errors import SourceError

#: What a name's end says of a file.
ENDINGS = {
    "csv": (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".txt", ".txt.gz"),
    "parquet": (".parquet", ".pq"),
}


@dataclass(frozen=True)
class Fetched:
    """A source as files on the local disk.

    Args:
        files: The files, in the order in which they are read.
        uri: Where they came from, without credentials.
        digest: Gives the source's digest (``sha256:…``) or version (``generation:…``, ``etag:…``). A call,
            since a local file's digest is computed while the file is read.
    """

    files: list[Path]
    uri: str
    digest: Callable[[], str]


def format_of(name: str) -> str | None:
    """``csv`` or ``parquet`` by a file's name; None where the name does not say."""
    lower = name.lower()
    return next((kind for kind, endings in ENDINGS.items() if lower.endswith(endings)), None)


def table_files(names: Iterable[str], file_format: str, folder: str) -> list[str]:
    """The names in a folder that are parts of its table, in order.

    Names that start with a dot or an underscore (``_SUCCESS``) are none, as everywhere in the Hadoop world.

    Args:
        names: Paths relative to the folder, with ``/``.
        file_format: ``csv``, ``parquet`` or ``auto``.
        folder: Where it is, for the message.

    Raises:
        SourceError: There is no such file, or there are CSV and Parquet files and nobody said which.
    """
    visible = [name for name in sorted(names) if not _hidden(name)]
    kinds = {format_of(name) for name in visible} - {None}
    if file_format == "auto" and len(kinds) > 1:
        raise SourceError(
            f"{folder} holds both CSV and Parquet files.", "Set file_format to the one to read."
        )
    chosen = [
        name for name in visible if format_of(name) in (kinds if file_format == "auto" else {file_format})
    ]
    if not chosen:
        wanted = "CSV or Parquet" if file_format == "auto" else file_format.upper()
        found = f"It holds: {', '.join(visible[:5])}." if visible else "It is empty."
        raise SourceError(
            f"{folder} holds no {wanted} file. {found}", "Name the file, or the folder of files."
        )
    return chosen


def _hidden(name: str) -> bool:
    return any(part.startswith((".", "_")) for part in PurePosixPath(name).parts)
