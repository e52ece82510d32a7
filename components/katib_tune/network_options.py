"""What train-gpu's options are in a search: those of one trial, and which of them cannot be searched.

Imports no PyTorch: a search on Katib checks its parameters without.
"""

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from kfp_lifecycle.components.katib_tune.backend import Problem
from kfp_lifecycle.components.katib_tune.metrics import HELD_OUT, LOSS
from kfp_lifecycle.components.katib_tune.space import check_takes, ends
from kfp_lifecycle.components.shared.errors import ParameterError, TuningError
from kfp_lifecycle.components.train_gpu.options import NetworkOptions, check_names

#: Options that katib-tune itself sets for each trial.
_OWN = ("experiment", "run_name", "seed", "nodes", "checkpoint_uri")
#: Options that say how a trial is judged, or what it runs on: alike for all.
_ALIKE = ("validation_share", "monitor", "devices", "require_gpu", "reference_rows")
#: Options that change what the loss is, so that losses do not compare.
_OF_LOSS = ("loss", "class_weight")


def network_options(problem: Problem, parameters: Mapping[str, Any]) -> NetworkOptions:
    """The options of a trial. Raises ``ParameterError``."""
    return NetworkOptions(**{**problem.options, **problem.fixed, **parameters, "seed": problem.seed})


def monitored(metric: str) -> str:
    """What train-gpu calls the objective, as the metric that tells the best epoch."""
    return metric.removeprefix(HELD_OUT)


def check_options(problem: Problem, task: str) -> dict[str, Any]:
    """Checks that train-gpu takes what is fixed and what is searched, and each value that stands at an end.

    Args:
        problem: The search.
        task: ``binary``, ``multiclass`` or ``regression``.

    Returns:
        The values that train-gpu's options have in trial 0.

    Raises:
        TuningError: It takes no such parameter (names the nearest) or value, or it cannot be searched.
        ParameterError: A fixed parameter is unknown or wrong.
    """
    _check_fixed(problem)
    default = network_options(problem, {})
    default.check_task(task)
    if not default.validation_share:
        raise TuningError(
            "validation_share is 0, and a trial is judged by the rows that it holds out.",
            "Hold some out, such as 0.1.",
        )
    check_takes(problem.space.names, (own.name for own in fields(NetworkOptions)), "train-gpu")
    for name in problem.space.names:
        _check_searched(name, problem.objective.metric)
    for name, value in ends(problem.space):
        try:
            network_options(problem, {name: value}).check_task(task)
        except ParameterError as error:
            raise TuningError(
                f"The search space's parameter {name!r} has {value!r}: {error}", "Correct it."
            ) from error
    return asdict(default)


def _check_fixed(problem: Problem) -> None:
    """Raises ``ParameterError``."""
    check_names(problem.fixed)
    for name in problem.fixed:
        if name in _OWN:
            raise ParameterError(
                f"estimator_parameters has {name!r}, which katib-tune sets for each trial.",
                "Leave it out there.",
            )


def _check_searched(name: str, metric: str) -> None:
    if name in (*_OWN, *_ALIKE):
        raise TuningError(
            f"The search space has {name!r}, which is alike for all trials.",
            "Give it in estimator_parameters." if name in _ALIKE else "Leave it out.",
        )
    if metric == LOSS and name in _OF_LOSS:
        raise TuningError(
            f"The search space has {name!r}, which changes what {LOSS} is, the objective: its values do not "
            "compare.",
            "Choose a metric as the objective.",
        )
