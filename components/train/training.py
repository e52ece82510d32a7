"""Training: cross-validation, the final fit, the Model artifact and the MLflow run."""

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from mlflow.tracking import MlflowClient

from kfp_lifecycle.components.shared.dataset import scan
from kfp_lifecycle.components.shared.errors import ParameterError, SchemaError
from kfp_lifecycle.components.shared.inference.labels import label_codes
from kfp_lifecycle.components.shared.inference.schema import ROW_HASH, TableSchema
from kfp_lifecycle.components.shared.inference.transform import FeatureTransform
from kfp_lifecycle.components.shared.model_format import save_model
from kfp_lifecycle.components.shared.outputs import whole_folder
from kfp_lifecycle.components.shared.tracking import tracked_run
from kfp_lifecycle.components.train.crossval import CrossValidation, cross_validate, predict
from kfp_lifecycle.components.train.estimators import AUTO, build_estimator, json_parameters
from kfp_lifecycle.components.train.fitting import Recipe, check_early_stopping, fit_on
from kfp_lifecycle.components.train.folds import make_folds
from kfp_lifecycle.components.train.log_run import (
    log_dataset,
    log_metrics,
    log_model,
    log_parameters,
    run_tags,
)
from kfp_lifecycle.components.train.reference import reference_rows
from kfp_lifecycle.components.train.weights import parse_class_weight, set_class_weight, weights_by_code

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingInputs:
    """Where the inputs of a training are.

    Args:
        rows: Folder of the prepared training split.
        features: Folder of its feature table.
        schema: File of the schema.
        plan: File of the unfitted transform.
        transform: File of the fitted transform.
    """

    rows: Path
    features: Path
    schema: Path
    plan: Path
    transform: Path


@dataclass(frozen=True)
class TrainingOptions:
    """How to train; each is a parameter of the component.

    Args:
        estimator: Dotted path of the estimator's class, or ``auto``.
        estimator_parameters: Its parameters.
        class_weight: ``none``, ``balanced``, or a JSON object of class to weight.
        folds: Number of folds; 0 is no cross-validation.
        experiment: MLflow experiment.
        run_name: Name of the MLflow run; empty lets MLflow choose.
        reference_rows: Rows of the reference sample, at least 1.
        seed: Seed of the folds, the estimator and the sample.
    """

    estimator: str = "auto"
    estimator_parameters: Mapping[str, Any] = field(default_factory=dict)
    class_weight: str = "none"
    folds: int = 5
    experiment: str = "kfp-lifecycle"
    run_name: str = ""
    reference_rows: int = 2000
    seed: int = 42


@dataclass(frozen=True)
class TrainingResult:
    """What a training gave: MLflow run, the logged model's id, cross-validated metrics, estimator's path."""

    run_id: str
    model_id: str
    metrics: dict[str, float]
    estimator: str


def train_model(inputs: TrainingInputs, model: Path, options: TrainingOptions) -> TrainingResult:
    """Cross-validates, fits on all training rows, writes the Model artifact and logs it all to MLflow.

    Args:
        inputs: What prepare and featurize wrote.
        model: The folder to write the Model artifact to; it appears when all is done.
        options: How to train.

    Raises:
        EstimatorError: The estimator cannot be imported, built or fitted.
        ParameterError: An option is out of range, or does not fit the task.
        SchemaError: The inputs do not belong together.
        SplitError: The rows are too few to make folds of.
        TrackingError: MLflow fails or cannot be reached.
        StorageError: The output cannot be written.
    """
    schema = TableSchema.load(inputs.schema)
    if options.reference_rows < 1:
        raise ParameterError(f"Parameter 'reference_rows' is {options.reference_rows}.", "Give 1 or more.")
    recipe = make_recipe(options, schema, FeatureTransform.load(inputs.plan))
    transform = FeatureTransform.load(inputs.transform)
    parameters = _parameters(schema, transform, options, recipe)
    tags = run_tags(schema, recipe.path)
    with tracked_run(options.experiment, options.run_name, tags) as run_id:
        client = MlflowClient()
        log_parameters(client, run_id, parameters)
        rows = scan(inputs.rows).collect()
        log_dataset(client, run_id, schema, rows.height)
        y = target_values(rows, schema)
        found = cross_validate(recipe, rows, y, make_folds(rows, y, schema, options.folds, options.seed))
        features = read_features(inputs.features, rows, transform)
        estimator = fit_on(recipe, rows, y, features)
        reference, sample = reference_rows(rows, found, schema, options.reference_rows, options.seed)
        predict(recipe, estimator, features[sample])  # refuses an estimator that does not predict numbers
        with whole_folder(model) as folder:
            save_model(
                folder,
                estimator=estimator,
                estimator_path=recipe.path,
                transform=transform,
                schema=schema,
                reference=reference,
                row_hashes=rows[ROW_HASH].to_numpy(),
                parameters=parameters,
                metrics=found.summary(),
            )
            model_id = log_model(client, run_id, folder, tags)
            log_metrics(client, run_id, found.folds, found.summary(), model_id)
    _say(found, run_id)
    return TrainingResult(run_id, model_id, found.summary(), recipe.path)


