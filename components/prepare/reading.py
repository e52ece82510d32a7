"""Local files as one lazy table, its columns as they are in the source."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from kfp_lifecycle.components.prepare.csv_files import stage_csv
from kfp_lifecycle.components.prepare.files import Fetched, format_of
from kfp_lifecycle.components.prepare.options import Options
from kfp_lifecycle.components.shared.errors import SourceError
from kfp_lifecycle.components.shared.outputs import storage_problem

_HEAD = 64
_DAMAGE = re.compile(r"parquet|specification|thrift|decompress|corrupt|snappy|zstd|lz4|gzip|brotli", re.I)


@dataclass(frozen=True)
class RawTable:
    """The source as a table on the local disk.

    Args:
        frame: The rows. A CSV column is Int64, Float64 or String.
        rows: How many there are; at least one, unless none were allowed.
        text: Whether the source is text, so that times in it are text too.
        dropped: Columns left out here, with the reason.
    """

    frame: pl.LazyFrame
    rows: int
    text: bool
    dropped: dict[str, str] = field(default_factory=dict)


def read(fetched: Fetched, options: Options, folder: Path, *, may_be_empty: bool = False) -> RawTable:
    """The table in the files: Parquet is scanned where it is, CSV is parsed once into ``folder``.

    Args:
        fetched: The files.
        options: How they are read.
        folder: Where a CSV source is parsed to.
        may_be_empty: Whether a table with columns but no rows will do.

    Raises:
        SourceError: A file is empty, damaged, of another format or encoding, or the table has no rows.
    """
    dropped: dict[str, str] = {}
    is_csv = _format(fetched, options.file_format) == "csv"
    if is_csv:
        frame, dropped = stage_csv(fetched, options, folder)
    else:
        with whole_source(fetched.uri):
            frame = _scan_parquet(fetched)
    with whole_source(fetched.uri):
        rows = int(frame.select(pl.len()).collect(engine="streaming").item())
    if rows == 0 and not may_be_empty:
        what = "a header but no rows" if is_csv else "columns but no rows"
        raise SourceError(f"{fetched.uri} has {what}.", "Check what wrote it, or the query.")
    return RawTable(frame, rows, is_csv, dropped)


@contextmanager
def whole_source(uri: str) -> Iterator[None]:
    """Turns what Polars raises over a damaged Parquet file, wherever it shows, into a ``SourceError``."""
    try:
        yield
    except (pl.exceptions.ComputeError, pl.exceptions.PanicException) as error:
        said = " ".join(str(error).split())[:200].rstrip(".")
        panicked = isinstance(error, pl.exceptions.PanicException)
        if storage_problem(error) is not None or not (panicked or _DAMAGE.search(said)):
            raise
        raise SourceError(
            f"{uri} is not a whole Parquet file: {said}.", "It may be truncated: write or copy it again."
        ) from error


def _format(fetched: Fetched, file_format: str) -> str:
    """The format that the files' contents show.

    Raises:
        SourceError: A file is empty, or its content is not what its name or ``file_format`` says.
    """
    kinds = set()
    for file in fetched.files:
        with file.open("rb") as stream:
            head = stream.read(_HEAD)
        where = _where(fetched, file)
        if len(head) < _HEAD and not head.strip(b"\xef\xbb\xbf \r\n\t"):
            raise SourceError(f"{where} is empty.", "Check what wrote it.")
        kinds.add(_check_content(head, where, format_of(file.name) if file_format == "auto" else file_format))
    if len(kinds) > 1:
        raise SourceError(
            f"{fetched.uri} holds CSV and Parquet files.", "Set file_format to the one to read."
        )
    return kinds.pop()


def _check_content(head: bytes, where: str, said: str | None) -> str:
    found = "parquet" if head.startswith(b"PAR1") else "csv"
    if found == "csv" and said == "parquet":
        raise SourceError(
            f"{where} is no Parquet file: it does not start with PAR1.",
            "Check what wrote it, or file_format.",
        )
    if found == "parquet" and said == "csv":
        raise SourceError(f"{where} is a Parquet file, not CSV.", "Set file_format to parquet.")
    if head.startswith(b"PK\x03\x04"):
        raise SourceError(f"{where} is a ZIP archive or an Excel sheet.", "Save it as CSV or Parquet.")
    if re.match(rb"\s*<(!doctype|html)", head, re.I):
        raise SourceError(
            f"{where} is a web page, not a table.", "Check the address; it may ask for a login."
        )
    return found


def _where(fetched: Fetched, file: Path) -> str:
    return fetched.uri if len(fetched.files) == 1 else f"{file.name} of {fetched.uri}"


def _scan_parquet(fetched: Fetched) -> pl.LazyFrame:
    try:
        schemas = [(file, dict(pl.scan_parquet(file).collect_schema())) for file in fetched.files]
    except pl.exceptions.DuplicateError as error:
        raise SourceError(
            f"{fetched.uri} has two columns of one name: {str(error).splitlines()[0]}.", "Rename one of them."
        ) from error
    first_file, first = schemas[0]
    for file, schema in schemas:
        if schema != first:
            name = next(n for n in {**first, **schema} if first.get(n) != schema.get(n))
            raise SourceError(
                f"Column {name!r} of {fetched.uri} is {schema.get(name, 'missing')} in {file.name} "
                f"and {first.get(name, 'missing')} in {first_file.name}.",
                "Write all files of the table with the same columns and types.",
            )
    return pl.scan_parquet(fetched.files)
