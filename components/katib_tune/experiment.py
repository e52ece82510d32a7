"""Katib's Experiment for a search: space, objective and algorithm in Katib's words, and the Job of a trial.

What Katib cannot do is refused here, before anything is sent: its webhook and its suggestion services say no
later and elsewhere, or (steps and log scales that a service does not know) say nothing and search otherwise.
Rules from kubeflow/katib 0.19: pkg/webhook/v1beta1/experiment/validator and pkg/suggestion/v1beta1.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from kubeflow_katib_api.models import V1beta1Experiment

from kfp_lifecycle.components.katib_tune.backend import Problem
from kfp_lifecycle.components.katib_tune.objective import Objective, TuneSettings
from kfp_lifecycle.components.katib_tune.space import Parameter, SearchSpace, as_text
from kfp_lifecycle.components.katib_tune.trial_job import CONTAINER, TRIAL_NAME, TrialPod, trial_job
from kfp_lifecycle.components.shared.errors import TuningError, redact

#: The longest name of an Experiment that Katib's webhook takes.
MAX_NAME = 40
DIGEST = "kfp-lifecycle/spec-digest"
RUN = "kfp-lifecycle/run-id"
#: What an Experiment of the fixed parameters alone "searches": Katib wants one parameter at least.
ONLY = "seed"

_DONE = 'status.conditions.#(type=="{}")#|#(status=="True")#'
#: The least float that Katib's services take on a log scale.
_LEAST_LOG = 1e-10


def experiment_name(stem: str) -> str:
    """A name for the search ``stem``: the same for the same, and with room for ``-0`` after it.

    Lower-case letters, digits and hyphens, a letter first, at most 38 characters.
    """
    digest = hashlib.sha256(stem.encode()).hexdigest()[:8]
    plain = re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-")
    plain = plain if plain[:1].isalpha() else f"tune-{plain}"
    return f"{plain[: MAX_NAME - len('-0') - len(digest) - 1].rstrip('-')}-{digest}"


def experiment(problem: Problem, pod: TrialPod, namespace: str, run_id: str = "") -> dict[str, Any]:
    """The Experiment of a search.

    Args:
        problem: The search.
        pod: The pods of its trials.
        namespace: The namespace.
        run_id: The KFP run that it is for; empty is none.

    Raises:
        TuningError: Katib cannot search this. Names the parameter or setting, and what it can.
    """
    check_katib(problem.space, problem.settings)
    settings = problem.settings
    parameters = [_parameter(own, settings.algorithm) for own in problem.space]
    name = experiment_name(problem.name)
    return _experiment(problem, parameters, _counts(problem.space, settings), pod, (name, namespace, run_id))


def baseline(problem: Problem, pod: TrialPod, namespace: str, run_id: str = "") -> dict[str, Any]:
    """The Experiment of one trial, trial 0: the fixed parameters alone. As :func:`experiment`."""
    only = {
        "name": ONLY,
        "parameterType": "categorical",
        "feasibleSpace": {"list": [str(problem.seed)]},
    }
    counts = {"maxTrialCount": 1, "parallelTrialCount": 1, "maxFailedTrialCount": 0}
    name = f"{experiment_name(problem.name)}-0"
    return _experiment(problem, [only], counts, pod, (name, namespace, run_id), alone=True)


def check_katib(space: SearchSpace, settings: TuneSettings) -> None:
    """Checks what Katib, and its service for the algorithm, can search. Raises ``TuningError``."""
    algorithm = settings.algorithm
    if settings.max_trials < 2:
        raise _cannot("search with max_trials 1: that is trial 0, the default parameters", "Give 2 or more.")
    for parameter in space:
        _check_parameter(parameter, algorithm)
    if algorithm == "hyperband":
        _check_hyperband(space, settings)


def metric_strategies(objective: Objective, trainer: str) -> dict[str, str]:
    """By metric, which of a trial's values counts: ``latest``, ``max`` or ``min``.

    The last of a cross-validation is the mean over all folds; of a network's epochs the best one is kept.
    """
    names = (objective.metric, *objective.additional_metrics)
    found = dict.fromkeys(names, "latest")
    if trainer == "train-gpu":
        found[objective.metric] = "max" if objective.maximize else "min"
    return found


def _experiment(
    problem: Problem,
    parameters: list[dict[str, Any]],
    counts: Mapping[str, int],
    pod: TrialPod,
    identity: tuple[str, str, str],
    *,
    alone: bool = False,
) -> dict[str, Any]:
    name, namespace, run_id = identity
    labels = {"app.kubernetes.io/part-of": "kfp-lifecycle", "app.kubernetes.io/component": "katib-tune"}
    # What is no label's value (a run of the laptop may be called anything) is made one.
    if run := re.sub(r"[^A-Za-z0-9_.-]", "-", run_id)[:63].strip("-_."):
        labels[RUN] = run
    # A step that is run again has another MLflow run, and is the same search.
    alike = _spec(replace(problem, parent_run=""), parameters, counts, pod, labels, alone)
    body = {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Experiment",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": labels,
            "annotations": {DIGEST: digest(alike)},
        },
        "spec": _spec(problem, parameters, counts, pod, labels, alone),
    }
    return _typed(body)


def _spec(
    problem: Problem,
    parameters: list[dict[str, Any]],
    counts: Mapping[str, int],
    pod: TrialPod,
    labels: Mapping[str, str],
    alone: bool,
) -> dict[str, Any]:
    names = tuple(parameter["name"] for parameter in parameters)
    spec: dict[str, Any] = {
        "objective": _objective(problem.objective, problem.trainer, goal=not alone),
        "algorithm": _algorithm("random" if alone else problem.settings.algorithm, problem, alone),
        **counts,
        "parameters": parameters,
        "metricsCollectorSpec": {"collector": {"kind": "StdOut"}},
        "resumePolicy": "Never",
        "trialTemplate": _template(problem, names, pod, labels),
    }
    if problem.settings.early_stopping == "median" and not alone:
        spec["earlyStopping"] = _early_stopping(problem.settings)
    return spec


def digest(spec: Mapping[str, Any]) -> str:
    """SHA-256 of a spec, by which a step knows its own Experiment again."""
    return hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()


def _typed(body: dict[str, Any]) -> dict[str, Any]:
    """The body as Katib's typed models give it back; they drop a field that they do not know, so compare."""
    found: dict[str, Any] = V1beta1Experiment.from_dict(body).to_dict()
    if found != body:
        raise AssertionError(f"Katib's models give back another Experiment: {found} instead of {body}")
    return found


