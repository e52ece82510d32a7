"""The Model artifact: an MLflow pyfunc folder that takes raw rows and needs no kfp-lifecycle to load."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from kfp_lifecycle.components.shared.inference.schema import TableSchema


@dataclass(frozen=True)
class TrainingRows:
    """Which rows a model was trained on: the hashes of a deterministic sub-sample of them.

    Args:
        modulus: The sub-sample is the rows whose hash is a multiple of this; 1 keeps all.
        hashes: Their hashes (UInt64, shape ``(n,)``), sorted.
    """

    modulus: int
    hashes: np.ndarray

    def seen(self, hashes: np.ndarray) -> int:
        """How many of ``hashes`` (UInt64, shape ``(m,)``) are known to be training rows.

        With a modulus over 1 only about one in modulus can be known.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class ModelDescription:
    """What a Model artifact says of itself.

    Args:
        schema: The schema of the data it was trained on.
        input_columns: The source columns that it needs, in order.
        estimator: Dotted path of the estimator's class.
        parameters: By component (``prepare``, ``featurize``, ``train``) the parameters that it ran with.
        metrics: Cross-validated metrics (``cv_roc_auc_mean``, …), as train's Metrics artifact has them.
        training_rows: Which rows it was trained on.
        library_version: The version of kfp-lifecycle that wrote it.
    """

    schema: TableSchema
    input_columns: list[str]
    estimator: str
    parameters: dict[str, dict[str, Any]]
    metrics: dict[str, float]
    training_rows: TrainingRows
    library_version: str

    @property
    def task(self) -> str:
        """``binary``, ``multiclass`` or ``regression``."""
        return self.schema.task

    @property
    def target(self) -> str:
        """Name of the target column."""
        return self.schema.target

    @property
    def classes(self) -> list[str]:
        """Class labels as text, in sorted order; empty for regression."""
        return self.schema.classes


def save_model(
    path: str | Path,
    *,
    estimator: Any,
    transform: Any,
    schema: TableSchema,
    reference: pl.DataFrame,
    row_hashes: np.ndarray,
    parameters: Mapping[str, Mapping[str, Any]],
    metrics: Mapping[str, float],
    example: pl.DataFrame,
) -> None:
    """Writes the Model artifact: atomically, with signature and input example."""
    raise NotImplementedError


def describe(path: str | Path) -> ModelDescription:
    """What the Model artifact at ``path`` (a local folder) says of itself, without loading the estimator."""
    raise NotImplementedError


def load_predictor(path: str | Path) -> Any:
    """The model at ``path`` (a local folder), loaded through ``mlflow.pyfunc.load_model``.

    The result's ``predict(frame)`` takes a Polars or pandas DataFrame of raw or settled rows, without
    MLflow's copy through pandas, and returns a pandas DataFrame: ``prediction``, and for
    classification ``probability_<class>`` for each class.
    """
    raise NotImplementedError


def read_reference(path: str | Path) -> pl.DataFrame:
    """The sample of settled training rows, with target, out-of-fold predictions and row hash."""
    raise NotImplementedError
