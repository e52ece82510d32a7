"""Registered models, and the tasks beside binary classification."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from kfp_lifecycle.components.monitor.watched import open_model
from kfp_lifecycle.components.register.versions import Request, register_model
from kfp_lifecycle.components.shared.errors import RegistryError
from tests.components.monitor.conftest import January, Look
from tests.components.monitor.test_bad_input import problems
from tests.components.trained import evaluation_file, prepare, train


def test_a_registered_version_brings_its_evaluation(
    january: January, watch: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(january.model.folder.parent / "mlflow.db", watch.folder / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{watch.folder / 'mlflow.db'}")
    evaluation = evaluation_file(watch.folder / "evaluation.json", roc_auc=0.94)
    register_model(january.model.folder, evaluation, Request("late", approved=True))
    model = open_model("models:/late@champion", watch.folder / "place")
    assert (model.watched.name, model.watched.version) == ("late", "1")
    found, _ = watch(january.month(1).sample(300, seed=1), model=model)
    assert found.performance is not None
    assert found.performance.source == "The evaluation of version 1 at registration"
    assert found.performance.metrics["roc_auc"].before.value == pytest.approx(0.94)
    with pytest.raises(RegistryError, match="late/9"):
        open_model("models:/late/9", watch.folder / "other")


@pytest.mark.parametrize(
    ("target", "task", "estimator", "main"),
    [
        ("price", "regression", "sklearn.linear_model.Ridge", "rmse"),
        ("cut", "multiclass", "sklearn.linear_model.LogisticRegression", "roc_auc_ovr"),
    ],
)
def test_other_tasks(
    here: Path, watch: Look, table: Callable[[str], Any], target: str, task: str, estimator: str, main: str
) -> None:
    rows = (
        pl.from_pandas(table("diamonds"))
        .sample(3000, seed=1)
        .with_columns(pl.col(pl.Categorical, pl.Enum).cast(pl.String))
    )
    rows = rows.with_columns(pl.col(pl.Int32).cast(pl.Int64))
    train(prepare(here / "prepared", rows, target, task), here / "model", estimator=estimator)
    model = open_model(str(here / "model"), here)
    reference = str(here / "reference.parquet")
    rows.head(1500).write_parquet(reference)
    found, decision = watch(rows.tail(1500), model=model, reference=reference)
    assert decision.verdict == "steady"
    assert found.performance is not None
    assert found.performance.main == main
    assert found.performance.metrics[main].now.low < found.performance.metrics[main].now.high
    assert problems(found, "no baseline")
    assert len(found.predictions) == (1 if task == "regression" else 5)
    larger = rows.tail(1500).with_columns(pl.col("carat", "x", "y", "z") * 1.5)
    found, decision = watch(larger, model=model, reference=reference)
    assert decision.verdict == "drift"
    assert {"carat", "x"} <= {one.name for one in found.drifted}
