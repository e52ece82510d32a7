"""The KFP face of ``evaluate``."""

from typing import NamedTuple

from kfp import dsl

from kfp_lifecycle.components.shared.image import CORE_IMAGE

VERSION = "1.0.0"


@dsl.component(base_image=CORE_IMAGE, install_kfp_package=False)
def evaluate(
    model: dsl.Input[dsl.Model],
    test: dsl.Input[dsl.Dataset],
    schema: dsl.Input[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
    classification: dsl.Output[dsl.ClassificationMetrics],
    report: dsl.Output[dsl.HTML],
    evaluation: dsl.Output[dsl.Artifact],
    model_name: str = "",
    thresholds: list[str] = [],
    champion_metric: str = "auto",
    min_improvement: float = 0.0,
    on_incomparable: str = "reject",
    slices: list[str] = [],
    confidence: float = 0.95,
    bootstrap_samples: int = 1000,
    mlflow_run_id: str = "",
    seed: int = 42,
) -> NamedTuple("Outputs", [("approved", bool), ("reasons", str)]):
    """Scores a model on the untouched test split and decides whether it may become the champion.

    The gate has two parts: thresholds, and the registered champion scored on the same rows with a paired
    bootstrap. A champion that has seen test rows in its training, lacks a column, or differs in task, target
    or classes is not comparable. With no champion yet, the thresholds alone decide.

    Args:
        model: The model from train.
        test: The test split from prepare.
        schema: The schema from prepare.
        metrics: The test metrics with their confidence intervals.
        classification: ROC curve and confusion matrix that the Kubeflow UI draws; empty for regression.
        report: Everything in one self-contained HTML page.
        evaluation: Everything as JSON: metrics, intervals, slices, calibration, the gate's decision.
        model_name: Registered model whose champion is compared with; empty leaves the champion out.
        thresholds: Conditions that must all hold, such as roc_auc >= 0.80.
        champion_metric: Metric that champion and challenger are compared by; auto is roc_auc for binary,
            roc_auc_ovr for multiclass and rmse for regression.
        min_improvement: By how much the challenger must be better than the champion, in units of the metric.
            At 0 it must not be worse beyond doubt: it is refused when the paired interval lies wholly on the
            worse side.
        on_incomparable: reject, or thresholds: what decides when the champion is not comparable.
        slices: Columns by whose values the metrics are also reported.
        confidence: Coverage of the intervals, between 0 and 1.
        bootstrap_samples: Number of bootstrap samples.
        mlflow_run_id: MLflow run to log the test metrics to; empty logs to none.
        seed: Seed of the bootstrap.

    Returns:
        approved: Whether the model may become the champion.
        reasons: Why, one reason a line.

    Raises:
        ParameterError: A threshold, metric, slice or another parameter is not one that this task has.
        EstimatorError: The model predicts values that are not finite.
        SplitError: The test split has one class only.
        TargetError: The test split has no value of the target to judge by.
        RegistryError: model_name is no name that the registry takes.
        SchemaError: The test split does not have the columns that the model was trained on.
        TrackingError: MLflow cannot be reached, or in a pod none is configured.
        StorageError: The disk is full or cannot be written.
    """
    from kfp_lifecycle.components.evaluate.step import evaluate_step

    return evaluate_step(
        model=model,
        test=test,
        schema=schema,
        metrics=metrics,
        classification=classification,
        report=report,
        evaluation=evaluation,
        model_name=model_name,
        thresholds=thresholds,
        champion_metric=champion_metric,
        min_improvement=min_improvement,
        on_incomparable=on_incomparable,
        slices=slices,
        confidence=confidence,
        bootstrap_samples=bootstrap_samples,
        mlflow_run_id=mlflow_run_id,
        seed=seed,
    )
