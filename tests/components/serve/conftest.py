"""Fixtures for serving: models, and servers as real processes."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.components.serve.serving import ROWS, Models, Server, Start, plain_model, serving
from tests.components.trained import churn, prepare, train


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory, table: Callable[[str], Any]) -> Models:
    """Small models of real tables: churn, price and cut of diamonds, a plain MLflow model."""
    folder = tmp_path_factory.mktemp("models")
    telco = churn(table, ROWS)
    diamonds = pl.from_pandas(table("diamonds").head(ROWS).astype({"cut": str, "color": str, "clarity": str}))
    diamonds = diamonds.with_columns(pl.col(pl.Int32).cast(pl.Int64))
    ridge = "sklearn.linear_model.Ridge"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
        train(prepare(folder / "p1", telco, "churn", "binary"), folder / "churn")
        train(prepare(folder / "p2", diamonds, "price", "regression"), folder / "price", estimator=ridge)
        train(prepare(folder / "p3", diamonds, "cut", "multiclass"), folder / "cut")
    plain_model(folder / "plain")
    rows = telco.drop("churn").head(200).to_dicts()
    return Models(folder / "churn", folder / "price", folder / "cut", folder / "plain", rows)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Start]:
    """Starts servers of the test's own: ``server(model, *flags, env={…})``; they end with the test."""
    with contextlib.ExitStack() as stack:
        yield lambda model, *flags, env=None: stack.enter_context(serving(model, tmp_path, *flags, env=env))


@pytest.fixture(scope="session")
def churn_server(models: Models, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server of the churn model, named ``churn``, that the tests share."""
    with serving(models.binary, tmp_path_factory.mktemp("churn-server")) as started:
        yield started
