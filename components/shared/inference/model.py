"""The model as MLflow loads it: raw rows in, predictions out."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import polars as pl

from .columns import PREDICTION, probability_column
from .few import few_rows
from .files import ESTIMATOR, NETWORK, SCHEMA, TRANSFORM
from .frames import to_polars
from .labels import own_labels
from .network import ExportedNetwork
from .predict import most_probable, predict_probabilities, predict_values
from .schema import TableSchema
from .settle import settle
from .transform import FeatureTransform


class Model:
    """A fitted transform and estimator behind the schema of the rows.

    Args:
        schema: The schema of the training data.
        transform: The fitted transform.
        estimator: The fitted estimator; a classifier is fitted on positions in ``schema.classes``.
    """

    def __init__(self, schema: TableSchema, transform: FeatureTransform, estimator: Any) -> None:
        self.schema = schema
        self.transform = transform
        self.estimator = estimator
        self.input_columns = list(transform.input_columns)
        self._labels = own_labels(schema) if schema.classes else None
        #: For servers, which have a few rows at a time; None where the transform needs the general way.
        self.few = few_rows(schema, transform.featurizer_)

    def predict(
        self, model_input: pd.DataFrame | pl.DataFrame, params: Mapping[str, Any] | None = None
    ) -> pd.DataFrame:
        """Predictions for rows as they are in the source, or settled.

        Args:
            model_input: ``n`` rows. Numbers may come as text, missing values as blank; further columns are
                ignored.
            params: MLflow's inference parameters; there are none.

        Returns:
            ``n`` rows: ``prediction``, and for classification ``probability_<class>`` for each class. A label
            has the target's own type; the predicted class is the most probable one.

        Raises:
            SchemaError: A column is missing, or a value does not fit its type. Names the column.
        """
        index = model_input.index if isinstance(model_input, pd.DataFrame) else None
        return pd.DataFrame(self.outputs(self.features(self.settle(model_input))), index=index)

    def settle(self, rows: pd.DataFrame | pl.DataFrame) -> pl.DataFrame:
        """The input columns of the rows, in the schema's types. Raises as :meth:`predict`."""
        return settle(to_polars(rows, self.input_columns), self.schema, self.input_columns)

    def features(self, settled: pl.DataFrame) -> npt.NDArray[np.float64]:
        """What the estimator sees of settled rows, shape ``(n, features)``."""
        return np.asarray(self.transform.transform(settled), dtype=np.float64)

    def outputs(self, features: npt.NDArray[np.float64]) -> dict[str, npt.NDArray[np.generic]]:
        """The columns of :meth:`predict`, shape ``(n,)``, from features of shape ``(n, features)``."""
        if self._labels is None:
            return {PREDICTION: predict_values(self.estimator, features)}
        probabilities = predict_probabilities(self.estimator, features, self.schema.classes)
        columns: dict[str, npt.NDArray[np.generic]] = {PREDICTION: self._labels[most_probable(probabilities)]}
        for code, label in enumerate(self.schema.classes):
            columns[probability_column(label)] = probabilities[:, code]
        return columns

    def get_raw_model(self) -> "Model":
        """This model itself, for callers that have it wrapped in MLflow's ``PyFuncModel``."""
        return self


def _load_pyfunc(path: str) -> Model:
    """What ``mlflow.pyfunc.load_model`` calls with the model's data folder."""
    folder = Path(path)
    schema = TableSchema.load(folder / SCHEMA)
    return Model(schema, FeatureTransform.load(folder / TRANSFORM), _estimator(folder, len(schema.classes)))


def _estimator(folder: Path, classes: int) -> Any:
    if (folder / NETWORK).exists():
        return ExportedNetwork.load(folder / NETWORK, classes)
    with (folder / ESTIMATOR).open("rb") as file:
        return pickle.load(file)
