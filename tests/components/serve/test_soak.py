"""A server under load while new versions are rolled out: no request fails, and each is logged."""

import time
from collections import Counter
from datetime import UTC, datetime, timedelta

import mlflow.pyfunc
import pandas as pd
import pytest
from prometheus_client.parser import text_string_to_metric_families

from kfp_lifecycle.components.shared.prediction_log import read_log
from tests.components.serve.load import Load
from tests.components.serve.serving import serving
from tests.components.trained import churn, prepare, train
from tests.conftest import SOAK
from tests.servers import free_port

TOKEN = "only-for-this-test"
#: How long requests come, with rollouts all the time, and the server's flags. `make soak` runs five minutes.
RUNS = [(300, ()), (60, ("--batch-rows", "32"))] if SOAK else [(0, ())]
#: Answers that are waited for between two commands.
ANSWERS = 500 if SOAK else 30

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def versions(models, table, tmp_path_factory):
    """Two models of one name, and what each says of the rows."""
    folder = tmp_path_factory.mktemp("second")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
        prepared = prepare(folder / "prepared", churn(table, 300), "churn", "binary")
        train(prepared, folder / "churn", exclude=["contract"])
    return [models.binary, folder / "churn"]


class Rollouts:
    """Rolls versions out through the server's control endpoints."""

    def __init__(self, server, load):
        self.server, self.load, self.count = server, load, 0

    def command(self, verb, **body):
        path = f"/v2/repository/models/churn/{verb}"
        answer = self.server.post(path, body, Authorization=f"Bearer {TOKEN}")
        assert answer.status_code == 200, answer.text
        return {model["role"]: model for model in answer.json()["models"]}

    def roll_out(self, uri):
        loaded = self.command("load", parameters={"uri": str(uri)})
        for share in (10, 50, 100):
            self.command("traffic", share=share)
            self.load.wait(ANSWERS)
        assert self.command("promote")["stable"]["version"] == loaded["candidate"]["version"]
        self.load.wait(ANSWERS)
        self.count += 1

    def take_back(self, uri):
        """A rollout that is broken off."""
        before = self.command("load", parameters={"uri": str(uri)})["stable"]["version"]
        self.command("traffic", share=50)
        self.load.wait(ANSWERS)
        after = self.command("unload")
        assert (after["stable"]["version"], after.get("candidate")) == (before, None)
        self.load.wait(ANSWERS)


def labels(folder, rows):
    """What a model says of the rows by itself, without this server."""
    model = mlflow.pyfunc.load_model(str(folder))
    return model.predict(pd.DataFrame(rows))["prediction"].tolist()


def counted(server, name):
    """A counter by version."""
    found: Counter[str] = Counter()
    for family in text_string_to_metric_families(server.get("/metrics").text):
        for sample in family.samples:
            if sample.name == name:
                found[sample.labels["version"]] += int(sample.value)
    return found


@pytest.mark.parametrize(("seconds", "flags"), RUNS)
def test_no_request_fails_while_versions_are_rolled_out(models, versions, tmp_path, seconds, flags):
    rows = [row for row in models.rows if None not in row.values()]
    said = {folder: labels(folder, rows) for folder in versions}
    port, log = free_port(), tmp_path / "log"
    on = ["--control", "--name", "churn", "--grpc-port", str(port), "--log", str(log), *flags]
    with serving(versions[0], tmp_path, *on, env={"KFP_LIFECYCLE_SERVE_TOKEN": TOKEN}) as server:
        first = server.get("/v2/models/churn").json()["versions"][0]
        by_version = {first: said[versions[0]]}
        second = second_version(server, versions[1])
        by_version[second] = said[versions[1]]
        load = Load(server.url, "churn", rows, by_version, grpc=f"127.0.0.1:{port}", pause_s=0.005)
        with load:
            rollouts, deadline = Rollouts(server, load), time.monotonic() + seconds
            while rollouts.count < 2 or time.monotonic() < deadline:
                rollouts.take_back(versions[(rollouts.count + 1) % 2])
                rollouts.roll_out(versions[(rollouts.count + 1) % 2])
        assert load.seen.faults == []
        assert set(load.seen.protocols) == {"V1", "V2", "gRPC"}
        assert load.seen.answers[first] > 0
        assert load.seen.answers[second] > 0
        assert counted(server, "model_request_errors_total").total() == 0
        assert counted(server, "model_requests_total").total() == load.seen.requests
        assert counted(server, "model_predictions_total").total() == load.seen.rows.total()
        assert counted(server, "model_requests_in_flight").total() == 0
        assert counted(server, "prediction_log_dropped_rows_total").total() == 0
        predicted = counted(server, "model_predictions_total")
        assert server.stop() == 0
    print(f"{load.seen.requests} requests ({dict(load.seen.protocols)}), {rollouts.count} rollouts")
    now = datetime.now(UTC)
    logged, problems = read_log(str(log), now - timedelta(days=1), now + timedelta(days=1))
    assert problems == []
    found = logged.collect()
    assert dict(found["_version"].value_counts().rows()) == dict(predicted)
    keys = found.select("_request_id", "_row", "_time")
    assert keys.n_unique() == found.height


def second_version(server, folder):
    """The version that a folder has once loaded."""
    body = {"parameters": {"uri": str(folder)}}
    token = {"Authorization": f"Bearer {TOKEN}"}
    loaded = server.post("/v2/repository/models/churn/load", body, **token).json()["models"]
    server.post("/v2/repository/models/churn/unload", {}, **token)
    return next(model["version"] for model in loaded if model["role"] == "candidate")
