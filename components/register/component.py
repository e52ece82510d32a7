"""The KFP face of ``register``."""

from typing import NamedTuple

from kfp import dsl

from kfp_lifecycle.components.shared.image import CORE_IMAGE

VERSION = "1.0.0"


@dsl.component(base_image=CORE_IMAGE, install_kfp_package=False)
def register(
    model: dsl.Input[dsl.Model],
    evaluation: dsl.Input[dsl.Artifact],
    model_name: str,
    approved: bool = False,
    reasons: str = "",
    description: str = "",
    challenger_only: bool = False,
    mlflow_run_id: str = "",
    pipeline_name: str = "",
    pipeline_version: str = "",
    pipeline_digest: str = "",
    pipeline_run_id: str = "",
    image: str = "",
) -> NamedTuple("Outputs", [("model_version", str), ("model_uri", str), ("aliases", str)]):
    """Puts a model into the MLflow registry, with its metrics and where it came from.

    The new version is the challenger; an approved one is the champion as well, unless serve is to make it so.
    Run again with the same model, it finds the version it made and adds none.

    Args:
        model: The model from train.
        evaluation: The evaluation from evaluate; its metrics go with the version.
        model_name: Name of the registered model; it is made where it is missing.
        approved: Whether the version becomes the champion.
        reasons: Why it was approved or not, kept with the version.
        description: Text for people, kept with the version.
        challenger_only: Whether an approved version stays the challenger, because serve is to make it the
            champion once it has all traffic.
        mlflow_run_id: MLflow run that holds the model; empty logs the model in a run of its own.
        pipeline_name: Lineage: the pipeline's name.
        pipeline_version: Lineage: the pipeline's version.
        pipeline_digest: Lineage: the compiled pipeline's digest, filled in by the compiler.
        pipeline_run_id: Lineage: the pipeline run.
        image: Lineage: the image that the model was trained in.

    Returns:
        model_version: The version's number in the registry.
        model_uri: The version as MLflow names it, models:/name/version.
        aliases: The aliases that it holds now, separated by commas.

    Raises:
        ParameterError: The evaluation is not one that evaluate wrote.
        RegistryError: The registry refuses the name, the model or an alias.
        TrackingError: MLflow cannot be reached, or in a pod none is configured.
    """
    from kfp_lifecycle.components.register.step import register_step

    return register_step(
        model=model,
        evaluation=evaluation,
        model_name=model_name,
        approved=approved,
        reasons=reasons,
        description=description,
        challenger_only=challenger_only,
        mlflow_run_id=mlflow_run_id,
        pipeline_name=pipeline_name,
        pipeline_version=pipeline_version,
        pipeline_digest=pipeline_digest,
        pipeline_run_id=pipeline_run_id,
        image=image,
    )
