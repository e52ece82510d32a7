"""The step: the search of a real table, its outputs, its MLflow runs, and what is refused before a trial."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mlflow
import polars as pl
import pytest
import yaml

from kfp_lifecycle.components.katib_tune.backend import TrialData
from kfp_lifecycle.components.katib_tune.comparison import compare
from kfp_lifecycle.components.katib_tune.katib_course import EXPERIMENT, SUGGESTION, TRIAL, Patience
from kfp_lifecycle.components.katib_tune.trainer import Rows, open_trainer
from kfp_lifecycle.components.katib_tune.tuning import TuneOptions, make_problem
from kfp_lifecycle.components.shared.errors import (
    ClusterError,
    EstimatorError,
    LifecycleError,
    ParameterError,
    SchemaError,
    TuningError,
)
from kfp_lifecycle.components.shared.inference.schema import TableSchema
from kfp_lifecycle.components.shared.inference.transform import FeatureTransform
from kfp_lifecycle.components.train.training import TrainingOptions
from tests.components import trained
from tests.components.katib_tune.katib_controller import Katib, Outcome
from tests.components.katib_tune.steps import OUTPUTS, SPACE, Ran, inputs, step
from tests.kubernetes_api import KubernetesApi


@pytest.fixture(scope="module")
def churn(tmp_path_factory: pytest.TempPathFactory, table: Callable[[str], Any]) -> Path:
    return inputs(tmp_path_factory.mktemp("churn"), trained.churn(table, 3000), "churn", "binary")


@pytest.fixture(scope="module")
def ran(churn: Path, empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    folder = tmp_path_factory.mktemp("ran")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        (folder / "mlflow.db").write_bytes(empty_store.read_bytes())
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
        return step(churn, folder)


def test_the_best_parameters_are_one_json_text_with_integers(ran: Ran) -> None:
    best = json.loads(ran.outputs.best_parameters)
    assert best["max_iter"] == 30
    assert type(best["max_iter"]) is int
    table = ran.trials.filter(pl.col("state") == "complete").sort("value", descending=True)
    row = table.row(0, named=True)
    if row["number"]:
        assert set(best) == {"max_iter", *SPACE}
        assert type(best["max_depth"]) is int
        assert best["max_depth"] == row["params.max_depth"]
        assert best["learning_rate"] == row["params.learning_rate"]
        assert best["max_features"] == json.loads(row["params.max_features"])


def test_all_trials_are_a_table(ran: Ran) -> None:
    table = ran.trials
    assert table["number"].to_list() == list(range(10))
    assert table.schema["params.max_depth"] == pl.Int64
    assert table.schema["params.learning_rate"] == pl.Float64
    assert table.schema["intermediate"] == pl.List(pl.Float64)
    first = table.row(0, named=True)
    assert (first["state"], first["params.max_depth"]) == ("complete", None)
    assert table["value"].equals(table["metrics.roc_auc"].alias("value"))
    assert table["value"].is_between(0.7, 0.9).all()
    assert ran.artifacts["trials"].metadata == {"rows": 10, "columns": table.width}


def test_metrics_of_folds_and_of_test_rows(ran: Ran) -> None:
    metrics, table = ran.metrics, ran.trials
    assert metrics["cv_roc_auc"] == table["value"].max()
    assert metrics["cv_roc_auc_default"] == table["value"][0]
    assert metrics["trials"] == metrics["trials_complete"] == 10
    difference = metrics["test_roc_auc"] - metrics["test_roc_auc_default"]
    assert metrics["test_roc_auc_difference"] == pytest.approx(difference)
    low, high = metrics["test_roc_auc_difference_low"], metrics["test_roc_auc_difference_high"]
    assert low <= difference <= high
    assert ran.outputs.helped == (low > 0)


def test_every_trial_is_a_nested_run(ran: Ran) -> None:
    client = mlflow.MlflowClient(f"sqlite:///{ran.folder / 'mlflow.db'}")
    parent = client.get_run(ran.outputs.mlflow_run_id)
    assert parent.info.run_name == "search"
    assert parent.info.status == "FINISHED"
    assert json.loads(parent.data.params["tune.space"])["max_depth"]["max"] == 6
    assert parent.data.metrics == pytest.approx(ran.metrics)
    runs = client.search_runs(
        [parent.info.experiment_id], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'"
    )
    by_id = {run.info.run_id: run for run in runs}
    assert len(by_id) == 10
    for row in ran.trials.iter_rows(named=True):
        run = by_id[row["run_id"]]
        assert run.info.run_name == f"trial-{row['number']}"
        assert run.data.metrics["roc_auc"] == row["value"]
        assert run.data.params.get("max_depth") == (str(row["params.max_depth"]) if row["number"] else None)
        history = client.get_metric_history(run.info.run_id, "roc_auc_so_far")
        assert [point.value for point in history] == row["intermediate"]
    names = [file.path for file in client.list_artifacts(parent.info.run_id, "tuning")]
    assert names == ["tuning/experiment.yaml", "tuning/report.html"]


def test_the_report_is_whole_and_fetches_nothing(ran: Ran) -> None:
    page = ran.text("report")
    assert page.startswith("<!doctype html>")
    assert not re.search(r"https?://|src=|@import|url\((?!#)|<script|<link", page)
    for title in (
        "History of the search",
        "Parallel coordinates",
        "roc_auc by max_depth",
        "roc_auc by learning_rate",
    ):
        assert f'aria-label="{title}"' in page
    assert "Default against best, on the test rows" in page
    assert "PED-ANOVA" in page
    assert all(f"<code>{name}</code>" in page for name in SPACE)
    assert page.count("<svg") == 2 + len(SPACE) + 1


def test_the_experiment_that_katib_would_get(ran: Ran) -> None:
    text = ran.text("experiment_yaml")
    found = yaml.safe_load(text)
    assert found["kind"] == "Experiment"
    assert [one["name"] for one in found["spec"]["parameters"]] == list(SPACE)
    assert "registry.example/train:1" in text


def test_a_search_that_cannot_help_says_so(churn: Path, here: Path) -> None:
    """Only the seed differs, and HistGradientBoosting of so many rows has no use for it."""
    space = {"random_state": {"values": [1, 2]}, "verbose": {"values": [0, False]}}
    ran = step(churn, here, search_space=json.dumps(space), max_trials=3, algorithm="grid")
    assert not ran.outputs.helped
    assert "Tuning did not help" in ran.text("report")
    assert json.loads(ran.outputs.best_parameters) == {"max_iter": 30}  # of equals the first
    assert "test_roc_auc_difference" not in ran.metrics


@pytest.mark.parametrize(
    ("default", "best", "verdict"),
    [
        ({"max_iter": 1}, {"max_iter": 40}, "better"),
        ({"max_iter": 40}, {"max_iter": 1}, "worse"),
        ({"max_iter": 10}, {"verbose": 0}, "unsure"),
        ({"max_iter": 10}, {}, "same"),
    ],
)
@pytest.mark.parametrize(("metric", "maximize"), [("roc_auc", True), ("log_loss", False)])
def test_default_and_best_on_the_test_rows(
    default: dict[str, int], best: dict[str, int], verdict: str, metric: str, maximize: bool, churn: Path
) -> None:
    rows = Rows(churn / "train", churn / "test", churn / "schema.json", churn / "plan.json")
    schema, plan = TableSchema.load(rows.schema), FeatureTransform.load(rows.plan)
    options = TuneOptions(TrainingOptions(estimator_parameters=default))
    problem = make_problem({"parameters": SPACE}, schema, TrialData("", "", ""), options, "churn")
    with open_trainer(problem, rows, schema, plan) as trainer:
        found = compare(trainer.refit, best, metric, maximize, samples=200)
    assert found.verdict == verdict
    assert found.helped == (verdict == "better")
    assert found.rows == pl.scan_parquet(churn / "test" / "*.parquet").select(pl.len()).collect().item()
    for name, change in found.differences.items():
        assert change.value == pytest.approx(found.best[name].value - found.default[name].value)


def test_a_regression_and_a_whole_search_as_text(here: Path, table: Callable[[str], Any]) -> None:
    rows = pl.from_pandas(table("diamonds")).head(1500).with_columns(pl.col(pl.Categorical).cast(pl.String))
    rows = rows.with_columns(pl.col(pl.Int32).cast(pl.Int64))
    data = inputs(here / "data", rows, "price", "regression")
    search = """
        objective: {metric: mae}
        algorithm: tpe
        max_trials: 4
        parameters:
          max_depth: {type: int, min: 2, max: 5}
    """
    ran = step(data, here, search_space=search)
    assert ran.trials.height == 4
    assert ran.metrics["cv_mae"] == ran.trials["value"].min()
    assert ran.metrics["cv_mae"] <= ran.metrics["cv_mae_default"]


@pytest.mark.parametrize(
    ("asked", "kind", "says"),
    [
        ({"search_space": "{}"}, TuningError, "search space is empty"),
        ({"trainer": "train_gpu"}, ParameterError, "Give one of: train, train-gpu"),
        ({"search_space": '{"max_dept": {"type": "int", "min": 1, "max": 2}}'}, TuningError, "'max_depth'"),
        ({"search_space": '{"max_depth": {"type": "int", "min": 0, "max": 2}}'}, TuningError, "has 0"),
        ({"search_space": '{"max_depth": {"type": "int", "min": 3, "max": 2}}'}, TuningError, "min 3 above"),
        (
            {"search_space": '{"learning_rate": {"type": "float", "min": 0, "max": 1, "log": true}}'},
            TuningError,
            "log scale and min 0",
        ),
        ({"search_space": '{"early_stopping": [true, null]}'}, TuningError, "'early_stopping' has None"),
        ({"search_space": '{"folds": [2, 3]}'}, TuningError, "'folds', which is a setting"),
        ({"search_space": "max_depth"}, TuningError, "'max_depth'"),
        ({"objective": "roc_au"}, TuningError, "'roc_auc'"),
        ({"goal": "high"}, TuningError, "goal is 'high'"),
        ({"algorithm": "tpa"}, TuningError, "'tpe'"),
        ({"algorithm": "grid"}, TuningError, "no step"),
        ({"parallel_trials": 11}, TuningError, "parallel_trials is 11"),
        ({"folds": 0}, TuningError, "folds is 0"),
        ({"where": "katyb"}, ParameterError, "'where'"),
        ({"memory_limit": "much"}, ParameterError, "'memory_limit'"),
        ({"estimator": "sklearn.ensemble.RandomForestClasifier"}, EstimatorError, "RandomForestClassifier"),
        ({"estimator_parameters": '{"depth": 1}'}, EstimatorError, "'depth'"),
        ({"class_weight": '{"maybe": 2}'}, ParameterError, "'maybe'"),
        ({"where": "katib", "trial_image": ""}, ParameterError, "'trial_image'"),
    ],
)
def test_what_is_wrong_is_said_before_the_first_trial(
    asked: dict[str, Any], kind: type[LifecycleError], says: str, churn: Path, here: Path
) -> None:
    with pytest.raises(kind, match=re.escape(says)):
        step(churn, here, **asked)
    assert not (here / "tuning.db").exists()
    assert not (here / "out").exists()


def test_katib_without_a_cluster(churn: Path, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(here / "none"))
    with pytest.raises(ClusterError, match="no way to a Kubernetes cluster"):
        step(churn, here, where="katib")


def test_a_step_leaves_no_half_output(churn: Path, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "kfp_lifecycle.components.katib_tune.report.render", lambda *_, **__: SimpleNamespace().missing
    )
    with pytest.raises(AttributeError):
        step(churn, here, max_trials=2)
    assert not any((here / "out" / name).exists() for name in OUTPUTS)


def test_splits_that_do_not_belong_together(churn: Path, here: Path) -> None:
    other = here / "data"
    other.mkdir()
    for name in ("train", "test", "plan.json"):
        (other / name).symlink_to(churn / name)
    schema = TableSchema.load(churn / "schema.json")
    columns = [replace(one, name="contract2") if one.name == "contract" else one for one in schema.columns]
    replace(schema, columns=columns).save(other / "schema.json")
    with pytest.raises(SchemaError, match="train split has no column 'contract2'"):
        step(other, here, max_trials=2)


def test_the_same_step_searches_with_katib(churn: Path, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the double of Katib: deeper trees are better there, and both models are compared here."""
    sooner = (0.05, *Patience.__init__.__defaults__[1:])  # type: ignore[misc]
    monkeypatch.setattr(Patience.__init__, "__defaults__", sooner)
    labels = {"katib.kubeflow.org/metrics-collector-injection": "enabled"}
    with KubernetesApi([EXPERIMENT, TRIAL, SUGGESTION], {"team": labels}) as api:
        monkeypatch.setenv("KUBECONFIG", str(api.kube_config(here)))
        Katib(api, lambda given: Outcome({"roc_auc": 0.7 + int(given.get("max_depth", 0)) / 100}))
        ran = step(churn, here, where="katib", max_trials=4, run_id="run-7")
    best = json.loads(ran.outputs.best_parameters)
    table = ran.trials.filter(pl.col("number") > 0)
    assert best["max_depth"] == table["params.max_depth"].max()
    assert ran.trials["value"][0] == 0.7
    assert ran.metrics["cv_roc_auc"] == pytest.approx(0.7 + best["max_depth"] / 100)
    sent = list(yaml.safe_load_all(ran.text("experiment_yaml")))
    assert [body["metadata"]["namespace"] for body in sent] == ["team", "team"]
    assert "s3://bucket/train" in ran.text("experiment_yaml")
    assert f"mlflow_parent_run={ran.outputs.mlflow_run_id}" in ran.text("experiment_yaml")
    assert "Katib" in ran.text("report")
    assert not (here / "tuning.db").exists()
