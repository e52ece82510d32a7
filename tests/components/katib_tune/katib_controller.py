"""A double of Katib's controller, played on the double of the Kubernetes API, for tests.

It takes an Experiment up, asks Optuna for assignments as Katib's service does, makes Trials, and settles each
as the test's ``outcome`` says.
"""

import importlib.util
import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import optuna

from tests.components.katib_tune.katib_rules import complaints
from tests.kubernetes_api import KubernetesApi

Object = dict[str, Any]
LABEL = "katib.kubeflow.org/experiment"


@dataclass
class Outcome:
    """How a trial ends.

    Args:
        metrics: What the collector found, by metric.
        kind: ``Succeeded``, ``Failed``, ``EarlyStopped``, ``MetricsUnavailable`` or ``Running`` for ever.
        log: What it printed.
        pod: Status of its pod, where it never ran.
    """

    metrics: dict[str, float] = field(default_factory=dict)
    kind: str = "Succeeded"
    log: str = ""
    pod: Object | None = None


class Katib:
    """The controller. Its faults are fields.

    Args:
        api: The API server.
        outcome: Assignments of a trial (texts by name) to how it ends.
        gone: Whether it does nothing at all.
        step_s: How long a trial takes.
    """

    def __init__(
        self,
        api: KubernetesApi,
        outcome: Callable[[dict[str, str]], Outcome],
        *,
        gone: bool = False,
        step_s: float = 0.0,
    ) -> None:
        self.api, self.outcome, self.gone, self.step_s = api, outcome, gone, step_s
        self.refused: list[list[str]] = []
        api.controller(self.act)

    def act(self, api: KubernetesApi, change: str, body: Object) -> None:
        if body["kind"] != "Experiment" or change != "ADDED" or self.gone:
            return
        assert not (said := complaints(body)), said
        threading.Thread(target=self.run, args=(body,), daemon=True).start()

    def run(self, body: Object) -> None:
        """Plays one Experiment to its end."""
        name, spec = body["metadata"]["name"], body["spec"]
        self._condition("experiments", name, "Created")
        study = suggestions(spec)
        failed = 0
        objective = spec["objective"]
        for number in itertools.count():
            if self.api.get("experiments", name) is None:
                return
            if failed > spec["maxFailedTrialCount"]:
                self._end(name, "Failed", "ExperimentFailed", "max failed count has reached")
                return
            if number >= spec["maxTrialCount"]:
                self._end(name, "Succeeded", "ExperimentMaxTrialsReached", "max trial count has reached")
                return
            found = self._trial(body, f"{name}-{number:04x}{'abcd'}", study())
            failed += found.kind == "Failed"
            value = found.metrics.get(objective["objectiveMetricName"])
            sign = 1 if objective["type"] == "maximize" else -1
            if value is not None and "goal" in objective and sign * (value - objective["goal"]) >= 0:
                self._end(name, "Succeeded", "ExperimentGoalReached", "Objective goal has reached")
                return

    def _trial(self, experiment: Object, name: str, assignments: dict[str, str]) -> Outcome:
        metadata = {"name": name, "labels": {LABEL: experiment["metadata"]["name"]}}
        metadata["ownerReferences"] = [{"uid": experiment["metadata"]["uid"]}]  # type: ignore[assignment]
        given = [{"name": key, "value": value} for key, value in assignments.items()]
        trial = {
            "apiVersion": "kubeflow.org/v1beta1",
            "kind": "Trial",
            "metadata": metadata,
            "spec": {"parameterAssignments": given, "objective": experiment["spec"]["objective"]},
            "status": {"startTime": _now(), "conditions": [_condition("Running", "True")]},
        }
        with self.api.changed:
            if self.api.get("experiments", experiment["metadata"]["name"]) is None:
                return Outcome({}, "Running")
            uid = self.api.put(trial)["metadata"]["uid"]
        found = self.outcome(assignments)
        logs = {"training-container": "", "metrics-logger-and-collector": _klog(found.log)}
        with self.api.changed:
            if self.api.get("trials", name) is None:
                return found
            self.api.add_pod(f"{name}-pod", logs, labels={"job-name": name}, status=found.pod, owner=uid)
        time.sleep(self.step_s)
        while found.kind == "Running":
            if self.api.get("trials", name) is None:
                return found
            time.sleep(0.02)
        observed = [
            {"name": key, "latest": repr(value), "min": repr(value), "max": repr(value)}
            for key, value in found.metrics.items()
        ]

        def settle(trial: Object) -> None:
            trial["status"] |= {"observation": {"metrics": observed}, "completionTime": _now()}
            trial["status"]["conditions"].append(_condition(found.kind, "True", "Job has reached the end"))

        self.api.update("trials", name, settle)
        return found

    def _end(self, name: str, kind: str, reason: str, message: str) -> None:
        self._condition("experiments", name, kind, reason, message)

    def _condition(self, plural: str, name: str, kind: str, reason: str = "", message: str = "") -> None:
        def change(body: Object) -> None:
            status = body.setdefault("status", {})
            status.setdefault("conditions", []).append(_condition(kind, "True", message) | {"reason": reason})

        self.api.update(plural, name, change)


def suggestions(spec: Object) -> Callable[[], dict[str, str]]:
    """What Katib's Optuna service suggests: the next trial's assignments, all texts."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    settings = {own["name"]: own["value"] for own in spec["algorithm"]["algorithmSettings"]}
    name, seed = spec["algorithm"]["algorithmName"], int(settings.get("random_state", 1))
    space = {own["name"]: _distribution(own) for own in spec["parameters"]}
    sampler: Any = optuna.samplers.RandomSampler(seed=seed)
    if name == "grid":
        values = {key: _values(own) for key, own in space.items()}
        sampler = optuna.samplers.GridSampler(values, seed=seed)
    elif name == "tpe":
        sampler = optuna.samplers.TPESampler(n_startup_trials=3, seed=seed, constant_liar=True)
    elif name == "cmaes" and importlib.util.find_spec("cmaes"):
        sampler = optuna.samplers.CmaEsSampler(seed=seed)
    study = optuna.create_study(sampler=sampler)

    def ask() -> dict[str, str]:
        trial = study.ask(space)
        study.tell(trial, trial.number % 3)
        return {key: str(value) for key, value in trial.params.items()}

    return ask


def _distribution(parameter: Object) -> Any:
    space, kind = parameter["feasibleSpace"], parameter["parameterType"]
    if kind == "categorical":
        return optuna.distributions.CategoricalDistribution(space["list"])
    log = space.get("distribution") == "logUniform"
    if kind == "int":
        step = 1 if log else int(space.get("step", 1))
        return optuna.distributions.IntDistribution(int(space["min"]), int(space["max"]), log=log, step=step)
    step_f = float(space["step"]) if "step" in space else None
    return optuna.distributions.FloatDistribution(
        float(space["min"]), float(space["max"]), log=log, step=step_f
    )


def _values(distribution: Any) -> list[Any]:
    if isinstance(distribution, optuna.distributions.CategoricalDistribution):
        return list(distribution.choices)
    return list(range(distribution.low, distribution.high + 1, distribution.step))


def _condition(kind: str, status: str, message: str = "") -> Object:
    return {"type": kind, "status": status, "message": message, "reason": f"Trial{kind}"}


def _klog(text: str) -> str:
    """What the collector's container repeats, with the head that its logger writes."""
    return "".join(f"I1122 18:00:00.000001      14 main.go:143] {line}\n" for line in text.splitlines())


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
