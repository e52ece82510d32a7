"""A search on Katib while it goes on: counted, reported, and ended when there is nothing more to wait for."""

import itertools
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from kfp_lifecycle.components.katib_tune.backend import Problem, Progress, Trial
from kfp_lifecycle.components.katib_tune.katib_trials import (
    condition,
    moment,
    pods_run,
    read_trial,
    started,
    stuck_pods,
    trial_error,
    without_metrics,
)
from kfp_lifecycle.components.shared.cluster import Cluster, Kind
from kfp_lifecycle.components.shared.errors import ClusterError, TuningError, redact

log = logging.getLogger(__name__)

KATIB = "Katib (kubectl apply -k of its manifests, or the whole of Kubeflow)"
EXPERIMENT = Kind("Experiment", "kubeflow.org", "v1beta1", "experiments", KATIB)
TRIAL = Kind("Trial", "kubeflow.org", "v1beta1", "trials", KATIB)
SUGGESTION = Kind("Suggestion", "kubeflow.org", "v1beta1", "suggestions", KATIB)
OF_EXPERIMENT = "katib.kubeflow.org/experiment"
LOOK = "Look at kubectl -n kubeflow get pods, and at kubectl -n kubeflow logs deployment/katib-controller."


@dataclass(frozen=True)
class Patience:
    """How long is waited for what, in seconds.

    Args:
        poll: Between two looks at the Experiment.
        taken_up: For Katib's controller to take a new Experiment up.
        progress: For anything to change while no trial's pod runs: beyond that, the controller is gone.
        stuck: For a trial's pod to start, before it is said why it does not.
        deletion: For an Experiment of the same name that is being deleted.
    """

    poll: float = 5.0
    taken_up: float = 180.0
    progress: float = 3600.0
    stuck: float = 60.0
    deletion: float = 180.0


