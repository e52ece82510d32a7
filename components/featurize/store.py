"""Rows with the features of a feature store, or passed on as they are."""

import logging
import os
import shutil
from pathlib import Path

from kfp_lifecycle.components.featurize.options import Options
from kfp_lifecycle.components.shared import dataset
from kfp_lifecycle.components.shared.errors import redact
from kfp_lifecycle.components.shared.inference.schema import TableSchema
from kfp_lifecycle.components.shared.outputs import whole_file, whole_folder
from kfp_lifecycle.components.shared.storage import is_remote

log = logging.getLogger(__name__)


def with_store_features(
    given: tuple[Path, Path, TableSchema], outputs: tuple[Path, Path, Path], options: Options
) -> TableSchema:
    """Writes both splits with the store's features beside their own columns, and the schema of these rows.

    Args:
        given: Folders of the training and the test split, and their schema.
        outputs: Folder of the training rows to write, of the test rows, and file of their schema.
        options: The component's parameters; with no ``feature_store`` the rows are passed on.

    Returns:
        The schema that was written.

    Raises:
        ParameterError: The parameters of the store contradict each other, or do not suit the rows.
        FeatureStoreError: The store cannot be read, or has not what is asked for.
        StorageError: A folder cannot be written.
    """
    train, test, schema = given
    if options.feature_store:
        schema = _joined((train, test), outputs[:2], schema, options)
    else:
        for source, output in zip((train, test), outputs[:2], strict=True):
            _pass_on(source, output)
    with whole_file(outputs[2]) as partial:
        schema.save(partial)
    return schema


def _joined(
    splits: tuple[Path, Path], outputs: tuple[Path, Path], schema: TableSchema, options: Options
) -> TableSchema:
    # Only here: Polars expressions and Feast are for those who have a store.
    from kfp_lifecycle.components.feature_store.historical import (
        check_rows,
        extended_schema,
        feature_source,
        join_features,
    )
    from kfp_lifecycle.components.feature_store.references import select
    from kfp_lifecycle.components.feature_store.repository import open_repository

    repository = open_repository(options.feature_store)
    selection = select(repository, options.feature_service, options.features)
    check_rows(schema, selection, options.event_time)
    columns = selection.columns(column.name for column in schema.columns)
    for split, output in zip(splits, outputs, strict=True):
        rows = join_features(dataset.scan(split), repository, selection, options.event_time, columns, output)
        log.info("%s features of %s joined to %s rows", len(columns), repository.uri, f"{rows:,}")
    source = feature_source(repository, selection, options.event_time, _found_again(options.feature_store))
    return extended_schema(schema, dataset.scan(outputs[0]), columns, source)


def _found_again(uri: str) -> str:
    """The repository's URI as the model server is to open it: absolute, without credentials."""
    return redact(uri) if is_remote(uri) else str(Path(uri.removeprefix("file://")).expanduser().absolute())


def _pass_on(source: Path, output: Path) -> None:
    """The same files in another folder: hard links where the disk has them, which take no room."""
    with whole_folder(output) as folder:
        for file in sorted(source.glob("*.parquet")):
            try:
                os.link(file, folder / file.name)
            except OSError:
                shutil.copyfile(file, folder / file.name)
