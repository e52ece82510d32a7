"""The rows of a SQL query, streamed from the database into Parquet files."""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import polars_hash as plh
import sqlalchemy as sa

from kfp_lifecycle.components.prepare.files import Fetched
from kfp_lifecycle.components.shared.errors import SourceError, redact

#: Rows that are held in memory at a time.
CHUNK_ROWS = 50_000

#: PostgreSQL's types by name; everything else is read as text.
_TYPES: dict[str, pl.DataType] = {
    **dict.fromkeys(("int2", "int4", "int8", "oid"), pl.Int64()),
    **dict.fromkeys(("float4", "float8", "numeric"), pl.Float64()),
    "bool": pl.Boolean(),
    "date": pl.Date(),
    "timestamp": pl.Datetime("us"),
    "timestamptz": pl.Datetime("us", "UTC"),
}


def fetch_query(uri: str, query: str, folder: Path) -> Fetched:
    """Runs ``query`` in a read-only transaction and writes its rows as Parquet, in bounded memory.

    Host, user and password come from the URI's host part and libpq's environment (``PGHOST``, ``PGUSER``,
    ``PGPASSWORD``, ``PGPASSFILE``, …). Rows come through a server-side cursor.

    Args:
        uri: ``postgresql://[user@]host[:port]/database``, without a password.
        query: One SELECT.
        folder: Where to put the files.

    Returns:
        The files. Their digest is that of the rows in any order: a query without ORDER BY has none.

    Raises:
        SourceError: The database cannot be reached or refuses the query. Names the redacted URI.
    """
    engine = _engine(uri)
    files: list[Path] = []
    total, rows = 0, 0
    try:
        with engine.connect() as connection:
            streamed = connection.execution_options(
                stream_results=True, max_row_buffer=CHUNK_ROWS, postgresql_readonly=True, no_parameters=True
            )
            result = streamed.exec_driver_sql(query)
            for chunk in _chunks(result, uri):
                file = folder / f"part-{len(files):05d}.parquet"
                chunk.write_parquet(file, compression="lz4")
                files.append(file)
                rows += chunk.height
                total = (total + _content(chunk)) % 2**64
    except sa.exc.SQLAlchemyError as error:
        raise _refused(uri, error) from error
    finally:
        engine.dispose()
    return Fetched(files, redact(uri), lambda: f"xxh3:{total:016x}-{rows}")


def _engine(uri: str) -> sa.Engine:
    try:
        url = sa.make_url("postgresql+psycopg://" + uri.partition("://")[2])
        return sa.create_engine(url, poolclass=sa.pool.NullPool)
    except (sa.exc.SQLAlchemyError, ValueError) as error:
        raise SourceError(
            f"Source {redact(uri)!r} is no database address.", "Write it as postgresql://host:port/database."
        ) from error


def _chunks(result: "sa.CursorResult[Any]", uri: str) -> Iterator[pl.DataFrame]:
    """The result in frames of :data:`CHUNK_ROWS` rows; one without rows where there are none."""
    if not result.returns_rows:
        raise SourceError(f"The query on {redact(uri)} returns no rows.", "Give one SELECT.")
    names = list(result.keys())
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise SourceError(
            f"The query on {redact(uri)} gives two columns named {repeated[0]!r}.",
            "Name one of them with AS.",
        )
    types = _column_types(result)
    texts = [index for index, dtype in enumerate(types) if dtype == pl.String]
    empty = True
    for rows in result.partitions(CHUNK_ROWS):
        empty = False
        yield pl.DataFrame(
            [_plain(row, texts) for row in rows], schema=dict(zip(names, types, strict=True)), orient="row"
        )
    if empty:
        yield pl.DataFrame(schema=dict(zip(names, types, strict=True)))


def _column_types(result: "sa.CursorResult[Any]") -> list[pl.DataType]:
    cursor: Any = result.cursor
    registry = cursor.connection.adapters.types
    names = [getattr(registry.get(column.type_code), "name", "") for column in cursor.description]
    return [_TYPES.get(name, pl.String()) for name in names]


def _plain(row: Sequence[Any], texts: Sequence[int]) -> list[Any]:
    """A row with decimals as floats and everything that Polars would not take for text as text."""
    values = [float(value) if isinstance(value, Decimal) else value for value in row]
    for index in texts:
        if values[index] is not None and not isinstance(values[index], str):
            values[index] = str(values[index])
    return values


def _content(chunk: pl.DataFrame) -> int:
    """The sum of the rows' hashes, modulo 2**64: the same in whatever order they come."""
    return int(chunk.select(plh.hash_rows(pl.all()).nchash.xxh3_64()).to_series().sum() or 0)


def _refused(uri: str, error: sa.exc.SQLAlchemyError) -> SourceError:
    said = " ".join(str(getattr(error, "orig", None) or error).split())[:300].rstrip(".")
    if isinstance(error, sa.exc.OperationalError):
        fix = "Check host, port, database and the credentials in the environment (PGUSER, PGPASSWORD)."
    else:
        fix = "Mend the query, or let this user read its tables."
    return SourceError(f"{redact(uri)} cannot be read: {redact(said)}.", fix)
