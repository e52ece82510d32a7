"""A model as the server holds it: what it takes, what it gives, and how it predicts."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from kfp_lifecycle.components.serve.server.table import Table

if TYPE_CHECKING:
    from kfp_lifecycle.components.serve.server.lookup import Lookup
    from kfp_lifecycle.components.shared.model_format import ModelDescription


#: The one input of a model whose signature is a tensor, or that has none: rows are lists of numbers.
TENSOR = "input-0"


@dataclass(frozen=True)
class InputColumn:
    """A column that the model takes.

    Args:
        name: Its name.
        type: One of the schema's types (``integer``, ``number``, ``boolean``, ``string``, ``date``,
            ``timestamp``), or ``any``.
        required: Whether each row needs a value.
    """

    name: str
    type: str
    required: bool


@dataclass(frozen=True)
class OutputColumn:
    """A column that the model gives.

    Args:
        name: Its name.
        datatype: V2's name of its type: ``FP64``, ``INT64``, ``BOOL`` or ``BYTES`` (text).
    """

    name: str
    datatype: str


class ServedModel(ABC):
    """A loaded model.

    Args:
        name: Its name in URLs.
        version: The registry's version, or the first characters of its digest.
        uri: Where it was loaded from, resolved: ``models:/churn/3``.
        digest: SHA-256 of its files.
    """

    inputs: list[InputColumn]
    outputs: list[OutputColumn]
    #: What a Model artifact of this library says of itself; None for a plain MLflow model.
    description: "ModelDescription | None" = None
    #: The rows of the input example; None where the model has none.
    example: Table | None = None
    #: What the model made of :attr:`example` when it was saved; None where that was not recorded.
    recorded: Table | None = None
    #: Whether its one output has no name, so that V1 answers with values and not with records.
    scalar = False
    #: Seconds that a prediction of a few rows takes, lately.
    seconds = 0.0
    #: What looks up the input columns that come from a feature store; None where all come with the request.
    lookup: "Lookup | None" = None

    def __init__(self, name: str, version: str, uri: str, digest: str) -> None:
        self.name, self.version, self.uri, self.digest = name, version, uri, digest

    @property
    def asked(self) -> list[InputColumn]:
        """The columns of a request: the inputs, with entity keys in place of what is looked up by them."""
        return self.inputs if self.lookup is None else self.lookup.asked

    def move(self, device: str) -> None:  # noqa: B027 most models have nothing to move
        """Has a network run on a device, see :func:`.devices.move`. Raises ``ServingError``."""

    @abstractmethod
    def check(self, rows: Table) -> Table:
        """The rows with exactly the input columns, in order; optional columns that are absent are null.

        Raises:
            BadRequestError: A column is unknown, missing, or has no value where one is required.
        """

    @abstractmethod
    def predict(self, rows: Table) -> Table:
        """What the model says of checked rows: :attr:`outputs` by name.

        Raises:
            BadRequestError: A value does not fit its column. Names both.
        """

    @abstractmethod
    def settled(self, rows: Table) -> pl.DataFrame:
        """Checked rows in the types of the schema, as the prediction log keeps them."""
