"""A user's laptop: a folder with tables, where compiled pipelines are run through the command line."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow

from tests.conftest import ROOT


def compiled(pipeline: str) -> Path:
    """The compiled file of a pipeline."""
    return ROOT / "compiled" / "pipelines" / pipeline / "1.0.0.yaml"


@dataclass(frozen=True)
class Run:
    """What a `kfp-lifecycle run` left behind."""

    code: int
    terminal: str
    record: dict[str, Any]
    store: str

    def step(self, name: str) -> dict[str, Any]:
        return next(step for step in self.record["steps"] if step["name"] == name)

    def artifact(self, step: str, name: str) -> Path:
        return Path(next(a["uri"] for a in self.step(step)["artifacts"] if a["name"] == name))

    def metrics(self, step: str = "evaluate") -> dict[str, float]:
        return next(a["metadata"] for a in self.step(step)["artifacts"] if a["name"] == "metrics")

    def registry(self) -> mlflow.MlflowClient:
        return mlflow.MlflowClient(self.store)


class Laptop:
    """A folder with the demo tables in ``data/`` and a tracking store, where runs are started."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.store = f"sqlite:///{home}/mlflow.db"
        self.runs = 0

    def cli(self, *arguments: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        command = Path(sys.executable).with_name("kfp-lifecycle")
        return subprocess.run(
            [command, *arguments],
            cwd=self.home,
            env={**_plain_environment(), **(env or {})},
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )

    def demo(self, table: str) -> None:
        if not (self.home / "data" / f"{table}.csv").exists():
            done = self.cli("demo-data", table, "--out", "data")
            assert done.returncode == 0, done.stderr

    def train(self, parameters: str, *extra: str, env: Mapping[str, str] | None = None) -> Run:
        """A run of ``training`` with one of the files in ``pipelines/params``."""
        file = ROOT / "pipelines" / "params" / f"{parameters}.yaml"
        return self.run("training", "--params", str(file), *extra, env=env)

    def run(self, pipeline: str, *extra: str, env: Mapping[str, str] | None = None) -> Run:
        """A run of a pipeline's compiled file."""
        self.runs += 1
        output = self.home / f"run{self.runs}"
        done = self.cli("run", str(compiled(pipeline)), "--output-dir", str(output), *extra, env=env)
        record = output / "run.json"
        return Run(
            done.returncode,
            done.stdout + done.stderr,
            json.loads(record.read_text()) if record.exists() else {},
            self.store,
        )


def _plain_environment() -> dict[str, str]:
    """The environment without MLflow's settings: session fixtures come before those that clear them."""
    return {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
