"""What a profile says of pods that a step has Katib or KServe make: the step is told of it."""

import json
from pathlib import Path
from typing import Any

import yaml

from kfp_lifecycle.compiler.compile import compile_repository
from kfp_lifecycle.compiler.profiles.find import read_profile
from kfp_lifecycle.components.katib_tune.trial_job import PODS_VARIABLE
from kfp_lifecycle.components.shared.pod_settings import PREDICTOR_PODS
from tests.repositories import GOOD, OTHER, PIPELINE, tiny

PROFILE = """
images: {pull_policy: Always, pull_secrets: [login]}
defaults:
  secrets: [{name: mlflow, env: {uri: MLFLOW_TRACKING_URI}, optional: true}]
  retry: {count: 3}
  cache: false
components:
  train:
    resources: {limits: {memory: 8Gi}}
    tolerations: [{key: gpu, operator: Exists}]
  train-gpu:
    accelerator: {type: nvidia.com/gpu}
    shared_memory: 8Gi
"""


def env_of(
    folder: Path, component: str, profile: str, compiled: str = "flow", maker: str = "katib_tune"
) -> dict[str, Any]:
    flow = PIPELINE.replace("good.component import good", f"{maker}.component import {maker}")
    flow = flow.replace("last = good(", f"last = {maker}(")
    named = {maker: GOOD.replace("def good", f"def {maker}"), "other": OTHER}
    repository = tiny(folder / f"{component}-{compiled}", named, {"flow": flow})
    file = repository.root / "profile.yaml"
    file.write_text(profile)
    (one,) = compile_repository(repository, [compiled], read_profile(file))
    spec = next(yaml.safe_load_all(one.text))
    executor = spec["deploymentSpec"]["executors"][f"exec-{component}"]
    return {item["name"]: item["value"] for item in executor["container"].get("env", [])}


def test_a_component_alone_is_told_nothing_so_that_a_pipeline_can_load_its_file(tmp_path: Path) -> None:
    # KFP 2.17 cannot compile a pipeline with a component from a file that has environment variables.
    assert PODS_VARIABLE in env_of(tmp_path, "katib-tune", PROFILE)
    assert env_of(tmp_path, "katib-tune", PROFILE, "katib-tune") == {}


def test_the_step_is_told_of_its_trials_pods(tmp_path: Path) -> None:
    alike = {
        "secrets": [{"name": "mlflow", "env": {"uri": "MLFLOW_TRACKING_URI"}, "optional": True}],
        "pull_policy": "Always",
        "pull_secrets": ["login"],
    }
    assert json.loads(env_of(tmp_path, "katib-tune", PROFILE)[PODS_VARIABLE]) == {
        "train": {
            **alike,
            "resources": {"limits": {"memory": "8Gi"}},
            "tolerations": [{"key": "gpu", "operator": "Exists"}],
        },
        "train-gpu": {
            **alike,
            "accelerator": {"type": "nvidia.com/gpu", "count": 1},
            "shared_memory": "8Gi",
        },
    }


SERVE = """
images: {pull_policy: Always}
defaults:
  retry: {count: 3}
  timeout_seconds: 600
components:
  serve:
    resources: {limits: {memory: 8Gi}}
    node_selector: {pool: serving}
    tolerations: [{key: gpu, operator: Exists}]
    volumes: [{claim: datasets, path: /data}]
"""


def test_the_step_is_told_of_the_model_servers_pods(tmp_path: Path) -> None:
    assert json.loads(env_of(tmp_path, "serve", SERVE, maker="serve")[PREDICTOR_PODS]) == {
        "pull_policy": "Always",
        "resources": {"limits": {"memory": "8Gi"}},
        "node_selector": {"pool": "serving"},
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
    }
    assert env_of(tmp_path, "serve", SERVE, "serve", "serve") == {}
    assert env_of(tmp_path / "none", "serve", "defaults: {timeout_seconds: 600}", maker="serve") == {}


def test_no_other_step_is_told_and_none_where_nothing_is_said(tmp_path: Path) -> None:
    assert PODS_VARIABLE not in env_of(tmp_path, "other", PROFILE)
    assert env_of(tmp_path, "katib-tune", "defaults: {retry: {count: 3}, cache: false}") == {}
