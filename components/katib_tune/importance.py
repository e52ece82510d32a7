"""How much each hyperparameter mattered in a search.

PED-ANOVA (Watanabe, Bansal and Hutter, *PED-ANOVA: Efficiently quantifying hyperparameter importance in
arbitrary subspaces*, IJCAI 2023), as Optuna computes it: how far the values of the best trials are spread
differently from those of all.
"""

import json
import math
from collections.abc import Sequence
from typing import Any

import optuna

from kfp_lifecycle.components.katib_tune.backend import Trial
from kfp_lifecycle.components.katib_tune.objective import Objective
from kfp_lifecycle.components.katib_tune.space import Parameter, SearchSpace

#: With fewer trials than this the numbers are noise.
MIN_TRIALS = 8


def importances(trials: Sequence[Trial], space: SearchSpace, objective: Objective) -> dict[str, float]:
    """Each parameter's share of the importance, the greatest first; empty where too few trials tell.

    Args:
        trials: The trials; complete ones count.
        space: What was searched.
        objective: What for.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize" if objective.maximize else "minimize")
    always = [parameter for parameter in space if not parameter.when]
    for trial in trials:
        if trial.state == "complete" and all(own.name in trial.parameters for own in always):
            study.add_trial(_frozen(trial, always))
    if len(study.trials) < MIN_TRIALS:
        return {}
    try:
        found = optuna.importance.get_param_importances(study)
    except (RuntimeError, ValueError):  # all trials were alike in value or in a parameter
        return {}
    return {name: share for name, share in found.items() if math.isfinite(share)}


def _frozen(trial: Trial, parameters: Sequence[Parameter]) -> optuna.trial.FrozenTrial:
    return optuna.create_trial(
        params={own.name: _value(own, trial.parameters[own.name]) for own in parameters},
        distributions={own.name: _distribution(own) for own in parameters},
        value=trial.value,
    )


def _distribution(parameter: Parameter) -> optuna.distributions.BaseDistribution:
    if parameter.type == "categorical":
        return optuna.distributions.CategoricalDistribution([json.dumps(value) for value in parameter.values])
    assert parameter.min is not None
    assert parameter.max is not None
    if parameter.type == "int":
        return optuna.distributions.IntDistribution(int(parameter.min), int(parameter.max), log=parameter.log)
    return optuna.distributions.FloatDistribution(parameter.min, parameter.max, log=parameter.log)


def _value(parameter: Parameter, value: Any) -> Any:
    return json.dumps(value) if parameter.type == "categorical" else value
