"""``training`` with ``deploy``: each branch of its conditions runs, and the alias follows the traffic."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.end_to_end.laptop import Laptop, Run

pytestmark = pytest.mark.e2e

_QUICK = {
    "source": "data/small.csv",
    "target": "churn",
    "model_name": "churn",
    "estimator": "sklearn.linear_model.LogisticRegression",
    "folds": "0",
    "bootstrap_samples": "20",
    "reference_rows": "50",
    "deploy": "true",
    "step_seconds": "0.1",
    "min_requests": "10",
    "max_latency_ms": "20000",
    "server_arguments": '["--drain-delay-s=0"]',
}


@dataclass
class Deployed:
    """A laptop, and what its first run with ``deploy`` left behind."""

    laptop: Laptop
    env: dict[str, str]
    first: Run

    def run(self, **changes: str) -> Run:
        found = {**_QUICK, **changes}
        words = [word for name, value in found.items() for word in ("-p", f"{name}={value}")]
        return self.laptop.run("training", *words, env=self.env)

    def state(self) -> dict[str, Any]:
        (file,) = Path(self.env["KFP_LIFECYCLE_STATE"]).glob("*.json")
        return dict(json.loads(file.read_text()))

    def alias(self) -> str:
        return str(self.first.registry().get_registered_model("churn").aliases.get("champion", ""))


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory, table: Callable[[str], Any]) -> Iterator[Deployed]:
    home = tmp_path_factory.mktemp("deploy")
    (home / "data").mkdir()
    table("churn").head(800).to_csv(home / "data" / "small.csv", index=False)
    found = Deployed(Laptop(home), {"KFP_LIFECYCLE_STATE": str(home / "state")}, Run(0, "", {}, ""))
    found.first = found.run()
    yield found
    found.laptop.cli("serve", "churn", "--stop", env=found.env)


def _states(run: Run) -> dict[str, str]:
    return {step["name"]: step["state"] for step in run.record["steps"]}


def test_an_approved_model_is_served_and_is_the_champion_then(deployed: Deployed) -> None:
    run = deployed.first
    assert run.code == 0, run.terminal
    states = _states(run)
    assert states["serve"] == "succeeded"
    assert {state for name, state in states.items() if name.startswith("record-decision")} == {"skipped"}
    assert run.step("register")["outputs"]["aliases"] == "challenger", "serve makes it the champion"
    assert deployed.alias() == "1"
    url = run.step("serve")["outputs"]["url"]
    assert f"version 1 at {url}" in run.terminal
    assert requests.get(f"{url}/v2/models/churn/versions/1/ready", timeout=10).status_code == 200
    assert "| 100% |" in run.artifact("serve", "rollout").read_text()


def test_a_model_that_is_not_approved_is_not_served_and_the_run_says_why(deployed: Deployed) -> None:
    run = deployed.run(thresholds='["roc_auc >= 0.999"]', seed="7")
    assert run.code == 0, run.terminal
    states = _states(run)
    assert states["serve"] == "skipped"
    ran = [
        name for name, state in states.items() if name.startswith("record-decision") and state == "succeeded"
    ]
    assert len(ran) == 1
    record = run.artifact(ran[0], "record").read_text()
    assert record.startswith("# churn: not deployed\n")
    assert "0.999" in record
    assert deployed.alias() == "1"
    assert deployed.state()["version"] == "1"


def test_a_rollout_that_fails_ends_the_run_and_leaves_alias_and_traffic(deployed: Deployed) -> None:
    words = ["-p", "model=models:/churn@challenger", "-p", "max_latency_ms=0.000001", "-p", "min_requests=10"]
    done = deployed.laptop.cli("run", "serve", *words, "-p", "step_seconds=0.1", env=deployed.env)
    assert done.returncode == 1
    said = " ".join(done.stdout.split())
    assert "Version 2 of churn was not rolled out: At 10% of the traffic" in said, said
    assert "Version 1 has all traffic again." in said
    assert deployed.alias() == "1"
    url = deployed.first.step("serve")["outputs"]["url"]
    assert requests.get(f"{url}/v2/models/churn", timeout=10).json()["versions"] == ["1"]
