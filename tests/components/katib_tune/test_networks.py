"""Networks tuned on this machine: trials, pruning, the refits, and what is refused before the first trial."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import polars as pl
import pytest
import torch
import yaml

from kfp_lifecycle.components.katib_tune.backend import Problem, Search, TrialData
from kfp_lifecycle.components.katib_tune.experiment import experiment
from kfp_lifecycle.components.katib_tune.optuna_search import LocalSearch
from kfp_lifecycle.components.katib_tune.trial_job import TrialPod
from kfp_lifecycle.components.katib_tune.tuning import TuneOptions, make_problem
from kfp_lifecycle.components.shared.errors import EstimatorError, LifecycleError, ParameterError, TuningError
from kfp_lifecycle.components.shared.inference.schema import TableSchema
from kfp_lifecycle.components.train.training import TrainingOptions
from kfp_lifecycle.components.train_gpu.options import NetworkOptions
from tests.components import trained
from tests.components.katib_tune.steps import Ran, inputs, step
from tests.components.trained import Artifact

NETWORKS = "tests.components.train_gpu.networks"
MODULES = "tests.components.train_gpu.modules"
FIXED = {"network": "mlp", "network_parameters": {"hidden": [16]}, "epochs": 4, "batch_size": 64}
SPACE = {
    "learning_rate": {"type": "float", "min": 0.001, "max": 0.05, "log": True},
    "batch_size": {"type": "int", "min": 32, "max": 128, "step": 32},
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def churn(tmp_path_factory: pytest.TempPathFactory, table: Callable[[str], Any]) -> Path:
    rows = trained.churn(table, 1500)
    return inputs(tmp_path_factory.mktemp("churn"), rows, "churn", "binary", encode="ordinal")


def asked(**more: Any) -> dict[str, Any]:
    given = {
        "trainer": "train-gpu",
        "search_space": json.dumps(SPACE),
        "estimator_parameters": json.dumps(FIXED),
        "max_trials": 4,
        "bootstrap_samples": 100,
    }
    return given | more


@pytest.fixture(scope="module")
def ran(churn: Path, empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    folder = tmp_path_factory.mktemp("ran")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        (folder / "mlflow.db").write_bytes(empty_store.read_bytes())
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
        return step(churn, folder, **asked())


def test_trials_are_trainings_of_the_network(ran: Ran) -> None:
    table = ran.trials
    assert table["number"].to_list() == list(range(4))
    assert set(table["state"]) == {"complete"}
    assert table["params.batch_size"].drop_nulls().is_in([32, 64, 96, 128]).all()
    assert table["value"].equals(table["metrics.validation_roc_auc"].alias("value"))
    for row in table.iter_rows(named=True):
        assert len(row["intermediate"]) == 4  # the best of so many epochs
        assert row["intermediate"] == sorted(row["intermediate"])
        assert row["value"] == row["intermediate"][-1] > 0.6


def test_the_best_parameters_are_options_of_train_gpu(ran: Ran) -> None:
    best = json.loads(ran.outputs.best_parameters)
    assert {name: best[name] for name in ("network", "network_parameters", "epochs")} == {
        name: FIXED[name] for name in ("network", "network_parameters", "epochs")
    }
    assert best["monitor"] == "roc_auc"  # what the trials were judged by
    assert type(best["batch_size"]) is int
    NetworkOptions(**best)


def test_what_is_logged_and_shown(ran: Ran) -> None:
    metrics = ran.metrics
    assert metrics["validation_roc_auc"] == ran.trials["value"].max()
    assert metrics["validation_roc_auc_default"] == ran.trials["value"][0]
    assert metrics["trials"] == 4
    client = mlflow.MlflowClient(f"sqlite:///{ran.folder / 'mlflow.db'}")
    row = ran.trials.row(1, named=True)
    history = client.get_metric_history(row["run_id"], "validation_roc_auc_so_far")
    assert [point.value for point in history] == row["intermediate"]
    page = ran.text("report")
    assert "on held-out rows" in page
    assert "in the best epoch" in page
    assert "train-gpu, network mlp" in page
    assert '<tr class="best"><td>Area under the ROC curve' in page
    sent = yaml.safe_load(ran.text("experiment_yaml"))
    assert sent["spec"]["objective"]["objectiveMetricName"] == "validation_roc_auc"
    assert sent["spec"]["maxTrialCount"] == 3


def test_the_refit_is_the_model_that_train_gpu_makes(ran: Ran, churn: Path, here: Path) -> None:
    """The same bits: what the comparison says of the best is what evaluate will say of the model."""
    from kfp_lifecycle.components.train_gpu.step import train_gpu_step

    outputs = {name: Artifact(str(here / name)) for name in ("model", "metrics", "report")}
    files = {"train": "train", "schema": "schema.json", "plan": "plan.json"}
    given = {name: Artifact(str(churn / file)) for name, file in files.items()}
    tuned = ran.outputs.best_parameters
    train_gpu_step(**given, **outputs, network_parameters="{}", tuned_parameters=tuned, epochs=99)
    assert outputs["metrics"].metadata["validation_roc_auc"] == pytest.approx(
        ran.metrics["validation_roc_auc"]
    )
    model = mlflow.pyfunc.load_model(outputs["model"].path)
    test = pl.read_parquet(churn / "test" / "*.parquet")
    said = model.predict(test.to_pandas())
    right = said["prediction"].astype(str).to_numpy() == test["churn"].cast(pl.String).to_numpy()
    assert right.mean() == pytest.approx(ran.metrics["test_accuracy"])


def problem(churn: Path, **search: Any) -> Problem:
    fixed = search.pop("fixed", {})
    options = TuneOptions(TrainingOptions(estimator_parameters={**FIXED, **fixed}, seed=1), "train-gpu")
    data = TrialData(*(str(churn / name) for name in ("train", "schema.json", "plan.json")))
    given = {"parameters": SPACE, "algorithm": "random", "max_trials": 4, **search}
    return make_problem(given, TableSchema.load(churn / "schema.json"), data, options, "churn")


def search(own: Problem, folder: Path) -> Search:
    return LocalSearch(folder / "tuning.db").search(own, lambda _: None)


def test_values_do_not_depend_on_the_workers(churn: Path, tmp_path: Path) -> None:
    one = search(problem(churn, parallel_trials=1, max_trials=3), tmp_path / "one")
    two = search(problem(churn, parallel_trials=2, max_trials=3), tmp_path / "two")
    assert [trial.value for trial in one.trials] == [trial.value for trial in two.trials]
    again = search(problem(churn, parallel_trials=1, max_trials=3), tmp_path / "one")
    assert [trial.seconds for trial in again.trials] == [trial.seconds for trial in one.trials]  # taken up


def test_hopeless_trials_are_ended_between_epochs(churn: Path, tmp_path: Path) -> None:
    space = {"learning_rate": {"values": [0.02, 0.01, 0.005, 1e-9]}}
    own = problem(
        churn, parameters=space, algorithm="grid", max_trials=5, parallel_trials=1, fixed={"epochs": 6}
    )
    found = search(replace(own, settings=replace(own.settings, early_stopping="median")), tmp_path)
    last = found.trials[-1]
    assert (last.state, last.parameters) == ("pruned", {"learning_rate": 1e-9})
    assert len(last.intermediate) == 2
    assert [trial.state for trial in found.trials[:2]] == ["complete"] * 2


def test_hyperband_rations_epochs(churn: Path, tmp_path: Path) -> None:
    space = {**SPACE, "epochs": {"type": "int", "min": 1, "max": 4}}
    settings = {"algorithm": "hyperband", "algorithm_settings": {"resource_name": "epochs", "eta": 2}}
    found = search(problem(churn, parameters=space, max_trials=5, **settings), tmp_path)
    assert all(trial.state in ("complete", "pruned") for trial in found.trials)
    for trial in found.trials[1:]:
        assert trial.parameters["epochs"] == 4 or trial.state == "pruned"


def test_a_training_that_breaks_is_a_failed_trial(churn: Path, tmp_path: Path) -> None:
    """Half of the values make a loss that is no number."""
    space = {"learning_rate": {"values": [0.01, 1e30]}}
    fixed = {"clip_norm": 0.0, "optimizer": "sgd"}
    own = problem(churn, parameters=space, algorithm="grid", max_trials=3, fixed=fixed)
    found = search(own, tmp_path)
    states = {trial.parameters.get("learning_rate"): trial for trial in found.trials}
    assert states[0.01].state == states[None].state == "complete"
    assert states[1e30].state == "failed"
    assert "not a number" in states[1e30].error


def test_all_trials_failing_shows_the_first_ones_own_error(churn: Path, tmp_path: Path) -> None:
    own = problem(churn, fixed={"network": f"{MODULES}.Explodes", "network_parameters": {}, "clip_norm": 0.0})
    with pytest.raises(TuningError, match=r"trials failed .*trial \d: EstimatorError: .*not a number"):
        search(replace(own, settings=replace(own.settings, max_failed_trials=0)), tmp_path)


def test_an_own_module_is_tuned(churn: Path, here: Path) -> None:
    space = json.dumps({"network_parameters": {"values": [{"width": 8}, {"width": 4}]}})
    fixed = json.dumps({**FIXED, "network": f"{NETWORKS}.Small", "network_parameters": {}, "epochs": 2})
    more = {"objective": "validation_loss", "algorithm": "grid", "max_trials": 3}
    ran = step(churn, here, **asked(search_space=space, estimator_parameters=fixed, **more))
    assert sorted(ran.trials["params.network_parameters"].drop_nulls()) == [
        '{"width": 4}',
        '{"width": 8}',
    ]
    assert json.loads(ran.outputs.best_parameters)["monitor"] == "loss"
    assert ran.metrics["validation_loss"] == ran.trials["value"].min()
    assert "log_loss" in ran.text("report")  # what the loss is on the test rows


def test_each_network_is_searched_with_its_own_parameters(churn: Path, here: Path) -> None:
    space = {
        "network": {"values": ["mlp", "residual"]},
        "network_parameters": {"values": [{"hidden": [8]}, {"hidden": [4, 4]}], "when": {"network": "mlp"}},
    }
    fixed = json.dumps({"epochs": 1})
    more = asked(search_space=json.dumps(space), estimator_parameters=fixed, algorithm="grid")
    table = step(churn, here, **more).trials.filter(pl.col("number") > 0)
    assert table["params.network"].to_list() == ["mlp", "mlp", "residual"]
    assert table["params.network_parameters"].is_null().to_list() == [False, False, True]


def test_a_regression(here: Path, table: Callable[[str], Any]) -> None:
    rows = pl.from_pandas(table("diamonds")).head(600).with_columns(pl.col(pl.Categorical).cast(pl.String))
    data = inputs(here / "data", rows.with_columns(pl.col(pl.Int32).cast(pl.Int64)), "price", "regression")
    ran = step(data, here, **asked(max_trials=2))
    assert ran.metrics["validation_rmse"] == ran.trials["value"].min()
    assert {"test_rmse", "test_rmse_default"} <= set(ran.metrics)


@pytest.mark.parametrize(
    ("more", "kind", "says"),
    [
        ({"search_space": {"learnin_rate": {"values": [0.1, 0.2]}}}, TuningError, "'learning_rate'"),
        (
            {"search_space": {"dropout": {"type": "float", "min": 0, "max": 1}}},
            TuningError,
            "'dropout' has 1",
        ),
        (
            {"search_space": {"batch_size": {"type": "float", "min": 8.5, "max": 9.5}}},
            TuningError,
            "8.5.*whole",
        ),
        ({"search_space": {"seed": {"values": [1, 2]}}}, TuningError, "'seed', which is alike"),
        ({"search_space": {"monitor": {"values": ["loss", "f1"]}}}, TuningError, "'monitor', which is"),
        (
            {
                "search_space": {"class_weight": {"values": ["none", "balanced"]}},
                "objective": "validation_loss",
            },
            TuningError,
            "Choose a metric as the objective",
        ),
        ({"search_space": {"network": {"values": ["mlp", "residul"]}}}, TuningError, "residul.*residual"),
        (
            {
                "search_space": {"network": {"values": ["residual", f"{MODULES}.Wide"]}},
                "estimator_parameters": {},
            },
            TuningError,
            r"has network .*Wide': .*Wide gives shape",
        ),
        (
            {"search_space": {"network_parameters": {"values": [{"hidden": [8]}, {"hiden": [8]}]}}},
            TuningError,
            "hiden.*'hidden'",
        ),
        ({"estimator_parameters": {"epoch": 3}}, ParameterError, "'epoch'. Did you mean 'epochs'"),
        ({"estimator_parameters": {"epochs": 0}}, ParameterError, "epochs"),
        ({"estimator_parameters": {"run_name": "x"}}, ParameterError, "'run_name', which katib-tune sets"),
        ({"estimator_parameters": {"validation_share": 0}}, ParameterError, "validation_share is 0"),
        (
            {"estimator_parameters": {"validation_share": 0, "monitor": "loss"}},
            TuningError,
            "validation_share is 0",
        ),
        ({"estimator_parameters": {"network": "no.such.Net"}}, EstimatorError, "no.such.Net"),
        ({"estimator_parameters": {"network": f"{MODULES}.Wide"}}, EstimatorError, r"Wide gives shape"),
        (
            {"estimator_parameters": {"network": f"{NETWORKS}.Branching"}},
            EstimatorError,
            "Branching cannot be exported",
        ),
        ({"class_weight": '{"Never": 2}'}, ParameterError, "Never"),
        ({"estimator": "sklearn.linear_model.Ridge"}, TuningError, "Give network in estimator_parameters"),
        ({"objective": "roc_auc"}, TuningError, "no trial prints.*validation_roc_auc"),
    ],
)
def test_bad_input_is_found_before_the_first_trial(
    more: dict[str, Any], kind: type[LifecycleError], says: str, churn: Path, here: Path
) -> None:
    texts = {name: json.dumps(value) if isinstance(value, dict) else value for name, value in more.items()}
    with pytest.raises(kind, match=says):
        step(churn, here, **asked(**texts))
    assert not (here / "tuning.db").exists()
    assert not (here / "out" / "trials").exists()


def test_a_trial_on_katib_prints_what_is_searched_for(churn: Path) -> None:
    own = replace(problem(churn), data=TrialData("s3://b/t", "s3://b/s", "s3://b/p"))
    body = experiment(own, TrialPod("torch:1"), "team")
    pod = body["spec"]["trialTemplate"]["trialSpec"]["spec"]["template"]["spec"]["containers"][0]
    line = pod["args"][0]
    assert "-m kfp_lifecycle.components.train_gpu" in line
    assert "--monitor=roc_auc" in line
    assert "--class_weight=none" in line
    assert line.count("--batch_size=") == 1  # searched, so not fixed
    assert body["spec"]["objective"]["metricStrategies"] == [{"name": "validation_roc_auc", "value": "max"}]


def test_a_search_of_estimators_imports_no_torch() -> None:
    code = (
        "import sys; from kfp_lifecycle.components.katib_tune import tuning, optuna_search, fold_trials, "
        "estimator_trainer, report; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
