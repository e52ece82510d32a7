"""Tuning: a checked problem, the search, the comparison of default and best, and the MLflow run of it all."""

import json
import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from mlflow.entities import Metric, Run
from mlflow.tracking import MlflowClient

from kfp_lifecycle.components.evaluate.bootstrap import UNDEFINED
from kfp_lifecycle.components.katib_tune.backend import Backend, Problem, Progress, Search, Trial, TrialData
from kfp_lifecycle.components.katib_tune.comparison import Comparison, compare
from kfp_lifecycle.components.katib_tune.metrics import HELD_OUT, test_metric
from kfp_lifecycle.components.katib_tune.network_options import monitored
from kfp_lifecycle.components.katib_tune.search_file import parse_search, read_search
from kfp_lifecycle.components.katib_tune.trainer import Rows, Trainer, open_trainer
from kfp_lifecycle.components.shared.dataset import scan
from kfp_lifecycle.components.shared.errors import SchemaError, TuningError
from kfp_lifecycle.components.shared.inference.schema import TableSchema
from kfp_lifecycle.components.shared.inference.transform import FeatureTransform
from kfp_lifecycle.components.shared.model_format import library_version
from kfp_lifecycle.components.shared.tracking import connect, tracked_run, tracking_errors
from kfp_lifecycle.components.train.estimators import AUTO
from kfp_lifecycle.components.train.log_run import log_parameters
from kfp_lifecycle.components.train.training import TrainingOptions
from kfp_lifecycle.components.train.trial import log_trial

log = logging.getLogger(__name__)

#: Makes what searches. It is given what is to be called with each trial that has ended, and returns the id of
#: its MLflow run, where trials do not log themselves.
MakeBackend = Callable[[Callable[[Trial], str]], Backend]

_STATUS = {"complete": "FINISHED", "pruned": "KILLED", "stopped": "KILLED", "failed": "FAILED"}


@dataclass(frozen=True)
class TuneOptions:
    """What is asked for beyond the search itself; the component's face says what each means."""

    training: TrainingOptions = field(default_factory=TrainingOptions)
    trainer: str = "train"
    experiment: str = "kfp-lifecycle"
    run_name: str = ""
    confidence: float = 0.95
    bootstrap_samples: int = 1000


@dataclass(frozen=True)
class Tuning:
    """What a tuning found.

    Args:
        problem: What was searched.
        schema: The schema of the rows.
        estimator: What is trained: the dotted path of an estimator, or the network.
        search: All trials.
        best: The best of them, trial 0 if none is better.
        parameters: The parameters to train with: the fixed ones, and over them the best.
        defaults: What all parameters of the estimator or the network were in trial 0.
        comparison: Default against best on the test rows.
        run_id: The MLflow run that holds it all.
        confidence: Coverage of the comparison's intervals.
        seconds: How long the search took.
    """

    problem: Problem
    schema: TableSchema
    estimator: str
    search: Search
    best: Trial
    parameters: Mapping[str, Any]
    defaults: Mapping[str, Any]
    comparison: Comparison
    run_id: str
    confidence: float
    seconds: float

    @property
    def default(self) -> Trial | None:
        """Trial 0; None where the search ended before it."""
        return next((trial for trial in self.search.trials if trial.number == 0), None)

    @property
    def metric(self) -> str:
        """What the objective is called on the test rows."""
        return test_metric(self.problem.objective.metric, self.schema.task)

    @property
    def change(self) -> str:
        """The objective's difference on the test rows, with its interval."""
        metric = self.metric
        found = self.comparison.differences.get(metric, UNDEFINED)
        ends = f"{100 * self.confidence:g}% interval {found.low:+.4g} to {found.high:+.4g}"
        return f"{metric} {found.value:+.4g} ({ends})"

    @property
    def conclusion(self) -> str:
        """Whether tuning helped, in a sentence."""
        return {
            "better": f"Tuning helped: {self.change} on the test rows.",
            "worse": f"Tuning did harm: {self.change} on the test rows.",
            "unsure": f"Tuning did not help beyond chance: {self.change} on the test rows.",
            "same": "Tuning did not help: no trial was better than the default parameters.",
        }[self.comparison.verdict]


