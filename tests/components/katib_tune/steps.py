"""The step as a function of its parameters, on tables that it may tune."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from kfp_lifecycle.components.katib_tune.step import katib_tune_step
from kfp_lifecycle.components.shared.inference.plan import CategoryPlan, NumberPlan, Plan
from kfp_lifecycle.components.shared.inference.transform import FeatureTransform
from tests.components import trained
from tests.components.trained import Artifact

OUTPUTS = ("trials", "metrics", "report", "experiment_yaml")
SPACE = {
    "learning_rate": {"type": "float", "min": 0.02, "max": 0.3, "log": True},
    "max_depth": {"type": "int", "min": 2, "max": 6},
    "max_features": {"values": [0.5, 1.0]},
}
ASKED: dict[str, Any] = {
    "search_space": json.dumps(SPACE),
    "objective": "auto",
    "goal": "",
    "additional_metrics": [],
    "algorithm": "random",
    "algorithm_settings": "{}",
    "early_stopping": "none",
    "max_trials": 10,
    "parallel_trials": 2,
    "max_failed_trials": 0,
    "time_budget": 0.0,
    "estimator": "auto",
    "estimator_parameters": '{"max_iter": 30}',
    "class_weight": "none",
    "folds": 2,
    "where": "auto",
    "storage": "tuning.db",
    "memory_limit": "",
    "trainer": "train",
    "trial_image": "registry.example/train:1",
    "namespace": "",
    "service_account": "",
    "keep_experiment": False,
    "run_id": "",
    "experiment": "tuning",
    "run_name": "search",
    "confidence": 0.95,
    "bootstrap_samples": 200,
    "seed": 42,
}


def inputs(folder: Path, rows: pl.DataFrame, target: str, task: str, encode: str = "onehot") -> Path:
    """Writes what prepare and featurize would hand over into a folder."""
    made = trained.prepare(folder, rows, target, task)
    columns = [
        CategoryPlan(one.name, encode=encode) if one.type == "string" else NumberPlan(one.name, one.name)
        for one in made.schema.features
    ]
    types = {one.name: one.type for one in made.schema.features}
    plan = Plan(inputs=types, derive={}, columns=columns, target=target, task=task, parameters={})
    FeatureTransform(plan.to_dict()).save(folder / "plan.json")
    return folder


@dataclass(frozen=True)
class Ran:
    """What a step gave."""

    outputs: Any
    artifacts: dict[str, Artifact]
    folder: Path

    def text(self, name: str) -> str:
        return Path(self.artifacts[name].path).read_text(encoding="utf-8")

    @property
    def metrics(self) -> dict[str, float]:
        return self.artifacts["metrics"].metadata

    @property
    def trials(self) -> pl.DataFrame:
        return pl.read_parquet(Path(self.artifacts["trials"].path) / "*.parquet")


def step(data: Path, folder: Path, **asked: Any) -> Ran:
    """Runs it with :data:`ASKED` and what is asked beyond."""
    files = {"train": "train", "test": "test", "schema": "schema.json", "plan": "plan.json"}
    given = {name: Artifact(str(data / file), uri=f"s3://bucket/{file}") for name, file in files.items()}
    made = {name: Artifact(str(folder / "out" / name)) for name in OUTPUTS}
    return Ran(katib_tune_step(**given, **made, **{**ASKED, **asked}), made, folder)
