"""The ``batch-inference`` pipeline: plan-shards → batch-predict, several at once → collect-shards."""

from kfp import dsl

from kfp_lifecycle.components.batch_predict import batch_predict
from kfp_lifecycle.components.collect_shards import collect_shards
from kfp_lifecycle.components.plan_shards import plan_shards

VERSION = "1.0.0"


# A parameter without a description of its own gets that of the first component that takes it.
@dsl.pipeline(name="batch-inference")
def batch_inference(
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
) -> None:
    """Scores a table of any size with the champion of a registered model, and resumes where it failed."""
    planned = plan_shards(
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
    # No limit of its own on how many run at once: workers says it.
    with dsl.ParallelFor(planned.output) as shards:
        scored = batch_predict(shards=shards, output=output)
    collect_shards(records=dsl.Collected(scored.output), output=output)
