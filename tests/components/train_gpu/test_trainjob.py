"""A TrainJob on a double of Kubernetes: made once, watched, adopted, brought back, deleted when cancelled."""

import json
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kubeflow_trainer_api.models import TrainerV1alpha1TrainJob

from kfp_lifecycle.components.shared.cluster import Cancelled
from kfp_lifecycle.components.shared.errors import (
    ClusterError,
    EstimatorError,
    ParameterError,
)
from kfp_lifecycle.components.shared.storage import open_store
from kfp_lifecycle.components.train_gpu import trainjob
from kfp_lifecycle.components.train_gpu.options import NetworkOptions
from kfp_lifecycle.components.train_gpu.program import arguments
from kfp_lifecycle.components.train_gpu.result import Result
from kfp_lifecycle.components.train_gpu.trainjob import (
    RUNTIME,
    RUNTIME_KIND,
    TRAIN_JOB,
    job_name,
    train_job,
    train_on_nodes,
)
from tests.kubernetes_api import KubernetesApi
from tests.servers import s3_server

INPUTS = {name: f"s3://data/{name}" for name in ("train", "schema", "plan")}
OPTIONS = NetworkOptions(nodes=2, epochs=3)
RESULT = Result("run-1", "m-1", "a.Net", "CPU", {"validation_loss": 0.5})


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    import boto3

    with pytest.MonkeyPatch.context() as patch, s3_server(tmp_path_factory.mktemp("s3")) as env:
        for name, value in env.items():
            patch.setenv(name, value)
        boto3.client("s3").create_bucket(Bucket="data")
        yield


@pytest.fixture
def model_uri(s3: None, request: pytest.FixtureRequest) -> str:
    """Where Kubeflow would put the model of this test."""
    return f"s3://data/{abs(hash(request.node.name))}/model"


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KubernetesApi]:
    monkeypatch.setattr(trainjob, "INTERVAL_S", 0.05)
    with KubernetesApi(kinds=[TRAIN_JOB, RUNTIME_KIND]) as api:
        monkeypatch.setenv("KUBECONFIG", str(api.kube_config(tmp_path)))
        api.put(
            {"apiVersion": RUNTIME_KIND.api_version, "kind": "TrainingRuntime", "metadata": {"name": RUNTIME}}
        )
        yield api
    assert not api.controller_errors


def _pod(api: KubernetesApi, job: str, log: str, **more: Any) -> None:
    labels = {"jobset.sigs.k8s.io/jobset-name": job, "batch.kubernetes.io/job-completion-index": "0"}
    api.add_pod(f"{job}-node-0-0", {"node": log}, labels=labels, **more)


def _end(api: KubernetesApi, job: str, state: str, message: str = "") -> None:
    condition = {"type": state, "status": "True", "reason": "Test", "message": message}
    api.update("trainjobs", job, lambda body: body.update(status={"conditions": [condition]}))


def _leave(place: str, folder: Path) -> None:
    """What the job's first process uploads."""
    folder.mkdir(parents=True)
    (folder / "MLmodel").write_text("flavors: {}")
    (folder / "report.html").write_text("<html></html>")
    RESULT.save(folder / "result.json")
    store = open_store(place)
    for name, file in (("model/MLmodel", "MLmodel"), ("report.html",) * 2, ("result.json",) * 2):
        store.write(folder / file, name)


def _succeed(folder: Path, but: str = "") -> Callable[[KubernetesApi, str, dict[str, Any]], None]:
    """A Trainer whose jobs print two lines and succeed at once, but for the one with this uid."""

    def act(api: KubernetesApi, change: str, body: dict[str, Any]) -> None:
        if body["kind"] == "TrainJob" and change == "ADDED" and body["metadata"]["uid"] != but:
            name = body["metadata"]["name"]
            _pod(api, name, "INFO epoch 1\nvalidation_loss=0.5\n")
            given, _ = arguments().parse_known_args(body["spec"]["trainer"]["args"])
            _leave(given.model.removesuffix("/model"), folder / name)
            _end(api, name, "Complete")

    return act


def _train(model_uri: str, folder: Path, options: NetworkOptions = OPTIONS) -> Result:
    return train_on_nodes(INPUTS, model_uri, folder / "model", folder / "report.html", options)


