"""The model that is monitored, and what it holds to be compared with."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
from mlflow.models import Model as MlflowModel

from kfp_lifecycle.components.monitor.findings import Watched
from kfp_lifecycle.components.serve.server.sources import bring, resolve
from kfp_lifecycle.components.shared.errors import MonitorError, redact
from kfp_lifecycle.components.shared.inference.columns import PREDICTION, probability_column
from kfp_lifecycle.components.shared.inference.schema import Column, TableSchema
from kfp_lifecycle.components.shared.model_format import (
    OUT_OF_FOLD,
    ModelDescription,
    describe,
    model_digest,
    read_reference,
)
from kfp_lifecycle.components.shared.tracking import connect, tracking_errors

log = logging.getLogger(__name__)

#: Characters of a digest that stand for a version where no registry has one; serve takes as many.
DIGEST = 12


@dataclass(frozen=True)
class OpenModel:
    """A model with its files here.

    Args:
        watched: Which model it is.
        folder: Its files.
        description: What it says of itself.
        tags: The registered version's tags, the metrics at registration among them.
    """

    watched: Watched
    folder: Path
    description: ModelDescription
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def schema(self) -> TableSchema:
        """The schema of the training data."""
        return self.description.schema

    @property
    def inputs(self) -> list[Column]:
        """The columns that it reads."""
        return [self.schema.column(name) for name in self.description.input_columns]

    @property
    def predictions(self) -> list[Column]:
        """The columns of its predictions, as columns of a table."""
        if self.schema.task == "regression":
            return [Column(PREDICTION, "number")]
        return [
            Column(PREDICTION, "string"),
            *(Column(probability_column(label), "number") for label in self.schema.classes),
        ]


def open_model(uri: str, place: Path) -> OpenModel:
    """The model at a URI.

    Args:
        uri: ``models:/name@alias``, ``models:/name/version``, a folder, or a place in a bucket.
        place: An empty folder to download it to.

    Raises:
        RegistryError: There is no such model, version or alias.
        SchemaError: It is no Model artifact of this library.
        ServingError: It is no model, or not whole.
        StorageError: Its files cannot be read.
        TrackingError: The registry cannot be reached.
    """
    source = resolve(uri)
    folder = bring(source, place / "model")
    description = describe(folder)
    version = source.version or model_digest(folder).partition(":")[2][:DIGEST]
    watched = Watched(source.name, version, redact(uri), description.task, description.target, _made(folder))
    return OpenModel(watched, folder, description, _tags(source.name, source.version))


def reference_sample(model: OpenModel) -> pl.DataFrame:
    """The sample of training rows inside the model, its out-of-fold predictions named as predictions are.

    Raises:
        MonitorError: The model holds none, or it is damaged.
    """
    name, version = model.watched.name, model.watched.version
    try:
        rows = read_reference(model.folder)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise MonitorError(
            f"Version {version} of {name!r} holds no reference to compare with: {error}.",
            "Train it again with train, or name a table with parameter 'reference'.",
        ) from error
    if rows.is_empty():
        raise MonitorError(
            f"The reference in version {version} of {name!r} has no rows.",
            "Name a table with parameter 'reference'.",
        )
    predicted = [column.name for column in model.predictions]
    return rows.rename({f"{OUT_OF_FOLD}{column}": column for column in predicted}, strict=False)


def _made(folder: Path) -> datetime | None:
    text = MlflowModel.load(str(folder)).utc_time_created
    try:
        return datetime.fromisoformat(str(text)).replace(tzinfo=UTC)
    except ValueError:
        return None


def _tags(name: str, version: str) -> Mapping[str, str]:
    if not version:
        return {}
    client = connect()
    with tracking_errors():
        return dict(client.get_model_version(name, version).tags)
