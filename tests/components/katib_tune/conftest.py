"""A small regression in which the best level is known, and searches of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from kfp_lifecycle.components.katib_tune.backend import Problem, Search, TrialData
from kfp_lifecycle.components.katib_tune.optuna_search import LocalSearch
from kfp_lifecycle.components.katib_tune.search_file import parse_search
from kfp_lifecycle.components.train.training import TrainingInputs
from tests.components.train.tables import prepared

LEVEL = "tests.components.katib_tune.doubles.Level"
TROUBLE = "tests.components.katib_tune.doubles.Trouble"
SURROUNDINGS = "tests.components.katib_tune.doubles.Surroundings"
#: The search space that most tests search: the target's mean is 0.3.
SPACE = {"level": {"type": "float", "min": 0.0, "max": 1.0}}


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> TrainingInputs:
    rng = np.random.default_rng(0)
    rows = pl.DataFrame({"x": rng.normal(size=120), "y": 0.3 + 0.1 * rng.normal(size=120)})
    return prepared(rows, "y", "regression").write(tmp_path_factory.mktemp("small") / "inputs")


@dataclass(frozen=True)
class Tuner:
    """Searches the small regression in a folder of the test's own."""

    inputs: TrainingInputs
    folder: Path

    def problem(
        self,
        parameters: Any = None,
        *,
        estimator: str = LEVEL,
        fixed: Any = None,
        folds: int = 3,
        **given: Any,
    ) -> Problem:
        search = {"parameters": parameters or SPACE, "algorithm": "random", "max_trials": 6, **given}
        space, objective, settings = parse_search(search, "regression")
        data = TrialData(str(self.inputs.rows), str(self.inputs.schema), str(self.inputs.plan))
        options = {"estimator": estimator, "folds": folds}
        return Problem(space, objective, settings, data, fixed=fixed or {}, options=options, seed=1)

    def search(self, problem: Problem, **how: Any) -> Search:
        return LocalSearch(self.folder / "tuning.db", **how).search(problem, lambda _: None)

    def __call__(self, *given: Any, how: Any = None, **more: Any) -> Search:
        return self.search(self.problem(*given, **more), **(how or {}))


@pytest.fixture
def tuner(small: TrainingInputs, tmp_path: Path) -> Tuner:
    return Tuner(small, tmp_path)
