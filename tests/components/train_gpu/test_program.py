"""The step as the component calls it, and the program that torchrun, Katib and plain Jobs start."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import polars as pl
import pytest
import torch
import yaml
from mlflow.tracking import MlflowClient

from kfp_lifecycle.components.shared.errors import DeviceError, ParameterError
from kfp_lifecycle.components.shared.model_format import describe, load_predictor
from kfp_lifecycle.components.shared.storage import upload
from kfp_lifecycle.components.train_gpu import trainjob
from kfp_lifecycle.components.train_gpu.__main__ import main
from kfp_lifecycle.components.train_gpu.flags import option_flags, options_of
from kfp_lifecycle.components.train_gpu.options import NetworkOptions
from kfp_lifecycle.components.train_gpu.program import processes, start
from kfp_lifecycle.components.train_gpu.result import Result
from kfp_lifecycle.components.train_gpu.step import train_gpu_step
from kfp_lifecycle.components.train_gpu.training import Inputs
from tests.components.train.tables import prepared
from tests.components.trained import Artifact
from tests.conftest import ROOT
from tests.kubernetes_api import KubernetesApi
from tests.servers import s3_server

OPTIONS = {"network": "mlp", "epochs": 2, "batch_size": 128, "learning_rate": 0.01, "reference_rows": 20}


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def inputs(table: Callable[[str], pd.DataFrame], here: Path, monkeypatch: pytest.MonkeyPatch) -> Inputs:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{here / 'mlflow.db'}")
    rows = pl.from_pandas(table("churn").head(800))
    written = prepared(rows, "churn", "binary", encode="ordinal").write(here / "inputs")
    return Inputs(written.rows, written.schema, written.plan)


@pytest.fixture
def arguments(inputs: Inputs, here: Path) -> dict[str, Any]:
    outputs = {name: Artifact(str(here / "out" / name)) for name in ("model", "metrics", "report")}
    return {
        "train": Artifact(str(inputs.rows)),
        "schema": Artifact(str(inputs.schema)),
        "plan": Artifact(str(inputs.plan)),
        **outputs,
        "network_parameters": '{"hidden": [16]}',
        "tuned_parameters": "{}",
        **OPTIONS,
    }


# Options as flags


def test_options_go_through_flags_and_back() -> None:
    options = NetworkOptions(
        network="my.Net",
        network_parameters={"width": 3, "name": "ä b"},
        learning_rate=1e-4,
        class_weight='{"Yes": 2.5}',
        compile=True,
        run_name="two words=x",
        epochs=3,
    )
    flags = option_flags(options)
    assert len(flags) == 7
    assert options_of(dict(flag.removeprefix("--").split("=", 1) for flag in flags)) == options
    assert option_flags(NetworkOptions()) == []


def test_texts_become_what_the_option_is() -> None:
    found = options_of(
        {"epochs": "64.0", "dropout": "0", "compile": "True", "deterministic": "0", "network": "7"}
    )
    assert (found.epochs, found.dropout, found.compile, found.deterministic) == (64, 0, True, False)
    assert found.network == "7"


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        ({"epoch": "3"}, "'epoch'.*Did you mean 'epochs'"),
        ({"epochs": "many"}, "'epochs' is 'many'"),
        ({"epochs": "2.5"}, "'epochs' is 2.5"),
        ({"compile": "perhaps"}, "'compile' is 'perhaps'"),
        ({"network_parameters": "3"}, "not an object"),
        ({"optimizer": "adma"}, "adamw"),
    ],
)
def test_wrong_flags_are_named(texts: dict[str, str], words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        options_of(texts)


# The step


def test_what_the_step_leaves(arguments: dict[str, Any]) -> None:
    (run_id,) = train_gpu_step(**arguments)
    assert MlflowClient().get_run(run_id).data.params["train-gpu.epochs"] == "2"
    metrics = arguments["metrics"].metadata
    assert 0.6 < metrics["validation_roc_auc"] < 0.95
    assert all(isinstance(value, float) for value in metrics.values())
    about = arguments["model"].metadata
    assert about["mlflow_run_id"] == run_id
    assert about["estimator"] == "kfp_lifecycle.components.train_gpu.network.MLP"
    assert about["device"].startswith("CPU")
    assert (Path(arguments["model"].path) / "MLmodel").exists()
    assert Path(arguments["report"].path).read_text().lstrip().lower().startswith("<!doctype html")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"network_parameters": "width: 10"}, "'network_parameters' is not JSON"),
        ({"epochs": 0}, "'epochs' is 0"),
        ({"precision": "fp16"}, "'precision' is 'fp16'"),
        ({"devices": -1}, "'devices' is -1"),
        ({"nodes": 2}, "no other node reaches it"),
        ({"tuned_parameters": '{"epoch": 3}'}, "'epoch'.*Did you mean 'epochs'"),
        ({"tuned_parameters": '{"epochs": 0}'}, "'epochs' is 0"),
        ({"tuned_parameters": "epochs: 3"}, "'tuned_parameters' is not JSON"),
    ],
)
def test_parameters_are_checked(arguments: dict[str, Any], change: dict[str, Any], words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        train_gpu_step(**{**arguments, **change})


def test_in_a_pipeline_an_error_is_the_last_line_and_leaves_nothing(
    arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_KFP_RUNTIME", "true")
    with pytest.raises(SystemExit) as stopped:
        train_gpu_step(**{**arguments, "require_gpu": True})
    assert stopped.value.code == 1
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("ERROR DeviceError: Parameter 'require_gpu' is true, but")
    assert not Path(arguments["model"].path).exists()


def test_two_devices_are_two_processes_with_one_result(arguments: dict[str, Any]) -> None:
    alone = {**arguments, "deterministic": True}
    train_gpu_step(**alone)
    expected = dict(arguments["metrics"].metadata)
    two = {name: Artifact(f"{arguments[name].path}-2") for name in ("model", "metrics", "report")}
    (run_id,) = train_gpu_step(**{**alone, **two, "devices": 2})
    found = two["metrics"].metadata
    assert found["validation_loss"] == pytest.approx(expected["validation_loss"], rel=0.02)
    assert found["epochs"] == 2
    assert MlflowClient().get_run(run_id).data.params["train-gpu.world_size"] == "2"
    assert describe(two["model"].path).task == "binary"
    assert "<svg" in Path(two["report"].path).read_text()


def test_what_one_of_two_processes_declares_is_the_steps_error(arguments: dict[str, Any]) -> None:
    with pytest.raises(DeviceError, match="require_gpu"):
        train_gpu_step(**{**arguments, "devices": 2, "require_gpu": True})
    assert not Path(arguments["model"].path).exists()


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    assert processes(NetworkOptions(devices=3)) == 3
    assert processes(NetworkOptions(devices=0)) == 1
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    assert processes(NetworkOptions(devices=0)) == 8


def test_the_step_does_not_import_pytorch_to_refuse_a_parameter() -> None:
    code = (
        "import sys; import kfp_lifecycle.components.train_gpu.step; "
        "print({'torch', 'kfp', 'mlflow'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# The program


def _run(*words: str, module: str = "kfp_lifecycle.components.train_gpu") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module, *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=300,
    )


def _words(inputs: Inputs, place: str, **options: Any) -> list[str]:
    files = {"train": inputs.rows, "schema": inputs.schema, "plan": inputs.plan}
    flags = {**{name: str(path) for name, path in files.items()}, "model": f"{place}/model"}
    return [f"--{name}={value}" for name, value in {**flags, **OPTIONS, **options}.items()]


def test_the_program_prints_what_katib_reads_and_uploads_the_rest(inputs: Inputs, here: Path) -> None:
    outputs = {"report": here / "job" / "report.html", "result": here / "job" / "result.json"}
    done = _run(*_words(inputs, str(here / "job"), **outputs))
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line]
    # Katib's own pattern of a line of its StdOut collector.
    assert all(re.fullmatch(r"[\w\-]+=[+-]?\d+(\.\d+)?([Ee][+-]?\d+)?", line) for line in lines), lines
    assert [line for line in lines if line.startswith("epoch=")] == ["epoch=1", "epoch=2"]
    assert sum(line.startswith("validation_roc_auc=") for line in lines) == 2
    result = Result.load(outputs["result"])
    assert f"validation_loss={result.metrics['validation_loss']!r}" in lines
    assert describe(here / "job" / "model").estimator == result.estimator
    assert "<svg" in outputs["report"].read_text()
    assert "epoch 2/2" in done.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"epcohs": 3}, "ERROR ParameterError: There is no option 'epcohs'. Did you mean 'epochs'?"),
        ({"nodes": 2}, "ERROR ParameterError: Parameter 'nodes' is 2, but this program"),
        ({"train": "/nowhere"}, "ERROR StorageError: /nowhere does not exist."),
        ({"require_gpu": "true"}, "ERROR DeviceError: Parameter 'require_gpu' is true"),
    ],
)
def test_a_mistake_is_its_last_line(
    inputs: Inputs, here: Path, options: dict[str, Any], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(_words(inputs, str(here / "job"), **options))
    assert stopped.value.code == 1
    assert capsys.readouterr().err.strip().splitlines()[-1].startswith(said)
    assert not (here / "job").exists()


def test_its_help_needs_no_training(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        start(["--help"])
    assert "--train URI" in capsys.readouterr().out


# On several nodes: the program itself, under torchrun, plays the pods


@pytest.fixture
def s3(here: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    import boto3

    with s3_server(here) as env:
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        boto3.client("s3").create_bucket(Bucket="data")
        yield


def _trainer(folder: Path) -> Callable[[KubernetesApi, str, dict[str, Any]], None]:
    """A double of Kubeflow Trainer: runs the job's arguments under torchrun, its nodes as processes here."""

    def act(api: KubernetesApi, change: str, body: dict[str, Any]) -> None:
        if body["kind"] != "TrainJob" or change != "ADDED":
            return
        name, trainer = body["metadata"]["name"], body["spec"]["trainer"]
        nodes = ["--nnodes=1", f"--nproc-per-node={trainer['numNodes']}", "--master-port=0"]
        done = _run(
            *("--standalone", *nodes, "-m", "kfp_lifecycle.components.train_gpu", *trainer["args"]),
            module="torch.distributed.run",
        )
        labels = {
            "jobset.sigs.k8s.io/jobset-name": name,
            "batch.kubernetes.io/job-completion-index": "0",
        }
        api.add_pod(f"{name}-node-0-0", {"node": done.stdout + done.stderr}, labels=labels)
        ended = {"type": "Failed" if done.returncode else "Complete", "status": "True", "message": "ended"}
        api.update("trainjobs", name, lambda job: job.update(status={"conditions": [ended]}))

    return act


