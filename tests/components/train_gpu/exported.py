"""Saved networks of real tables, for tests of what is made of them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
import pandas as pd
import polars as pl
import torch

from kfp_lifecycle.components.shared.inference.files import ONNX
from kfp_lifecycle.components.shared.inference.schema import ROW_HASH
from kfp_lifecycle.components.shared.model_format import DATA, save_model
from kfp_lifecycle.components.train_gpu.export import Layout, NetworkFiles, ServedNetwork
from tests.components.train.tables import Prepared, prepared
from tests.components.train_gpu.networks import Small

Floats = npt.NDArray[np.float64]
Table = Callable[[str], pd.DataFrame]

TASKS = {"binary": ("churn", "churn"), "multiclass": ("diamonds", "cut"), "regression": ("diamonds", "price")}


@dataclass(frozen=True)
class Saved:
    """A model of a table, and what it was made of."""

    table: Prepared
    folder: Path
    served: ServedNetwork
    features: Floats

    @property
    def data(self) -> Path:
        return self.folder / DATA

    def onnx(self, features: Floats) -> Floats:
        session = onnxruntime.InferenceSession(self.data / ONNX)
        return np.asarray(session.run(None, {"features": features.astype(np.float32)})[0])


def table_of(table: Table, task: str) -> Prepared:
    """A real table with missing numbers, missing categories and, in its last rows, categories of its own."""
    name, target = TASKS[task]
    rows = pl.from_pandas(table(name).sample(600, random_state=1).reset_index(drop=True))
    text = next(c for c in rows.columns if rows[c].dtype == pl.String and c != target)
    number = next(c for c in rows.columns if rows[c].dtype == pl.Float64 and c != target)
    place = pl.int_range(pl.len())
    rows = rows.with_columns(
        pl.when(place % 7 > 0).then(number).alias(number),
        pl.when(place >= 590).then(pl.lit("never seen")).when(place % 11 > 0).then(text).alias(text),
    )
    return prepared(rows, target, task, encode="ordinal", impute="none")


def saved(table: Prepared, folder: Path, kind: type[Small] = Small) -> Saved:
    """A network of the table, not trained, as train-gpu saves one."""
    torch.manual_seed(0)
    transform, rows = table.plan, table.rows.head(580)
    transform.fit(rows, rows[table.schema.target])
    features = transform.transform(table.rows)
    encoders = [encoder.kind for encoder in transform.featurizer_.encoders]
    codes = [place for place, kind in enumerate(encoders) if kind == "category"]
    numbers = [place for place, kind in enumerate(encoders) if kind == "number"]
    cardinalities = [len(transform.featurizer_.encoders[place].slots) + 1 for place in codes]
    classes = len(table.schema.classes)
    network = kind(
        numbers=len(numbers), cardinalities=cardinalities, outputs=classes if classes > 2 else 1
    ).train()
    layout = Layout(numbers, codes, table.schema.task, mean=3933.0, scale=3989.0)
    folder.mkdir()
    save_model(
        folder,
        estimator=NetworkFiles(network, layout, "networks.Small"),
        estimator_path="networks.Small",
        transform=transform,
        schema=table.schema,
        reference=table.rows.head(30),
        row_hashes=table.rows[ROW_HASH].to_numpy(),
        parameters={"train-gpu": {"epochs": 1}},
        metrics={"validation_loss": 0.5},
    )
    return Saved(table, folder, ServedNetwork(network, layout).eval(), np.asarray(features))
