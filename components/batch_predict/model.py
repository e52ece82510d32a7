"""The one model of all shards: what it reads of a table, and what it says of rows."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
import polars as pl

from kfp_lifecycle.components.batch_predict.plan import Plan
from kfp_lifecycle.components.prepare.options import Options
from kfp_lifecycle.components.shared.errors import LifecycleError, ParameterError, SchemaError, did_you_mean
from kfp_lifecycle.components.shared.inference.columns import PREDICTION, probability_column
from kfp_lifecycle.components.shared.model_format import ModelDescription, describe, load_predictor
from kfp_lifecycle.components.shared.tracking import connect, tracking_errors

if TYPE_CHECKING:
    from kfp_lifecycle.components.shared.inference.model import Model

#: Rows that go through the model at once: their features are most of what memory holds.
CHUNK_ROWS = 50_000

#: The output's column with the model's version.
MODEL_VERSION = "model_version"


class Scorer:
    """A loaded model version and the columns that it is given.

    Args:
        plan: The plan.
        model: The model.
        about: What it says of itself.

    Raises:
        ParameterError: A key column has the name of one of the output's own.
    """

    def __init__(self, plan: Plan, model: "Model", about: ModelDescription) -> None:
        self._plan, self._model, self._about = plan, model, about
        self._probabilities = [probability_column(label) for label in about.classes]
        #: Columns that go with the scores; empty where neither the plan nor the training data has any.
        self.keys = plan.key_columns or [column.name for column in about.schema.by_role("key")]
        for name in self.keys:
            if name in (MODEL_VERSION, PREDICTION, *self._probabilities):
                raise ParameterError(
                    f"The key column {name!r} has the name of a column that the output gets.",
                    "Rename it in the source, or name other key_columns.",
                )

    @classmethod
    def load(cls, plan: Plan, folder: Path) -> "Scorer":
        """The model version of the plan, downloaded into ``folder``, which is made.

        Raises:
            TrackingError: MLflow cannot be reached.
            SchemaError: It is no Model artifact, or needs a package that is not installed.
            ParameterError: As the class.
        """
        connect()
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # a log is no terminal
        folder.mkdir()
        with tracking_errors():
            path = mlflow.artifacts.download_artifacts(plan.model_uri, dst_path=str(folder))
        about = describe(path)
        try:
            return cls(plan, load_predictor(path), about)
        except ModuleNotFoundError as error:
            raise SchemaError(
                f"The model {plan.model_uri} needs the package {error.name!r}, which is not installed here.",
                "Give batch-predict an image that has it, such as the one that the model was trained in.",
            ) from error

    @property
    def columns(self) -> list[str]:
        """The columns of the source that are read: keys, then inputs."""
        return list(dict.fromkeys((*self.keys, *self._about.input_columns)))

    def check_columns(self, have: Sequence[str], where: str) -> None:
        """Raises ``SchemaError``, with their names, where a file lacks inputs of the model, or keys."""
        absent = [name for name in (*self._about.input_columns, *self.keys) if name not in have]
        if absent:
            names = ", ".join(map(repr, absent[:20])) + (", …" if len(absent) > 20 else "")
            what = "the model needs" if absent[0] in self._about.input_columns else "is a key"
            raise SchemaError(f"{where} has no column {names}, which {what}.", did_you_mean(absent[0], have))

    def reading(self) -> Options:
        """How prepare reads the table: keys, and what the schema has as text, keep every character."""
        plan, schema = self._plan, self._about.schema
        texts = [column.name for column in schema.columns if column.type == "string"]
        return Options(
            source=plan.source,
            target=schema.target,
            file_format=plan.file_format,
            encoding=plan.encoding,
            delimiter=plan.delimiter,
            missing_values=[],  # the model settles them, and a key NA is no missing one
            column_types=dict.fromkeys((*texts, *self.keys), "string"),
        )

    def score(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Model version, prediction and probabilities of rows, in their order.

        Args:
            rows: Any number of rows with :attr:`columns`, as they are in the source.

        Raises:
            SchemaError: A value does not fit its type. Names the column.
        """
        starts = range(0, max(rows.height, 1), CHUNK_ROWS)
        scores = pl.concat([self._chunk(rows.slice(start, CHUNK_ROWS)) for start in starts])
        return scores.select(pl.lit(self._plan.model_version).alias(MODEL_VERSION), pl.all())

    def _chunk(self, rows: pl.DataFrame) -> pl.DataFrame:
        answer = self._predict(rows)
        labels = answer[PREDICTION].to_numpy()
        said = pl.Series(labels.tolist(), dtype=pl.String) if labels.dtype == object else pl.Series(labels)
        probabilities = {name: answer[name].to_numpy() for name in self._probabilities}
        return pl.DataFrame({PREDICTION: said, **probabilities})

    def _predict(self, rows: pl.DataFrame) -> Any:
        try:
            return self._model.predict(rows)
        except Exception as error:
            if not getattr(error, "is_declared", False) or isinstance(error, LifecycleError):
                raise
            # The model brings its own copy of the error classes.
            raise SchemaError(getattr(error, "problem", str(error)), getattr(error, "fix", "")) from error