def make_problem(
    search: Mapping[str, Any],
    schema: TableSchema,
    data: TrialData,
    options: TuneOptions,
    name: str,
) -> Problem:
    """The problem that a search is, checked by itself.

    Args:
        search: The search, as :func:`.search_file.read_search` gives it.
        schema: The schema of the rows.
        data: Where trials read from.
        options: Estimator, folds and the like.
        name: What the search is called.

    Raises:
        TuningError: The search cannot be done. Says why.
    """
    training = options.training
    space, objective, settings = parse_search(search, schema.task, options.trainer)
    fixed = dict(training.estimator_parameters)
    flags: dict[str, Any] = {"class_weight": training.class_weight}
    if options.trainer == "train":
        path = AUTO[schema.task] if training.estimator == "auto" else training.estimator
        flags = {"estimator": path, **flags, "folds": training.folds}
    elif training.estimator != "auto":
        raise TuningError(
            f"estimator is {training.estimator!r}, and trials of train-gpu train a network.",
            "Give network in estimator_parameters, and leave estimator auto.",
        )
    else:  # the epoch that is kept is the best by what is searched
        fixed = {"monitor": monitored(objective.metric), **fixed}
    return Problem(
        space,
        objective,
        settings,
        data,
        trainer=options.trainer,
        fixed=fixed,
        options=flags,
        experiment=options.experiment,
        name=name,
        seed=training.seed,
    )


def tune(
    search: str | Mapping[str, Any],
    rows: Rows,
    data: TrialData,
    options: TuneOptions,
    backend: MakeBackend,
    name: str,
) -> Tuning:
    """Searches, fits default and best on all training rows, and compares them on the test rows.

    Args:
        search: The search, or its text.
        rows: The data, as local paths.
        data: The same, as trials read it.
        options: What else is asked for.
        backend: Makes what searches.
        name: What the search is called.

    Raises:
        TuningError: The search cannot be done, too many trials failed, or none gave a value.
        SchemaError: The splits are not of the schema.
        EstimatorError: The estimator cannot be built or fitted.
        ClusterError: Kubernetes or Katib cannot do it.
        TrackingError: MLflow fails or cannot be reached.
    """
    schema, plan = TableSchema.load(rows.schema), FeatureTransform.load(rows.plan)
    given = read_search(search)
    _check_rows(rows, schema)
    problem = make_problem(given, schema, data, options, name)
    with open_trainer(problem, rows, schema, plan) as trainer:
        defaults = trainer.check()
        with tracked_run(options.experiment, options.run_name, _tags(schema)) as run_id:
            problem, client = replace(problem, parent_run=run_id), MlflowClient()
            log_parameters(client, run_id, {"tune": _said(problem)})
            found, best, seconds = _searched(problem, backend, client)
            tuning = Tuning(
                problem,
                schema,
                trainer.name,
                found,
                best,
                {**problem.fixed, **best.parameters},
                defaults,
                _compared(trainer, problem, schema, best, options),
                run_id,
                options.confidence,
                seconds,
            )
            _log_outcome(client, tuning)
    log.info("%s", tuning.conclusion)
    return tuning


def _compared(
    trainer: Trainer, problem: Problem, schema: TableSchema, best: Trial, options: TuneOptions
) -> Comparison:
    return compare(
        trainer.refit,
        best.parameters,
        test_metric(problem.objective.metric, schema.task),
        problem.objective.maximize,
        samples=options.bootstrap_samples,
        confidence=options.confidence,
        seed=problem.seed,
    )


def _searched(problem: Problem, backend: MakeBackend, client: MlflowClient) -> tuple[Search, Trial, float]:
    """The search, its best trial, and the seconds that it took."""
    began, run = time.monotonic(), client.get_run(problem.parent_run)
    found = backend(lambda trial: _log_trial(client, run, problem, trial)).search(problem, _Said())
    best = found.best(problem.objective)
    assert best is not None  # a backend that finds none raises
    metric = problem.objective.metric
    log.info("%s; the best is trial %d, %s %.6g", found.reason, best.number, metric, best.value)
    return found, best, time.monotonic() - began


def _check_rows(rows: Rows, schema: TableSchema) -> None:
    """Raises ``SchemaError`` where a split lacks a column of the schema."""
    for name, path in (("train", rows.train), ("test", rows.test)):
        there = scan(path).collect_schema()
        if lacking := [column.name for column in schema.columns if column.name not in there]:
            raise SchemaError(
                f"The {name} split has no column {lacking[0]!r}, which the schema has.",
                "Pass train, test and schema of one run of prepare.",
            )


