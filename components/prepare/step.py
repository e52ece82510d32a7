"""The ``prepare`` step: from KFP's arguments to the logic."""

from pathlib import Path

from kfp_lifecycle.components.prepare.options import Options, Rules, whole_texts
from kfp_lifecycle.components.prepare.table import Prepared, prepare_table
from kfp_lifecycle.components.shared.dataset import metadata
from kfp_lifecycle.components.shared.outputs import OutputArtifact
from kfp_lifecycle.components.shared.step import step


@step(outputs=("train", "test", "schema", "profile"))
def prepare_step(
    *,
    source: str,
    target: str,
    train: OutputArtifact,
    test: OutputArtifact,
    schema: OutputArtifact,
    profile: OutputArtifact,
    task: str,
    target_expression: str,
    positive_class: str,
    query: str,
    revision: str,
    file_format: str,
    encoding: str,
    delimiter: str,
    column_types: dict[str, str],
    missing_values: list[str],
    key_columns: list[str],
    drop_columns: list[str],
    drop_duplicates: bool,
    max_missing_share: float,
    max_categories: int,
    min_rows: int,
    rules: str,
    split: str,
    split_column: str,
    test_size: float,
    seed: int,
) -> Prepared:
    """Runs :func:`.table.prepare_table` and says in the artifacts' metadata what they hold.

    Parameters are those of the component; see there. Raises what the logic raises.
    """
    options = Options(
        source=source,
        target=target,
        task=task,
        target_expression=target_expression,
        positive_class=positive_class,
        query=query,
        revision=revision,
        file_format=file_format,
        encoding=encoding,
        delimiter=delimiter,
        column_types=column_types,
        missing_values=whole_texts(missing_values),
        key_columns=key_columns,
        drop_columns=drop_columns,
        drop_duplicates=drop_duplicates,
        max_missing_share=max_missing_share,
        max_categories=max_categories,
        min_rows=min_rows,
        rules=Rules.parse(rules),
        split=split,
        split_column=split_column,
        test_size=test_size,
        seed=seed,
    )
    prepared = prepare_table(
        options,
        train=Path(train.path),
        test=Path(test.path),
        schema=Path(schema.path),
        profile=Path(profile.path),
    )
    columns = len(prepared.schema.columns)
    train.metadata.update(metadata(prepared.train_rows, columns, prepared.schema))
    test.metadata.update(metadata(prepared.test_rows, columns, prepared.schema))
    return prepared
