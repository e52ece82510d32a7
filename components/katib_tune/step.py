"""What the ``katib-tune`` component's body calls."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

from kfp_lifecycle.components.katib_tune.backend import TrialData
from kfp_lifecycle.components.katib_tune.backends import Places, make_backend, would_be_experiment
from kfp_lifecycle.components.shared.errors import TuningError
from kfp_lifecycle.components.shared.inference.schema import TableSchema
from kfp_lifecycle.components.shared.outputs import InputArtifact, OutputArtifact, whole_file, whole_folder
from kfp_lifecycle.components.shared.parameters import json_object
from kfp_lifecycle.components.shared.step import step

#: Parameters that are settings of the search by the same names.
_SETTINGS = (
    "algorithm",
    "early_stopping",
    "max_trials",
    "parallel_trials",
    "max_failed_trials",
    "time_budget",
)


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
    **asked: Any,
) -> Outputs:
    """Searches as the component says; see :func:`.tuning.tune` for the errors.

    Args:
        train: The training split.
        test: The test split.
        schema: The Schema artifact.
        plan: The unfitted transform.
        trials: Gets the table of all trials.
        metrics: Gets the numbers.
        report: Gets the HTML page.
        experiment_yaml: Gets Katib's Experiment.
        **asked: The component's parameters by name.
    """
    from kfp_lifecycle.components.katib_tune.report import render_report
    from kfp_lifecycle.components.katib_tune.table import trials_table
    from kfp_lifecycle.components.katib_tune.trainer import Rows
    from kfp_lifecycle.components.katib_tune.tuning import flat_metrics, log_files, parameters_text, tune

    places = Places(**{own.name: asked[own.name] for own in fields(Places)})
    tuning = tune(
        _search(asked),
        Rows(Path(train.path), Path(test.path), Path(schema.path), Path(plan.path)),
        _data(places.on_cluster, train, schema, plan),
        _options(asked),
        lambda told: make_backend(places, told),
        _name(Path(schema.path), places),
    )
    page = render_report(tuning)
    sent = tuning.search.experiment_yaml or would_be_experiment(tuning.problem, places)
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


def _search(asked: Mapping[str, Any]) -> dict[str, Any]:
    """The search that the parameters say; a whole search in ``search_space`` goes over them."""
    from kfp_lifecycle.components.katib_tune.search_file import read_search

    given = read_search(asked["search_space"])
    if not isinstance(given.get("parameters"), Mapping) or "type" in given["parameters"]:
        given = {"parameters": given}
    found: dict[str, Any] = {name: asked[name] for name in _SETTINGS}
    found["algorithm_settings"] = json_object(asked["algorithm_settings"], "algorithm_settings")
    objective: dict[str, Any] = {"additional_metrics": list(asked["additional_metrics"])}
    if asked["objective"] != "auto":
        objective["metric"] = asked["objective"]
    if asked["goal"].strip():
        objective["goal"] = _number(asked["goal"])
    return {**found, "objective": objective, **given}


def _number(goal: str) -> float:
    try:
        return float(goal)
    except ValueError:
        raise TuningError(f"goal is {goal!r}, which is no number.", "Give a value such as 0.85.") from None


def _options(asked: Mapping[str, Any]) -> Any:
    from kfp_lifecycle.components.katib_tune.tuning import TuneOptions
    from kfp_lifecycle.components.train.training import TrainingOptions

    training = TrainingOptions(
        estimator=asked["estimator"],
        estimator_parameters=json_object(asked["estimator_parameters"], "estimator_parameters"),
        class_weight=asked["class_weight"],
        folds=asked["folds"],
        seed=asked["seed"],
    )
    names = ("experiment", "run_name", "confidence", "bootstrap_samples")
    return TuneOptions(training, asked["trainer"], **{name: asked[name] for name in names})


def _data(on_cluster: bool, *inputs: InputArtifact) -> TrialData:
    """Where trials read: on a cluster from where the artifacts are stored, elsewhere from this disk."""
    return TrialData(*(one.uri if on_cluster else one.path for one in inputs))


def _name(schema: Path, places: Places) -> str:
    """A retried step finds its own search by it; on a laptop so does another run, after a crash."""
    target = TableSchema.load(schema).target
    return f"{target}-{places.run_id}" if places.on_cluster and places.run_id else target
