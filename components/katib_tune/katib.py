"""The Katib backend: an Experiment on the cluster, watched until it has ended.

A step that is run again finds the Experiment of its name and goes on watching it; one that is cancelled
deletes it. Trial 0 has an Experiment of its own beside it, because Katib cannot be told a first trial.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import yaml

from kfp_lifecycle.components.katib_tune.backend import Problem, Progress, Search, Trial
from kfp_lifecycle.components.katib_tune.experiment import DIGEST, baseline, check_katib, experiment
from kfp_lifecycle.components.katib_tune.katib_course import EXPERIMENT, LOOK, TRIAL, Course, Patience
from kfp_lifecycle.components.katib_tune.katib_trials import condition
from kfp_lifecycle.components.katib_tune.trial_job import TrialPod
from kfp_lifecycle.components.shared.cluster import (
    AlreadyThere,
    Cancelled,
    Cluster,
    Objects,
    cancellable,
)
from kfp_lifecycle.components.shared.errors import ClusterError, redact

log = logging.getLogger(__name__)

#: The namespace's label without which Katib's webhook leaves trial pods alone, and collects no metric.
INJECTION = "katib.kubeflow.org/metrics-collector-injection"


@dataclass(frozen=True)
class KatibSearch:
    """Searches with Katib; see :class:`.backend.Backend`.

    Args:
        cluster: Where.
        pod: The pods of trials.
        run_id: The KFP run that it is for.
        keep: Whether the Experiment stays when the search has ended; one that is stopped early never does.
        told: Called with each trial that ended before it could log itself to MLflow; gives its run's id.
        patience: How long is waited.
    """

    cluster: Cluster
    pod: TrialPod
    run_id: str = ""
    keep: bool = False
    told: Callable[[Trial], str] = field(default=lambda _: "")
    patience: Patience = field(default_factory=Patience)

    def search(self, problem: Problem, progress: Callable[[Progress], None]) -> Search:
        """Runs all trials on the cluster.

        Raises:
            TuningError: Katib cannot search this; more trials failed than may, or none gave a value. It has
                the first failed trial's own error.
            ClusterError: Katib is not installed, this account lacks a right, the namespace is not labelled,
                another search has the name, or nothing goes on.
            Cancelled: The step was cancelled; the Experiment is deleted.
        """
        check_katib(problem.space, problem.settings)
        where = self.cluster.namespace
        bodies = [
            experiment(problem, self.pod, where, self.run_id),
            baseline(problem, self.pod, where, self.run_id),
        ]
        self._check_cluster()
        begun: list[str] = []
        keep = self.keep
        with cancellable():
            try:
                for body in bodies:
                    self._begin(body, begun)
                course = Course(self.cluster, problem, begun, self.patience, progress)
                reason = course.run()
                keep = keep and not course.stopped
                return Search(self._logged(course.trials(), problem), _yaml(bodies), reason)
            except ClusterError:
                keep = True  # a step that is run again goes on with it
                raise
            except Cancelled:
                keep = False
                raise
            finally:
                self._end(begun, keep)

    def _logged(self, trials: tuple[Trial, ...], problem: Problem) -> tuple[Trial, ...]:
        """A cross-validated trial logs itself when it has ended well; a network's does from its start."""
        if problem.trainer != "train":
            return trials
        return tuple(
            replace(trial, run_id=self.told(trial)) if trial.state in ("failed", "pruned") else trial
            for trial in trials
        )

    def _check_cluster(self) -> None:
        experiments = self.cluster.objects(EXPERIMENT)
        experiments.get("none")  # raises where Katib is not installed, or may not be asked
        self.cluster.require(EXPERIMENT, "create", "delete")
        self.cluster.require(TRIAL, "list")
        labels = self.cluster.namespace_labels()
        if labels is None:
            log.info("this account may not read the namespace: has it the label %s=enabled?", INJECTION)
        elif labels.get(INJECTION) != "enabled":
            raise ClusterError(
                f"The namespace {self.cluster.namespace!r} has no label {INJECTION}=enabled, and without it "
                "Katib collects no metrics.",
                f"kubectl label namespace {self.cluster.namespace} {INJECTION}=enabled",
            )

    def _begin(self, body: dict[str, Any], begun: list[str]) -> None:
        """Makes the Experiment, or finds its own of an earlier attempt; adds its name to ``begun``."""
        experiments, name = self.cluster.objects(EXPERIMENT), body["metadata"]["name"]
        for _ in range(3):
            there = experiments.get(name)
            if there is not None and self._adopted(there, body, experiments):
                begun.append(name)
                return
            begun.append(name)  # before it is made: a signal may come between
            try:
                experiments.create(body)
            except AlreadyThere:  # another attempt was faster, or an answer was lost
                begun.remove(name)
                continue
            log.info("made the Experiment %s in namespace %s", name, self.cluster.namespace)
            return
        raise ClusterError(f"The Experiment {name!r} is made and deleted by another.", "Run this step again.")

    def _adopted(self, there: dict[str, Any], body: dict[str, Any], experiments: Objects) -> bool:
        """Whether the Experiment that is there is this search's. False when it has gone, or had failed."""
        name, about, where = body["metadata"]["name"], there["metadata"], self.cluster.namespace
        if about.get("deletionTimestamp"):
            self._wait_gone(name, experiments)
            return False
        own = body["metadata"]["annotations"][DIGEST]
        if (about.get("annotations") or {}).get(DIGEST) != own:
            raise ClusterError(
                f"There is an Experiment {name!r} in namespace {where!r} that searches something else.",
                f"kubectl -n {where} delete experiment {name}, or name this search otherwise.",
            )
        if condition(there, "Failed"):
            log.info("the Experiment %s failed before: it is made anew", name)
            experiments.delete(name)
            self._wait_gone(name, experiments)
            return False
        log.info("going on with the Experiment %s", name)
        return True

    def _wait_gone(self, name: str, experiments: Objects) -> None:
        log.info("waiting until the Experiment %s is deleted", name)
        if not experiments.gone(name, self.patience.deletion):
            raise ClusterError(
                f"The Experiment {name!r} is being deleted, and is still there after "
                f"{self.patience.deletion:.0f} s.",
                f"Its finalizers wait for Katib's controller. {LOOK}",
            )

    def _end(self, names: list[str], keep: bool) -> None:
        if keep:
            log.info("kept: kubectl -n %s get experiment %s", self.cluster.namespace, " ".join(names))
            return
        for name in names:
            try:
                self.cluster.objects(EXPERIMENT).delete(name)
            except ClusterError as error:  # what ended the search is the error to be read
                log.warning("the Experiment %s could not be deleted: %s", name, error)


def _yaml(bodies: list[dict[str, Any]]) -> str:
    return redact(yaml.safe_dump_all(bodies, sort_keys=False, allow_unicode=True, width=1000))
