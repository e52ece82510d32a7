"""The rows of a SQL query, streamed from PostgreSQL into Parquet files."""

from collections.abc import Iterator
from pathlib import Path

import adbc_driver_manager
import adbc_driver_postgresql.dbapi
import polars as pl
import polars_hash as plh
import pyarrow as pa

from kfp_lifecycle.components.prepare.files import Fetched
from kfp_lifecycle.components.shared.errors import SourceError, redact
from kfp_lifecycle.components.shared.outputs import storage_problem

#: Memory that the driver takes for one batch of rows, in bytes.
BATCH_BYTES = 16 << 20


def fetch_query(uri: str, query: str, folder: Path) -> Fetched:
    """Runs ``query`` in a read-only transaction and writes its rows as Parquet, batch by batch.

    What the URI does not say comes from libpq's environment (``PGHOST``, ``PGUSER``, ``PGPASSWORD``,
    ``PGPASSFILE``, ``PGSSLMODE``, …). The rows come by ``COPY``, the fastest way out of PostgreSQL.

    Args:
        uri: ``postgresql://[user@][host][:port]/database``, without a password.
        query: One SELECT.
        folder: Where to put the files.

    Returns:
        The files. Their digest is that of the rows in any order: a query without ORDER BY has none.

    Raises:
        SourceError: The database cannot be reached or refuses the query. Names the redacted URI.
    """
    files: list[Path] = []
    total, rows = 0, 0
    try:
        for chunk in _chunks(uri, query):
            files.append(folder / f"part-{len(files):05d}.parquet")
            chunk.write_parquet(files[-1], compression="lz4")
            rows += chunk.height
            total = (total + _content(chunk)) % 2**64
    except (adbc_driver_manager.Error, pa.ArrowException, OSError) as error:
        if storage_problem(error) is not None:
            raise
        raise _refused(uri, error) from error
    return Fetched(files, redact(uri), lambda: f"xxh3:{total:016x}-{rows}")


def _chunks(uri: str, query: str) -> Iterator[pl.DataFrame]:
    with adbc_driver_postgresql.dbapi.connect(uri) as connection, connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION READ ONLY")
        option = adbc_driver_postgresql.StatementOptions.BATCH_SIZE_HINT_BYTES.value
        cursor.adbc_statement.set_options(**{option: str(BATCH_BYTES)})
        # The driver puts the query into parentheses; the new line ends a comment.
        cursor.execute(query.strip().rstrip(";") + "\n")
        reader = cursor.fetch_record_batch()
        _check_columns(reader.schema, uri)
        empty = reader.schema.empty_table().to_batches() or [
            pa.RecordBatch.from_pylist([], schema=reader.schema)
        ]
        yield _plain(empty[0])
        for batch in reader:
            yield _plain(batch)


def _check_columns(schema: pa.Schema, uri: str) -> None:
    for index, column in enumerate(schema):
        if column.name in schema.names[:index]:
            raise SourceError(
                f"The query on {redact(uri)} gives two columns named {column.name!r}.",
                "Name one of them with AS.",
            )
        if pa.types.is_interval(column.type):
            raise SourceError(
                f"The query on {redact(uri)} gives column {column.name!r} as an interval.",
                "Turn it into a number in the query: extract(epoch from …).",
            )


def _plain(batch: pa.RecordBatch) -> pl.DataFrame:
    """A batch with PostgreSQL's own types as numbers and text."""
    columns = []
    for column, values in zip(batch.schema, batch.columns, strict=True):
        is_own = isinstance(column.type, pa.BaseExtensionType)
        series = pl.Series(column.name, values.storage if is_own else values)
        postgres = (column.metadata or {}).get(b"POSTGRESQL:type", b"").decode()
        if postgres == "numeric":
            series = series.cast(pl.Float64)
        elif postgres == "uuid":
            series = _uuid_text(series)
        columns.append(series)
    return pl.DataFrame(columns)


def _uuid_text(values: pl.Series) -> pl.Series:
    digits = pl.col(values.name).bin.encode("hex")
    parts = [
        digits.str.slice(start, length) for start, length in ((0, 8), (8, 4), (12, 4), (16, 4), (20, 12))
    ]
    return values.to_frame().select(pl.concat_str(parts, separator="-").alias(values.name)).to_series()


def _content(chunk: pl.DataFrame) -> int:
    """The sum of the rows' hashes, modulo 2**64: the same in whatever order they come."""
    return int(chunk.select(plh.hash_rows(pl.all()).nchash.xxh3_64()).to_series().sum() or 0)


def _refused(uri: str, error: Exception) -> SourceError:
    said = " ".join(str(error).partition("Query was:")[0].split())[:300].rstrip(". ")
    if isinstance(error, adbc_driver_manager.OperationalError):
        fix = "Check host, port, database and the credentials in the environment (PGUSER, PGPASSWORD)."
    else:
        fix = "Mend the query, or let this user read its tables."
    return SourceError(f"{redact(uri)} cannot be read: {redact(said)}.", fix)
