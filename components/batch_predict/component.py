"""The KFP face of ``batch-predict``."""

from kfp import dsl

from kfp_lifecycle.components.shared.image import CORE_IMAGE

VERSION = "1.0.0"


@dsl.component(base_image=CORE_IMAGE, install_kfp_package=False)
def batch_predict(shards: str, output: str) -> str:
    """Scores a share of a table's shards with the model version that the plan has fixed.

    Memory does not grow with the table: a shard is read while the one before is scored. A shard's scores
    appear whole; started again, the step scores only what is missing.

    Args:
        shards: Which shards: one of the texts that plan-shards gives.
        output: Where the scores go, as given to plan-shards.

    Returns:
        What was done, for collect-shards: the name of a record below output.

    Raises:
        SourceError: A file of the table is gone, has changed since it was planned, or is damaged.
        SchemaError: A file lacks a column that the model needs, or a value does not fit it. Names both.
        ParameterError: A key column has the name of one of the output's own columns.
        StorageError: The plan is not in the output, or a part cannot be written.
        TrackingError: MLflow cannot be reached, or in a pod none is configured.
    """
    from kfp_lifecycle.components.batch_predict.step import batch_predict_step

    return batch_predict_step(shards=shards, output=output)
