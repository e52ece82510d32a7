"""The compiled tuning pipeline on the Telco table, through the command line, with a few trials."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import mlflow
import polars as pl
import pytest
import yaml

from tests.repositories import ROOT, run

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tuning")
    assert run("demo-data", "churn", "--out", "data", cwd=folder).returncode == 0
    given = yaml.safe_load((ROOT / "pipelines/params/tuning-churn.yaml").read_text())
    quick = {"max_trials": 6, "folds": 2, "bootstrap_samples": 100, "early_stopping": "none"}
    quick["estimator_parameters"] = {**given["estimator_parameters"], "max_iter": 40}
    (folder / "params.yaml").write_text(yaml.safe_dump(given | quick))
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)  # MLflow sets it, in tests of the same process
        done = run("run", "tuning", "--params", "params.yaml", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def record(home: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((home / "runs/latest/run.json").read_text())
    return found


def _step(record: dict[str, Any], name: str) -> dict[str, Any]:
    return next(step for step in record["steps"] if step["name"] == name)


def _artifact(record: dict[str, Any], step: str, name: str) -> dict[str, Any]:
    return next(one for one in _step(record, step)["artifacts"] if one["name"] == name)


def test_the_best_goes_into_train_with_no_hand_work(home: Path, record: dict[str, Any]) -> None:
    best = json.loads(_step(record, "katib-tune")["outputs"]["best_parameters"])
    store = mlflow.MlflowClient(f"sqlite:///{home}/mlflow.db")
    trained = store.get_run(_step(record, "train")["outputs"]["mlflow_run_id"])
    assert json.loads(trained.data.params["train.estimator_parameters"]) == best
    assert type(best["max_depth"]) is int
    # The folds are the same, and so is what the best trial found in them.
    trials = pl.read_parquet(Path(_artifact(record, "katib-tune", "trials")["uri"]) / "*.parquet")
    assert trials.height == 6
    assert trained.data.metrics["cv_roc_auc_mean"] == pytest.approx(trials["value"].max(), abs=1e-9)


def test_what_is_compared_is_what_is_registered(home: Path, record: dict[str, Any]) -> None:
    tuned = _artifact(record, "katib-tune", "metrics")["metadata"]
    judged = _artifact(record, "evaluate", "metrics")["metadata"]
    assert tuned["test_roc_auc"] == pytest.approx(judged["roc_auc"], abs=1e-9)
    versions = mlflow.MlflowClient(f"sqlite:///{home}/mlflow.db").search_model_versions("name='churn-tuned'")
    assert [version.version for version in versions] == ["1"] or versions[0].version == 1


def test_every_trial_is_a_nested_run(home: Path, record: dict[str, Any]) -> None:
    parent = _step(record, "katib-tune")["outputs"]["mlflow_run_id"]
    with sqlite3.connect(home / "mlflow.db") as database:
        (count,) = database.execute(
            "select count(*) from tags where key = 'mlflow.parentRunId' and value = ?", (parent,)
        ).fetchone()
    assert count == 6


def test_a_second_run_takes_the_search_up(home: Path) -> None:
    done = run("run", "tuning", "--params", "params.yaml", cwd=home)
    assert done.returncode == 0, done.stdout + done.stderr
    (log,) = home.glob("runs/latest/logs/*katib-tune.log")
    assert "6 trials have ended before, 0 are run again" in log.read_text()
