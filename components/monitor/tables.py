"""The tables that are compared: a prediction log, or any table that prepare can read."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl

from kfp_lifecycle.components.monitor.findings import Problem
from kfp_lifecycle.components.monitor.windows import Window
from kfp_lifecycle.components.prepare.options import Options as Reading
from kfp_lifecycle.components.prepare.reading import read
from kfp_lifecycle.components.prepare.sources import fetch
from kfp_lifecycle.components.shared.errors import (
    MonitorError,
    ParameterError,
    SourceError,
    did_you_mean,
    redact,
)
from kfp_lifecycle.components.shared.inference.schema import Column, TableSchema
from kfp_lifecycle.components.shared.inference.settle import column_settling
from kfp_lifecycle.components.shared.prediction_log import REQUEST_ID, ROW, TIME, VERSION, read_log
from kfp_lifecycle.components.shared.storage import SCHEMES, open_store

#: A clock may be off by so much before it is said.
SKEW = timedelta(minutes=5)
#: How far ahead rows of a clock that is wrong are looked for.
AHEAD = timedelta(days=366)

_DAY = re.compile(r"date=\d{4}-\d{2}-\d{2}/")
_HASHED = r"^[0-9a-f]{64}$"


@dataclass(frozen=True)
class Table:
    """Rows of a window.

    Args:
        rows: The rows.
        uri: Where they are from, without credentials.
        is_log: Whether it is a prediction log.
        time: The column that says when a row is of; empty where none does.
        keys: What labels are joined by, unless the user says otherwise.
        problems: What is wrong with the files.
    """

    rows: pl.LazyFrame
    uri: str
    is_log: bool = False
    time: str = ""
    keys: tuple[str, ...] = ()
    problems: list[Problem] = field(default_factory=list)


@dataclass(frozen=True)
class Place:
    """Where tables are read from.

    Args:
        uri: The log or table.
        time_column: The column that a table's window goes by; empty takes all rows.
        schema: The schema of the training data.
        folder: An empty folder for what is fetched.
    """

    uri: str
    time_column: str
    schema: TableSchema
    folder: Path

    def read(self, window: Window) -> Table:
        """The rows of a window.

        Raises:
            MonitorError: Its files do not belong together.
            ParameterError: There is no such time column.
            SourceError: It is not there, or not readable.
            StorageError: The place cannot be listed.
        """
        if is_log(self.uri, window):
            return _log(self.uri, window)
        return _table(self, window)


def is_log(uri: str, window: Window) -> bool:
    """Whether there is a prediction log at a URI, or an empty folder for one."""
    scheme, separator, _ = uri.partition("://")
    if separator and scheme.lower() not in SCHEMES:
        return False
    if not separator and not Path(uri).is_dir():
        return False
    store = open_store(uri)
    if store.names(f"date={window.end.date()}") or store.names(f"date={window.start.date()}"):
        return True
    names = store.names()
    return any(_DAY.match(name) for name in names) or (not names and not separator)


def of_version(table: Table, version: str) -> tuple[Table, dict[str, int]]:
    """A log's rows that one version of the model answered, and how many each other version did."""
    if not table.is_log:
        return table, {}
    with _whole(table.uri):
        counted = table.rows.group_by(VERSION).len().collect(engine="streaming")
    others = {str(name): int(rows) for name, rows in counted.iter_rows() if name != version}
    rows = table.rows.filter(pl.col(VERSION) == version)
    return Table(rows, table.uri, True, table.time, table.keys, table.problems), others


def hashed_columns(table: Table, columns: list[Column]) -> list[str]:
    """A log's text columns that hold hashes in place of what was sent: they cannot be compared."""
    types = table.rows.collect_schema()
    texts = [column.name for column in columns if types.get(column.name) == pl.String]
    if not table.is_log or not texts:
        return []
    with _whole(table.uri):
        some = table.rows.select(texts).head(100).collect(engine="streaming")
    seen = [some[name].drop_nulls() for name in texts]
    return [values.name for values in seen if len(values) and values.str.contains(_HASHED).all()]


def ahead(uri: str, now: datetime) -> int:
    """Rows of a log that say they are of a time that has not come yet: of a server whose clock is wrong."""
    later = read_log(uri, now + SKEW, now + AHEAD)
    with _whole(uri):
        return int(later.rows.select(pl.len()).collect(engine="streaming").item())


def newest(table: Table) -> datetime | None:
    """The time of the newest row of a log; None where there is none."""
    if not table.is_log:
        return None
    with _whole(table.uri):
        found: datetime | None = table.rows.select(pl.col(TIME).max()).collect(engine="streaming").item()
    return found


def read_table(uri: str, parameter: str, schema: TableSchema, folder: Path) -> pl.LazyFrame:
    """All rows of a table.

    Raises:
        SourceError: It is not there, or not readable. Names the parameter.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        reading = Reading(source=uri, target=schema.target)
        return read(fetch(reading, folder), reading, folder, may_be_empty=True).frame
    except SourceError as error:
        raise SourceError(f"Parameter {parameter!r}: {error.problem}", error.fix) from error


def _log(uri: str, window: Window) -> Table:
    rows, problems = read_log(uri, window.start, window.end)
    found = [
        Problem("damaged file", f"A file of the log was skipped, its rows are not counted: {said}")
        for said in problems
    ]
    with _whole(uri):
        rows.collect_schema()
    return Table(rows, redact(uri), is_log=True, time=TIME, keys=(REQUEST_ID, ROW), problems=found)


def _table(place: Place, window: Window) -> Table:
    rows = read_table(place.uri, "current", place.schema, place.folder / "current")
    uri, time = redact(place.uri), place.time_column
    if not time:
        return Table(rows, uri)
    types = rows.collect_schema()
    if time not in types:
        raise ParameterError(
            f"Parameter 'time_column' is {time!r}, which is no column of {uri}.", did_you_mean(time, types)
        )
    known = next((column for column in place.schema.columns if column.name == time), None)
    column = Column(time, "timestamp", time_format=known.time_format if known else None)
    moment = column_settling(column, types[time], place.schema).value
    return Table(rows.filter((moment >= window.start) & (moment < window.end)), uri, time=time)


@contextmanager
def _whole(uri: str) -> Iterator[None]:
    try:
        yield
    except pl.exceptions.PolarsError as error:
        said = " ".join(str(error).split())[:300].rstrip(".")
        raise MonitorError(
            f"The files of {redact(uri)} cannot be read together: {said}.",
            "A column may have changed its type: choose a window after the change.",
        ) from error
