"""The prediction log: what a server has answered, as Parquet files by day, for all that look at it later.

    <uri>/date=2026-11-22/part-1795384800000-web-7d9f-000042.parquet

A file is one batch of one server. It appears whole, and its rows are all of the day that its folder names
(UTC). Its columns are those of :data:`COLUMNS`, then the model's inputs under their own names, then what else
the server was told to log, then ``prediction`` and ``probability_<class>``. Columns differ between
versions of a model, so between files too.
"""

import atexit
import hmac
import shutil
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import polars as pl

from kfp_lifecycle.components.shared.errors import ParameterError, StorageError
from kfp_lifecycle.components.shared.storage import Store, fetch, is_remote, open_store

#: When the answer was computed, which request it belongs to, the row's position in that request (from 0), and
#: the model and version that answered.
TIME, REQUEST_ID, ROW, MODEL, VERSION = "_time", "_request_id", "_row", "_model", "_version"

#: The columns that every file begins with, and their types.
COLUMNS: dict[str, pl.DataType] = {
    TIME: pl.Datetime("us", "UTC"),
    REQUEST_ID: pl.String(),
    ROW: pl.Int32(),
    MODEL: pl.String(),
    VERSION: pl.String(),
}

#: The environment variable with the salt of hashed columns.
SALT = "KFP_LIFECYCLE_LOG_SALT"

_PARALLEL = 8


class Log(NamedTuple):
    """Rows of a prediction log.

    Args:
        rows: The rows in no particular order; a column that a file does not have is null there. Without any
            file there are the columns of :data:`COLUMNS` and no rows.
        problems: One line for each file that was skipped, with its name and what is wrong with it.
    """

    rows: pl.LazyFrame
    problems: list[str]


def part_name(moment: datetime, instance: str, sequence: int) -> str:
    """The name below the log's URI of a file with rows of the day of ``moment``.

    Args:
        moment: When the file's first row was answered.
        instance: What no other server that writes to this log has: a pod's name, a random text.
        sequence: How many files this server wrote before.
    """
    moment = _utc(moment)
    return f"{_folder(moment.date())}/part-{moment.timestamp() * 1000:.0f}-{instance}-{sequence:06d}.parquet"


def read_log(uri: str, start: datetime, end: datetime) -> Log:
    """The rows that were answered from ``start`` up to, and not with, ``end``.

    Only the files of the days between the two are listed and read; from a bucket they are downloaded to a
    temporary folder, which is removed when the process ends.

    Args:
        uri: The log's folder or bucket, as the server was given it.
        start: The first moment; UTC where it has no zone.
        end: The first moment after, likewise.

    Raises:
        StorageError: The place cannot be listed.
        ParameterError: ``end`` is before ``start``.
    """
    start, end = _utc(start), _utc(end)
    if end < start:
        raise ParameterError(f"The log cannot be read from {start} to {end}.", "Let the end come after.")
    store = open_store(uri)
    names = [name for day in _days(start, end) for name in store.names(_folder(day)) if _is_part(name)]
    problems: list[str] = []
    files = _local_files(store, names, problems)
    tables = _tables(files, problems)
    empty = pl.LazyFrame(schema=COLUMNS)
    rows = pl.concat([empty, *tables], how="diagonal_relaxed")
    return Log(rows.filter((pl.col(TIME) >= start) & (pl.col(TIME) < end)), problems)


def hashed(values: pl.Series, salt: str) -> pl.Series:
    """A column as the log has it where it is hashed: HMAC-SHA256 (RFC 2104) of its values as text, in hex.

    So that other tables can be joined to the log by such a column, they are hashed here too.

    Args:
        values: The column; null stays null.
        salt: The key.
    """
    key = salt.encode()
    texts = values.cast(pl.String).to_list()
    digests = [None if text is None else hmac.digest(key, text.encode(), "sha256").hex() for text in texts]
    return pl.Series(values.name, digests, dtype=pl.String)


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _folder(day: date) -> str:
    return f"date={day.isoformat()}"


def _is_part(name: str) -> bool:
    return name.endswith(".parquet")


def _days(start: datetime, end: datetime) -> list[date]:
    """The days that have moments from ``start`` up to ``end``."""
    if start == end:
        return []
    last = (end - timedelta(microseconds=1)).date()
    return [start.date() + timedelta(days=n) for n in range((last - start.date()).days + 1)]


def _local_files(store: Store, names: Sequence[str], problems: list[str]) -> dict[str, Path]:
    """Name to file of those that could be fetched."""
    if not names:
        return {}
    if not is_remote(store.uri):
        root = fetch(store.uri, Path())
        return {name: root / name for name in names}
    folder = Path(tempfile.mkdtemp(prefix="prediction-log-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)

    def fetched(name: str) -> StorageError | None:
        try:
            store.read(name, folder / name)
        except StorageError as error:  # such as one that was deleted since it was listed
            return error
        return None

    with ThreadPoolExecutor(_PARALLEL) as pool:
        errors = dict(zip(names, pool.map(fetched, names), strict=True))
    problems += [str(error) for error in errors.values() if error is not None]
    return {name: folder / name for name, error in errors.items() if error is None}


def _tables(files: dict[str, Path], problems: list[str]) -> list[pl.LazyFrame]:
    """One table for each set of columns that there is among the files."""
    alike: dict[tuple[tuple[str, pl.DataType], ...], list[Path]] = {}
    for name, file in files.items():
        try:
            # The types are in the footer, which is written last: a file that was cut short has none.
            types = dict(pl.scan_parquet(file, glob=False).collect_schema())
        except (pl.exceptions.PolarsError, OSError) as error:
            problems.append(f"{name} is no whole Parquet file: {' '.join(str(error).split())[:200]}")
            continue
        if strange := [column for column, dtype in COLUMNS.items() if types.get(column) != dtype]:
            problems.append(f"{name} is no prediction log: it has no column {strange[0]} of its type.")
            continue
        alike.setdefault(tuple(types.items()), []).append(file)
    return [pl.scan_parquet(paths, glob=False) for paths in alike.values()]
