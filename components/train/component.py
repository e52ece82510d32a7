"""The KFP face of ``train``."""

from typing import NamedTuple

from kfp import dsl

from kfp_lifecycle.components.shared.image import CORE_IMAGE

VERSION = "1.0.0"


@dsl.component(base_image=CORE_IMAGE, install_kfp_package=False)
def train(
    train: dsl.Input[dsl.Dataset],
    train_features: dsl.Input[dsl.Dataset],
    schema: dsl.Input[dsl.Artifact],
    plan: dsl.Input[dsl.Artifact],
    transform: dsl.Input[dsl.Artifact],
    model: dsl.Output[dsl.Model],
    metrics: dsl.Output[dsl.Metrics],
    estimator: str = "auto",
    estimator_parameters: str = "{}",
    class_weight: str = "none",
    folds: int = 5,
    experiment: str = "kfp-lifecycle",
    run_name: str = "",
    reference_rows: int = 2000,
    seed: int = 42,
) -> NamedTuple("Outputs", [("mlflow_run_id", str)]):
    """Trains a scikit-learn-compatible estimator, cross-validates it and logs it to MLflow.

    Each fold fits its own transform on its own training rows, and folds follow the split that prepare made:
    stratified, forward in time, or by group. The model takes a row as it is in the source and has the
    transform inside.

    Args:
        train: The training split from prepare.
        train_features: The training split's feature table from featurize.
        schema: The schema from prepare.
        plan: The unfitted transform from featurize, which every fold fits anew.
        transform: The fitted transform from featurize, which goes into the model.
        model: An MLflow model folder: mlflow.pyfunc.load_model reads it where this library is not installed.
        metrics: Cross-validated metrics, mean and spread over the folds.
        estimator: Dotted path of the estimator's class, such as sklearn.ensemble.RandomForestClassifier;
            auto is HistGradientBoosting for the task.
        estimator_parameters: The estimator's parameters as one JSON object, such as {"max_depth": 5}.
        class_weight: none, balanced, or a JSON object of class to weight.
        folds: Number of cross-validation folds; 0 leaves cross-validation out.
        experiment: MLflow experiment to log to.
        run_name: Name of the MLflow run; empty lets MLflow choose. A run that Kubeflow's MLflow plugin has
            opened is used as it is.
        reference_rows: How many training rows are kept inside the model, with their out-of-fold predictions,
            as the reference that monitor compares with.
        seed: Seed of the folds, the estimator and the reference sample.

    Returns:
        mlflow_run_id: The MLflow run that holds parameters, metrics and model.

    Raises:
        EstimatorError: The estimator cannot be imported, takes no such parameter, or cannot be fitted.
        ParameterError: A parameter is of the wrong type or out of range, or class_weight names no class.
        SplitError: There are too few rows, classes, groups or moments for the folds.
        SchemaError: The inputs do not belong together.
        TrackingError: MLflow cannot be reached, or in a pod none is configured.
        StorageError: The disk is full or cannot be written.
    """
    from kfp_lifecycle.components.train.step import train_step

    return train_step(
        train=train,
        train_features=train_features,
        schema=schema,
        plan=plan,
        transform=transform,
        model=model,
        metrics=metrics,
        estimator=estimator,
        estimator_parameters=estimator_parameters,
        class_weight=class_weight,
        folds=folds,
        experiment=experiment,
        run_name=run_name,
        reference_rows=reference_rows,
        seed=seed,
    )
