"""The compiled tuning-torch pipeline on the Telco table, through the command line, with a few trials."""

import json
from typing import Any

import mlflow
import polars as pl
import pytest
import yaml

from tests.end_to_end.laptop import Laptop, Run, compiled
from tests.repositories import ROOT

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def ran(laptop: Laptop, tmp_path_factory: pytest.TempPathFactory) -> Run:
    given: dict[str, Any] = yaml.safe_load((ROOT / "pipelines/params/tuning-torch-churn.yaml").read_text())
    quick = {"max_trials": 4, "bootstrap_samples": 100, "early_stopping": "none"}
    quick["estimator_parameters"] = {**given["estimator_parameters"], "network": "mlp", "epochs": 3}
    file = tmp_path_factory.mktemp("params") / "params.yaml"
    file.write_text(yaml.safe_dump(given | quick))
    return laptop.run("tuning-torch", "--params", str(file))


def test_the_best_goes_into_train_gpu_with_no_hand_work(ran: Run, laptop: Laptop) -> None:
    assert ran.code == 0, ran.terminal
    best = json.loads(ran.step("katib-tune")["outputs"]["best_parameters"])
    store = mlflow.MlflowClient(laptop.store)
    trained = store.get_run(ran.step("train-gpu")["outputs"]["mlflow_run_id"])
    for name, value in best.items():
        assert trained.data.params[f"train-gpu.{name}"] == str(value)
    trials = pl.read_parquet(ran.artifact("katib-tune", "trials") / "*.parquet")
    assert trials.height == 4
    # The refit of the best, the training after it and its model in evaluate are one network.
    assert ran.metrics("katib-tune")["test_roc_auc"] == pytest.approx(ran.metrics()["roc_auc"], abs=1e-6)


def test_all_that_trains_a_network_runs_in_its_image() -> None:
    executors = yaml.safe_load(compiled("tuning-torch").read_text())["deploymentSpec"]["executors"]
    images = {name: about["container"]["image"].split("/")[1] for name, about in executors.items()}
    torch, core = "python-torch:0.1.0", "python-core:0.1.0"
    assert images == {
        "exec-prepare": core,
        "exec-featurize": core,
        "exec-katib-tune": torch,
        "exec-train-gpu": torch,
        "exec-evaluate": torch,
        "exec-register": core,
    }
