"""An Optuna study of a problem: where it is stored, and the algorithms by Katib's names.

The sampler is made anew for each trial, from the search's seed and the trial's number. So what a trial is
given depends on that and on the trials told before it, and not on how often the search was interrupted.
"""

import hashlib
import importlib.util
import itertools
import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.pruners import BasePruner, HyperbandPruner, NopPruner
from optuna.samplers import (
    BaseSampler,
    CmaEsSampler,
    GPSampler,
    PartialFixedSampler,
    RandomSampler,
    TPESampler,
)
from optuna.storages import RDBStorage
from sqlalchemy import event

from kfp_lifecycle.components.katib_tune.backend import Problem
from kfp_lifecycle.components.katib_tune.objective import TuneSettings
from kfp_lifecycle.components.katib_tune.space import Parameter, SearchSpace
from kfp_lifecycle.components.shared.errors import TuningError, did_you_mean

#: The names that Optuna has for what Katib's settings say; what is not here, Optuna does not have.
_SETTINGS = {
    "tpe": {"n_startup_trials": "n_startup_trials", "n_ei_candidates": "n_ei_candidates"},
    "bayesianoptimization": {"n_initial_points": "n_startup_trials"},
    "cmaes": {"sigma": "sigma0"},
    "hyperband": {"resource_name": "", "eta": ""},
}
_SAMPLERS: dict[str, type[Any]] = {
    "tpe": TPESampler,
    "bayesianoptimization": GPSampler,
    "cmaes": CmaEsSampler,
}
#: What an algorithm needs beyond Optuna, and what brings it.
_NEEDS = {"bayesianoptimization": ("torch", "torch"), "cmaes": ("cmaes", "cmaes")}
#: Values of a setting that mean what Optuna does anyway.
_SAME = {"base_estimator": "GP", "restart_strategy": "none", "acq_optimizer": "auto"}
ETA = 3


def open_study(file: Path, name: str, problem: Problem) -> tuple[optuna.Study, RDBStorage]:
    """The study of a name in a SQLite file, made where it is missing, and the storage that it is in.

    Raises:
        TuningError: The file is no database that Optuna can use.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        storage = RDBStorage(f"sqlite:///{file}", engine_kwargs={"connect_args": {"timeout": 60}})
        event.listen(storage.engine, "connect", _write_ahead)
        storage.engine.dispose()
        study = optuna.create_study(
            study_name=name,
            storage=storage,
            direction="maximize" if problem.objective.maximize else "minimize",
            pruner=make_pruner(problem.settings, problem.space),
            load_if_exists=True,
        )
    except Exception as error:
        said = " ".join(str(getattr(error, "orig", error)).split())[:200]
        raise TuningError(
            f"The search's database {file} cannot be used: {said}.", "Remove it, or name another (storage)."
        ) from error
    return study, storage


def _write_ahead(database: Any, _: Any) -> None:
    """Many small transactions of one process: a crash of it loses none of them, written this way too."""
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=NORMAL")


def study_name(problem: Problem, digest: str) -> str:
    """A name that is the same for the same search of the same data, whatever its limits.

    Args:
        problem: What is searched.
        digest: Of the data and of the code that judges.
    """
    settings = problem.settings
    what = [
        problem.space.to_dict(),
        [problem.objective.metric, problem.objective.maximize],
        [settings.algorithm, dict(settings.algorithm_settings)],
        [settings.early_stopping, settings.min_trials_required, settings.start_step],
        [problem.trainer, dict(problem.fixed), dict(problem.options), problem.seed, digest],
    ]
    text = json.dumps(what, sort_keys=True, default=str)
    return f"{problem.name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def check_algorithm(settings: TuneSettings) -> None:
    """Raises ``TuningError`` where Optuna does not have the algorithm or one of its settings."""
    algorithm = settings.algorithm
    package, extra = _NEEDS.get(algorithm, ("optuna", ""))
    if importlib.util.find_spec(package) is None:
        raise TuningError(
            f"The algorithm {algorithm} needs {package} on this machine, which is not installed.",
            f"pip install {extra}, or choose tpe.",
        )
    known = _SETTINGS.get(algorithm, {})
    for name, value in settings.algorithm_settings.items():
        if name not in known and value != _SAME.get(name):
            raise TuningError(
                f"{algorithm}'s setting {name!r} is {value!r}, which Optuna does not have.",
                did_you_mean(name, known) or "Leave it out, or search with Katib.",
            )


def make_pruner(settings: TuneSettings, space: SearchSpace) -> BasePruner:
    """What decides whether a trial of Hyperband goes on; the median rule is :class:`.course.Course`'s own."""
    if settings.algorithm == "hyperband":
        values = rungs(settings, space)
        return HyperbandPruner(values[0], values[-1], reduction_factor=_eta(settings))
    return NopPruner()


