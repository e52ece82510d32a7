"""Fixtures for components: tracking stores, a disk that is soon full, models for those after train."""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient

from kfp_lifecycle.components.shared.tracking import connect
from kfp_lifecycle.components.train.training import TrainingResult
from tests.components.trained import Prepared, churn, prepare, train
from tests.servers import mlflow_server


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database without runs: making one takes seconds, copying it none."""
    folder = tmp_path_factory.mktemp("store")
    with contextlib.chdir(folder), pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        connect()
    os.environ.pop("MLFLOW_TRACKING_URI", None)  # MLflow sets it
    return folder / "mlflow.db"


@pytest.fixture
def here(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The test's own folder as working directory, with a tracking store in it."""
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    return tmp_path


@pytest.fixture(scope="session")
def mlflow_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real MLflow server that the tests share."""
    with mlflow_server(tmp_path_factory.mktemp("mlflow")) as uri:
        yield uri


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
