"""What a search is for (the objective), and how it goes about it (the settings)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from kfp_lifecycle.components.katib_tune.space import SearchSpace
from kfp_lifecycle.components.shared.errors import TuningError, did_you_mean

ALIASES = {
    "gp": "bayesianoptimization",
    "bayes": "bayesianoptimization",
    "bayesian": "bayesianoptimization",
    "cma-es": "cmaes",
}

#: Each algorithm by Katib's name, and its settings by Katib's names (``random_state`` is the search's seed).
ALGORITHMS: dict[str, tuple[str, ...]] = {
    "random": (),
    "grid": (),
    "tpe": ("n_startup_trials", "n_ei_candidates"),
    "bayesianoptimization": ("base_estimator", "n_initial_points", "acq_func", "acq_optimizer"),
    "cmaes": ("sigma", "restart_strategy"),
    "hyperband": ("resource_name", "eta"),
}
#: The settings that are no whole numbers of 0 or more.
_TEXTS = {
    "base_estimator": ("GP", "RF", "ET", "GBRT"),
    "acq_func": ("gp_hedge", "LCB", "EI", "PI", "EIps", "PIps"),
    "acq_optimizer": ("auto", "sampling", "lbfgs"),
    "restart_strategy": ("none", "ipop"),
}
EARLY_STOPPING = ("none", "median")


@dataclass(frozen=True)
class Objective:
    """The metric that is searched for the best value of.

    A trial prints ``<metric>=<value>`` a line whenever it knows better; the last one counts. A
    cross-validated trial prints the mean over the folds so far, after each fold.

    Args:
        metric: Its name as trials print it, such as ``roc_auc``.
        maximize: Whether higher is better.
        goal: A value at which the search ends; None searches on.
        additional_metrics: Others that are collected.
    """

    metric: str
    maximize: bool
    goal: float | None = None
    additional_metrics: tuple[str, ...] = ()

    @staticmethod
    def parse(given: Any, known: Mapping[str, bool], default: str) -> "Objective":
        """What a file says of the objective: a metric's name, or a mapping.

        Args:
            given: ``roc_auc``, or ``{metric: roc_auc, goal: 0.9, additional_metrics: [log_loss]}``, with
                ``type: maximize`` or ``minimize`` where it is not the metric's own; None is ``default``.
            known: The metrics that trials print, to whether higher is better.
            default: The metric where none is named.

        Raises:
            TuningError: A metric is none that the trials print, or a value makes no sense.
        """
        if given is None or isinstance(given, str):
            given = {"metric": given or default}
        if not isinstance(given, Mapping):
            raise TuningError(f"The objective is {given!r}.", "Write it as {metric: roc_auc, goal: 0.9}.")
        keys = ("metric", "type", "goal", "additional_metrics")
        for key in given:
            if key not in keys:
                raise TuningError(f"The objective has {key!r}.", did_you_mean(str(key), keys))
        metric, more = given.get("metric", default), given.get("additional_metrics", [])
        if not isinstance(more, (list, tuple)):
            raise TuningError(f"The objective has additional_metrics {more!r}.", "Give a list of metrics.")
        for name in (metric, *more):
            if name not in known:
                raise TuningError(
                    f"The objective names the metric {name!r}, which no trial prints.",
                    did_you_mean(str(name), known),
                )
        if metric in more or len(set(more)) < len(more):
            raise TuningError("The objective names a metric twice.", "Name each once.")
        return Objective(metric, _direction(given, known[metric]), _goal(given.get("goal")), tuple(more))

    def better(self, value: float, than: float | None) -> bool:
        """Whether ``value`` is a better one than ``than``; any finite value is better than None."""
        if not math.isfinite(value):
            return False
        return than is None or (value > than if self.maximize else value < than)

    def reached(self, value: float) -> bool:
        """Whether ``value`` is as good as the goal."""
        return self.goal is not None and (value >= self.goal if self.maximize else value <= self.goal)


@dataclass(frozen=True)
class TuneSettings:
    """How a search goes.

    Args:
        algorithm: A key of :data:`ALGORITHMS`.
        algorithm_settings: Its own settings, by Katib's names.
        early_stopping: ``median`` ends a trial whose metric, after ``start_step`` values, is worse than the
            median of the finished trials' means up to there; ``none`` lets each trial end by itself.
        min_trials_required: Finished trials before ``median`` ends any.
        start_step: Values of a trial before ``median`` ends it.
        max_trials: Trials in all.
        parallel_trials: Trials at a time.
        max_failed_trials: The search fails when more than so many trials have failed.
        time_budget: Seconds after which no trial goes on; 0 is no end.

    Raises:
        TuningError: One of these is unknown or out of range. Names it.
    """

    algorithm: str = "tpe"
    algorithm_settings: Mapping[str, Any] = field(default_factory=dict)
    early_stopping: str = "none"
    min_trials_required: int = 3
    start_step: int = 2
    max_trials: int = 30
    parallel_trials: int = 2
    max_failed_trials: int = 3
    time_budget: float = 0.0

    def __post_init__(self) -> None:
        if self.algorithm not in ALGORITHMS:
            raise TuningError(
                f"The algorithm {self.algorithm!r} is unknown.",
                did_you_mean(self.algorithm, (*ALGORITHMS, *ALIASES)),
            )
        if self.early_stopping not in EARLY_STOPPING:
            raise TuningError(
                f"The early stopping {self.early_stopping!r} is unknown.",
                did_you_mean(self.early_stopping, EARLY_STOPPING),
            )
        for name, least in _LEAST.items():
            _check_whole(name, getattr(self, name), least)
        if self.parallel_trials > self.max_trials:
            raise TuningError(
                f"parallel_trials is {self.parallel_trials}, more than max_trials, {self.max_trials}.",
                "Give as many or fewer.",
            )
        if not 0 <= self.time_budget < math.inf:
            raise TuningError(f"time_budget is {self.time_budget}.", "Give seconds, or 0 for no end.")
        _check_algorithm_settings(self.algorithm, self.algorithm_settings)

    @staticmethod
    def parse(given: Mapping[str, Any]) -> "TuneSettings":
        """What a file says. Raises ``TuningError``, also for a key that is none of the settings."""
        known = [own.name for own in fields(TuneSettings)]
        for key in given:
            if key not in known:
                raise TuningError(f"The search has the setting {key!r}.", did_you_mean(str(key), known))
        values = {key: value for key, value in given.items() if value is not None}
        for name in (*_LEAST, "time_budget"):
            if name in values:
                values[name] = _plain_number(name, values[name])
        if "algorithm" in values:
            name = str(values["algorithm"]).lower()
            values["algorithm"] = ALIASES.get(name, name)
        if "early_stopping" in values:
            name = str(values["early_stopping"]).lower()
            values["early_stopping"] = {"medianstop": "median", "false": "none"}.get(name, name)
        if not isinstance(values.get("algorithm_settings", {}), Mapping):
            raise TuningError(
                f"algorithm_settings is {values['algorithm_settings']!r}.", "Write it as {eta: 3}."
            )
        return TuneSettings(**values)


_LEAST = {
    "max_trials": 1,
    "parallel_trials": 1,
    "max_failed_trials": 0,
    "min_trials_required": 1,
    "start_step": 1,
}


def check_fits(space: SearchSpace, settings: TuneSettings) -> None:
    """Checks that the algorithm can search the space.

    Raises:
        TuningError: ``grid`` without an end of values, ``cmaes`` with fewer than two numbers, ``hyperband``
            without a resource. Says what to give.
    """
    algorithm = settings.algorithm
    if algorithm == "grid":
        for parameter in space:
            if parameter.grid() is None:
                raise TuningError(
                    f"The algorithm is grid, and the parameter {parameter.name!r} has no step.",
                    "Give it a step, or values, or choose another algorithm.",
                )
    if algorithm == "cmaes" and sum(parameter.type != "categorical" for parameter in space) < 2:
        raise TuningError(
            "The algorithm is cmaes, and the search space has fewer than two numbers.",
            "Search more of type int or float, or choose tpe.",
        )
    if algorithm == "hyperband":
        _check_resource(space, settings.algorithm_settings.get("resource_name"))


def _check_resource(space: SearchSpace, name: Any) -> None:
    whole = [parameter.name for parameter in space if parameter.type == "int"]
    if name is None:
        raise TuningError(
            "The algorithm is hyperband, and nothing says which parameter is the resource that it rations.",
            "Give algorithm_settings: {resource_name: max_iter}, a parameter of type int that is searched.",
        )
    if name not in whole:
        raise TuningError(
            f"hyperband's resource_name is {name!r}, which is no parameter of type int that is searched.",
            did_you_mean(str(name), whole),
        )
    if space[name].when:
        raise TuningError(f"hyperband's resource {name!r} is conditional.", "Search it always.")


def _check_algorithm_settings(algorithm: str, given: Mapping[str, Any]) -> None:
    known = ALGORITHMS[algorithm]
    for name, value in given.items():
        if name not in known:
            raise TuningError(
                f"The algorithm {algorithm} has no setting {name!r}.",
                did_you_mean(name, known) or "It has none: leave it out.",
            )
        if name in _TEXTS and value not in _TEXTS[name]:
            raise TuningError(
                f"{algorithm}'s setting {name!r} is {value!r}.", did_you_mean(str(value), _TEXTS[name])
            )
        if name == "sigma" and not (_is_number(value) and value > 0):
            raise TuningError(f"{algorithm}'s setting 'sigma' is {value!r}.", "Give a number above 0.")
        if name.startswith("n_") or name == "eta":
            least = 2 if name == "eta" else 0
            _check_whole(f"{algorithm}'s setting {name!r}", _plain_number(name, value), least)


def _direction(given: Mapping[str, Any], own: bool) -> bool:
    said = given.get("type")
    if said is None:
        return own
    if said not in ("maximize", "minimize"):
        raise TuningError(
            f"The objective's type is {said!r}.", did_you_mean(str(said), ("maximize", "minimize"))
        )
    return bool(said == "maximize")


def _goal(given: Any) -> float | None:
    if given is None:
        return None
    if not _is_number(given):
        raise TuningError(
            f"The objective's goal is {given!r}.",
            "Give the value at which the search ends, or leave it out; the direction is its type.",
        )
    return float(given)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _plain_number(name: str, value: Any) -> Any:
    """Whole floats, as KFP makes them of integers, as integers again."""
    if not _is_number(value):
        raise TuningError(f"{name} is {value!r}.", "Give a number.")
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _check_whole(name: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise TuningError(f"{name} is {value!r}.", f"Give a whole number of {least} or more.")
