"""The edge of ``featurize``: artifacts and parameters as they come from KFP."""

import logging
from pathlib import Path

from kfp_lifecycle.components.featurize.features import featurize_tables
from kfp_lifecycle.components.featurize.options import Options
from kfp_lifecycle.components.shared import dataset
from kfp_lifecycle.components.shared.inference.schema import TableSchema
from kfp_lifecycle.components.shared.outputs import InputArtifact, OutputArtifact, whole_file
from kfp_lifecycle.components.shared.parameters import json_object
from kfp_lifecycle.components.shared.step import step

log = logging.getLogger(__name__)


@step(outputs=("train_features", "test_features", "plan", "transform"))
def featurize_step(
    *,
    train: InputArtifact,
    test: InputArtifact,
    schema: InputArtifact,
    train_features: OutputArtifact,
    test_features: OutputArtifact,
    plan: OutputArtifact,
    transform: OutputArtifact,
    derive: dict[str, str],
    exclude_columns: list[str],
    impute_numeric: str,
    impute_category: str,
    encode: str,
    max_onehot: int,
    rare_share: float,
    scale: str,
    date_parts: list[str],
    overrides: str,
    seed: int,
) -> None:
    """Runs ``featurize`` on artifacts; see the component for the parameters."""
    options = Options(
        derive=derive,
        exclude_columns=exclude_columns,
        impute_numeric=impute_numeric,
        impute_category=impute_category,
        encode=encode,
        max_onehot=max_onehot,
        rare_share=rare_share,
        scale=scale,
        date_parts=date_parts,
        overrides=json_object(overrides, "overrides"),
        seed=seed,
    )
    table_schema = TableSchema.load(schema.path)
    made = featurize_tables(
        dataset.scan(train.path),
        dataset.scan(test.path),
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
    log.info("%d features for %d training and %d test rows", len(names), made.train_rows, made.test_rows)