def rungs(settings: TuneSettings, space: SearchSpace) -> tuple[int, ...]:
    """The values of Hyperband's resource, at each of which a trial may end: eta times the one before."""
    resource = space[settings.algorithm_settings["resource_name"]]
    low, high = max(1, int(resource.min or 1)), int(resource.max or 1)
    values = [low]
    while values[-1] * _eta(settings) < high:
        values.append(values[-1] * _eta(settings))
    return (*values, high)


def _eta(settings: TuneSettings) -> int:
    return int(settings.algorithm_settings.get("eta", ETA))


def make_sampler(problem: Problem, number: int) -> BaseSampler:
    """The sampler of one trial."""
    settings, seed = problem.settings, _seed(problem.seed, number)
    algorithm = settings.algorithm
    if algorithm == "grid":
        point = next(itertools.islice(grid(problem.space), number - 1, None))
        return PartialFixedSampler({key: label(value) for key, value in point.items()}, RandomSampler(seed))
    if algorithm not in _SAMPLERS:
        return RandomSampler(seed)
    given = {
        own: settings.algorithm_settings[theirs]
        for theirs, own in _SETTINGS[algorithm].items()
        if theirs in settings.algorithm_settings
    }
    sampler: BaseSampler = _SAMPLERS[algorithm](seed=seed, **given)
    return sampler


def grid(space: SearchSpace) -> Iterator[Mapping[str, Any]]:
    """The points of a grid in order, each once, with the conditional parameters whose conditions hold."""
    seen = set()
    for values in itertools.product(*(parameter.grid() or () for parameter in space)):
        point: dict[str, Any] = {}
        for parameter, value in zip(space, values, strict=True):
            if space.active(parameter.name, point):
                point[parameter.name] = value
        if (key := json.dumps(point)) not in seen:
            seen.add(key)
            yield point


@contextmanager
def without_warnings() -> Iterator[None]:
    """What is experimental or old in Optuna is for this module to know, not for the reader of a log."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def suggest(trial: optuna.Trial, space: SearchSpace, *, leave_out: str = "") -> dict[str, Any]:
    """The trial's values of the space's parameters, in their own types; one may be left out."""
    chosen: dict[str, Any] = {}
    for parameter in space:
        if parameter.name != leave_out and space.active(parameter.name, chosen):
            chosen[parameter.name] = _suggest(trial, parameter)
    return chosen


def _suggest(trial: optuna.Trial, parameter: Parameter) -> Any:
    name, low, high = parameter.name, parameter.min, parameter.max
    if parameter.type == "categorical":
        labels = [label(value) for value in parameter.values]
        return parameter.values[labels.index(trial.suggest_categorical(name, labels))]
    assert low is not None
    assert high is not None
    if parameter.type == "int":
        return trial.suggest_int(name, int(low), int(high), step=int(parameter.step or 1), log=parameter.log)
    value = trial.suggest_float(name, low, high, step=parameter.step, log=parameter.log)
    # 12 digits: 0.1 + 2 * 0.1 is to be 0.3.
    return value if parameter.step is None else float(f"{value:.12g}")


def label(value: Any) -> Any:
    """A categorical value as Optuna stores it: numbers and texts are themselves, all else is JSON text."""
    return value if type(value) in (int, float, str) else json.dumps(value)


def _seed(seed: int, number: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}/{number}".encode()).digest()[:4], "big")
