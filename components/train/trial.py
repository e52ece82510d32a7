"""A trial: the folds of one set of hyperparameters, judged one after the other. It writes no model."""

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from mlflow.entities import Metric, Param, Run
from mlflow.tracking import MlflowClient

from kfp_lifecycle.components.shared.errors import ParameterError, redact
from kfp_lifecycle.components.train.crossval import FoldData, judge, means
from kfp_lifecycle.components.train.fitting import Recipe

log = logging.getLogger(__name__)

#: Told after each fold, with its number from 0: the mean of each metric over the folds so far.
Report = Callable[[int, Mapping[str, float]], None]


def run_trial(recipe: Recipe, folds: Iterable[FoldData], report: Report) -> dict[str, float]:
    """Fits and judges the recipe on each fold.

    Args:
        recipe: The estimator with the trial's hyperparameters.
        folds: The folds, each with the features of its own transform.
        report: Told after each fold. What it raises ends the trial.

    Returns:
        The mean of each metric over the folds that define it.

    Raises:
        EstimatorError: The estimator refuses its parameters or the features, or predicts no number.
        ParameterError: There is no fold.
    """
    found: list[dict[str, float]] = []
    for number, data in enumerate(folds):
        found.append(judge(recipe, data)[2])
        report(number, means(found))
    if not found:
        raise ParameterError("Parameter 'folds' is 0, and a trial is judged by its folds.", "Give 2 or more.")
    return means(found)


def log_trial(
    client: MlflowClient,
    parent: Run,
    *,
    name: str,
    parameters: Mapping[str, Any],
    metrics: Mapping[str, float],
    folds: Iterable[Mapping[str, float]] = (),
    status: str = "FINISHED",
    tags: Mapping[str, str] | None = None,
    started: float | None = None,
    ended: float | None = None,
) -> str:
    """One nested MLflow run with a trial's parameters and metrics.

    Args:
        client: A client of the tracking store.
        parent: The run to nest it in.
        name: Its name.
        parameters: The hyperparameters.
        metrics: The trial's metrics.
        folds: After each fold, the metrics so far; they are logged with the fold as their step.
        status: ``FINISHED``, ``FAILED`` or ``KILLED``.
        tags: Tags beside the one that nests it.
        started: When the trial began, in seconds since 1970; now if not given.
        ended: When it ended, likewise.

    Returns:
        The run's id.
    """
    now = time.time()
    end = int(1000 * (ended or now))
    run = client.create_run(
        parent.info.experiment_id,
        start_time=int(1000 * (started or now)),
        run_name=name,
        tags={"mlflow.parentRunId": parent.info.run_id, **(tags or {})},
    )
    each = [
        Metric(f"{metric}_so_far", value, end, number)
        for number, fold in enumerate(folds)
        for metric, value in fold.items()
    ]
    client.log_batch(
        run.info.run_id,
        metrics=[*(Metric(metric, value, end, 0) for metric, value in metrics.items()), *each][:1000],
        params=[Param(key, redact(str(value))[:6000]) for key, value in parameters.items()][:100],
    )
    client.set_terminated(run.info.run_id, status, end_time=end)
    return str(run.info.run_id)