def _objective(objective: Objective, trainer: str, *, goal: bool) -> dict[str, Any]:
    strategies = metric_strategies(objective, trainer)
    found: dict[str, Any] = {
        "type": "maximize" if objective.maximize else "minimize",
        "objectiveMetricName": objective.metric,
        "metricStrategies": [{"name": name, "value": value} for name, value in strategies.items()],
    }
    if objective.additional_metrics:
        found["additionalMetricNames"] = list(objective.additional_metrics)
    if goal and objective.goal is not None:
        found["goal"] = objective.goal
    return found


def _algorithm(name: str, problem: Problem, alone: bool) -> dict[str, Any]:
    given = {} if alone else dict(problem.settings.algorithm_settings)
    if name == "hyperband":
        given["r_l"] = problem.space[given["resource_name"]].max
    else:
        given["random_state"] = problem.seed
    settings = [{"name": key, "value": str(value)} for key, value in sorted(given.items())]
    return {"algorithmName": name, "algorithmSettings": settings}


def _early_stopping(settings: TuneSettings) -> dict[str, Any]:
    given = {"min_trials_required": settings.min_trials_required, "start_step": settings.start_step}
    return {
        "algorithmName": "medianstop",
        "algorithmSettings": [{"name": name, "value": str(value)} for name, value in given.items()],
    }


def _counts(space: SearchSpace, settings: TuneSettings) -> dict[str, int]:
    """The numbers of trials beside trial 0; of a grid no more than its points, as Katib demands."""
    most = settings.max_trials - 1
    if settings.algorithm == "grid":
        most = min(most, space.size() or most)
    return {
        "maxTrialCount": most,
        "parallelTrialCount": min(settings.parallel_trials, most),
        "maxFailedTrialCount": min(settings.max_failed_trials, most),
    }