@pytest.fixture
def cluster(here: Path, s3: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[KubernetesApi]:
    monkeypatch.setattr(trainjob, "INTERVAL_S", 0.2)
    with KubernetesApi(kinds=[trainjob.TRAIN_JOB, trainjob.RUNTIME_KIND]) as api:
        monkeypatch.setenv("KUBECONFIG", str(api.kube_config(here)))
        about = {"apiVersion": trainjob.RUNTIME_KIND.api_version, "kind": trainjob.RUNTIME_KIND.name}
        api.put({**about, "metadata": {"name": trainjob.RUNTIME}})
        api.controller(_trainer(here))
        yield api


@pytest.fixture
def remote(arguments: dict[str, Any], s3: None) -> dict[str, Any]:
    """The step's artifacts as on a cluster, where they have URIs in an object store."""
    for name in ("train", "schema", "plan"):
        artifact = arguments[name]
        artifact.uri = f"s3://data/run/{name}"
        upload(Path(artifact.path), artifact.uri)
    arguments["model"].uri = "s3://data/run/model"
    return {**arguments, "nodes": 2}


def test_two_nodes_train_one_model(
    remote: dict[str, Any], cluster: KubernetesApi, here: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    (run_id,) = train_gpu_step(**remote)
    client = MlflowClient(os.environ["MLFLOW_TRACKING_URI"])  # this process has not tracked anything
    assert client.get_run(run_id).data.params["train-gpu.world_size"] == "2"
    assert remote["metrics"].metadata["validation_roc_auc"] > 0.6
    rows = pl.read_parquet(remote["train"].path).head(5)
    assert len(load_predictor(remote["model"].path).predict(rows)) == 5
    assert mlflow.pyfunc.load_model(remote["model"].path).metadata.run_id == run_id
    assert "epoch 2/2" in caplog.text
    assert cluster.all("trainjobs") == []
    assert not cluster.controller_errors


def test_the_job_in_the_manifests_passes_flags_that_the_program_takes() -> None:
    job = yaml.safe_load((ROOT / "manifests" / "jobs" / "train-gpu" / "job.yaml").read_text())
    words = job["spec"]["template"]["spec"]["containers"][0]["args"]
    own = {"train", "schema", "plan", "model", "report", "result"}
    texts = dict(word.removeprefix("--").split("=", 1) for word in words if word.startswith("--"))
    assert {"train", "schema", "plan", "model"} <= set(texts)
    assert options_of({name: text for name, text in texts.items() if name not in own})