def test_the_object_is_what_its_models_know(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    monkeypatch.setenv("MLFLOW_RUN_ID", "abc")
    options = NetworkOptions(
        nodes=3, devices=2, require_gpu=True, epochs=7, network_parameters={"width": 64}, run_name="two words"
    )
    body = train_job("train-gpu-1", INPUTS, "s3://data/model-trainjob", options)
    again = TrainerV1alpha1TrainJob.from_dict(body)
    assert again is not None
    assert again.to_dict() == body
    trainer = body["spec"]["trainer"]
    assert (trainer["numNodes"], trainer["numProcPerNode"]) == (3, 2)
    assert trainer["resourcesPerNode"] == {"limits": {"nvidia.com/gpu": "2"}}
    assert {"name": "MLFLOW_RUN_ID", "value": "abc"} in trainer["env"]
    assert body["spec"]["runtimeRef"]["kind"] == "TrainingRuntime"
    args = trainer["args"]
    assert "--train=s3://data/train" in args
    assert '--network_parameters={"width": 64}' in args
    assert "--run_name=two words" in args
    assert "--checkpoint_uri=s3://data/model-trainjob/checkpoints" in args
    # What the program refuses or torchrun decides is not passed on.
    assert not [word for word in args if word.startswith(("--nodes", "--devices"))]


def test_no_credentials_travel_in_the_object(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://someone:hunter2@mlflow:5000")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    assert "hunter2" not in json.dumps(train_job("a", INPUTS, "s3://data/m", OPTIONS))


def test_without_require_gpu_the_runtime_decides_the_resources() -> None:
    trainer = train_job("a", INPUTS, "s3://data/m", NetworkOptions(nodes=2, devices=0))["spec"]["trainer"]
    assert "resourcesPerNode" not in trainer
    assert "numProcPerNode" not in trainer


def test_the_name_is_a_label_and_follows_from_the_place() -> None:
    assert job_name("s3://a/b") == job_name("s3://a/b") != job_name("s3://a/c")
    assert len(job_name("s3://a/b" * 100)) <= 63


def test_model_report_and_result_come_back_and_nothing_is_left(
    api: KubernetesApi, model_uri: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    api.controller(_succeed(tmp_path / "trainer"))
    assert _train(model_uri, tmp_path / "out") == RESULT
    assert (tmp_path / "out" / "model" / "MLmodel").read_text() == "flavors: {}"
    assert (tmp_path / "out" / "report.html").exists()
    assert "validation_loss=0.5" in caplog.text
    assert api.all("trainjobs") == []
    assert open_store(f"{model_uri}-trainjob").names() == []


def test_a_retried_step_adopts_the_job_that_runs(
    api: KubernetesApi, model_uri: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    place = f"{model_uri}-trainjob"
    body = train_job(job_name(place), INPUTS, place, OPTIONS)
    api.put(body)

    def trainer() -> None:
        _leave(place, tmp_path / "trainer")
        _end(api, job_name(place), "Complete")

    threading.Timer(0.5, trainer).start()
    assert _train(model_uri, tmp_path / "out") == RESULT
    assert "going on with it" in caplog.text
    assert "create" not in api.verbs("trainjobs")


def test_a_step_that_was_lost_after_the_job_had_ended_needs_no_other(
    api: KubernetesApi, model_uri: str, tmp_path: Path
) -> None:
    _leave(f"{model_uri}-trainjob", tmp_path / "trainer")
    assert _train(model_uri, tmp_path / "out") == RESULT
    assert "create" not in api.verbs("trainjobs")


@pytest.mark.parametrize("change", ["failed", "other options", "being deleted"])
def test_a_job_that_cannot_give_it_is_replaced(
    api: KubernetesApi, model_uri: str, tmp_path: Path, change: str
) -> None:
    place = f"{model_uri}-trainjob"
    name = job_name(place)
    options = NetworkOptions(nodes=2, epochs=99) if change == "other options" else OPTIONS
    old = train_job(name, INPUTS, place, options)
    if change == "being deleted":
        old["metadata"] |= {"finalizers": ["a/b"], "deletionTimestamp": "2026-01-01T00:00:00Z"}
    uid = api.put(old)["metadata"]["uid"]
    if change == "failed":
        _end(api, name, "Failed", "the last attempt")
    if change == "being deleted":
        threading.Timer(0.3, lambda: api.remove("trainjobs", name)).start()
    api.controller(_succeed(tmp_path / "trainer", but=uid))
    assert _train(model_uri, tmp_path / "out") == RESULT
    assert api.verbs("trainjobs").count("create") == 1


def test_an_answer_that_is_lost_makes_no_second_job(
    api: KubernetesApi, model_uri: str, tmp_path: Path
) -> None:
    api.controller(_succeed(tmp_path / "trainer"))
    api.fail(503, verb="create", plural="trainjobs", after=True)
    assert _train(model_uri, tmp_path / "out") == RESULT
    assert api.verbs("trainjobs").count("create") == 2


def _fail_with(log: str) -> Callable[[KubernetesApi, str, dict[str, Any]], None]:
    def act(api: KubernetesApi, change: str, body: dict[str, Any]) -> None:
        if body["kind"] == "TrainJob" and change == "ADDED":
            _pod(api, body["metadata"]["name"], log, phase="Failed")
            _end(api, body["metadata"]["name"], "Failed", "jobset failed: node-0 exited with 1")

    return act


def test_what_a_process_of_the_job_declares_is_the_steps_error(
    api: KubernetesApi, model_uri: str, tmp_path: Path
) -> None:
    said = "The loss is not a number in epoch 2, batch 17. Set learning_rate lower."
    api.controller(_fail_with(f"INFO epoch 1\nERROR EstimatorError: {said}\nERROR Elsewhere: no\n"))
    with pytest.raises(EstimatorError) as caught:
        _train(model_uri, tmp_path / "out")
    assert str(caught.value) == said
    assert not (tmp_path / "out" / "model").exists()
    assert len(api.all("trainjobs")) == 1  # to be looked at


def test_a_job_that_fails_without_a_word_is_named_with_what_to_look_at(
    api: KubernetesApi, model_uri: str, tmp_path: Path
) -> None:
    api.controller(_fail_with("Killed\n"))
    with pytest.raises(ClusterError, match=r"failed: .*node-0 exited with 1") as caught:
        _train(model_uri, tmp_path / "out")
    assert "kubectl -n team describe trainjob train-gpu-" in caught.value.fix


def test_pods_that_may_not_be_seen_do_not_hide_the_failure(
    api: KubernetesApi, model_uri: str, tmp_path: Path
) -> None:
    api.deny("list", "pods")
    api.controller(_fail_with("ERROR EstimatorError: unseen\n"))
    with pytest.raises(ClusterError, match=r"failed: .*node-0 exited with 1"):
        _train(model_uri, tmp_path / "out")


def test_a_job_that_somebody_deletes_is_named(api: KubernetesApi, model_uri: str, tmp_path: Path) -> None:
    name = job_name(f"{model_uri}-trainjob")
    threading.Timer(0.5, lambda: api.remove("trainjobs", name)).start()
    with pytest.raises(ClusterError, match="was deleted while it ran"):
        _train(model_uri, tmp_path / "out")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_step_that_is_cancelled_deletes_its_job(
    api: KubernetesApi, model_uri: str, tmp_path: Path, number: signal.Signals
) -> None:
    threading.Timer(0.6, lambda: os.kill(os.getpid(), number)).start()
    with pytest.raises(Cancelled, match="cancelled"):
        _train(model_uri, tmp_path / "out")
    assert api.verbs("trainjobs").count("create") == 1
    assert api.all("trainjobs") == []


def test_why_pods_wait_is_said_once(
    api: KubernetesApi, model_uri: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = f"{model_uri}-trainjob"
    name = job_name(place)
    unschedulable = {"type": "PodScheduled", "status": "False", "message": "0/3 nodes have nvidia.com/gpu"}
    _pod(api, name, "", phase="Pending", status={"conditions": [unschedulable]})

    def trainer() -> None:
        _leave(place, tmp_path / "trainer")
        _end(api, name, "Complete")

    threading.Timer(0.6, trainer).start()
    _train(model_uri, tmp_path / "out")
    assert caplog.text.count("waits: 0/3 nodes have nvidia.com/gpu") == 1


@pytest.mark.parametrize("verb", ["create", "get", "delete"])
def test_a_missing_right_is_known_before_anything_is_made(
    api: KubernetesApi, model_uri: str, tmp_path: Path, verb: str
) -> None:
    api.deny(verb, "trainjobs")
    with pytest.raises(ClusterError, match=f"may not {verb} trainjobs.trainer.kubeflow.org") as caught:
        _train(model_uri, tmp_path / "out")
    assert "system:serviceaccount:team" in str(caught.value)
    assert "manifests" in str(caught.value)
    assert "create" not in api.verbs("trainjobs")


def test_a_cluster_without_the_trainer_is_told_what_to_install(
    model_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with KubernetesApi() as bare:
        monkeypatch.setenv("KUBECONFIG", str(bare.kube_config(tmp_path)))
        with pytest.raises(ClusterError, match=r"Install Kubeflow Trainer \(version 2\)"):
            _train(model_uri, tmp_path / "out")


def test_a_namespace_without_the_runtime_is_told_what_to_apply(
    api: KubernetesApi, model_uri: str, tmp_path: Path
) -> None:
    api.remove("trainingruntimes", RUNTIME)
    with pytest.raises(ClusterError, match="no TrainingRuntime 'kfp-lifecycle-torch' in namespace 'team'"):
        _train(model_uri, tmp_path / "out")
    assert api.all("trainjobs") == []


def test_without_a_cluster_that_is_said(
    model_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(ClusterError, match="no way to a Kubernetes cluster"):
        _train(model_uri, tmp_path / "out")


@pytest.mark.parametrize(
    ("inputs", "options", "word"),
    [
        ({**INPUTS, "plan": "/tmp/plan"}, OPTIONS, "plan is at '/tmp/plan'"),
        (INPUTS, NetworkOptions(nodes=2, checkpoint_uri="/data"), "checkpoint_uri is at '/data'"),
    ],
)
def test_what_other_nodes_cannot_reach_is_refused(
    inputs: dict[str, str], options: NetworkOptions, word: str, tmp_path: Path
) -> None:
    with pytest.raises(ParameterError, match=word):
        train_on_nodes(inputs, "s3://data/model", tmp_path / "model", tmp_path / "report.html", options)