class _Said:
    """Progress as lines of the log: one when a trial has ended, none when one has begun."""

    def __init__(self) -> None:
        self._before: tuple[int, int] | None = None

    def __call__(self, progress: Progress) -> None:
        now = (progress.done, progress.failed)
        if now != self._before:
            self._before = now
            log.info("%s", progress)


def flat_metrics(tuning: Tuning) -> dict[str, float]:
    """What the Metrics artifact and the MLflow run have: numbers by name, those that are defined.

    ``cv_<metric>`` and ``cv_<metric>_default`` of the folds (``validation_<metric>`` of a network's held-out
    rows), ``test_<metric>`` and ``test_<metric>_default`` of the test rows, and the objective's difference
    there with its interval.
    """
    objective, found = tuning.metric, tuning.comparison
    values = {_of_trials(name): value for name, value in tuning.best.metrics.items()}
    if tuning.default is not None and tuning.default.value is not None:
        values[f"{_of_trials(tuning.problem.objective.metric)}_default"] = tuning.default.value
    values |= {f"test_{name}": one.value for name, one in found.best.items()}
    values |= {f"test_{name}_default": one.value for name, one in found.default.items()}
    if objective in found.differences:
        change = found.differences[objective]
        name = f"test_{objective}_difference"
        values |= {name: change.value, f"{name}_low": change.low, f"{name}_high": change.high}
    trials = tuning.search.trials
    values["trials"] = len(trials)
    for state in ("complete", "pruned", "failed"):
        values[f"trials_{state}"] = sum(trial.state == state for trial in trials)
    return {name: value for name, value in values.items() if math.isfinite(value)}


def _of_trials(metric: str) -> str:
    """What a metric of trials is called beside those of the test rows."""
    return metric if metric.startswith(HELD_OUT) else f"cv_{metric}"


def parameters_text(tuning: Tuning) -> str:
    """The parameters to train with, as one JSON object: integers stay integers."""
    return json.dumps(dict(tuning.parameters), ensure_ascii=False)


def log_files(tuning: Tuning, files: Mapping[str, str]) -> None:
    """Puts texts by their names into the MLflow run, under ``tuning/``. Raises ``TrackingError``."""
    client = connect()
    with tracking_errors():
        for name, text in files.items():
            client.log_text(tuning.run_id, text, f"tuning/{name}")


def _log_trial(client: MlflowClient, parent: Run, problem: Problem, trial: Trial) -> str:
    now = time.time()
    return log_trial(
        client,
        parent,
        name=f"trial-{trial.number}",
        parameters=trial.parameters,
        metrics=trial.metrics,
        folds=[{problem.objective.metric: value} for value in trial.intermediate if math.isfinite(value)],
        status=_STATUS[trial.state],
        tags={"kfp_lifecycle.trial_state": trial.state, "kfp_lifecycle.error": trial.error[:5000]},
        started=now - trial.seconds,
        ended=now,
    )


def _log_outcome(client: MlflowClient, tuning: Tuning) -> None:
    now = int(time.time() * 1000)
    metrics = [Metric(name, value, now, 0) for name, value in flat_metrics(tuning).items()]
    client.log_batch(tuning.run_id, metrics=metrics)
    log_parameters(client, tuning.run_id, {"best": dict(tuning.parameters)})
    client.set_tag(tuning.run_id, "kfp_lifecycle.conclusion", tuning.conclusion)


def _said(problem: Problem) -> dict[str, Any]:
    settings = problem.settings
    return {
        "space": problem.space.to_dict(),
        "trainer": problem.trainer,
        "objective": problem.objective.metric,
        "algorithm": settings.algorithm,
        "max_trials": settings.max_trials,
        "early_stopping": settings.early_stopping,
        "fixed": dict(problem.fixed),
        **problem.options,
        "seed": problem.seed,
    }


def _tags(schema: TableSchema) -> dict[str, str]:
    return {
        "kfp_lifecycle.version": library_version(),
        "kfp_lifecycle.task": schema.task,
        "kfp_lifecycle.target": schema.target,
        "kfp_lifecycle.source_digest": schema.source_digest,
    }
