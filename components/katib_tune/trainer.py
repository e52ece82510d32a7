"""What a search tunes: the component that its trials run, and that its parameters are given to in the end."""

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from kfp_lifecycle.components.evaluate.predictions import Scored
from kfp_lifecycle.components.evaluate.scoring import PART_ROWS
from kfp_lifecycle.components.katib_tune.backend import Problem
from kfp_lifecycle.components.shared.dataset import scan
from kfp_lifecycle.components.shared.inference.schema import TableSchema
from kfp_lifecycle.components.shared.inference.transform import FeatureTransform
from kfp_lifecycle.components.train.crossval import Floats


@dataclass(frozen=True)
class Rows:
    """Where the prepared rows and the unfitted transform are."""

    train: Path
    test: Path
    schema: Path
    plan: Path


class Trainer(Protocol):
    """The trainer of one problem."""

    @property
    def name(self) -> str:
        """What is trained, for people: an estimator's dotted path, or the network."""

    def check(self) -> dict[str, Any]:
        """Checks the problem's parameters before the first trial; gives all that they are in trial 0.

        Raises:
            TuningError: The trainer takes no such parameter (names the nearest) or value.
            EstimatorError: The estimator or network itself, or a fixed parameter, is wrong.
            ParameterError: A fixed parameter does not fit the table.
        """

    def refit(self, parameters: Mapping[str, Any]) -> Scored:
        """Fits with these parameters over the fixed ones on all training rows; predicts the test rows.

        Raises:
            EstimatorError: It cannot be fitted, or predicts no numbers.
            SplitError: The test split has no rows, or rows of one class only.
            TargetError: A regression's test target is missing in a row.
        """


@contextmanager
def open_trainer(
    problem: Problem, rows: Rows, schema: TableSchema, plan: FeatureTransform
) -> Iterator[Trainer]:
    """The trainer that the problem names, for as long as the block lasts."""
    if problem.trainer == "train":
        from kfp_lifecycle.components.katib_tune.estimator_trainer import EstimatorTrainer

        yield EstimatorTrainer(problem, rows, schema, plan)
        return
    from kfp_lifecycle.components.katib_tune.network_trainer import NetworkTrainer

    with tempfile.TemporaryDirectory(prefix="katib-tune-refits-") as place:
        yield NetworkTrainer(problem, rows, schema, plan, Path(place))


def scored(
    schema: TableSchema,
    truth: npt.NDArray[np.int64] | Floats,
    predictions: Iterable[tuple[Floats, Floats]],
) -> Scored:
    """Predictions and probabilities of the :func:`parts` of the test rows, as evaluate takes them."""
    predicted, probabilities = (np.concatenate(arrays) for arrays in zip(*predictions, strict=True))
    whole = predicted if schema.task == "regression" else predicted.astype(np.int64)
    return Scored(schema.task, truth, whole, probabilities, tuple(schema.classes), schema.positive_class)


def parts(test: Path) -> Iterator[pl.DataFrame]:
    """The test rows, so many at a time as evaluate predicts."""
    rows = scan(test)
    for start in range(0, rows.select(pl.len()).collect().item(), PART_ROWS):
        yield rows.slice(start, PART_ROWS).collect()
