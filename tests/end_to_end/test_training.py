"""The compiled training pipeline on real tables, through the command line, as a user runs it.

A run of a table is made once for the session and read by several tests.
"""

import json
from collections.abc import Callable
from pathlib import Path

import mlflow
import pandas as pd
import polars as pl
import pytest
import yaml

from kfp_lifecycle.compiler.digest import verify_digest
from tests.end_to_end.laptop import Laptop, Run, compiled

pytestmark = pytest.mark.e2e

LINEAGE = (
    "pipeline_name",
    "pipeline_version",
    "pipeline_digest",
    "pipeline_run_id",
    "dataset_digest",
    "image",
)


@pytest.fixture(scope="session")
def churn(laptop: Laptop) -> Run:
    return laptop.train("churn")


def test_one_command_ends_in_a_registered_champion(churn: Run):
    assert churn.code == 0, churn.terminal
    states = {step["name"]: step["state"] for step in churn.record["steps"]}
    assert list(states.values())[:5] == ["succeeded"] * 5
    # Nothing is deployed unless it is asked for, and the run says so.
    assert (states["serve"], states["record-decision"]) == ("skipped", "skipped")
    assert churn.step("record-decision-2")["outputs"] == {"Output": "The parameter deploy is false."}
    assert churn.metrics()["roc_auc"] > 0.82
    champion = churn.registry().get_model_version_by_alias("churn", "champion")
    assert champion.version == churn.registry().get_model_version_by_alias("churn", "challenger").version
    assert f"models:/churn/{champion.version}" in churn.terminal
    assert "mlflow ui --backend-store-uri" in churn.terminal
    for report in churn.record["reports"]:
        assert Path(report).name in churn.terminal
        assert "<html" in Path(report).read_text()[:200].lower()


def test_from_the_model_version_one_gets_back_to_the_run(churn: Run):
    version = churn.registry().get_model_version_by_alias("churn", "champion")
    assert all(version.tags.get(key) for key in LINEAGE), version.tags
    assert version.tags["pipeline_version"] == "1.0.0"
    assert version.tags["pipeline_run_id"] == churn.record["run_id"]
    assert version.tags["pipeline_digest"] == verify_digest(yaml.safe_load(compiled("training").read_text()))
    assert version.tags["dataset_digest"].startswith("sha256:")
    assert json.loads(version.tags["parameters.train"])["estimator_parameters"]["max_iter"] == 200
    assert churn.registry().get_run(version.run_id).data.metrics["test_roc_auc"] == pytest.approx(
        churn.metrics()["roc_auc"]
    )


def test_the_registered_model_takes_rows_as_they_are_in_the_source(churn: Run, laptop: Laptop):
    mlflow.set_tracking_uri(laptop.store)
    model = mlflow.pyfunc.load_model("models:/churn@champion")
    rows = pd.read_csv(laptop.home / "data" / "churn.csv").head(50)
    as_text = pd.read_csv(laptop.home / "data" / "churn.csv", dtype=str, keep_default_na=False).head(50)
    scored = model.predict(rows)
    assert set(scored["prediction"]) <= {"Yes", "No"}
    assert scored["probability_Yes"].between(0, 1).all()
    pd.testing.assert_frame_equal(model.get_raw_model().predict(as_text), scored)


def test_the_splits_are_whole_and_apart(churn: Run):
    train = pl.read_parquet(churn.artifact("prepare", "train") / "*.parquet")
    test = pl.read_parquet(churn.artifact("prepare", "test") / "*.parquet")
    assert train.height + test.height == 7043
    assert test.height / 7043 == pytest.approx(0.2, abs=0.02)
    assert set(train["_row_hash"]).isdisjoint(test["_row_hash"])


@pytest.fixture(scope="session")
def again(churn: Run, laptop: Laptop) -> Run:
    """The same table trained again with a weak estimator, against the champion."""
    assert churn.code == 0
    return laptop.train(
        "churn",
        *(
            "-p",
            "estimator=sklearn.dummy.DummyClassifier",
            "-p",
            "estimator_parameters={}",
            "-p",
            "thresholds=[]",
        ),
    )


def test_a_worse_model_is_registered_but_not_as_champion(churn: Run, again: Run):
    assert again.code == 0, again.terminal
    outputs = again.step("evaluate")["outputs"]
    assert outputs["approved"] is False
    assert "champion" in outputs["reasons"]
    assert outputs["reasons"].splitlines()[0][:60] in " ".join(again.terminal.split())
    registry = again.registry()
    champion = registry.get_model_version_by_alias("churn", "champion")
    challenger = registry.get_model_version_by_alias("churn", "challenger")
    assert int(challenger.version) > int(champion.version)
    assert str(champion.version) == churn.step("register")["outputs"]["model_version"]


