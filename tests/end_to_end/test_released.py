"""Every released file runs with the library as it is now; so does the current version of each pipeline.

Those of the two newest majors are supported. A component that takes artifacts cannot be run by itself; its
file runs inside the pipelines, and what its body calls is checked by ``compile --check``.
"""

import json
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.components.feature_store.repositories import make_users, some_history
from tests.repositories import ROOT, run

pytestmark = [pytest.mark.e2e]

#: How many majors of each component and pipeline are supported.
MAJORS = 2

COMMON = {"source": "data/churn.csv", "target": "churn"}
QUICK = {"folds": 0, "bootstrap_samples": 20, "estimator_parameters": '{"max_iter": 10}', "model_name": "m"}

#: What each is given.
PARAMETERS: Mapping[str, Mapping[str, Any]] = {
    "training": COMMON | QUICK,
    "training-torch": COMMON
    | {"epochs": 1, "reference_rows": 50, "bootstrap_samples": 20, "model_name": "m", "network": "mlp"},
    "tuning": COMMON | QUICK | {"folds": 2, "max_trials": 2, "search_space": '{"max_depth": [2, 3]}'},
    "tuning-torch": COMMON
    | {"max_trials": 2, "search_space": '{"dropout": [0.1, 0.3]}', "bootstrap_samples": 20}
    | {"estimator_parameters": '{"network": "mlp", "epochs": 1}', "reference_rows": 50, "model_name": "m"},
    "prepare": COMMON,
    "batch-inference": {"source": "data/churn.csv", "model_name": "m", "output": "scored"},
    "monitoring": {"model": "models:/m@champion", "current": "data/churn.csv", "history": "history"}
    | {"training_parameters": "{}", "pictures": False},
    "feature-materialization": {"feature_store": "store"},
}

#: Pipelines whose current version has end-to-end tests of its own; `make soak` runs it here as well.
TESTED_ELSEWHERE = (
    ()
    if os.environ.get("SOAK")
    else (*("training", "training-torch", "tuning", "tuning-torch", "monitoring", "batch-inference"),)
)

#: Of these, one that training has registered.
NEED_A_MODEL = ("batch-inference", "monitoring")


def supported() -> Iterator[str]:
    """The paths of released files, and of the newest version of each pipeline, in ``compiled/``."""
    entries = json.loads((ROOT / "compiled/catalog.json").read_text())["files"]
    versions = defaultdict(list)
    for entry in entries:  # by version, lowest first
        if not any(i["kind"] == "artifact" and i["required"] for i in entry["inputs"]):
            versions[entry["kind"], entry["name"]].append(entry)
    for (kind, name), of_name in versions.items():
        majors = sorted({int(e["version"].partition(".")[0]) for e in of_name})[-MAJORS:]
        for entry in of_name:
            is_supported = entry["released"] and int(entry["version"].partition(".")[0]) in majors
            is_current = kind == "pipeline" and entry is of_name[-1] and name not in TESTED_ELSEWHERE
            if is_supported or is_current:
                yield entry["path"]


@pytest.mark.parametrize("path", supported())
def test_it_runs(path: str, tmp_path: Path) -> None:
    assert run("demo-data", "churn", "--out", "data", cwd=tmp_path).returncode == 0
    name = path.split("/")[1]
    if name == "feature-materialization":
        (tmp_path / "store").mkdir()
        make_users(tmp_path / "store", some_history())
    if name in NEED_A_MODEL:
        start(tmp_path, "training", PARAMETERS["training"])
    start(tmp_path, str(ROOT / "compiled" / path), PARAMETERS[name])


def start(folder: Path, target: str, parameters: Mapping[str, Any]) -> None:
    """A run that succeeds."""
    given = [f"--param={name}={value}" for name, value in parameters.items()]
    done = run("run", target, *given, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
