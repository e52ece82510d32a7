"""What Katib 0.19 says no to: its webhook's rules and those of its suggestion services, for tests.

Written anew from kubeflow/katib: pkg/webhook/v1beta1/experiment/validator/validator.go,
pkg/suggestion/v1beta1/{optuna,skopt,hyperband}/service.py and pkg/earlystopping/v1beta1/medianstop.
"""

import itertools
import json
import math
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import numpy as np
from kubernetes_validate import validate

Object = dict[str, Any]
SERVICES = ("random", "grid", "tpe", "bayesianoptimization", "cmaes", "hyperband")
_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_PLACE = re.compile(r"\$\{trialParameters\..+?\}")
_META = re.compile(r"\$\{trialSpec\.(Name|Namespace|Kind|APIVersion|(Annotations|Labels)\[.+\])\}")


def complaints(experiment: Object) -> list[str]:
    """Everything that Katib would not take."""
    spec = experiment["spec"]
    found = [*_about_counts(experiment), *_about_objective(spec["objective"]), *_about_template(spec)]
    found += [said for own in spec["parameters"] for said in _about_parameter(own)]
    found += _about_service(spec) if spec["algorithm"]["algorithmName"] in SERVICES else ["algorithm"]
    if stopping := spec.get("earlyStopping"):
        found += _about_median(stopping)
    if spec["metricsCollectorSpec"]["collector"]["kind"] not in ("StdOut", "Push"):
        found.append("collector")
    if spec.get("resumePolicy", "") not in ("", "Never", "LongRunning", "FromVolume"):
        found.append("resumePolicy")
    return found


def run_spec(experiment: Object, name: str, assignments: dict[str, str]) -> Object:
    """The trial's object, as Katib's generator makes it: parameters put into the template's JSON."""
    template = experiment["spec"]["trialTemplate"]
    text = json.dumps(template["trialSpec"])
    told = 0
    for parameter in template["trialParameters"]:
        reference = parameter["reference"]
        value = name if reference == "${trialSpec.Name}" else assignments[reference]
        told += not _META.fullmatch(reference)
        text = text.replace(f"${{trialParameters.{parameter['name']}}}", value)
    assert told == len(assignments), "the webhook counts them"
    made: Object = json.loads(text)
    return made | {"metadata": {"name": name, "namespace": experiment["metadata"]["namespace"]}}


def shell_line(job: Object, metrics_file: str) -> list[str]:
    """The command of the trial's container, as Katib's pod webhook rewrites it and Kubernetes reads it."""
    container = job["spec"]["template"]["spec"]["containers"][0]
    words = [*container["command"], *container.get("args", [])]
    command = ["sh", "-c"]
    if words[0] in ("sh", "bash") and words[1] == "-c":
        command, words = words[:2], words[2:]
    words += [f"1>{metrics_file} 2>&1", "&&", "echo completed > $$$$.pid"]
    return [*command, " ".join(words).replace("$$", "$")]


def collected(text: str, names: list[str]) -> dict[str, list[tuple[str, str]]]:
    """The moments and values that Katib's collector finds in what a trial has printed, in order."""
    pattern = re.compile(r"([\w|-]+)\s*=\s*([+-]?\d*(\.\d+)?([Ee][+-]?\d+)?)")
    found: dict[str, list[tuple[str, str]]] = {name: [] for name in names}
    for line in text.splitlines():
        first = line.partition(" ")[0]
        try:
            datetime.fromisoformat(first)
        except ValueError:
            first = "0001-01-01T00:00:00Z"
        for match in pattern.finditer(line):
            if match[1] in found:
                found[match[1]].append((first, match[2]))
    return found


def _about_counts(experiment: Object) -> Iterator[str]:
    name, spec = experiment["metadata"]["name"], experiment["spec"]
    if len(name) > 40 or not _NAME.fullmatch(name):
        yield f"name {name}"
    most, parallel, failed = (spec[f"{own}TrialCount"] for own in ("max", "parallel", "maxFailed"))
    if most <= 0 or not 0 < parallel <= most or not 0 <= failed <= most:
        yield f"counts {most} {parallel} {failed}"
    if not spec["parameters"]:
        yield "no parameters"


def _about_objective(objective: Object) -> Iterator[str]:
    if objective["type"] not in ("maximize", "minimize"):
        yield "type"
    more = objective.get("additionalMetricNames", [])
    if not objective["objectiveMetricName"] or objective["objectiveMetricName"] in more:
        yield "metrics"
    strategies = {own["name"]: own["value"] for own in objective["metricStrategies"]}
    if set(strategies) != {objective["objectiveMetricName"], *more}:
        yield "strategies"
    if not set(strategies.values()) <= {"min", "max", "latest"}:
        yield "strategies"


