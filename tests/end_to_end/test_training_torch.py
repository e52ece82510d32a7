"""The compiled training-torch pipeline on real tables, through the command line, as a user runs it."""

import json
from pathlib import Path

import mlflow
import numpy as np
import onnxruntime
import pandas as pd
import polars as pl
import pytest
import yaml

from kfp_lifecycle.components.shared.inference.transform import FeatureTransform
from kfp_lifecycle.components.shared.model_format import DATA
from tests.conftest import ROOT
from tests.end_to_end.laptop import Laptop, Run, compiled

pytestmark = pytest.mark.e2e

CHURN = ("--params", str(ROOT / "pipelines" / "params" / "training-torch-churn.yaml"))


@pytest.fixture(scope="module")
def churn(laptop: Laptop) -> Run:
    return laptop.run("training-torch", *CHURN)


def test_one_command_ends_in_a_registered_champion(churn: Run) -> None:
    assert churn.code == 0, churn.terminal
    assert [step["name"] for step in churn.record["steps"]] == [
        *("prepare", "featurize", "train-gpu", "evaluate", "register"),
        *("serve", "record-decision", "record-decision-2"),
    ]
    assert churn.metrics()["roc_auc"] > 0.82
    assert churn.metrics("train-gpu")["validation_roc_auc"] > 0.8
    version = churn.registry().get_model_version_by_alias("churn-torch", "champion")
    assert version.tags["pipeline_name"] == "training-torch"
    assert version.tags["image"] == "kfp-lifecycle/python-torch:0.1.0"
    assert json.loads(version.tags["parameters.train-gpu"])["batch_size"] == 256
    reports = [Path(report).read_text() for report in churn.record["reports"]]
    assert len(reports) == 3
    assert any("learning rate" in report.lower() for report in reports)


def test_its_log_has_a_line_an_epoch(churn: Run) -> None:
    log = Path(churn.step("train-gpu")["log"]).read_text()
    assert "training on CPU" in log
    assert log.count("train loss") == churn.metrics("train-gpu")["epochs"]


def test_the_registered_model_takes_rows_as_they_are_in_the_source(churn: Run, laptop: Laptop) -> None:
    mlflow.set_tracking_uri(laptop.store)
    model = mlflow.pyfunc.load_model("models:/churn-torch@champion")
    file = laptop.home / "data" / "churn.csv"
    rows = pd.read_csv(file).head(50)
    rows.loc[7, "contract"] = "Never seen"
    as_text = pd.read_csv(file, dtype=str, keep_default_na=False).head(50)
    as_text.loc[7, "contract"] = "Never seen"
    scored = model.predict(rows)
    assert set(scored["prediction"]) <= {"Yes", "No"}
    pd.testing.assert_frame_equal(model.get_raw_model().predict(as_text), scored)
    assert churn.code == 0


def test_another_server_gives_the_same_from_the_onnx_file(churn: Run) -> None:
    data = churn.artifact("train-gpu", "model") / DATA
    test = pl.read_parquet(churn.artifact("prepare", "test") / "*.parquet")
    features = np.asarray(FeatureTransform.load(data / "transform.json").transform(test), dtype=np.float32)
    said = onnxruntime.InferenceSession(data / "network.onnx").run(None, {"features": features})[0]
    ours = mlflow.pyfunc.load_model(str(data.parents[1])).predict(test.to_pandas())
    np.testing.assert_allclose(ours[["probability_No", "probability_Yes"]], said, rtol=1e-5, atol=1e-5)


def test_the_model_is_judged_in_the_image_that_it_was_trained_in() -> None:
    executors = yaml.safe_load(compiled("training-torch").read_text())["deploymentSpec"]["executors"]
    images = {name: about["container"]["image"].split("/")[1] for name, about in executors.items()}
    assert images == {
        "exec-prepare": "python-core:0.1.0",
        "exec-featurize": "python-core:0.1.0",
        "exec-train-gpu": "python-torch:0.1.0",
        "exec-evaluate": "python-torch:0.1.0",
        "exec-register": "python-core:0.1.0",
        "exec-serve": "python-serve:0.1.0",
        "exec-record-decision": "python-core:0.1.0",
        "exec-record-decision-2": "python-core:0.1.0",
    }


@pytest.mark.parametrize(
    ("target", "task", "metric", "least", "extra"),
    [
        ("cut", "multiclass", "roc_auc_ovr", 0.8, ["-p", "class_weight=balanced"]),
        ("price", "regression", "r2", 0.9, ["-p", "loss=huber"]),
    ],
)
def test_the_same_file_trains_other_tables_by_parameters_alone(
    laptop: Laptop, target: str, task: str, metric: str, least: float, extra: list[str]
) -> None:
    sample = laptop.home / "data" / "stones.csv"
    if not sample.exists():
        pd.read_csv(laptop.home / "data" / "diamonds.csv").sample(4000, random_state=1).to_csv(
            sample, index=False
        )
    asked = {"source": str(sample), "target": target, "model_name": f"stones-{target}", "task": task}
    asked |= {"drop_duplicates": "false", "epochs": "15", "batch_size": "128", "bootstrap_samples": "100"}
    words = [word for name, value in asked.items() for word in ("-p", f"{name}={value}")]
    run = laptop.run("training-torch", *words, *extra)
    assert run.code == 0, run.terminal
    assert run.metrics()[metric] > least
    assert run.step("evaluate")["outputs"]["approved"] is True


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        (["-p", "network=residul"], ["residul", "residual"]),
        (["-p", "require_gpu=true"], ["require_gpu", "no GPU"]),
        (["-p", "epochs=0"], ["epochs", "1 or more"]),
        (["-p", "checkpoint_uri=/proc/nowhere"], ["/proc/nowhere"]),
    ],
)
def test_bad_input_ends_in_one_clear_line(laptop: Laptop, extra: list[str], words: list[str]) -> None:
    run = laptop.run("training-torch", *CHURN, *extra)
    assert run.code == 1
    log = Path(run.step("train-gpu")["log"]).read_text()
    last = log.strip().splitlines()[-1]
    assert last.startswith("ERROR ")
    assert "Traceback" not in log
    assert all(word in last for word in words), last
