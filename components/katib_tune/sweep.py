"""Sweeps as Weights & Biases writes them, converted to our searches.

Distributions: https://docs.wandb.ai/guides/sweeps/sweep-config-keys. What has no counterpart here is named.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kfp_lifecycle.components.katib_tune.space import Parameter
from kfp_lifecycle.components.shared.errors import TuningError, did_you_mean

#: W&B's methods, and the algorithm that does it here.
METHODS = {"random": "random", "grid": "grid", "bayes": "tpe"}

#: What only W&B's agent needs.
_AGENT = (
    *("program", "command", "project", "entity", "name", "description", "controller", "job", "image_uri"),
    *("kind", "prior_runs"),
)
_KEYS = ("method", "metric", "parameters", "early_terminate", "run_cap", *_AGENT)
_UNIFORM = ("uniform", "int_uniform", "q_uniform")
_LOG = ("log_uniform", "log_uniform_values", "q_log_uniform_values")
_KNOWN = ("constant", "categorical", *_UNIFORM, *_LOG)


@dataclass(frozen=True)
class Sweep:
    """What a sweep became.

    Args:
        search: The search, as :func:`.search_file.parse_search` takes it.
        fixed: The parameters with one value: of every trial.
        notes: What is not as it was, a sentence each.
    """

    search: dict[str, Any]
    fixed: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def from_sweep(sweep: Mapping[str, Any]) -> Sweep:
    """Converts a sweep's configuration.

    Args:
        sweep: The mapping that its YAML is.

    Raises:
        TuningError: It has a distribution, or anything else about its parameters, that cannot be said here
            (names it, and what can), or it is no sweep.
    """
    for key in sweep:
        if key not in _KEYS:
            raise TuningError(f"The sweep has {key!r}.", did_you_mean(str(key), _KEYS))
    given = sweep.get("parameters")
    if not isinstance(given, Mapping) or not given:
        raise TuningError("The sweep has no parameters.", "Give one or more.")
    notes = [f"{key} is for W&B's agent, and left out." for key in sweep if key in _AGENT]
    parameters: dict[str, Any] = {}
    fixed: dict[str, Any] = {}
    for name, own in given.items():
        if (kind := _distribution(name, own)) == "constant":
            fixed[name] = own["value"]
        else:
            parameters[name] = Parameter.parse(name, _converted(name, kind, own)).to_dict()
    search: dict[str, Any] = {"algorithm": _algorithm(sweep, notes), "parameters": parameters}
    search |= _objective(sweep.get("metric")) | _stopping(sweep.get("early_terminate"), notes)
    if "run_cap" in sweep:
        search["max_trials"] = sweep["run_cap"]
    return Sweep(search, fixed, tuple(notes))


def _distribution(name: str, given: Any) -> str:
    """The distribution that a parameter has, or that W&B takes it to have."""
    if not isinstance(given, Mapping):
        raise _wrong(name, f"is {given!r}", "Write it as {min: 1, max: 5} or {values: [a, b]}.")
    for key in ("parameters", "probabilities"):
        if key in given:
            raise _wrong(name, f"has {key}, which cannot be said here", "Leave it out.")
    if kind := given.get("distribution"):
        if kind not in _KNOWN:
            says = f"has the distribution {kind}, which cannot be said here"
            raise _wrong(name, says, f"Use {', '.join(_KNOWN)}.")
        return str(kind)
    if "value" in given:
        return "constant"
    if "values" in given:
        return "categorical"
    if not {"min", "max"} <= set(given):
        raise _wrong(name, "has neither values nor min and max", "Give one of them.")
    whole = all(isinstance(given[key], int) for key in ("min", "max"))
    return "int_uniform" if whole else "uniform"


def _converted(name: str, kind: str, given: Mapping[str, Any]) -> dict[str, Any]:
    if kind == "categorical":
        return {"values": given.get("values")}
    low, high = (_number(name, key, given) for key in ("min", "max"))
    if kind in ("uniform", "int_uniform"):
        return {"type": "int" if kind == "int_uniform" else "float", "min": low, "max": high}
    if kind == "log_uniform_values":
        return {"type": "float", "min": low, "max": high, "log": True}
    if kind == "log_uniform":  # its ends are logarithms
        return {"type": "float", "min": math.exp(low), "max": math.exp(high), "log": True}
    step = _number(name, "q", given) if "q" in given else 1.0
    if kind == "q_log_uniform_values":
        if step != 1 or not (low.is_integer() and high.is_integer()):
            says = f"has steps of {step:g} on a log scale, which cannot be said here"
            raise _wrong(name, says, "Give values.")
        return {"type": "int", "min": low, "max": high, "log": True}
    # W&B rounds to multiples of q; here steps begin at min.
    ends = [float(f"{round(end / step) * step:.12g}") for end in (low, high)]
    whole = step.is_integer() and all(end.is_integer() for end in ends)
    return {"type": "int" if whole else "float", "min": ends[0], "max": ends[1], "step": step}


def _number(name: str, key: str, given: Mapping[str, Any]) -> float:
    try:
        return float(given[key])  # YAML 1.1 reads 1e-5 as a text
    except (KeyError, TypeError, ValueError):
        raise _wrong(name, f"has {key} {given.get(key)!r}", "Give a number.") from None


def _algorithm(sweep: Mapping[str, Any], notes: list[str]) -> str:
    method = str(sweep.get("method", "bayes"))
    if method not in METHODS:
        raise TuningError(f"The sweep's method is {method!r}.", did_you_mean(method, METHODS))
    if method == "bayes":
        notes.append("method bayes is a Gaussian process; tpe, which knows steps too, stands for it.")
    return METHODS[method]


def _objective(metric: Any) -> dict[str, Any]:
    if metric is None:
        return {}
    if not isinstance(metric, Mapping) or "name" not in metric:
        raise TuningError(f"The sweep's metric is {metric!r}.", "Write {name: roc_auc, goal: maximize}.")
    found = {"metric": metric["name"], "type": metric.get("goal", "minimize")}
    return {"objective": found | ({"goal": metric["target"]} if "target" in metric else {})}


def _stopping(given: Any, notes: list[str]) -> dict[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, Mapping) or given.get("type") != "hyperband":
        raise TuningError(f"The sweep's early_terminate is {given!r}.", "Its type can be hyperband alone.")
    notes.append("early_terminate by hyperband became early stopping by the median.")
    start = given.get("min_iter")
    return {"early_stopping": "median", **({"start_step": start} if start else {})}


def _wrong(name: str, says: str, fix: str) -> TuningError:
    return TuningError(f"The sweep's parameter {name!r} {says}.", fix)
