"""Fixtures for components that begin where train ends: real models, logged to a real MLflow store."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient

from kfp_lifecycle.components.shared.tracking import connect
from kfp_lifecycle.components.train.training import TrainingResult
from tests.components.trained import Prepared, churn, prepare, train


@dataclass
class Telco:
    """The Telco table in two splits, and two models of it in one MLflow store."""

    folder: Path
    prepared: Prepared
    good: TrainingResult
    weak: TrainingResult

    @property
    def good_model(self) -> Path:
        return self.folder / "good"

    @property
    def weak_model(self) -> Path:
        return self.folder / "weak"

    def store(self, folder: Path) -> str:
        """The URI of a store in ``folder`` that knows the two models' runs."""
        shutil.copy(self.folder / "mlflow.db", folder / "mlflow.db")
        return f"sqlite:///{folder / 'mlflow.db'}"


@pytest.fixture(scope="session")
def telco(tmp_path_factory: pytest.TempPathFactory, table: Callable[[str], Any]) -> Telco:
    folder = tmp_path_factory.mktemp("telco")
    prepared = prepare(folder / "prepared", churn(table), "churn", "binary")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
        good = train(prepared, folder / "good")
        weak = train(prepared, folder / "weak", exclude=["tenure", "contract", "total_charges"])
    return Telco(folder, prepared, good, weak)


@pytest.fixture
def store(telco: Telco, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    """A registry of the test's own that knows the two models' runs."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", telco.store(tmp_path))
    return connect()
