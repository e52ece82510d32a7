"""``train`` in a search: its estimator checked, and fitted anew for the comparison on the test rows."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from sklearn.base import clone

from kfp_lifecycle.components.evaluate.predictions import Scored
from kfp_lifecycle.components.evaluate.scoring import read_truth
from kfp_lifecycle.components.katib_tune.backend import Problem
from kfp_lifecycle.components.katib_tune.trainer import Rows, parts, scored
from kfp_lifecycle.components.katib_tune.trainer_checks import check_estimator
from kfp_lifecycle.components.shared.dataset import scan
from kfp_lifecycle.components.shared.inference.schema import TableSchema
from kfp_lifecycle.components.shared.inference.transform import FeatureTransform
from kfp_lifecycle.components.train.crossval import Floats, predict
from kfp_lifecycle.components.train.fitting import fit_on, fit_transform
from kfp_lifecycle.components.train.training import TrainingOptions, make_recipe, target_values


class EstimatorTrainer:
    """See :class:`.trainer.Trainer`.

    Args:
        problem: The search.
        rows: The data.
        schema: Its schema.
        plan: The unfitted transform.
    """

    def __init__(self, problem: Problem, rows: Rows, schema: TableSchema, plan: FeatureTransform) -> None:
        self._problem, self._rows, self._schema, self._plan = problem, rows, schema, plan
        self.name = str(problem.options["estimator"])
        self._options = TrainingOptions(
            **problem.options, estimator_parameters=problem.fixed, seed=problem.seed
        )

    def check(self) -> dict[str, Any]:
        """See :func:`.trainer_checks.check_estimator`."""
        return check_estimator(self._problem, self._options, self._schema, self._plan)

    def refit(self, parameters: Mapping[str, Any]) -> Scored:
        """See :class:`.trainer.Trainer`."""
        given = {**self._problem.fixed, **parameters}
        recipe = make_recipe(replace(self._options, estimator_parameters=given), self._schema, self._plan)
        train, y, transform, features = self._fitted
        estimator = fit_on(recipe, train, y, features)
        tables = (np.asarray(transform.transform(some), dtype=np.float64) for some in parts(self._rows.test))
        return scored(self._schema, self._truth, (predict(recipe, estimator, some) for some in tables))

    @cached_property
    def _truth(self) -> npt.NDArray[np.int64] | Floats:
        return read_truth(self._rows.test, self._schema)

    @cached_property
    def _fitted(self) -> tuple[pl.DataFrame, npt.NDArray[Any], FeatureTransform, Floats]:
        """The training rows, their target, the transform fitted on them, and their features."""
        self._truth  # noqa: B018 - test rows that are wrong are known before anything is fitted
        train, transform = scan(self._rows.train).collect(), clone(self._plan)
        return (
            train,
            target_values(train, self._schema),
            transform,
            fit_transform(transform, train, self._schema),
        )
