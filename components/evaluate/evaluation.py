"""Evaluating a model: its metrics, how sure they are, and whether it may become the champion."""

import dataclasses
import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from mlflow.entities.model_registry import ModelVersion

from kfp_lifecycle.components.evaluate.bootstrap import Estimate, bootstrap
from kfp_lifecycle.components.evaluate.calibration import Reliability, Residuals, reliability, residuals
from kfp_lifecycle.components.evaluate.champion import (
    IncomparableError,
    champion_of,
    other_question,
    score_champion,
)
from kfp_lifecycle.components.evaluate.curves import (
    ClassRow,
    Confusion,
    ThresholdRow,
    by_class,
    by_threshold,
    confusion,
)
from kfp_lifecycle.components.evaluate.gate import (
    ON_INCOMPARABLE,
    Decision,
    Rival,
    decide,
    parse_thresholds,
    resolve_metric,
)
from kfp_lifecycle.components.evaluate.predictions import Scored
from kfp_lifecycle.components.evaluate.scoring import read_truth, score
from kfp_lifecycle.components.evaluate.slices import Slice, check_slices, slice_metrics
from kfp_lifecycle.components.shared.errors import ParameterError, SchemaError
from kfp_lifecycle.components.shared.inference.schema import TableSchema
from kfp_lifecycle.components.shared.model_format import describe
from kfp_lifecycle.components.shared.parameters import one_of

log = logging.getLogger(__name__)

#: More resamples than this change no digit of an interval that is shown.
MAX_SAMPLES = 100_000


@dataclass(frozen=True)
class Options:
    """What an evaluation is asked for; the component's face says what each means.

    Raises:
        ParameterError: One is out of its range. Names it.
    """

    model_name: str = ""
    thresholds: Sequence[str] = ()
    champion_metric: str = "auto"
    min_improvement: float = 0.0
    on_incomparable: str = "reject"
    slices: Sequence[str] = ()
    confidence: float = 0.95
    bootstrap_samples: int = 1000
    seed: int = 42

    def __post_init__(self) -> None:
        one_of(self.on_incomparable, ON_INCOMPARABLE, "on_incomparable")
        _within("confidence", self.confidence, 0 < self.confidence < 1, "above 0 and below 1, such as 0.95")
        _within(
            "bootstrap_samples",
            self.bootstrap_samples,
            1 <= self.bootstrap_samples <= MAX_SAMPLES,
            f"from 1 to {MAX_SAMPLES:,}, such as 1000",
        )
        _within(
            "min_improvement",
            self.min_improvement,
            0 <= self.min_improvement < math.inf,
            "of 0 or more, in units of the metric",
        )
        _within("seed", self.seed, self.seed >= 0, "of 0 or more")


def _within(parameter: str, value: float, holds: bool, wanted: str) -> None:
    if not holds:
        raise ParameterError(f"Parameter {parameter!r} is {value:g}.", f"Give a number {wanted}.")


@dataclass(frozen=True)
class Champion:
    """The champion that the model was held against.

    Args:
        version: Its version number in the registry.
        incomparable: Why it could not be compared with; empty when it was.
        scored: Its predictions of the test rows; None when incomparable, as the two below are empty.
        metrics: Its metrics.
        differences: The model's metrics minus its, with the paired intervals.
    """

    version: str
    incomparable: str = ""
    scored: Scored | None = None
    metrics: Mapping[str, Estimate] = field(default_factory=dict)
    differences: Mapping[str, Estimate] = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluation:
    """All that is known of a model on the test rows.

    Args:
        schema: The schema of the test rows.
        options: What was asked for.
        metric: The metric that champion and challenger are compared by.
        estimator: Dotted path of the model's estimator.
        scored: The model's predictions.
        metrics: Its metrics, those that the rows define.
        champion: The champion; None where there is none.
        decision: What the gate decided.
        slices: Metrics by the values of columns.
        reliability: Calibration of a classifier's probabilities; None for regression.
        residuals: Residuals of a regression; None for classification.
        confusion: Confusion matrix of a classifier; None for regression.
        classes: A classifier's metrics by class; empty for regression.
        thresholds: A binary classifier's metrics by decision threshold; empty otherwise.
    """

    schema: TableSchema
    options: Options
    metric: str
    estimator: str
    scored: Scored
    metrics: Mapping[str, Estimate]
    champion: Champion | None
    decision: Decision
    slices: list[Slice]
    reliability: Reliability | None = None
    residuals: Residuals | None = None
    confusion: Confusion | None = None
    classes: list[ClassRow] = field(default_factory=list)
    thresholds: list[ThresholdRow] = field(default_factory=list)


