"""The KFP face of ``plan-shards``."""

from kfp import dsl

from kfp_lifecycle.components.shared.image import CORE_IMAGE

VERSION = "1.0.0"


@dsl.component(base_image=CORE_IMAGE, install_kfp_package=False)
def plan_shards(
    source: str,
    model_name: str,
    output: str,
    model_version: str = "",
    file_format: str = "auto",
    encoding: str = "utf-8",
    delimiter: str = ",",
    key_columns: list[str] = [],
    shard_rows: int = 250000,
    workers: int = 0,
) -> list[str]:
    """Fixes what a batch inference scores and with which one model version, and divides it among workers.

    The champion is looked up here, once: a promotion meanwhile changes nothing for the shards still to come.

    Args:
        source: Where the table is: a CSV or Parquet file or a folder of them (local path, gs://, s3://).
            Credentials come from the environment, never from this parameter.
        model_name: Name of the registered model.
        output: Folder that all steps reach (gs://, s3://, minio://, a path on a laptop or a shared volume).
            Each table and model version gets a folder of its own in it.
        model_version: The version's number; empty is the champion.
        file_format: csv or parquet; auto decides by the file's name and content.
        encoding: Text encoding of a CSV source, such as latin-1.
        delimiter: Separator of a CSV source.
        key_columns: Columns of the source that identify a row and go with its scores; empty takes the keys of
            the model's training data, and without any the row's file and place in it.
        shard_rows: Rows that are scored and written at once; what a failed run has to do again at most.
        workers: How many steps share the work; 0 is one on a laptop and four in a cluster. A table of fewer
            files than workers is read by each of them.

    Returns:
        A text for each worker, which batch-predict takes as shards.

    Raises:
        SourceError: The table is not there, is of another format, or cannot be reached.
        ParameterError: A parameter is of the wrong type or out of range, or a password is in the source.
        RegistryError: There is no such model or version, or it has no champion.
        TrackingError: MLflow cannot be reached, or in a pod none is configured.
        StorageError: The output cannot be written.
    """
    from kfp_lifecycle.components.plan_shards.step import plan_shards_step

    return plan_shards_step(
        source=source,
        model_name=model_name,
        output=output,
        model_version=model_version,
        file_format=file_format,
        encoding=encoding,
        delimiter=delimiter,
        key_columns=key_columns,
        shard_rows=shard_rows,
        workers=workers,
    )
