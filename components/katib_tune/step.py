"""What the ``katib-tune`` component's body calls."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from kfp_lifecycle.components.katib_tune.backend import TrialData
from kfp_lifecycle.components.katib_tune.backends import Places, make_backend, would_be_experiment
from kfp_lifecycle.components.shared.inference.schema import TableSchema
from kfp_lifecycle.components.shared.outputs import InputArtifact, OutputArtifact, whole_file, whole_folder
from kfp_lifecycle.components.shared.parameters import json_object
from kfp_lifecycle.components.shared.step import step


class Outputs(NamedTuple):
    """The component's output parameters."""

    best_parameters: str
    helped: bool
    mlflow_run_id: str


@step(outputs=("trials", "metrics", "report", "experiment_yaml"))
def katib_tune_step(
    *,
    train: InputArtifact,
    test: InputArtifact,
    schema: InputArtifact,
    plan: InputArtifact,
    trials: OutputArtifact,
    metrics: OutputArtifact,
    report: OutputArtifact,
    experiment_yaml: OutputArtifact,
    search_space: str,
    objective: str,
    goal: str,
    additional_metrics: Sequence[str],
    algorithm: str,
    algorithm_settings: str,
    early_stopping: str,
    max_trials: int,
    parallel_trials: int,
    max_failed_trials: int,
    time_budget: float,
    estimator: str,
    estimator_parameters: str,
    class_weight: str,
    folds: int,
    places: Mapping[str, Any],
    experiment: str,
    run_name: str,
    confidence: float,
    bootstrap_samples: int,
    seed: int,
) -> Outputs:
    """Searches as the component says; see :func:`.tuning.tune` for the errors."""
    from kfp_lifecycle.components.katib_tune.comparison import Rows
    from kfp_lifecycle.components.katib_tune.report import render_report
    from kfp_lifecycle.components.katib_tune.search_file import read_search
    from kfp_lifecycle.components.katib_tune.table import trials_table
    from kfp_lifecycle.components.katib_tune.tuning import (
        TuneOptions,
        flat_metrics,
        log_files,
        parameters_text,
        tune,
    )
    from kfp_lifecycle.components.train.training import TrainingOptions

    given = read_search(search_space)
    if "parameters" not in given:
        given = {"parameters": given}
    asked = {
        "objective": _objective(objective, goal, additional_metrics),
        "algorithm": algorithm,
        "algorithm_settings": json_object(algorithm_settings, "algorithm_settings"),
        "early_stopping": early_stopping,
        "max_trials": max_trials,
        "parallel_trials": parallel_trials,
        "max_failed_trials": max_failed_trials,
        "time_budget": time_budget,
    }
    place = Places(**places)
    tuning = tune(
        asked | given,
        Rows(Path(train.path), Path(test.path), Path(schema.path), Path(plan.path)),
        _data(place.on_cluster, train, schema, plan),
        TuneOptions(
            TrainingOptions(
                estimator=estimator,
                estimator_parameters=json_object(estimator_parameters, "estimator_parameters"),
                class_weight=class_weight,
                folds=folds,
                seed=seed,
            ),
            experiment,
            run_name,
            confidence,
            bootstrap_samples,
        ),
        lambda told: make_backend(place, told),
        _name(Path(schema.path), place),
    )
    page = render_report(tuning)
    sent = tuning.search.experiment_yaml or would_be_experiment(tuning.problem, place)
    log_files(tuning, {"report.html": page, "experiment.yaml": sent})
    table = trials_table(tuning.search, tuning.problem.space)
    with whole_folder(trials.path) as folder:
        table.write_parquet(folder / "part-0.parquet")
    for file, text in ((report, page), (experiment_yaml, sent)):
        with whole_file(file.path) as path:
            path.write_text(text, encoding="utf-8")
    trials.metadata.update(rows=table.height, columns=table.width)
    metrics.metadata.update(flat_metrics(tuning))
    return Outputs(parameters_text(tuning), tuning.comparison.helped, tuning.run_id)


def _objective(metric: str, goal: str, additional_metrics: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {"additional_metrics": list(additional_metrics)}
    if metric != "auto":
        found["metric"] = metric
    if goal.strip():
        found["goal"] = json.loads(goal)
    return found


def _data(on_cluster: bool, *inputs: InputArtifact) -> TrialData:
    """Where trials read: on a cluster from where the artifacts are stored, elsewhere from this disk."""
    return TrialData(*(one.uri if on_cluster else one.path for one in inputs))


def _name(schema: Path, place: Places) -> str:
    """A retried step finds its own search by it; on a laptop so does another run, after a crash."""
    target = TableSchema.load(schema).target
    return f"{target}-{place.run_id}" if place.on_cluster and place.run_id else target
