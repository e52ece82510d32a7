"""The Dataset artifact: a folder of Parquet files."""

from pathlib import Path
from typing import Any

import polars as pl

from kfp_lifecycle.components.shared.errors import SchemaError, StorageError
from kfp_lifecycle.components.shared.inference.schema import TableSchema


def scan(path: str | Path) -> pl.LazyFrame:
    """The table in a Dataset artifact, lazily.

    Raises:
        SchemaError: There is no Parquet file at ``path``.
        StorageError: A file there is damaged.
    """
    folder = Path(path)
    if not any(folder.glob("*.parquet")):
        raise SchemaError(
            f"{folder} holds no Parquet file.", "Pass a Dataset output of prepare or featurize."
        )
    rows = pl.scan_parquet(folder / "*.parquet")
    try:
        # Counts by the files' footers alone; a file that was cut short has none.
        rows.select(pl.len()).collect()
    except pl.exceptions.PolarsError as error:
        raise StorageError(
            f"{folder} holds a damaged Parquet file: {error}.", "Run the step that wrote it again."
        ) from error
    return rows


def metadata(rows: int, columns: int, schema: TableSchema) -> dict[str, Any]:
    """What every Dataset artifact says of itself: rows, columns, target, task, source URI and digest.

    Of rows with features from a store also which they are: repository, service, version, registry digest.
    """
    store = schema.feature_source
    features = (
        {}
        if store is None
        else {
            "feature_store": store.repository,
            "feature_service": store.service,
            "feature_service_version": store.version,
            "feature_registry_digest": store.registry_digest,
            "feature_references": [column.reference for column in schema.columns if column.reference],
        }
    )
    return {
        "rows": rows,
        "columns": columns,
        "target": schema.target,
        "task": schema.task,
        "source_uri": schema.source_uri,
        "source_digest": schema.source_digest,
        **features,
    }