def _parameter(parameter: Parameter, algorithm: str) -> dict[str, Any]:
    found: dict[str, Any] = {"name": parameter.name}
    # A grid's floats as texts: Katib's own steps end in 0.30000000000000004.
    if parameter.type == "categorical" or (algorithm == "grid" and parameter.type == "float"):
        values = [as_text(value) for value in parameter.grid() or ()]
        return found | {"parameterType": "categorical", "feasibleSpace": {"list": values}}
    space = {"min": as_text(parameter.min), "max": as_text(parameter.max)}
    if parameter.step is not None:
        space["step"] = as_text(parameter.step)
    if parameter.log and algorithm != "grid":
        space["distribution"] = "logUniform"
    kind = "double" if parameter.type == "float" else "int"
    return found | {"parameterType": kind, "feasibleSpace": space}


def _template(
    problem: Problem, names: tuple[str, ...], pod: TrialPod, labels: Mapping[str, str]
) -> dict[str, Any]:
    parameters = [{"name": name, "reference": name} for name in names]
    return {
        "primaryContainerName": CONTAINER,
        "successCondition": _DONE.format("Complete"),
        "failureCondition": _DONE.format("Failed"),
        # Katib deletes a Job that has ended, and its pods' logs with it, where this is false.
        "retain": True,
        "trialParameters": [*parameters, {"name": TRIAL_NAME, "reference": "${trialSpec.Name}"}],
        "trialSpec": trial_job(problem, names, pod, labels),
    }


def _check_parameter(parameter: Parameter, algorithm: str) -> None:
    if re.search(r"[^\w.-]", parameter.name) or parameter.name == TRIAL_NAME:
        raise _cannot(f"take a parameter named {parameter.name!r}", "Search it where: local.")
    if parameter.when:
        raise _cannot(
            f"search {parameter.name!r} under a condition: each of its trials has all parameters",
            "Leave out when, or search where: local.",
        )
    if parameter.type == "categorical":
        _check_texts(parameter)
        return
    stepped, instead = parameter.step not in (None, 1), "Give values, or choose tpe."
    if stepped and algorithm in ("bayesianoptimization", "hyperband"):
        raise _cannot(f"keep the step of {parameter.name!r} with {algorithm}", instead)
    if parameter.log and algorithm == "hyperband":
        raise _cannot(f"search {parameter.name!r} on a log scale with hyperband", instead)
    if parameter.log and (parameter.min or 0) < _LEAST_LOG:
        raise _cannot(f"search {parameter.name!r} on a log scale below {_LEAST_LOG}", "Give a greater min.")


def _check_texts(parameter: Parameter) -> None:
    texts = [as_text(value) for value in parameter.values]
    for text in texts:
        if re.search(r"[\"'\\]|\$[{(]|[^ -~]", text):
            raise _cannot(
                f"pass the value {redact(text)!r} of {parameter.name!r}",
                "Give ASCII texts without quotes, backslashes and ${, or search where: local.",
            )
        if texts.count(text) > 1:
            raise _cannot(f"tell apart two values of {parameter.name!r} that both read {text}", "Give one.")


def _check_hyperband(space: SearchSpace, settings: TuneSettings) -> None:
    """Katib's own formula for the trials of the first bracket, which all run at once."""
    resource = space[settings.algorithm_settings["resource_name"]]
    eta, most = int(settings.algorithm_settings.get("eta", 3)), float(resource.max or 1)
    last = int(math.log(most) / math.log(eta))
    at_once, least = math.ceil(eta**last), int(most * eta**-last)
    if settings.parallel_trials < at_once:
        raise _cannot(
            f"run hyperband with {settings.parallel_trials} trials at a time: its first round has {at_once}",
            f"Give parallel_trials {at_once} or more, a smaller max of {resource.name!r}, or a greater eta.",
        )
    if settings.max_trials <= at_once:
        raise _cannot(
            f"run hyperband with max_trials {settings.max_trials}: its first round has {at_once}, beside "
            "trial 0",
            f"Give {at_once + 1} or more.",
        )
    if (resource.min or 0) > least:
        raise _cannot(
            f"begin hyperband at {resource.name!r} {resource.min}: it begins at {least}",
            f"Give min {least}, or choose another max or eta.",
        )


def _cannot(do: str, fix: str) -> TuningError:
    return TuningError(f"Katib cannot {do}.", fix)