def _about_parameter(parameter: Object) -> Iterator[str]:
    name, kind, space = parameter["name"], parameter["parameterType"], parameter["feasibleSpace"]
    if not all(isinstance(value, (str, list)) for value in space.values()):
        yield f"{name}: texts only"
    if kind in ("int", "double"):
        if "list" in space or not space.get("min") or not space.get("max"):
            yield f"{name}: range"
    elif kind in ("categorical", "discrete"):
        if not space.get("list") or {"min", "max", "step"} & set(space):
            yield f"{name}: list"
    else:
        yield f"{name}: type"
    if space.get("distribution", "uniform") not in ("uniform", "logUniform", "normal", "logNormal"):
        yield f"{name}: distribution"


def _about_template(spec: Object) -> Iterator[str]:
    template = spec["trialTemplate"]
    for needed in ("primaryContainerName", "successCondition", "failureCondition", "trialParameters"):
        if not template.get(needed):
            yield needed
    text = json.dumps(template["trialSpec"])
    names = [own["name"] for own in template["trialParameters"]]
    references = [own["reference"] for own in template["trialParameters"]]
    if len(set(names)) < len(names) or len(set(references)) < len(references):
        yield "trialParameters twice"
    known = {own["name"] for own in spec["parameters"]}
    for name, reference in zip(names, references, strict=True):
        place = f"${{trialParameters.{name}}}"
        if re.search(r"[{}]", name) or (not _META.fullmatch(reference) and reference not in known):
            yield f"reference {reference}"
        if place not in text:
            yield f"{name} is not in the template"
        text = text.replace(place, "test-value")
    if left := _PLACE.findall(text):
        yield f"not replaced: {left}"
    job = json.loads(text)
    if job.get("metadata", {}).keys() & {"name", "namespace"}:
        yield "name in the template"
    # It must survive Kubernetes' own types: no field that a Job does not have.
    validate(job, "1.33", strict=True)
    containers = job["spec"]["template"]["spec"]["containers"]
    main = [own for own in containers if own["name"] == template["primaryContainerName"]]
    if len(main) != 1 or not main[0].get("command"):
        yield "no command: the webhook would ask the registry for the image's"


def _about_service(spec: Object) -> Iterator[str]:
    name = spec["algorithm"]["algorithmName"]
    settings = {own["name"]: own["value"] for own in spec["algorithm"]["algorithmSettings"]}
    if not all(isinstance(value, str) for value in settings.values()):
        yield "settings are texts"
    known: dict[str, Any] = {
        "random": {"random_state"},
        "grid": {"random_state"},
        "tpe": {"n_startup_trials", "n_ei_candidates", "random_state"},
        "cmaes": {"restart_strategy", "sigma", "random_state"},
        "bayesianoptimization": {
            "base_estimator",
            "n_initial_points",
            "acq_func",
            "acq_optimizer",
            "random_state",
        },
        "hyperband": {"r_l", "resource_name", "eta"},
    }
    if unknown := set(settings) - known[name]:
        yield f"{name} has no {unknown}"
    if name != "hyperband" and int(settings.get("random_state", 0)) < 0:
        yield "random_state"
    if name == "cmaes" and sum(own["parameterType"] in ("int", "double") for own in spec["parameters"]) < 2:
        yield "cmaes wants two"
    if name == "grid" and spec["maxTrialCount"] > len(list(itertools.product(*_grids(spec)))):
        yield "more trials than combinations"
    if name == "hyperband":
        yield from _about_hyperband(spec, settings)


def _grids(spec: Object) -> Iterator[list[Any]]:
    for own in spec["parameters"]:
        space = own["feasibleSpace"]
        if own["parameterType"] == "int":
            yield list(range(int(space["min"]), int(space["max"]) + 1, int(space.get("step", 1))))
        elif own["parameterType"] == "double":
            low, high, step = (float(space[key]) for key in ("min", "max", "step"))
            yield [value for value in np.arange(low, high + step, step) if value <= high]
        else:
            yield space["list"]


def _about_hyperband(spec: Object, settings: dict[str, str]) -> Iterator[str]:
    most, eta = float(settings["r_l"]), int(float(settings.get("eta", 3)))
    if spec["parallelTrialCount"] < math.ceil(eta ** int(math.log(most) / math.log(eta))):
        yield "parallelTrialCount"
    if settings["resource_name"] not in {own["name"] for own in spec["parameters"]}:
        yield "resource_name"


def _about_median(stopping: Object) -> Iterator[str]:
    if stopping["algorithmName"] != "medianstop":
        yield "early stopping"
    for own in stopping["algorithmSettings"]:
        if own["name"] not in ("min_trials_required", "start_step") or int(own["value"]) < 1:
            yield f"early stopping {own}"
