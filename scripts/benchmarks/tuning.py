"""A local search of katib-tune: what a trial costs beyond its training, and two workers against one."""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from measure import ROOT, machine, publish, table
from mlflow.tracking import MlflowClient

sys.path.insert(0, str(ROOT))

from kfp_lifecycle.components.katib_tune.backend import Problem, Trial, TrialData
from kfp_lifecycle.components.katib_tune.optuna_search import LocalSearch
from kfp_lifecycle.components.katib_tune.search_file import parse_search
from kfp_lifecycle.components.shared.tracking import tracked_run
from kfp_lifecycle.components.train.trial import log_trial
from tests.components.train.tables import prepared

FOLDS = 3
#: Trials of the two searches whose difference is the cost of a trial.
FEW, MANY = 10, 60
#: Trials of the searches with one worker and with two, and rounds of each.
HEAVY, ROUNDS = 16, 3
SPACE = {
    "alpha": {"type": "float", "min": 0.001, "max": 1000, "log": True},
    "tol": {"type": "float", "min": 1e-6, "max": 1e-2, "log": True},
    "fit_intercept": {"values": [True, False]},
}
HEAVY_SPACE = {"l2_regularization": {"type": "float", "min": 0.0, "max": 1.0}}
RIDGE = "sklearn.linear_model.Ridge"
BOOSTING = "sklearn.ensemble.HistGradientBoostingRegressor"


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        light, heavy = data(folder / "light", 500), data(folder / "heavy", 20_000)
        search(light, folder / "warm", SPACE, 2, RIDGE, {})
        text = f"{overhead(light, folder)}\n\n{speed(heavy, folder)}"
    publish("tuning", text) if "--dry" not in sys.argv else print(text, machine())


def ms(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms"


def overhead(inputs: Any, folder: Path) -> str:
    rows = []
    for algorithm in ("random", "tpe"):
        for logged in (False, True):
            walls, training = {}, {}
            for trials in (FEW, MANY):
                name = f"{algorithm}-{logged}-{trials}"
                walls[trials], training[trials] = search(
                    inputs,
                    folder / name,
                    SPACE,
                    trials,
                    "sklearn.linear_model.Ridge",
                    {},
                    algorithm,
                    logged=logged,
                )
            both = (walls[MANY] - walls[FEW]) / (MANY - FEW)
            own = (training[MANY] - training[FEW]) / (MANY - FEW)
            how = "with its MLflow run" if logged else "without MLflow"
            rows.append([algorithm, how, ms(both), ms(own), ms(both - own)])
    return table(["algorithm", "", "a trial", "of it training", "beyond training"], rows)


def speed(inputs: Any, folder: Path) -> str:
    times: dict[int, list[float]] = {1: [], 2: []}
    training = 0.0
    for round_ in range(ROUNDS):
        for workers, walls in times.items():
            name = folder / f"heavy-{workers}-{round_}"
            wall, training = search(
                inputs, name, HEAVY_SPACE, HEAVY, BOOSTING, {"max_iter": 150}, parallel=workers
            )
            walls.append(wall)
    one, two = min(times[1]), min(times[2])
    rows = [
        ["one worker", f"{one:.1f} s", "1.00"],
        ["two workers", f"{two:.1f} s", f"{one / two:.2f}"],
    ]
    found = table([f"{HEAVY} trials of about {training / HEAVY:.1f} s", "time", "times as fast"], rows)
    note = f"The best of {ROUNDS}, taking turns; one thread a trial in both, start of the workers included."
    return f"{found}\n\n{note}"


def data(folder: Path, rows: int) -> Any:
    rng = np.random.default_rng(0)
    columns = {f"x{number}": rng.normal(size=rows) for number in range(20)}
    frame = pl.DataFrame({**columns, "y": columns["x0"] + rng.normal(size=rows)})
    return prepared(frame, "y", "regression").write(folder)


def search(
    inputs: Any,
    place: Path,
    space: Any,
    trials: int,
    estimator: str,
    fixed: Any,
    algorithm: str = "random",
    *,
    parallel: int = 1,
    logged: bool = False,
) -> tuple[float, float]:
    """Seconds of a search, and of all its trials' training in the workers."""
    given = {"parameters": space, "algorithm": algorithm, "max_trials": trials, "parallel_trials": parallel}
    parsed = parse_search(given, "regression")
    where = TrialData(str(inputs.rows), str(inputs.schema), str(inputs.plan))
    problem = Problem(*parsed, where, fixed=fixed, options={"estimator": estimator, "folds": FOLDS})
    if not logged:
        return timed(problem, place, lambda _: "")
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{place / 'mlflow.db'}"
    with tracked_run("tuning") as run_id:
        client = MlflowClient()
        parent = client.get_run(run_id)

        def told(trial: Trial) -> str:
            return log_trial(client, parent, name="trial", parameters=trial.parameters, metrics=trial.metrics)

        return timed(problem, place, told)


def timed(problem: Problem, place: Path, told: Callable[[Trial], str]) -> tuple[float, float]:
    began = time.perf_counter()
    found = LocalSearch(place / "tuning.db", told=told).search(problem, lambda _: None)
    return time.perf_counter() - began, sum(trial.seconds for trial in found.trials)


if __name__ == "__main__":
    main()
