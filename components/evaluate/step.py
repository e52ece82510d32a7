"""What the component's body calls."""

import logging
import math
import time
from typing import Any, NamedTuple, Protocol

from mlflow.entities import Metric
from mlflow.models import Model

from kfp_lifecycle.components.evaluate.curves import roc
from kfp_lifecycle.components.evaluate.evaluation import Evaluation, Options, evaluate_model, to_json
from kfp_lifecycle.components.evaluate.report import render_report
from kfp_lifecycle.components.shared.inference.schema import TableSchema
from kfp_lifecycle.components.shared.model_format import library_version
from kfp_lifecycle.components.shared.outputs import InputArtifact, OutputArtifact, whole_file
from kfp_lifecycle.components.shared.step import step
from kfp_lifecycle.components.shared.tracking import connect, tracking_errors

log = logging.getLogger(__name__)


class ClassificationArtifact(OutputArtifact, Protocol):
    """KFP's ClassificationMetrics artifact, which its UI draws."""

    def log_roc_curve(self, fpr: list[float], tpr: list[float], threshold: list[float]) -> None:
        """Keeps the points of a ROC curve."""

    def log_confusion_matrix(self, categories: list[str], matrix: list[list[int]]) -> None:
        """Keeps a confusion matrix: rows are what is true."""


class Outputs(NamedTuple):
    """The component's output parameters."""

    approved: bool
    reasons: str


@step(outputs=("metrics", "classification", "report", "evaluation"))
def evaluate_step(
    *,
    model: InputArtifact,
    test: InputArtifact,
    schema: InputArtifact,
    metrics: OutputArtifact,
    classification: ClassificationArtifact,
    report: OutputArtifact,
    evaluation: OutputArtifact,
    mlflow_run_id: str = "",
    **options: Any,
) -> Outputs:
    """Evaluates the model, writes what was found, and returns the gate's decision.

    Args:
        model: The Model artifact.
        test: The test split.
        schema: The Schema artifact.
        metrics: Gets each metric, with ``_low`` and ``_high`` for the ends of its interval.
        classification: Gets the ROC curve and the confusion matrix.
        report: Gets the HTML page.
        evaluation: Gets everything as JSON.
        mlflow_run_id: MLflow run to log metrics and report to; empty logs to none.
        **options: As :class:`Options`.
    """
    found = evaluate_model(model.path, test.path, TableSchema.load(schema.path), Options(**options))
    page, everything = render_report(found, _lineage(found, mlflow_run_id)), to_json(found)
    if mlflow_run_id:
        _log(mlflow_run_id, Model.load(model.path).model_id, found, page, everything)
    with whole_file(report.path) as file:
        file.write_text(page, encoding="utf-8")
    with whole_file(evaluation.path) as file:
        file.write_text(everything, encoding="utf-8")
    metrics.metadata.update(_flat(found))
    evaluation.metadata.update(approved=found.decision.approved, rows=found.scored.rows)
    _draw(found, classification)
    log.info("%s", "approved" if found.decision.approved else "not approved")
    for reason in found.decision.reasons:
        log.info("%s", reason)
    return Outputs(found.decision.approved, "\n".join(found.decision.reasons))


def _flat(found: Evaluation) -> dict[str, float]:
    """Metrics and the ends of their intervals by name; what is not defined is left out: JSON has no NaN."""
    values: dict[str, float] = {}
    for name, estimate in found.metrics.items():
        values |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
    return {name: value for name, value in values.items() if math.isfinite(value)}


def _draw(found: Evaluation, classification: ClassificationArtifact) -> None:
    scored = found.scored
    if found.confusion is not None:
        classification.log_confusion_matrix(found.confusion.labels, found.confusion.counts.tolist())
    if scored.task == "binary":
        points = roc(scored.truth == scored.positive_code, scored.positive_probability)
        classification.log_roc_curve(
            points.false_positive_rate.tolist(), points.true_positive_rate.tolist(), points.threshold.tolist()
        )


def _lineage(found: Evaluation, mlflow_run_id: str) -> dict[str, str]:
    """What the report's footer says of data and model."""
    schema, split = found.schema, found.schema.split
    how = f"{split.method}, {split.test_size:.0%} of the rows to test"
    where = f"by {split.column}" + (f", from {split.boundary}" if split.boundary else "")
    return {
        "Data": schema.source_uri,
        "Digest": schema.source_digest,
        "Features": _features(schema),
        "Split": f"{how} {where}" if split.column else f"{how}, seed {split.seed}",
        "Target": schema.target,
        "Classes": ", ".join(schema.classes),
        "Positive class": schema.positive_class,
        "Estimator": found.estimator,
        "MLflow run": mlflow_run_id,
        "kfp-lifecycle": library_version(),
    }


def _features(schema: TableSchema) -> str:
    """The feature store that some of the features come from."""
    source = schema.feature_source
    return "" if source is None else " ".join([source.repository, source.service, source.version]).strip()


def _log(run_id: str, model_id: str | None, found: Evaluation, page: str, everything: str) -> None:
    """Test metrics, report and evaluation into the run that holds the model; the metrics to it too."""
    client, now = connect(), int(time.time() * 1000)
    about = {"model_id": model_id, "run_id": run_id}
    with tracking_errors():
        values = [Metric(f"test_{name}", value, now, 0, **about) for name, value in _flat(found).items()]
        client.log_batch(run_id, metrics=values)
        client.set_tag(run_id, "approved", str(found.decision.approved).lower())
        client.log_text(run_id, page, "evaluation/report.html")
        client.log_text(run_id, everything, "evaluation/evaluation.json")