def evaluate_model(model: str | Path, test: str | Path, schema: TableSchema, options: Options) -> Evaluation:
    """Scores the model, and the champion beside it, on the test rows and puts it to the gate.

    Args:
        model: Local folder of a Model artifact.
        test: Local folder of the test split.
        schema: The schema of the test split.
        options: What is asked for.

    Raises:
        ParameterError: A threshold does not parse, or a metric or slice is not known.
        SchemaError: The rows and the model do not fit.
        SplitError: The test split holds no rows, or one class only.
        TrackingError: The registry cannot be reached.
    """
    conditions = parse_thresholds(options.thresholds, schema.task)
    metric = resolve_metric(options.champion_metric, schema.task)
    check_slices(test, options.slices, schema.target)
    version = champion_of(options.model_name) if options.model_name else None
    description = describe(model)
    if difference := other_question(description.schema, schema):
        raise SchemaError(f"The model is not of this schema: {difference}", "Pass outputs of one run.")
    truth = read_truth(test, schema)
    scored = score(model, test, schema, truth)
    metrics, champion = _compare(scored, version, test, schema, truth, options)
    decision = decide(
        metrics, conditions, _rival(champion), metric, options.min_improvement, options.on_incomparable
    )
    slices = slice_metrics(
        scored, test, options.slices, options.bootstrap_samples, options.confidence, options.seed
    )
    return Evaluation(
        schema, options, metric, description.estimator, scored, metrics, champion, decision, slices,
        **_of_task(scored),
    )  # fmt: skip


def _compare(
    scored: Scored,
    version: ModelVersion | None,
    test: str | Path,
    schema: TableSchema,
    truth: npt.NDArray[Any],
    options: Options,
) -> tuple[Mapping[str, Estimate], Champion | None]:
    """The model's metrics, and the champion with its own and the differences."""
    models, champion = [scored], None
    if version is not None:
        number = str(version.version)
        try:
            models.append(score_champion(version, test, schema, truth))
        except IncomparableError as reason:
            log.warning("champion version %s is not comparable: %s", number, reason)
            champion = Champion(number, incomparable=str(reason))
    compared = bootstrap(models, options.bootstrap_samples, options.confidence, options.seed)
    if len(models) > 1:
        champion = Champion(
            number, scored=models[1], metrics=compared.models[1], differences=compared.differences[0]
        )
    return compared.models[0], champion


def _rival(champion: Champion | None) -> Rival | None:
    if champion is None:
        return None
    name = f"champion (version {champion.version})"
    return Rival(name, champion.incomparable, champion.metrics, champion.differences)


def _of_task(scored: Scored) -> dict[str, Any]:
    if scored.task == "regression":
        return {"residuals": residuals(scored)}
    found = {"reliability": reliability(scored), "confusion": confusion(scored), "classes": by_class(scored)}
    return found | ({"thresholds": by_threshold(scored)} if scored.task == "binary" else {})


def to_json(evaluation: Evaluation) -> str:
    """The evaluation as readable JSON, without the rows; what is not defined is null."""
    schema, champion = evaluation.schema, evaluation.champion
    everything = _plain(
        {
            "format": 1,
            "task": schema.task,
            "target": schema.target,
            "classes": schema.classes,
            "positive_class": schema.positive_class,
            "rows": evaluation.scored.rows,
            "estimator": evaluation.estimator,
            "source_uri": schema.source_uri,
            "source_digest": schema.source_digest,
            "approved": evaluation.decision.approved,
            "reasons": evaluation.decision.reasons,
            "options": evaluation.options,
            "metric": evaluation.metric,
            "metrics": evaluation.metrics,
            "champion": champion and dataclasses.replace(champion, scored=None),
            "slices": evaluation.slices,
            "reliability": evaluation.reliability,
            "residuals": evaluation.residuals,
            "confusion": evaluation.confusion,
            "by_class": evaluation.classes,
            "by_threshold": evaluation.thresholds,
        }
    )
    return json.dumps(everything, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {each.name: _plain(getattr(value, each.name)) for each in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