def make_recipe(options: TrainingOptions, schema: TableSchema, plan: FeatureTransform) -> Recipe:
    """The unfitted estimator with its weights, and the transform that goes with it.

    Raises:
        EstimatorError: See :func:`.estimators.build_estimator` and :func:`.fitting.check_early_stopping`.
        ParameterError: ``class_weight`` does not fit the table.
    """
    given = dict(options.estimator_parameters)
    weight = parse_class_weight(options.class_weight, schema)
    if isinstance(own := given.get("class_weight"), Mapping) or own == "balanced":
        if weight is not None:
            raise ParameterError(
                "Class weights are given twice: in class_weight and in estimator_parameters.",
                "Give them once.",
            )
        # Labels become positions, which is what the estimator is fitted on.
        weight = weights_by_code(own, schema) if isinstance(own, Mapping) else "balanced"
        given["class_weight"] = None
    path = AUTO[schema.task] if options.estimator == "auto" else options.estimator
    estimator = build_estimator(path, given, task=schema.task, seed=options.seed)
    weigh_rows = set_class_weight(estimator, weight, path)
    recipe = Recipe(estimator, path, plan, schema, weight, weigh_rows, options.seed)
    check_early_stopping(recipe)
    return recipe


def target_values(rows: pl.DataFrame, schema: TableSchema) -> npt.NDArray[Any]:
    """The target as it is fitted: positions in the schema's classes, or float64. Shape ``(n,)``."""
    target = rows[schema.target]
    if schema.task != "regression":
        return label_codes(target, schema)
    return target.cast(pl.Float64).to_numpy()


def read_features(path: Path, rows: pl.DataFrame, transform: FeatureTransform) -> npt.NDArray[np.float64]:
    """The feature table in the order of the prepared rows, shape ``(n, features)``.

    Raises:
        SchemaError: The two tables do not hold the same rows.
    """
    names = list(transform.get_feature_names_out())
    table = scan(path).select(ROW_HASH, *names).collect()
    ours, theirs = rows[ROW_HASH], table[ROW_HASH]
    if not theirs.equals(ours):
        if not theirs.sort().equals(ours.sort()) or ours.n_unique() < len(ours):
            raise SchemaError(
                "train_features does not hold the rows of train.",
                "Pass what featurize made of this train output.",
            )
        table = rows.select(ROW_HASH).join(table, on=ROW_HASH, maintain_order="left")
    return table.select(names).cast(pl.Float64).to_numpy()


def _parameters(
    schema: TableSchema, transform: FeatureTransform, options: TrainingOptions, recipe: Recipe
) -> dict[str, dict[str, Any]]:
    """By component, the parameters that the model comes from; ``estimator`` has the defaults too."""
    return {
        "prepare": schema.parameters,
        "featurize": transform.plan["parameters"],
        "train": {**asdict(options), "estimator": recipe.path},
        "estimator": json_parameters(recipe.estimator),
    }


def _say(found: CrossValidation, run_id: str) -> None:
    for name, value in found.summary().items():
        if name.endswith("_mean"):
            log.info("%s %.4f ± %.4f", name, value, found.summary()[name.removesuffix("_mean") + "_std"])
    log.info("MLflow run %s", run_id)