class Course:
    """A search that goes on, as it is seen from here.

    Args:
        cluster: Where.
        problem: The search.
        names: Its Experiments: of the search, and of trial 0.
        patience: How long is waited.
        progress: Told when a count or the best value has changed.
    """

    def __init__(
        self,
        cluster: Cluster,
        problem: Problem,
        names: list[str],
        patience: Patience,
        progress: Callable[[Progress], None],
    ) -> None:
        self.cluster, self.problem, self.names, self.patience = cluster, problem, names, patience
        self.progress = progress
        #: Whether it was ended before Katib was done.
        self.stopped = False
        self._begun = time.monotonic()
        self._changed, self._seen, self._told = self._begun, "", ""
        self._warned: set[str] = set()
        self._errors: dict[str, str] = {}
        self._experiments: list[dict[str, Any]] = []
        self._found: list[list[dict[str, Any]]] = [[] for _ in names]

    def run(self) -> str:
        """Watches until both Experiments have ended; gives why.

        Raises:
            TuningError: Too many trials failed, or none gave a value.
            ClusterError: Nothing goes on, or an Experiment is gone.
        """
        while True:
            self._look()
            self._tell()
            if reason := self._ended():
                break
            self._check_failures()
            self._check_going()
            time.sleep(self.patience.poll)
        self._check_failures()
        if all(trial.value is None for trial in self.trials()):
            raise TuningError(
                f"No trial gave a value: {reason}. {self._first_error()}",
                "Correct what it names." if not self.stopped else "Give more time.",
            )
        return reason

    def trials(self) -> tuple[Trial, ...]:
        """All trials by number, those that failed with their errors."""
        searched, alone = self._found
        numbered = [(0, own) for own in alone[:1]] + list(enumerate(searched, 1))
        return tuple(self._trial(own, number) for number, own in numbered)

    def _trial(self, found: dict[str, Any], number: int) -> Trial:
        trial = read_trial(found, number, self.problem)
        if trial.state != "failed":
            return trial
        if trial.name not in self._errors:
            self._errors[trial.name] = trial_error(self.cluster, found, self.problem.objective.metric)
        return replace(trial, error=self._errors[trial.name])

    def _all(self) -> Iterator[dict[str, Any]]:
        return itertools.chain.from_iterable(self._found)

    def _look(self) -> None:
        experiments, trials = self.cluster.objects(EXPERIMENT), self.cluster.objects(TRIAL)
        there = [experiments.get(name) for name in self.names]
        for name, own in zip(self.names, there, strict=True):
            if own is None or own["metadata"].get("deletionTimestamp"):
                raise ClusterError(
                    f"The Experiment {name!r} was deleted while it ran.", "Run this step again for a new one."
                )
        self._experiments = [own for own in there if own is not None]
        self._found = [sorted(trials.list(f"{OF_EXPERIMENT}={name}"), key=started) for name in self.names]
        objects = (*self._experiments, *self._all())
        if (seen := " ".join(own["metadata"]["resourceVersion"] for own in objects)) != self._seen:
            self._changed, self._seen = time.monotonic(), seen

    def _tell(self) -> None:
        trials = [read_trial(own, number, self.problem) for number, own in enumerate(self._all(), 1)]
        best: float | None = None
        for trial in trials:
            if trial.value is not None and self.problem.objective.better(trial.value, best):
                best = trial.value
        states = [trial.state for trial in trials]
        told = Progress(
            done=states.count("complete") + states.count("pruned"),
            running=states.count("stopped"),
            failed=states.count("failed"),
            total=self._experiments[0]["spec"]["maxTrialCount"] + 1,
            best=best,
        )
        if str(told) != self._told:
            self._told = str(told)
            self.progress(told)

    def _ended(self) -> str:
        """Why the search has ended; empty while it goes on."""
        main, alone = self._experiments
        budget = self.problem.settings.time_budget
        age = (datetime.now(UTC) - moment(main["metadata"]["creationTimestamp"])).total_seconds()
        if budget and age > budget:
            self.stopped = True
            return "the time budget is spent"
        if condition(main, "Failed"):
            raise self._failed(main)
        done = condition(main, "Succeeded")
        first_done = condition(alone, "Succeeded") or condition(alone, "Failed")
        if not done or not (first_done or any(without_metrics(own) for own in self._found[1])):
            return ""
        reasons = {
            "ExperimentGoalReached": "the goal is reached",
            "ExperimentMaxTrialsReached": "all trials are done",
            "ExperimentSuggestionEndReached": "the algorithm has no more to suggest",
        }
        return reasons.get(done.get("reason", ""), redact(str(done.get("message", ""))))

    def _failed(self, main: dict[str, Any]) -> TuningError:
        said = (condition(main, "Failed") or {}).get("message", "")
        if failed := [own for own in self._found[0] if condition(own, "Failed")]:
            return self._too_many(len(failed))
        suggestion = self.cluster.objects(SUGGESTION).get(self.names[0]) or {}
        said = (condition(suggestion, "Failed") or {}).get("message") or said
        return TuningError(f"Katib's {self.problem.settings.algorithm} refuses the search: {redact(said)}.")

    def _check_failures(self) -> None:
        """Trials without the objective are failures too; Katib alone would run all of them to the end."""
        failed = [own for own in self._found[0] if condition(own, "Failed") or without_metrics(own)]
        if len(failed) > self._experiments[0]["spec"]["maxFailedTrialCount"]:
            raise self._too_many(len(failed))

    def _too_many(self, count: int) -> TuningError:
        most, all_ = self._experiments[0]["spec"]["maxFailedTrialCount"], len(self._found[0])
        return TuningError(
            f"{count} of {all_} trials failed, and {most} may. {self._first_error()}",
            "Correct what it names, or raise max_failed_trials.",
        )

    def _first_error(self) -> str:
        for trial in sorted(self.trials(), key=lambda trial: trial.number or 10**9):
            if trial.error:
                return f"The first of them, {trial.name}, says: {trial.error.rstrip('.')}."
        return "None of them has said why." if self._found[0] else "None had ended."

    def _check_going(self) -> None:
        now = time.monotonic()
        taken_up = all((own.get("status") or {}).get("conditions") for own in self._experiments)
        if not taken_up and now - self._begun > self.patience.taken_up:
            raise ClusterError(
                f"Katib has not taken up the Experiment {self.names[0]!r} in {now - self._begun:.0f} s.",
                f"Its controller does not run, or cannot reach the cluster. {LOOK}",
            )
        if now - self._changed < self.patience.stuck:
            return
        stuck = stuck_pods(self.cluster, list(self._all()))
        for line in stuck:
            if line not in self._warned:
                self._warned.add(line)
                log.warning("trial %s", line)
        if now - self._changed > self.patience.progress:
            if pods_run(self.cluster, list(self._all())):  # a long trial is no sign of anything
                self._changed = now
                return
            why = f" Its trials: {'; '.join(stuck)}." if stuck else ""
            raise ClusterError(
                f"The Experiment {self.names[0]!r} has not changed for {now - self._changed:.0f} s.{why}",
                LOOK,
            )
