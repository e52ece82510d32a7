"""The feature tables of both splits, by one plan that is fitted on the training split alone."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from kfp_lifecycle.components.featurize.options import Options
from kfp_lifecycle.components.featurize.plan import build_plan
from kfp_lifecycle.components.shared.inference.expressions import running
from kfp_lifecycle.components.shared.inference.featurizer import Featurizer
from kfp_lifecycle.components.shared.inference.schema import ROW_HASH, TableSchema
from kfp_lifecycle.components.shared.outputs import whole_folder


@dataclass(frozen=True)
class FeatureTables:
    """What :func:`featurize_tables` has made.

    Args:
        plan: The transform, unfitted.
        transform: The transform, fitted on the training split.
        train_rows: Rows of the training split's feature table.
        test_rows: Rows of the test split's.
    """

    plan: Featurizer
    transform: Featurizer
    train_rows: int
    test_rows: int


def featurize_tables(
    train: pl.LazyFrame,
    test: pl.LazyFrame,
    schema: TableSchema,
    options: Options,
    *,
    train_features: Path,
    test_features: Path,
) -> FeatureTables:
    """Plans, fits on ``train`` and writes both feature tables: ``_row_hash``, the features, the target.

    Rows stream from Parquet to Parquet and need not fit in memory. A training row's target encoding comes
    from other training rows alone.

    Args:
        train: The training split, settled, with ``_row_hash``.
        test: The test split, likewise.
        schema: Their schema.
        options: The component's parameters.
        train_features: Folder to write the training split's features to.
        test_features: Folder to write the test split's features to.

    Raises:
        ParameterError: A parameter names a column that is not there or does not suit it.
        ExpressionError: A derived column is refused or cannot be computed.
        SchemaError: The splits do not have the schema's columns, or a column has too many categories.
        StorageError: A table cannot be written.
    """
    plan = Featurizer(build_plan(schema, options, train), options.seed)
    keep = (ROW_HASH, schema.target)
    transform, features = plan.fit_transform(train, keep)
    train_rows = _write(features, transform, train_features)
    test_rows = _write(transform.transform(test, keep), transform, test_features)
    return FeatureTables(plan, transform, train_rows, test_rows)


def _write(features: pl.LazyFrame, transform: Featurizer, path: Path) -> int:
    """Streams a feature table to ``path``; the number of its rows."""
    ordered = features.select(ROW_HASH, *transform.names, transform.plan.target)
    with whole_folder(path) as folder, running(transform.plan.derive):
        file = folder / "part-0.parquet"
        # Mostly zeros and ones, which Parquet's own encoding packs: compression would win 5%.
        ordered.sink_parquet(file, compression="uncompressed", statistics=False)
        return int(pl.scan_parquet(file).select(pl.len()).collect().item())
