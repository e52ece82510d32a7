"""MLflow as the Deployment starts it: its own command and environment, on a real PostgreSQL and a real S3."""

import http.client
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from kfp_lifecycle.components.shared.tracking import connect
from tests.manifests.built import OVERLAYS, the
from tests.servers import free_port, postgres_server, running, s3_server

pytestmark = pytest.mark.server
FOLDER = "overlays/local-kind"
PASSWORD = "p-4f9d"


def container(overlay: str = "local-kind") -> dict[str, Any]:
    spec = the(f"overlays/{overlay}", "Deployment", "mlflow")["spec"]["template"]["spec"]
    return dict(spec["containers"][0])


def environment(secrets: dict[str, str], config: dict[str, str]) -> dict[str, str]:
    """The container's environment, its references filled in as Kubernetes would."""
    found = {}
    for entry in container()["env"]:
        source = entry.get("valueFrom", {})
        if "value" in entry:
            found[entry["name"]] = entry["value"]
        elif "secretKeyRef" in source:
            found[entry["name"]] = secrets["{name}/{key}".format(**source["secretKeyRef"])]
        else:
            found[entry["name"]] = config[source["configMapKeyRef"]["key"]]
    return found


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, dict[str, str]]]:
    """The server's port, and the environment that leads to the bucket."""
    folder = tmp_path_factory.mktemp("mlflow")
    with postgres_server(PASSWORD) as database, s3_server(folder) as s3:
        at_s3 = boto3.client(
            "s3",
            endpoint_url=s3["AWS_ENDPOINT_URL"],
            aws_access_key_id=s3["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=s3["AWS_SECRET_ACCESS_KEY"],
            region_name="us-east-1",
        )
        at_s3.create_bucket(Bucket="mlpipeline")
        config = the(FOLDER, "ConfigMap", "mlflow")["data"] | {"endpoint": s3["AWS_ENDPOINT_URL"]}
        told = environment(
            {
                "mlflow-database/uri": f"postgresql+pg8000://owner:{PASSWORD}@127.0.0.1:{database}/postgres",
                "mlflow-artifacts/accesskey": s3["AWS_ACCESS_KEY_ID"],
                "mlflow-artifacts/secretkey": s3["AWS_SECRET_ACCESS_KEY"],
            },
            config,
        )
        port, command = free_port(), container()["args"]
        assert command[0] == "python3"
        command = [sys.executable, *("127.0.0.1" if w == "0.0.0.0" else w for w in command[1:])]
        command[command.index("5000")] = str(port)
        # Nothing but what the container has; all that is written goes below one folder, as to /tmp there.
        env = told | {"PATH": os.environ["PATH"], "HOME": str(folder), "TMPDIR": str(folder)}
        probe = container()["startupProbe"]["httpGet"]["path"]
        ready = f"http://127.0.0.1:{port}{probe}"
        with running(command, ready, folder / "mlflow.log", env=env, timeout_s=120):
            yield port, s3


def answer(port: int, host: str, path: str = "/api/2.0/mlflow/experiments/get?experiment_id=0") -> int:
    """The status of a request that says it is for ``host``."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path, headers={"Host": host})
        return connection.getresponse().status
    finally:
        connection.close()


def test_a_model_is_logged_registered_and_kept_in_the_bucket(
    mlflow: tuple[int, dict[str, str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    port, s3 = mlflow
    # The client, a step, has no credentials of the bucket: artifacts go through the server.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://localhost:{port}")
    client = connect()
    run = client.create_run(client.create_experiment("churn"))
    (tmp_path / "MLmodel").write_text("flavors: {}")
    client.log_metric(run.info.run_id, "roc_auc", 0.84)
    client.log_artifact(run.info.run_id, str(tmp_path / "MLmodel"), "model")
    client.create_registered_model("churn")
    version = client.create_model_version("churn", f"runs:/{run.info.run_id}/model", run.info.run_id)
    client.set_registered_model_alias("churn", "champion", version.version)
    assert client.get_model_version_by_alias("churn", "champion").run_id == run.info.run_id
    at_s3 = boto3.client(
        "s3",
        endpoint_url=s3["AWS_ENDPOINT_URL"],
        aws_access_key_id=s3["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=s3["AWS_SECRET_ACCESS_KEY"],
        region_name="us-east-1",
    )
    keys = [found["Key"] for found in at_s3.list_objects_v2(Bucket="mlpipeline")["Contents"]]
    assert [key for key in keys if key.startswith("mlflow/") and key.endswith("/model/MLmodel")]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("mlflow:5000", 200),
        ("mlflow.ml-platform:5000", 200),
        ("mlflow.ml-platform.svc.cluster.local:5000", 200),
        ("localhost:5000", 200),
        # A page in somebody's browser that has its own name lead to the Service.
        ("evil.example:5000", 403),
    ],
)
def test_it_answers_to_its_own_names(mlflow: tuple[int, dict[str, str]], host: str, status: int) -> None:
    assert answer(mlflow[0], host) == status


def test_the_kubelet_may_ask_by_the_pods_address(mlflow: tuple[int, dict[str, str]]) -> None:
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert answer(mlflow[0], "100.64.3.7:5000", container()[probe]["httpGet"]["path"]) == 200


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_credentials_are_references(overlay: str) -> None:
    for entry in container(overlay)["env"]:
        if any(word in entry["name"] for word in ("KEY", "PASSWORD", "STORE_URI")):
            assert "secretKeyRef" in entry["valueFrom"], entry
