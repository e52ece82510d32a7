"""The edge of ``featurize``: artifacts and parameters as they come from KFP."""

import logging
from pathlib import Path
from typing import Any

from kfp_lifecycle.components.featurize.features import featurize_tables
from kfp_lifecycle.components.featurize.options import Options
from kfp_lifecycle.components.featurize.store import with_store_features
from kfp_lifecycle.components.shared import dataset
from kfp_lifecycle.components.shared.inference.schema import TableSchema
from kfp_lifecycle.components.shared.outputs import InputArtifact, OutputArtifact, whole_file
from kfp_lifecycle.components.shared.parameters import json_object
from kfp_lifecycle.components.shared.step import step

log = logging.getLogger(__name__)


@step(
    outputs=("train_features", "test_features", "plan", "transform", "train_rows", "test_rows", "rows_schema")
)
def featurize_step(
    *,
    train: InputArtifact,
    test: InputArtifact,
    schema: InputArtifact,
    train_features: OutputArtifact,
    test_features: OutputArtifact,
    plan: OutputArtifact,
    transform: OutputArtifact,
    train_rows: OutputArtifact,
    test_rows: OutputArtifact,
    rows_schema: OutputArtifact,
    overrides: str,
    **parameters: Any,
) -> None:
    """Runs ``featurize`` on artifacts.

    Args:
        train: As in the component, like all others.
        test: Likewise.
        schema: Likewise.
        train_features: Likewise.
        test_features: Likewise.
        plan: Likewise.
        transform: Likewise.
        train_rows: Likewise.
        test_rows: Likewise.
        rows_schema: Likewise.
        overrides: As JSON.
        **parameters: The fields of :class:`.options.Options`, which checks them.
    """
    options = Options(overrides=json_object(overrides, "overrides"), **parameters)
    table_schema = with_store_features(
        (Path(train.path), Path(test.path), TableSchema.load(schema.path)),
        (Path(train_rows.path), Path(test_rows.path), Path(rows_schema.path)),
        options,
    )
    made = featurize_tables(
        dataset.scan(train_rows.path),
        dataset.scan(test_rows.path),
        table_schema,
        options,
        train_features=Path(train_features.path),
        test_features=Path(test_features.path),
    )
    for artifact, transformer in ((plan, made.plan), (transform, made.transform)):
        with whole_file(artifact.path) as partial:
            transformer.save(partial)
    names = made.transform.names
    for artifact, rows in ((train_features, made.train_rows), (test_features, made.test_rows)):
        # With the row's hash and the target.
        artifact.metadata.update(dataset.metadata(rows, len(names) + 2, table_schema))
        artifact.metadata["features"] = len(names)
    for artifact, rows in ((train_rows, made.train_rows), (test_rows, made.test_rows)):
        artifact.metadata.update(dataset.metadata(rows, len(table_schema.columns), table_schema))
    log.info("%d features for %d training and %d test rows", len(names), made.train_rows, made.test_rows)
