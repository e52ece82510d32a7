"""The step, on a store and on a server, and the two verbs of the command line."""

import re
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest
from mlflow.tracking import MlflowClient
from typer.testing import CliRunner

from kfp_lifecycle.components.register.step import Outputs, register_step
from kfp_lifecycle.components.shared.tracking import connect
from kfp_lifecycle.scripts.app import app
from tests.components.conftest import Telco
from tests.components.trained import Artifact, evaluation_file, train
from tests.servers import mlflow_server


def step(model: Path, evaluation: Path, *, approved: bool, run_id: str) -> Outputs:
    return register_step(
        model=Artifact(str(model)),
        evaluation=Artifact(str(evaluation)),
        model_name="churn",
        approved=approved,
        reasons="because",
        description="",
        mlflow_run_id=run_id,
        pipeline_name="training",
        pipeline_version="1.0.0",
        pipeline_digest="sha256:feed",
        pipeline_run_id="run-17",
        image="core",
    )


def command(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(words))
    return result.exit_code, re.sub(r"\x1b\[[0-9;]*m", "", result.output)


def test_the_step_says_version_uri_and_aliases(store: MlflowClient, telco: Telco, tmp_path: Path) -> None:
    evaluation = evaluation_file(tmp_path / "evaluation.json", roc_auc=0.85)
    assert step(telco.good_model, evaluation, approved=True, run_id=telco.good.run_id) == (
        "1",
        "models:/churn/1",
        "challenger,champion",
    )
    assert step(telco.weak_model, evaluation, approved=False, run_id=telco.weak.run_id) == (
        "2",
        "models:/churn/2",
        "challenger",
    )


def test_promote_and_rollback_say_what_changed(store: MlflowClient, telco: Telco, tmp_path: Path) -> None:
    evaluation = evaluation_file(tmp_path / "evaluation.json", roc_auc=0.85)
    step(telco.good_model, evaluation, approved=True, run_id=telco.good.run_id)
    step(telco.weak_model, evaluation, approved=False, run_id=telco.weak.run_id)
    code, said = command("promote", "churn")
    assert code == 1
    assert "RegistryError: Version 2 of 'churn' was not approved by evaluate: because" in said
    code, said = command("promote", "churn", "--force")
    assert (code, said.splitlines()[0]) == (0, "churn: champion version 1 → version 2")
    assert store.get_model_version_by_alias("churn", "champion").version == 2
    assert command("promote", "churn", "--version", "2", "--force") == (
        0,
        "churn: version 2 is the champion already.\n",
    )
    code, said = command("rollback", "churn")
    assert (code, said.splitlines()[0]) == (0, "churn: champion version 2 → version 1")
    code, said = command("rollback", "churn")
    assert code == 1
    assert "none was before it" in said
    code, said = command("rollback", "chrun")
    assert code == 1
    assert "Did you mean 'churn'?" in said


def test_the_verbs_without_a_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://someone:hunter2@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    code, said = command("promote", "churn")
    assert code == 1
    assert said.startswith("TrackingError: MLflow at http://***@127.0.0.1:9")
    assert "hunter2" not in said


@pytest.mark.server
def test_all_of_it_on_a_real_mlflow_server(
    telco: Telco, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluation = evaluation_file(tmp_path / "evaluation.json", roc_auc=0.85)
    with mlflow_server(tmp_path / "server") as uri:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        run_id = train(telco.prepared, tmp_path / "model").run_id
        first = step(tmp_path / "model", evaluation, approved=True, run_id=run_id)
        assert first == step(tmp_path / "model", evaluation, approved=True, run_id=run_id)
        # A model that this server has not seen gets a run of its own.
        second = step(telco.weak_model, evaluation, approved=True, run_id="")
        assert (second.model_version, second.aliases) == ("2", "challenger,champion")
        client = connect()
        assert client.get_model_version("churn", "1").run_id == run_id
        assert client.get_registered_model("churn").tags["champion_history"] == "1,2"
        rows = telco.prepared.test.drop("churn", "_row_hash").head(3).to_pandas()
        assert len(mlflow.pyfunc.load_model("models:/churn@champion").predict(rows)) == 3
        assert command("rollback", "churn")[1].startswith("churn: champion version 2 → version 1")
        assert command("promote", "churn")[1].startswith("churn: champion version 1 → version 2")


@pytest.mark.parametrize(
    ("step", "unused"),
    [
        ("register", {"sklearn", "matplotlib", "skops"}),
        ("evaluate", {"skops", "sqlalchemy", "matplotlib.pyplot"}),
    ],
)
def test_a_step_imports_only_what_it_uses(step: str, unused: set[str]) -> None:
    code = f"import sys, kfp_lifecycle.components.{step}.step; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not unused & set(done.stdout.split())
