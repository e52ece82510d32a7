"""The KFP face of ``collect-shards``."""

from kfp import dsl

from kfp_lifecycle.components.shared.image import CORE_IMAGE

VERSION = "1.0.0"


@dsl.component(base_image=CORE_IMAGE, install_kfp_package=False)
def collect_shards(records: list[str], output: str, predictions: dsl.Output[dsl.Dataset]) -> str:
    """Checks that every row of a table has been scored once, and writes the manifest that says so.

    Args:
        records: What each batch-predict gave back.
        output: Where the scores are, as given to plan-shards.
        predictions: The scores: a folder of Parquet files with keys, model_version, prediction and
            probability_<class>, and the manifest _manifest.json. They stay in output.

    Returns:
        Where the scores are.

    Raises:
        StorageError: A part or a worker's record is missing.
    """
    from kfp_lifecycle.components.collect_shards.step import collect_shards_step

    return collect_shards_step(records=records, output=output, predictions=predictions)
