"""A rollout on KServe whose pods are the real model server, which gets its models from a registry."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from mlflow.tracking import MlflowClient

from kfp_lifecycle.components.serve.rollout.guard import Limits
from kfp_lifecycle.components.serve.rollout.kserve import KServe as Target
from kfp_lifecycle.components.serve.rollout.kserve_objects import HTTP_ROUTE, ISVC, Predictor
from kfp_lifecycle.components.serve.rollout.kserve_watch import Patience
from kfp_lifecycle.components.serve.rollout.lease import LEASE
from kfp_lifecycle.components.serve.rollout.run import Course, Outcome, roll_out
from kfp_lifecycle.components.serve.rollout.target import Release
from kfp_lifecycle.components.shared.cluster import connect
from kfp_lifecycle.components.shared.model_example import Example, read_example
from tests.components.serve.kserve_double import KServe, names_of
from tests.components.serve.serving import Models
from tests.components.serve.test_kserve import Alias
from tests.conftest import SOAK
from tests.kubernetes_api import KubernetesApi

HOST = "churn.example.com"
PATIENCE = Patience(poll=0.2, shift=60, drain=0.2)
COURSE = Course(steps=(50, 100), step_s=0.5, limits=Limits(min_requests=10), ready_timeout_s=120)


@dataclass
class Process:
    """The server, started as the pod's container starts it, at the pod's own address."""

    address: str
    process: "subprocess.Popen[bytes]"

    def is_ready(self) -> bool:
        assert self.process.poll() is None, "the server has ended"
        try:
            return requests.get(f"http://{self.address}:8080/v2/health/ready", timeout=5).ok
        except requests.RequestException:
            return False

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)


@pytest.fixture
def registry(models: Models, tmp_path: Path) -> str:
    """A registry with two versions of churn."""
    uri = f"sqlite:///{tmp_path / 'registry.db'}"
    client = MlflowClient(uri, uri)
    client.create_registered_model("churn")
    for _ in range(2):
        client.create_model_version("churn", str(models.binary))
    return uri


@pytest.fixture
def kserve(request: pytest.FixtureRequest, registry: str, tmp_path: Path) -> Iterator[KServe]:
    def start(address: str, args: dict[str, str], env: dict[str, str], _: str) -> Process:
        words = [f"--{name}={value}" for name, value in args.items()]
        own = ["--host", address, "--port=8080", "--drain-delay-s=1"]
        command = [sys.executable, "-m", "kfp_lifecycle.components.serve", *own, *words]
        told = {**os.environ, **env, "MLFLOW_TRACKING_URI": registry}
        log = (tmp_path / f"{address}.log").open("wb")
        return Process(address, subprocess.Popen(command, stdout=log, stderr=log, env=told))

    with ExitStack() as stack:
        api = stack.enter_context(KubernetesApi(kinds=(ISVC, HTTP_ROUTE, LEASE)))
        monkeypatch = stack.enter_context(pytest.MonkeyPatch.context())
        monkeypatch.setenv("KUBECONFIG", str(api.kube_config(tmp_path)))
        made = KServe(api, request.param, starter=start)
        stack.callback(made.close)
        stack.enter_context(names_of(made, monkeypatch))
        yield made


@pytest.mark.parametrize("kserve", ["Knative", *(["Standard"] if SOAK else [])], indirect=True)
def test_a_new_version_takes_over_and_no_request_fails(kserve: KServe, models: Models) -> None:
    example = read_example(models.binary)
    assert example is not None
    _roll_out(kserve, "1", models, example)
    failed: list[str] = []
    met: list[str] = []
    done = threading.Event()
    url = "http://churn-predictor.team.svc.cluster.local" if kserve.knative else f"http://{HOST}"

    def client() -> None:
        body = {"instances": models.rows[:1]}
        while not done.wait(0.05):
            answer = requests.post(f"{url}/v1/models/churn:predict", json=body, timeout=30)
            (met if answer.ok else failed).append(answer.headers.get("x-model-version", answer.text))

    thread = threading.Thread(target=client)
    thread.start()
    try:
        outcome = _roll_out(kserve, "2", models, example)
    finally:
        done.set()
        thread.join()
    assert failed == []
    assert len(met) > 10
    # Its metrics, read from its pods, are what the steps were judged by.
    assert [step.percent for step in outcome.steps] == [50, 100]
    assert all(step.candidate.requests >= 10 for step in outcome.steps)
    assert all(step.candidate.p99 is not None for step in outcome.steps)
    assert (outcome.version, outcome.previous) == ("2", "1")


def _roll_out(kserve: KServe, version: str, models: Models, example: Example) -> Outcome:
    gateway = {} if kserve.knative else {"gateway": "kserve/gate", "host": HOST}
    target = Target(connect(), "churn", Predictor(settings={}), patience=PATIENCE, **gateway)
    release = Release("churn", version, f"models:/churn/{version}", models.binary)
    return roll_out(target, release, example, COURSE, Alias(), f"rollout of version {version}")
