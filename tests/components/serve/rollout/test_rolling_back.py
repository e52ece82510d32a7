"""The component's whole way on a cluster, and rolling back from elsewhere what it has served there."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from kfp_lifecycle.components.serve.rolling_back import roll_back
from kfp_lifecycle.components.serve.rollout import kserve_watch
from kfp_lifecycle.components.serve.rollout.guard import Limits
from kfp_lifecycle.components.serve.rollout.kserve_objects import HTTP_ROUTE, ISVC, VERSION
from kfp_lifecycle.components.serve.rollout.lease import LEASE
from kfp_lifecycle.components.serve.rollout.run import Course
from kfp_lifecycle.components.serve.rollout.targets import Place, remembered
from kfp_lifecycle.components.serve.serving import Request, serve_model
from kfp_lifecycle.components.shared.errors import RegistryError
from kfp_lifecycle.components.shared.tracking import connect
from tests.components.serve.kserve_double import KServe, names_of
from tests.kubernetes_api import KubernetesApi

NAME = "leaving"
#: What the double's servers make of a row, as a model would have recorded it.
EXAMPLE = {"inputs": [{"x": 1.0}, {"x": 2.5}], "outputs": [{"prediction": 2.0}, {"prediction": 5.0}]}
COURSE = Course((50, 100), step_s=0.05, limits=Limits(min_requests=10), ready_timeout_s=10)


@dataclass(frozen=True)
class _Quick(kserve_watch.Patience):
    poll: float = 0.03
    lease: float = 1.0
    drain: float = 0.05


@pytest.fixture
def client(tmp_path: Path, mlflow_uri: str, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    """A real server's registry with two versions of the model."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_uri)
    monkeypatch.setenv("KFP_LIFECYCLE_STATE", str(tmp_path / "state"))
    made = connect()
    made.create_registered_model(NAME)
    folder = tmp_path / "model"
    (folder / "data" / "lifecycle").mkdir(parents=True)
    (folder / "MLmodel").write_text("flavors: {}\n")
    (folder / "data" / "lifecycle" / "example.json").write_text(json.dumps(EXAMPLE))
    for _ in ("1", "2"):
        run = made.create_run("0")
        made.log_artifacts(run.info.run_id, str(folder), "model")
        made.create_model_version(NAME, f"{run.info.artifact_uri}/model", run.info.run_id)
    return made


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KubernetesApi]:
    """A double of a cluster with KServe and the Gateway API, on which nothing takes long."""
    monkeypatch.setattr(kserve_watch, "Patience", _Quick)
    with KubernetesApi(kinds=(ISVC, HTTP_ROUTE, LEASE)) as api:
        monkeypatch.setenv("KUBECONFIG", str(api.kube_config(tmp_path)))
        kserve = KServe(api, "Standard")
        with names_of(kserve, monkeypatch):
            yield api
        kserve.close()


def _alias(client: MlflowClient) -> str:
    return str(client.get_registered_model(NAME).aliases["champion"])


def test_what_serve_has_applied_is_rolled_back_as_it_was_applied(
    client: MlflowClient, api: KubernetesApi
) -> None:
    place = Place("kserve", gateway="kserve/gate", host="churn.example.com", predictor={"max_replicas": 7})
    for version in ("1", "2"):
        served = serve_model(Request(f"models:/{NAME}/{version}", place=place, course=COURSE))
        assert _alias(client) == served.outcome.version == version
    found = remembered(client, NAME)
    assert found is not None
    assert (found.target, found.host, found.predictor["max_replicas"]) == ("kserve", place.host, 7)

    done = roll_back(client, NAME)
    assert (done.change.before, done.change.after, len(done.urls)) == ("2", "1", 1)
    assert _alias(client) == "1"
    (service,) = api.all("inferenceservices")
    assert service["metadata"]["labels"][VERSION] == "1"
    assert service["spec"]["predictor"]["maxReplicas"] == 7, "with the settings that serve had"


def test_a_model_with_no_version_before_is_left_alone(here: Path) -> None:
    client = connect()
    client.create_registered_model(NAME)
    client.create_model_version(NAME, here.as_uri())
    client.set_registered_model_alias(NAME, "champion", "1")
    with pytest.raises(RegistryError, match="none was before it"):
        roll_back(client, NAME)
    assert remembered(client, NAME) is None
