"""After training: the images that serve a model, look after it, and keep its features."""

import json
import shutil
import time
from pathlib import Path

import polars as pl
import pytest
import requests

from tests.containers.conftest import Workshop, docker
from tests.repositories import ROOT, run

pytestmark = pytest.mark.server

TRAINING = ("folds=2", "bootstrap_samples=100", "thresholds=[]", "deploy=true", "keep_running=false")


@pytest.fixture(scope="module")
def place(workshop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory in which a model was trained, and rolled out, in containers."""
    folder = tmp_path_factory.mktemp("lifecycle")
    for each in (folder, *folder.parents[:2]):
        each.chmod(0o755)
    workshop.run("demo-data", "churn", "--out", str(folder / "data"))
    in_containers(workshop, folder, "training", "churn", *TRAINING)
    return folder


def in_containers(
    workshop: Workshop, place: Path, pipeline: str, params: str, *settings: str
) -> dict[str, dict[str, object]]:
    """Runs a pipeline, which must succeed; its steps that ran, by name."""
    given = [option for setting in settings for option in ("-p", setting)]
    given += ["--writable", "written"]
    if params:
        given = ["--params", str(workshop.root / f"pipelines/params/{params}.yaml"), *given]
    done = run("run", pipeline, *given, "--runner", "docker", "--output-dir", f"runs/{pipeline}", cwd=place)
    assert done.returncode == 0, done.stdout + done.stderr
    steps = json.loads((place / f"runs/{pipeline}/run.json").read_text())["steps"]
    return {step["name"]: step for step in steps if step["state"] == "succeeded"}


def model_of(place: Path) -> Path:
    steps = json.loads((place / "runs/training/run.json").read_text())["steps"]
    [uri] = [
        a["uri"] for s in steps if s["name"] == "train" for a in s["artifacts"] if a["type"] == "system.Model"
    ]
    return Path(uri)


def test_a_model_is_rolled_out_by_the_image_that_serves_it(place: Path) -> None:
    steps = json.loads((place / "runs/training/run.json").read_text())["steps"]
    [served] = [step for step in steps if step["name"] == "serve"]
    assert served["state"] == "succeeded"
    assert served["outputs"]["model_version"] == "1"


def test_a_container_serves_a_model_and_drains_when_it_is_stopped(place: Path) -> None:
    name = docker(
        *("run", "--detach", "--read-only", "--tmpfs", "/tmp:mode=1777", "--cap-drop", "ALL"),
        *("--publish", "127.0.0.1::8080", "--volume", f"{model_of(place)}:/model:ro"),
        *("kfp-lifecycle/python-serve:0.1.0", "python3", "-m", "kfp_lifecycle.components.serve"),
        *("--model", "/model", "--name", "churn"),
    )
    try:
        address = f"http://{docker('port', name, '8080').splitlines()[0]}"
        until = time.monotonic() + 60
        while time.monotonic() < until:
            try:
                if requests.get(f"{address}/v2/health/ready", timeout=5).ok:
                    break
            except requests.ConnectionError:
                time.sleep(0.2)
        row = pl.read_csv(place / "data/churn.csv").drop("churn").row(0, named=True)
        answer = requests.post(f"{address}/v1/models/churn:predict", json={"instances": [row]}, timeout=30)
        assert answer.status_code == 200, answer.text
        assert len(answer.json()["predictions"]) == 1
        assert "model_predictions_total" in requests.get(f"{address}/metrics", timeout=5).text
        docker("stop", "--time", "30", name)
        assert docker("wait", name) == "0", docker("logs", name)
    finally:
        docker("rm", "--force", name)


def test_a_table_is_scored_in_containers(workshop: Workshop, place: Path) -> None:
    params = ("batch-inference-churn", "output=written/predictions", "shard_rows=4000")
    steps = in_containers(workshop, place, "batch-inference", *params)
    assert [name for name in steps if name.startswith("batch-predict")]
    scores = pl.read_parquet(place / "written/predictions/**/*.parquet")
    assert scores.height == pl.read_csv(place / "data/churn.csv").height


def test_monitoring_runs_in_its_image(workshop: Workshop, place: Path) -> None:
    steps = in_containers(
        *(workshop, place, "monitoring", ""),
        *(f"model={model_of(place)}", "current=data/churn.csv", "history=written/history"),
        "training_parameters={}",
    )
    assert "monitor" in steps
    assert "record-decision" in steps


def test_a_feature_store_is_applied_by_its_image(workshop: Workshop, place: Path) -> None:
    store = place / "written/users"
    shutil.copytree(ROOT / "examples/feature_store/users", store)
    for path in [store, *store.rglob("*")]:
        path.chmod(0o777)
    assert in_containers(workshop, place, "feature-store-apply", "", "feature_store=written/users")
