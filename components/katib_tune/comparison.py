"""Whether tuning helped: default and best parameters, both fitted on all training rows, on the test rows.

The test rows have taken no part in the search. Both models are scored on the same resamples of them, so the
interval of their difference is a paired one (see :mod:`kfp_lifecycle.components.evaluate.bootstrap`).
"""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl
from sklearn.base import clone

from kfp_lifecycle.components.evaluate.bootstrap import UNDEFINED, Estimate, bootstrap
from kfp_lifecycle.components.evaluate.predictions import Scored
from kfp_lifecycle.components.evaluate.scoring import PART_ROWS, read_truth
from kfp_lifecycle.components.shared.dataset import scan
from kfp_lifecycle.components.shared.inference.schema import TableSchema
from kfp_lifecycle.components.shared.inference.transform import FeatureTransform
from kfp_lifecycle.components.train.crossval import Floats, predict
from kfp_lifecycle.components.train.fitting import Recipe, fit_on, fit_transform
from kfp_lifecycle.components.train.training import TrainingOptions, make_recipe, target_values

log = logging.getLogger(__name__)

#: ``better`` or ``worse``: the interval leaves no doubt. ``unsure``: it holds 0. ``same``: the default
#: parameters were the best that the search found, so there is nothing to compare.
Verdict = Literal["better", "worse", "unsure", "same"]


@dataclass(frozen=True)
class Comparison:
    """The two models on the test rows.

    Args:
        rows: Number of test rows.
        default: Metrics of the model with the default parameters.
        best: Metrics of the model with the best parameters.
        differences: Metrics of best minus default.
        verdict: What the objective's difference says.
    """

    rows: int
    default: Mapping[str, Estimate]
    best: Mapping[str, Estimate]
    differences: Mapping[str, Estimate]
    verdict: Verdict

    @property
    def helped(self) -> bool:
        """Whether tuning helped beyond doubt."""
        return self.verdict == "better"


@dataclass(frozen=True)
class Rows:
    """Where the prepared rows and the unfitted transform are."""

    train: Path
    test: Path
    schema: Path
    plan: Path


def compare(
    rows: Rows,
    options: TrainingOptions,
    best: Mapping[str, Any],
    metric: str,
    maximize: bool,
    *,
    samples: int = 1000,
    confidence: float = 0.95,
) -> Comparison:
    """Fits both models on all training rows and scores them on the test rows.

    Args:
        rows: The data.
        options: The default: estimator, its fixed parameters, class weights, seed.
        best: The best parameters, which go over the fixed ones; empty where the default is the best.
        metric: The objective.
        maximize: Whether more of it is better.
        samples: Number of resamples.
        confidence: Coverage of the intervals, 0 to 1.

    Raises:
        EstimatorError: A model cannot be fitted, or predicts no numbers.
        SplitError: The test split has no rows, or rows of one class only.
        TargetError: A regression's test target is missing in a row.
        SchemaError: The splits do not belong together.
    """
    schema, plan = TableSchema.load(rows.schema), FeatureTransform.load(rows.plan)
    truth = read_truth(rows.test, schema)
    train = scan(rows.train).collect()
    y, transform = target_values(train, schema), clone(plan)
    features = fit_transform(transform, train, schema)
    every = [{}, dict(best)] if best else [{}]
    scored = []
    for parameters in every:
        given = {**options.estimator_parameters, **parameters}
        recipe = make_recipe(replace(options, estimator_parameters=given), schema, plan)
        estimator = fit_on(recipe, train, y, features)
        scored.append(_score(recipe, estimator, transform, rows.test, truth))
    found = bootstrap(scored[::-1], samples, confidence, options.seed)
    default = found.models[-1]
    if not best:
        return Comparison(len(truth), default, default, {}, "same")
    differences = found.differences[0]
    verdict = _verdict(differences.get(metric, UNDEFINED), maximize)
    return Comparison(len(truth), default, found.models[0], differences, verdict)


def _verdict(difference: Estimate, maximize: bool) -> Verdict:
    if difference.low > 0:
        return "better" if maximize else "worse"
    if difference.high < 0:
        return "worse" if maximize else "better"
    return "unsure"


def _score(
    recipe: Recipe,
    estimator: Any,
    transform: FeatureTransform,
    test: Path,
    truth: npt.NDArray[np.int64] | Floats,
) -> Scored:
    features = (np.asarray(transform.transform(some), dtype=np.float64) for some in _parts(test))
    parts = [predict(recipe, estimator, some) for some in features]
    predicted, probabilities = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    schema = recipe.schema
    if schema.task != "regression":
        predicted = predicted.astype(np.int64)
    return Scored(schema.task, truth, predicted, probabilities, tuple(schema.classes), schema.positive_class)


def _parts(test: Path) -> Iterator[pl.DataFrame]:
    rows = scan(test)
    for start in range(0, rows.select(pl.len()).collect().item(), PART_ROWS):
        yield rows.slice(start, PART_ROWS).collect()
