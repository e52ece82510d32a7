"""Feast's file sources as Polars reads them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
from feast.infra.offline_stores.file_source import FileSource

from kfp_lifecycle.components.shared.errors import FeatureStoreError, did_you_mean

#: The names of event time and time of creation here; no source has a zero byte in a column's name.
TIME, CREATED = "\0time", "\0created"
_ROW = "\0row"

#: Columns are read as the types that Feast declares; text also where a source has it as a category.
DTYPES: dict[str, pl.DataType] = {
    "INT32": pl.Int32(),
    "INT64": pl.Int64(),
    "FLOAT": pl.Float32(),
    "FLOAT32": pl.Float32(),
    "DOUBLE": pl.Float64(),
    "FLOAT64": pl.Float64(),
    "STRING": pl.String(),
    "BOOL": pl.Boolean(),
    "BYTES": pl.Binary(),
}


@dataclass(frozen=True)
class Columns:
    """What is read of a source.

    Args:
        keys: Names of the entity keys as they are wanted, each to its name in the source.
        features: Likewise the features.
        time: The source's column of the event time.
        created: The source's column of the time of creation; empty where there is none.
        types: Feast's type by wanted name; a name without one is read as it is.
    """

    keys: Mapping[str, str]
    features: Mapping[str, str]
    time: str
    created: str = ""
    types: Mapping[str, str] = field(default_factory=dict)


def is_readable(source: Any) -> bool:
    """Whether Polars reads this source here: Parquet files, local or in a bucket."""
    if not isinstance(source, FileSource):
        return False
    return source.file_format is None or type(source.file_format).__name__ == "ParquetFormat"


def scan(source: FileSource, repo_path: Path | None, columns: Columns) -> pl.LazyFrame:
    """The rows of a source, lazily: the columns that are wanted, :data:`TIME` and, if any, :data:`CREATED`.

    Rows without an event time are left out: they were true at no time. Times without a zone are UTC.

    Raises:
        FeatureStoreError: The file is not there, or has not a column. Names both.
    """
    rows = _open(source, repo_path)
    schema = rows.collect_schema()
    wanted = {**columns.keys, **columns.features}
    for name in (*wanted.values(), columns.time, *([columns.created] if columns.created else [])):
        if name not in schema:
            raise FeatureStoreError(
                f"Source {source.name!r} ({source.path}) has no column {name!r}.",
                did_you_mean(name, schema.names()),
            )
    expressions = [_typed(pl.col(name), columns.types.get(wish)).alias(wish) for wish, name in wanted.items()]
    expressions.append(_moment(columns.time, schema[columns.time], source).alias(TIME))
    if columns.created:
        expressions.append(_moment(columns.created, schema[columns.created], source).alias(CREATED))
    return rows.select(expressions).filter(pl.col(TIME).is_not_null())


def moment(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """A date or timestamp of any zone and unit as Datetime("us") in UTC; without a zone it is UTC."""
    if isinstance(dtype, pl.Datetime) and dtype.time_zone:
        return value.dt.convert_time_zone("UTC").dt.cast_time_unit("us")
    return value.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


def latest(rows: pl.LazyFrame, keys: Sequence[str], has_created: bool) -> pl.LazyFrame:
    """Of each entity its newest row; of rows of one time the one created last, then the source's last."""
    order = [TIME, CREATED] if has_created else [TIME]
    numbered = rows.with_row_index(_ROW)
    # Sorted without the features, which are most of the memory.
    times = numbered.select(*keys, *order, _ROW).sort(order, maintain_order=True, nulls_last=False)
    newest = times.unique(keys, keep="last", maintain_order=True) if keys else times.tail(1)
    return numbered.join(newest.select(_ROW), on=_ROW, how="semi").drop(_ROW)


def _open(source: FileSource, repo_path: Path | None) -> pl.LazyFrame:
    uri = FileSource.get_uri_for_file_path(repo_path=repo_path, uri=source.path)
    system, path = FileSource.create_filesystem_and_path(str(uri), source.file_options.s3_endpoint_override)
    if system is not None:
        import pyarrow.dataset

        return pl.scan_pyarrow_dataset(pyarrow.dataset.dataset(path, filesystem=system, format="parquet"))
    place = Path(path)
    if not place.exists():
        raise FeatureStoreError(
            f"Source {source.name!r} is at {path}, which does not exist.",
            "Mend the path in the repository (relative paths are meant from its folder) and apply it.",
        )
    return pl.scan_parquet(place / "**/*.parquet" if place.is_dir() else place)


def _typed(value: pl.Expr, feast_type: str | None) -> pl.Expr:
    dtype = DTYPES.get(feast_type or "")
    return value if dtype is None else value.cast(dtype)


def _moment(name: str, dtype: pl.DataType, source: FileSource) -> pl.Expr:
    if not isinstance(dtype, (pl.Date, pl.Datetime)):
        raise FeatureStoreError(
            f"Column {name!r} of source {source.name!r} is {dtype}, which is no time.",
            "Write it as a timestamp.",
        )
    return moment(pl.col(name), dtype)
