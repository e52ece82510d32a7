"""What the ``train`` component's body calls."""

from pathlib import Path
from typing import NamedTuple

from kfp_lifecycle.components.shared.outputs import InputArtifact, OutputArtifact
from kfp_lifecycle.components.shared.parameters import json_object
from kfp_lifecycle.components.shared.step import step


class Outputs(NamedTuple):
    """The component's output parameters."""

    mlflow_run_id: str


@step(outputs=("model", "metrics"))
def train_step(
    *,
    train: InputArtifact,
    train_features: InputArtifact,
    schema: InputArtifact,
    plan: InputArtifact,
    transform: InputArtifact,
    model: OutputArtifact,
    metrics: OutputArtifact,
    estimator: str,
    estimator_parameters: str,
    class_weight: str,
    folds: int,
    experiment: str,
    run_name: str,
    reference_rows: int,
    seed: int,
) -> Outputs:
    """Trains as the component says; see :func:`.training.train_model` for the errors."""
    from kfp_lifecycle.components.train.training import TrainingInputs, TrainingOptions, train_model

    result = train_model(
        TrainingInputs(
            rows=Path(train.path),
            features=Path(train_features.path),
            schema=Path(schema.path),
            plan=Path(plan.path),
            transform=Path(transform.path),
        ),
        Path(model.path),
        TrainingOptions(
            estimator=estimator,
            estimator_parameters=json_object(estimator_parameters, "estimator_parameters"),
            class_weight=class_weight,
            folds=folds,
            experiment=experiment,
            run_name=run_name,
            reference_rows=reference_rows,
            seed=seed,
        ),
    )
    metrics.metadata.update(result.metrics)
    model.metadata.update(
        {
            "framework": "mlflow",
            "estimator": result.estimator,
            "mlflow_run_id": result.run_id,
            "mlflow_model_id": result.model_id,
        }
    )
    return Outputs(mlflow_run_id=result.run_id)
