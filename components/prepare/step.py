"""The ``prepare`` step: from KFP's arguments to the logic."""

from pathlib import Path
from typing import Any

from kfp_lifecycle.components.prepare.options import Options, Rules, whole_texts
from kfp_lifecycle.components.prepare.table import Prepared, prepare_table
from kfp_lifecycle.components.shared.dataset import metadata
from kfp_lifecycle.components.shared.outputs import OutputArtifact
from kfp_lifecycle.components.shared.step import step


@step(outputs=("train", "test", "schema", "profile"))
def prepare_step(
    *,
    train: OutputArtifact,
    test: OutputArtifact,
    schema: OutputArtifact,
    profile: OutputArtifact,
    rules: str,
    missing_values: list[Any],
    **parameters: Any,
) -> Prepared:
    """Runs :func:`.table.prepare_table` and says in the artifacts' metadata what they hold.

    Args:
        train: As in the component, like all others.
        test: Likewise.
        schema: Likewise.
        profile: Likewise.
        rules: As JSON.
        missing_values: Texts; numbers too, which KFP has made floats.
        **parameters: The fields of :class:`.options.Options`, which checks them.

    Raises:
        LifecycleError: What the logic raises.
    """
    options = Options(rules=Rules.parse(rules), missing_values=whole_texts(missing_values), **parameters)
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