def test_promote_and_rollback_move_the_champion_and_say_so(again: Run, laptop: Laptop):
    challenger = again.step("register")["outputs"]["model_version"]
    store = {"MLFLOW_TRACKING_URI": laptop.store}
    before = again.registry().get_model_version_by_alias("churn", "champion").version
    refused = laptop.cli("promote", "churn", "--version", challenger, env=store)
    assert refused.returncode == 1
    assert "force" in refused.stderr
    moved = laptop.cli("promote", "churn", "--version", challenger, "--force", env=store)
    assert moved.returncode == 0, moved.stderr
    assert challenger in moved.stdout
    back = laptop.cli("rollback", "churn", env=store)
    assert back.returncode == 0, back.stderr
    assert again.registry().get_model_version_by_alias("churn", "champion").version == before


def test_thresholds_alone_can_refuse(laptop: Laptop):
    run = laptop.train(
        "churn", "-p", 'thresholds=["roc_auc >= 0.99"]', "-p", "model_name=churn-strict", "-p", "folds=0"
    )
    assert run.code == 0, run.terminal
    assert run.step("evaluate")["outputs"]["approved"] is False
    aliases = run.registry().get_registered_model("churn-strict").aliases
    assert set(aliases) == {"challenger"}


@pytest.mark.parametrize(
    ("parameters", "metric", "least", "task"),
    [
        ("diamonds-price", "r2", 0.97, "regression"),
        ("diamonds-cut", "roc_auc_ovr", 0.92, "multiclass"),
        ("flights", "roc_auc", 0.60, "binary"),
    ],
)
def test_the_same_file_trains_other_tables_by_parameters_alone(
    laptop: Laptop, parameters: str, metric: str, least: float, task: str
):
    run = laptop.train(parameters)
    assert run.code == 0, run.terminal
    assert run.metrics()[metric] > least
    assert run.metrics()[f"{metric}_low"] < run.metrics()[metric] < run.metrics()[f"{metric}_high"]
    schema = json.loads(run.artifact("prepare", "schema").read_text())
    assert schema["task"] == task
    assert run.step("evaluate")["outputs"]["approved"] is True, run.step("evaluate")["outputs"]
    if parameters == "flights":
        _check_forward_in_time(run)


def _check_forward_in_time(run: Run) -> None:
    train = pl.scan_parquet(run.artifact("prepare", "train") / "*.parquet")
    test = pl.scan_parquet(run.artifact("prepare", "test") / "*.parquet")
    rows = pl.collect_all(
        [train.select(pl.len(), pl.max("time_hour")), test.select(pl.len(), pl.min("time_hour"))]
    )
    assert rows[0]["len"][0] + rows[1]["len"][0] == 327346  # flights that arrived, of 336,776
    assert rows[0]["time_hour"][0] < rows[1]["time_hour"][0]


@pytest.mark.parametrize(
    ("extra", "step", "words"),
    [
        (["-p", "target=chrun"], "prepare", ["chrun", "churn"]),
        (["-p", "source=data/chrun.csv"], "prepare", ["data/chrun.csv", "churn.csv"]),
        (["-p", "derive={'a': 'tenur * 2'}"], "featurize", ["tenur", "tenure"]),
        (["-p", 'estimator_parameters={"max_itr": 5}'], "train", ["max_itr", "max_iter"]),
        (["-p", 'thresholds=["roc_au > 1"]', "-p", "folds=0"], "evaluate", ["roc_au", "roc_auc"]),
    ],
)
def test_bad_input_ends_in_one_clear_line_and_leaves_nothing(
    laptop: Laptop, extra: list[str], step: str, words: list[str], registered: Callable[[], int]
):
    before = registered()
    run = laptop.train("churn", *extra)
    assert run.code == 1
    failed = run.step(step)
    assert failed["state"] == "failed"
    last = Path(failed["log"]).read_text().strip().splitlines()[-1]
    assert last.startswith("ERROR ")
    assert "Traceback" not in Path(failed["log"]).read_text()
    assert all(word in last for word in words), last
    assert all(word in " ".join(run.terminal.split()) for word in (step, *words))
    states = [s["state"] for s in run.record["steps"]]
    assert states.index("failed") == len([s for s in states if s == "succeeded"])
    assert registered() == before


@pytest.fixture
def registered(laptop: Laptop, churn: Run) -> Callable[[], int]:
    """How many model versions the registry holds."""
    assert churn.code == 0
    return lambda: len(mlflow.MlflowClient(laptop.store).search_model_versions())


def test_an_unreachable_tracking_server_is_named_without_its_credentials(laptop: Laptop):
    uri = "http://someone:hunter2@127.0.0.1:9"
    run = laptop.train("churn", env={"MLFLOW_TRACKING_URI": uri, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"})
    assert run.code == 1
    log = Path(run.step("train")["log"]).read_text()
    assert "127.0.0.1:9" in log.splitlines()[-1]
    assert "hunter2" not in log + run.terminal + json.dumps(run.record)
