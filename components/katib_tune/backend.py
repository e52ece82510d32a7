"""What searches, and what a search gives: the contract between the step and its two backends.

One backend is Katib, on the cluster; the other is Optuna, in worker processes of this machine.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from kfp_lifecycle.components.katib_tune.objective import Objective, TuneSettings
from kfp_lifecycle.components.katib_tune.space import SearchSpace

#: ``complete``: it ran to its end. ``pruned``: early stopping ended it. ``failed``: an error ended it, or it
#: gave no finite objective. ``stopped``: the search ended before it.
State = Literal["complete", "pruned", "failed", "stopped"]

#: The component that a trial runs.
TRAINERS = ("train", "train-gpu")


@dataclass(frozen=True)
class TrialData:
    """What trials read, each a path or a URI (see :mod:`kfp_lifecycle.components.shared.storage`).

    Args:
        rows: The prepared training split.
        schema: Its schema.
        plan: The unfitted transform, which every fold fits on its own rows.
    """

    rows: str
    schema: str
    plan: str

    @property
    def uris(self) -> tuple[str, str, str]:
        """All of them."""
        return self.rows, self.schema, self.plan


@dataclass(frozen=True)
class Problem:
    """A search to be done. :func:`.checks.check_problem` checks it before anything starts.

    Args:
        space: The hyperparameters that are searched.
        objective: The metric.
        settings: The algorithm and the limits.
        data: What trials read; for Katib as other pods reach it.
        trainer: ``train`` or ``train-gpu``.
        fixed: Parameters that each trial has beyond those searched; trial 0 has them alone.
        options: Further flags of the trainer, by name (``estimator``, ``class_weight``, ``folds``, …).
        experiment: MLflow experiment of the trials' runs.
        parent_run: MLflow run that the trials' runs are nested in; empty is none.
        name: What the search is called: a stem for the names of its study or Katib Experiment. The same for
            a step that is run again.
        seed: Seed of the algorithm and of each trial.
    """

    space: SearchSpace
    objective: Objective
    settings: TuneSettings
    data: TrialData
    trainer: str = "train"
    fixed: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    experiment: str = "kfp-lifecycle"
    parent_run: str = ""
    name: str = "tune"
    seed: int = 42


@dataclass(frozen=True)
class Trial:
    """One trial.

    Args:
        number: 0 is the one with the fixed parameters alone, from which the search must find a way up.
        parameters: The searched parameters' values, of their own types; of trial 0 none.
        state: How it ended.
        value: The objective, or None where it gave none.
        metrics: All metrics that it gave, the objective among them.
        intermediate: The objective's values on the way (a fold or an epoch each), where they are known.
        seconds: How long it ran.
        error: Of a failed one, what it said.
        run_id: Its MLflow run; empty where it has none.
        name: Its name in Katib; empty elsewhere.
    """

    number: int
    parameters: Mapping[str, Any]
    state: State
    value: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    intermediate: tuple[float, ...] = ()
    seconds: float = 0.0
    error: str = ""
    run_id: str = ""
    name: str = ""


@dataclass(frozen=True)
class Progress:
    """How far a search is.

    Args:
        done: Trials that gave a value, pruned ones among them.
        running: Trials that run, or wait for a place.
        failed: Trials that failed.
        total: Trials in all.
        best: The best value so far; None before the first.
    """

    done: int
    running: int
    failed: int
    total: int
    best: float | None

    def __str__(self) -> str:
        best = "" if self.best is None else f", best {self.best:.6g}"
        failed = f", {self.failed} failed" if self.failed else ""
        return f"{self.done} of {self.total} trials done, {self.running} running{failed}{best}"


@dataclass(frozen=True)
class Search:
    """What a search gave.

    Args:
        trials: By number, trial 0 first.
        experiment_yaml: The Katib Experiment as it was sent; empty for a local search.
        reason: Why it ended: ``all trials are done``, ``the goal is reached``, ``the time budget is spent`` …
    """

    trials: tuple[Trial, ...]
    experiment_yaml: str = ""
    reason: str = ""

    def best(self, objective: Objective) -> Trial | None:
        """The trial with the best value among the complete ones, the earliest of equals; None of none."""
        found: Trial | None = None
        for trial in self.trials:
            if trial.state != "complete" or trial.value is None:
                continue
            if objective.better(trial.value, found.value if found else None):
                found = trial
        return found


class Backend(Protocol):
    """Searches."""

    def search(self, problem: Problem, progress: Callable[[Progress], None]) -> Search:
        """Runs all trials, trial 0 among them.

        Args:
            problem: What to search.
            progress: Called when a count or the best value has changed.

        Raises:
            TuningError: The backend cannot search this, or no trial gave a value; it has the first
                trial's own error.
            ClusterError: Kubernetes or Katib cannot do it.
        """
