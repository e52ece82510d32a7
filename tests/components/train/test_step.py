"""The step as the component calls it: artifacts in, artifacts out, errors as one line."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest
from mlflow.tracking import MlflowClient

from kfp_lifecycle.components.shared.errors import ParameterError
from kfp_lifecycle.components.train.step import train_step
from tests.components.train.tables import prepared


@dataclass
class Artifact:
    """A test double of a KFP artifact."""

    path: str
    uri: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)


@pytest.fixture
def arguments(table: Callable[[str], pd.DataFrame], here: Path) -> dict[str, Any]:
    churn = prepared(pl.from_pandas(table("churn").head(500)), "churn", "binary")
    inputs = churn.write(here / "inputs")
    return {
        "train": Artifact(str(inputs.rows)),
        "train_features": Artifact(str(inputs.features)),
        "schema": Artifact(str(inputs.schema)),
        "plan": Artifact(str(inputs.plan)),
        "transform": Artifact(str(inputs.transform)),
        "model": Artifact(str(here / "out" / "model")),
        "metrics": Artifact(str(here / "out" / "metrics")),
        "estimator": "auto",
        "estimator_parameters": '{"max_iter": 10}',
        "class_weight": "none",
        "folds": 2,
        "experiment": "step",
        "run_name": "",
        "reference_rows": 20,
        "seed": 1,
    }


def test_what_the_step_leaves(arguments: dict[str, Any]) -> None:
    (run_id,) = train_step(**arguments)
    assert MlflowClient().get_run(run_id).data.params["estimator.max_iter"] == "10"
    metrics = arguments["metrics"].metadata
    assert 0.7 < metrics["cv_roc_auc_mean"] < 0.95
    assert all(isinstance(value, float) for value in metrics.values())
    about = arguments["model"].metadata
    assert about["mlflow_run_id"] == run_id
    assert about["estimator"] == "sklearn.ensemble.HistGradientBoostingClassifier"
    assert (Path(arguments["model"].path) / "MLmodel").exists()


def test_parameters_that_are_no_json_are_refused(arguments: dict[str, Any]) -> None:
    arguments["estimator_parameters"] = "max_iter: 10"
    with pytest.raises(ParameterError, match="'estimator_parameters' is not JSON"):
        train_step(**arguments)


def test_in_a_pipeline_an_error_is_the_last_line_and_leaves_nothing(
    arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_KFP_RUNTIME", "true")
    arguments["estimator_parameters"] = '{"max_itr": 10}'
    with pytest.raises(SystemExit) as stopped:
        train_step(**arguments)
    assert stopped.value.code == 1
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("ERROR EstimatorError: sklearn.ensemble.HistGradientBoostingClassifier takes no")
    assert last.endswith("Did you mean 'max_iter'?")
    assert not Path(arguments["model"].path).exists()


def test_training_imports_neither_plots_nor_kfp() -> None:
    code = (
        "import sys; import kfp_lifecycle.components.train.training; "
        "print({'matplotlib', 'kfp', 'skops', 'mlflow.sklearn', 'pyarrow.parquet'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
