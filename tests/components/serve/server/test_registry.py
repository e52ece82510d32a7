"""Models from a real registry: an alias is followed, and the registry may be away."""

import os
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import pytest
from mlflow.tracking import MlflowClient

from kfp_lifecycle.components.serve.server.loading import load
from kfp_lifecycle.components.serve.server.sources import Source, resolve
from kfp_lifecycle.components.shared.errors import RegistryError
from tests.components.serve.server.clients import Load
from tests.components.serve.serving import Start, plain_model
from tests.servers import free_port

INFER = "/v2/models/scores/infer"
BODY = {"inputs": [{"name": "x", "datatype": "FP64", "shape": [1, 4], "data": [1, 2, 3, 4]}]}
#: A registry that is away is told of at once.
IMPATIENT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "2"}

pytestmark = pytest.mark.server


@pytest.fixture
def registry(here: Path, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    """Three versions of ``scores`` in a SQLite registry; version 1 is the champion."""
    uri = f"sqlite:///{here / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    mlflow.set_tracking_uri(uri)
    client = MlflowClient(uri)
    client.create_registered_model("scores")
    for seed in (1, 2, 3):
        plain_model(here / f"m{seed}", seed)
        client.create_model_version("scores", str(here / f"m{seed}"))
    client.set_registered_model_alias("scores", "champion", "1")
    return client


def test_a_reference_is_resolved_to_a_fixed_version(registry: MlflowClient) -> None:
    assert resolve("models:/scores@champion") == Source("models:/scores/1", "scores", "1")
    assert resolve("models:/scores/2") == Source("models:/scores/2", "scores", "2")
    served = load("models:/scores@champion")
    assert (served.name, served.version, served.uri) == ("scores", "1", "models:/scores/1")
    for wrong in ("models:/scores@chmpion", "models:/scores/99", "models:/other@champion", "models:/other/1"):
        with pytest.raises(RegistryError, match="The registry has no"):
            resolve(wrong)


def test_a_new_champion_is_served_without_a_request_lost(
    server: Start, registry: MlflowClient, here: Path
) -> None:
    running = server("models:/scores@champion", "--watch", "0.2")
    load_ = Load(running.url, INFER, BODY, until_refused=False)
    with load_.clients(4):
        assert running.post(INFER, BODY).json()["model_version"] == "1"
        registry.set_registered_model_alias("scores", "champion", "2")
        _until(running, lambda: running.post(INFER, BODY).json()["model_version"] == "2")
        # The next champion is not whole: the one before goes on.
        (here / "m3" / "model.pkl").unlink()
        registry.set_registered_model_alias("scores", "champion", "3")
        _until(running, lambda: "version 2 is still served" in running.log.read_text())
        # Nor is the registry there: it goes on all the same, and says so once.
        (here / "mlflow.db").rename(here / "away.db")
        (here / "mlflow.db").mkdir()
        _until(running, lambda: running.log.read_text().count("is still served") == 2)
        time.sleep(1)
        assert running.post(INFER, BODY).json()["model_version"] == "2"
        assert running.log.read_text().count("is still served") == 2
        (here / "mlflow.db").rmdir()
        (here / "away.db").rename(here / "mlflow.db")
        registry.set_registered_model_alias("scores", "champion", "1")
        _until(running, lambda: running.post(INFER, BODY).json()["model_version"] == "1")
    assert set(load_.seen) == {"200"}, load_.seen
    assert {answer["model_version"] for answer in load_.answers} == {"1", "2"}


@pytest.mark.parametrize("kind", ["registry", "bucket"])
def test_what_cannot_be_reached_at_start_is_tried_again_and_then_named(tmp_path: Path, kind: str) -> None:
    port = free_port()
    away = f"http://127.0.0.1:{port}"
    env = {**os.environ, **IMPATIENT, "MLFLOW_TRACKING_URI": away, "AWS_ENDPOINT_URL": away}
    env |= {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "hush", "AWS_DEFAULT_REGION": "x"}
    model = "models:/scores@champion" if kind == "registry" else "s3://bucket/model"
    command = [sys.executable, "-m", "kfp_lifecycle.components.serve", "--model", model]
    command += ["--start-timeout-s", "2"]
    ended = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 1
    assert "Next attempt in" in ended.stderr
    last = ended.stderr.strip().splitlines()[-1]
    name = "TrackingError: MLflow at" if kind == "registry" else "StorageError: s3://bucket/model"
    assert last.startswith(f"ERROR {name}")
    assert "Traceback" not in ended.stderr
    assert "hush" not in ended.stderr


def _until(running, true) -> None:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if true():
            return
        time.sleep(0.05)
    raise AssertionError(running.log.read_text()[-3000:])
