"""The step itself on the doubles of Katib and Kubernetes: a whole search, and one that is cancelled."""

import functools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from kfp_lifecycle.components.katib_tune import katib as module
from kfp_lifecycle.components.katib_tune.katib_course import EXPERIMENT, SUGGESTION, TRIAL, Patience
from kfp_lifecycle.components.katib_tune.step import katib_tune_step
from kfp_lifecycle.components.train.training import TrainingInputs
from tests.components.katib_tune.katib_controller import Katib, Outcome
from tests.components.trained import Artifact
from tests.kubernetes_api import KubernetesApi

ASKED: dict[str, Any] = {
    "search_space": json.dumps({"max_depth": {"type": "int", "min": 2, "max": 4}}),
    "objective": "auto",
    "goal": "",
    "additional_metrics": ["mae"],
    "algorithm": "random",
    "algorithm_settings": "{}",
    "early_stopping": "none",
    "max_trials": 4,
    "parallel_trials": 2,
    "max_failed_trials": 0,
    "time_budget": 0.0,
    "estimator": "auto",
    "estimator_parameters": '{"max_iter": 5}',
    "class_weight": "none",
    "folds": 2,
    "where": "katib",
    "storage": "tuning.db",
    "memory_limit": "",
    "trainer": "train",
    "trial_image": "registry.example.com/python-core:1",
    "namespace": "",
    "service_account": "default-editor",
    "keep_experiment": False,
    "run_id": "run-7",
    "experiment": "tuning",
    "run_name": "search",
    "confidence": 0.95,
    "bootstrap_samples": 50,
    "seed": 42,
}
OUTPUTS = ("trials", "metrics", "report", "experiment_yaml")


@pytest.fixture
def api(here: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KubernetesApi]:
    labels = {"team": {module.INJECTION: "enabled"}}
    with KubernetesApi([EXPERIMENT, TRIAL, SUGGESTION], labels) as api:
        monkeypatch.setenv("KUBECONFIG", str(api.kube_config(here)))
        yield api


def artifacts(inputs: TrainingInputs, folder: Path) -> dict[str, Artifact]:
    """The step's artifacts: inputs in Kubeflow's object store, as local copies."""
    paths = {"train": inputs.rows, "test": inputs.rows, "schema": inputs.schema, "plan": inputs.plan}
    found = {name: Artifact(str(path), f"minio://mlpipeline/{name}") for name, path in paths.items()}
    return found | {name: Artifact(str(folder / name)) for name in OUTPUTS}


def test_the_step_searches_with_katib(
    api: KubernetesApi, small: TrainingInputs, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = functools.partial(module.KatibSearch, patience=Patience(poll=0.02))
    monkeypatch.setattr(module, "KatibSearch", quick)
    Katib(api, lambda given: Outcome({"rmse": 1 / int(given.get("max_depth", 1)), "mae": 0.1}))
    made = artifacts(small, here)
    outputs = katib_tune_step(**made, **ASKED)
    best = json.loads(outputs.best_parameters)
    trials = pl.read_parquet(made["trials"].path)
    assert trials.height == ASKED["max_trials"] == 4
    assert best["max_iter"] == 5
    assert type(best["max_depth"]) is int
    main, first = yaml.safe_load_all(Path(made["experiment_yaml"].path).read_text())
    assert main["metadata"]["labels"]["kfp-lifecycle/run-id"] == "run-7"
    assert first["metadata"]["name"] == main["metadata"]["name"] + "-0"
    pod = main["spec"]["trialTemplate"]["trialSpec"]["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == "default-editor"
    line = pod["containers"][0]["args"][0]
    assert "--train=minio://mlpipeline/train" in line
    assert f"--mlflow_parent_run={outputs.mlflow_run_id}" in line
    assert api.all("experiments") == []


STEP = """
import json, sys
from pathlib import Path
from kfp_lifecycle.components.katib_tune.step import katib_tune_step
from types import SimpleNamespace
made, asked = json.loads(Path(sys.argv[1]).read_text())
katib_tune_step(**{name: SimpleNamespace(**one) for name, one in made.items()}, **asked)
"""


def test_a_cancelled_step_leaves_nothing_on_the_cluster(
    api: KubernetesApi, small: TrainingInputs, here: Path
) -> None:
    Katib(api, lambda _: Outcome({}, "Running"))
    made = {name: vars(one) for name, one in artifacts(small, here).items()}
    told = here / "told.json"
    told.write_text(json.dumps([made, ASKED | {"keep_experiment": True}]))
    process = subprocess.Popen(
        [sys.executable, "-c", STEP, str(told)],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "_KFP_RUNTIME": "true"},
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "running" in line:
            break
    assert len(api.all("experiments")) == 2
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert errors.splitlines()[-1] == "ERROR Cancelled: The step was cancelled (SIGTERM)."
    assert api.all("experiments") == api.all("trials") == []
    assert not any((here / name).exists() for name in OUTPUTS)
