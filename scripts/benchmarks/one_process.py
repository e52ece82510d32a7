"""The training pipeline's five steps called one after the other in this process, with no KFP.

Usage: one_process.py PARAMETERS.yaml OUTPUT_FOLDER
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import yaml
from steps import Artifact, component_defaults, component_names

from kfp_lifecycle.components.evaluate.step import evaluate_step
from kfp_lifecycle.components.featurize.step import featurize_step
from kfp_lifecycle.components.prepare.step import prepare_step
from kfp_lifecycle.components.register.step import register_step
from kfp_lifecycle.components.train.step import train_step


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

    def call(step: Any, name: str) -> Any:
        parameters, own = component_names(name)
        given = {**component_defaults(name), **{key: values[key] for key in parameters if key in values}}
        return step(**given, **{key: artifacts.setdefault(key, Artifact(str(folder / key))) for key in own})

    for step, name in (
        (prepare_step, "prepare"),
        (featurize_step, "featurize"),
        (train_step, "train"),
        (evaluate_step, "evaluate"),
        (register_step, "register"),
    ):
        result = call(step, name)
        if isinstance(result, tuple):  # the step's output parameters, a NamedTuple
            values.update(result._asdict())  # type: ignore[attr-defined]
    print(values["model_uri"])


if __name__ == "__main__":
    main(*sys.argv[1:])
