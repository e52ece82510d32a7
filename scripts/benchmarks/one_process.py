"""The training pipeline's five steps called one after the other in this process, with no KFP.

Usage: one_process.py PARAMETERS.yaml OUTPUT_FOLDER
"""

import inspect
import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from kfp_lifecycle.components.evaluate.step import evaluate_step
from kfp_lifecycle.components.featurize.step import featurize_step
from kfp_lifecycle.components.prepare.step import prepare_step
from kfp_lifecycle.components.register.step import register_step
from kfp_lifecycle.components.train.step import train_step


@dataclass
class Artifact:
    """What a step needs of a KFP artifact; curves for the Kubeflow UI are left out."""

    path: str
    uri: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)

    def log_roc_curve(self, *_: object) -> None: ...

    def log_confusion_matrix(self, *_: object) -> None: ...


def main(parameters: str, output: str) -> None:
    folder = Path(output).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
    given = {
        name: json.dumps(value) if name in ("rules", "estimator_parameters", "overrides") else value
        for name, value in yaml.safe_load(Path(parameters).read_text()).items()
    }
    artifacts: dict[str, Artifact] = {}
    values: dict[str, Any] = dict(given)

    def call(step: Any, defaults: dict[str, Any]) -> Any:
        arguments = {}
        for name in inspect.signature(step).parameters:
            if name in values:
                arguments[name] = values[name]
            elif name in defaults:
                arguments[name] = defaults[name]
            else:
                arguments[name] = artifacts.setdefault(name, Artifact(str(folder / name)))
        return step(**arguments)

    for step, name in (
        (prepare_step, "prepare"),
        (featurize_step, "featurize"),
        (train_step, "train"),
        (evaluate_step, "evaluate"),
        (register_step, "register"),
    ):
        result = call(step, _defaults(name))
        if result is not None:
            values.update(result._asdict() if hasattr(result, "_asdict") else dict(result))
    print(values["model_uri"])


def _defaults(component: str) -> dict[str, Any]:
    """The component's own defaults, from its compiled file."""
    newest = sorted(Path("compiled/components", component).glob("*.yaml"))[-1]
    inputs = yaml.load(newest.read_text(), yaml.CSafeLoader)["root"]["inputDefinitions"]["parameters"]
    return {
        name: int(value["defaultValue"])
        if value["parameterType"] == "NUMBER_INTEGER"
        else value["defaultValue"]
        for name, value in inputs.items()
        if "defaultValue" in value
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
