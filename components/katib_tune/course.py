"""The course of a local search: which trial is next, and what becomes of those that run."""

import logging
import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import optuna
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from kfp_lifecycle.components.katib_tune.backend import Problem, Progress, Search, State, Trial
from kfp_lifecycle.components.katib_tune.optuna_study import (
    grid,
    make_sampler,
    rungs,
    suggest,
    without_warnings,
)
from kfp_lifecycle.components.katib_tune.workers import End, Event, Pool, Task
from kfp_lifecycle.components.shared.errors import TuningError

log = logging.getLogger(__name__)

#: The trial's attribute in the study that holds what Optuna has no place for.
_RECORD = "kfp_lifecycle"
_TOLD = {"pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
#: Seconds between two looks at the clock while trials run.
_TICK_S = 1.0


class Course:
    """One search, from what its study has of it to its end.

    Args:
        problem: What is searched.
        study: The study, and the storage that it is in.
        steps: How many steps a trial with its parameters has at most.
        progress: Called when a count or the best value has changed.
        told: Called with each trial that has ended, those of an interrupted search first, when the workers
            have their next trials; returns the id of its MLflow run.
    """

    def __init__(
        self,
        problem: Problem,
        study: tuple[optuna.Study, RDBStorage],
        steps: Callable[[Mapping[str, Any]], int],
        progress: Callable[[Progress], None],
        told: Callable[[Trial], str],
    ) -> None:
        self._problem, self._steps = problem, steps
        self._study, self._storage = study
        self._progress, self._told = progress, told
        self._untold: list[int] = []
        self._began = time.monotonic()
        self._trials: dict[int, Trial] = {}
        self._waiting: list[int] = []
        self._running: dict[int, _Running] = {}
        self._total = _total(problem)
        self._reason = "all trials are done"
        self._resume()

    def _resume(self) -> None:
        """Takes up what the study has: trials that have ended are kept, the others wait to run again."""
        for frozen in self._study.get_trials(deepcopy=False):
            if _RECORD in frozen.user_attrs:
                trial = _from_record(frozen.number, frozen.user_attrs[_RECORD])
                if frozen.state == TrialState.RUNNING:  # killed between the two writes
                    self._tell(trial)
                self._trials[frozen.number] = trial
                self._untold.append(frozen.number)
            else:
                self._waiting.append(frozen.number)
        if self._trials or self._waiting:
            log.info(
                "taken up: %d trials have ended before, %d are run again",
                *(len(self._trials), len(self._waiting)),
            )
        self._waiting.reverse()

    def goes_on(self) -> bool:
        """Whether there is another trial to start, now or when a worker is free."""
        if (reason := self._ends()) is not None:
            self._reason = reason
            return False
        started = len(self._trials) + len(self._running)
        return bool(self._waiting) or started < self._total

    def run(self, pool: Pool) -> None:
        """Runs trials until there is none left, the goal is reached or a limit is."""
        while True:
            while pool.idle and self.goes_on():
                pool.start(self._next())
                self._say()
            self._tell_untold()
            if not self._running:
                return
            for event in pool.events(self._patience()):
                self._handle(event, pool)
            if self._ends() is not None:
                for number in list(self._running):
                    pool.stop(number)
                    self._stopped(number)
                self.goes_on()
                return

    def _ends(self) -> str | None:
        objective, settings = self._problem.objective, self._problem.settings
        best = Search(tuple(self._trials.values())).best(objective)
        if best is not None and best.value is not None and objective.reached(best.value):
            return "the goal is reached"
        if settings.time_budget and time.monotonic() - self._began >= settings.time_budget:
            return "the time budget is spent"
        failed = sum(trial.state == "failed" for trial in self._trials.values())
        return "too many trials failed" if failed > settings.max_failed_trials else None

    def _patience(self) -> float:
        budget = self._problem.settings.time_budget
        left = budget - (time.monotonic() - self._began) if budget else math.inf
        return max(0.0, min(_TICK_S, left))

    def _next(self) -> Task:
        """The next trial, in the study before it runs."""
        number = self._waiting.pop() if self._waiting else len(self._trials) + len(self._running)
        with without_warnings():
            running = self._chosen(number)
        self._running[number] = running
        return Task(number, running.parameters, running.resource, running.rungs)

    def _chosen(self, number: int) -> "_Running":
        """A trial with its parameters: one that the study has already, or a new one."""
        problem = self._problem
        if number:
            self._study.sampler = make_sampler(problem, number)
        if number < len(self._study.get_trials(deepcopy=False)):
            trial = optuna.Trial(self._study, self._id(number))
        else:
            trial = self._study.ask()
        if not number:
            return _Running(trial, {}, "", ())
        resource = problem.settings.algorithm_settings.get("resource_name", "")
        steps = rungs(problem.settings, problem.space) if resource else ()
        return _Running(trial, suggest(trial, problem.space, leave_out=resource), resource, steps)

    def _handle(self, event: Event, pool: Pool) -> None:
        running = self._running[event.number]
        if isinstance(event, End):
            self._end(event.number, event)
            return
        value = event.metrics.get(self._problem.objective.metric)
        running.values.append(math.nan if value is None else value)
        running.metrics, running.step = event.metrics, event.step
        go_on = event.number == 0 or not self._is_hopeless(running, value)
        pool.answer(event.number, go_on)
        if not go_on:
            self._ended(event.number, "pruned", value)

    def _is_hopeless(self, running: "_Running", value: float | None) -> bool:
        """Whether early stopping ends the trial here; at its last step it has ended already."""
        if value is None or not math.isfinite(value) or self._is_at_last_step(running):
            return False
        if running.rungs:
            running.trial.report(value, running.step)
            return running.trial.should_prune()
        return self._problem.settings.early_stopping == "median" and self._is_below_median(running, value)

    def _is_at_last_step(self, running: "_Running") -> bool:
        last = running.rungs[-1] if running.rungs else self._steps(running.parameters) - 1
        return running.step >= last

    def _is_below_median(self, running: "_Running", value: float) -> bool:
        """Whether a trial is worse after so many steps than half of the complete trials were.

        Each value is the mean over the same folds, or the best of as many epochs, so values of one step
        compare. Optuna's own rule takes the best value of all steps, and the first folds may be easy.
        """
        settings, objective, step = self._problem.settings, self._problem.objective, running.step
        complete = [trial for trial in self._trials.values() if trial.state == "complete"]
        others = [trial.intermediate[step] for trial in complete if len(trial.intermediate) > step]
        if step + 1 < settings.start_step or len(others) < settings.min_trials_required:
            return False
        return objective.better(statistics.median(others), value)

    def _end(self, number: int, end: End) -> None:
        metric = self._problem.objective.metric
        value = end.metrics.get(metric)
        running = self._running[number]
        running.metrics = end.metrics or running.metrics
        running.training = end.training
        if end.error:
            self._ended(number, "failed", None, end.error)
        elif value is None:
            gave = ", ".join(end.metrics) or "none"
            self._ended(number, "failed", None, f"It gave no {metric}, the objective; it gave: {gave}.")
        elif not math.isfinite(value):
            self._ended(number, "failed", None, f"Its {metric}, the objective, is {value}.")
        else:
            self._ended(number, "complete", value)

    def _ended(self, number: int, state: State, value: float | None, error: str = "") -> None:
        trial = self._running.pop(number).as_trial(number, state, value, error)
        self._trials[number] = trial
        self._tell(trial)
        if state == "failed":
            log.warning("trial %d failed: %s", number, error)
        self._untold.append(number)
        self._say()

    def _tell(self, trial: Trial) -> None:
        # One write for all that Optuna has no place for, and then the state: a crash between them is mended.
        self._storage.set_trial_user_attr(self._id(trial.number), _RECORD, _record(trial))
        if trial.number == 0:
            # It has none of the space's values: for the algorithm it is not there.
            self._study.tell(0, state=TrialState.FAIL)
        elif trial.state == "complete":
            self._study.tell(trial.number, trial.value)
        else:
            self._study.tell(trial.number, state=_TOLD[trial.state])

    def _id(self, number: int) -> int:
        study = self._storage.get_study_id_from_name(self._study.study_name)
        return self._storage.get_trial_id_from_study_id_trial_number(study, number)

    def _stopped(self, number: int) -> None:
        """A trial that is ended by a limit stays as running in the study, so that it can be taken up."""
        trial = self._running.pop(number).as_trial(number, "stopped", None, "")
        self._trials[number] = trial
        self._untold.append(number)

    def _tell_untold(self) -> None:
        while self._untold:
            number = self._untold.pop(0)
            trial = self._trials[number]
            self._trials[number] = replace(trial, run_id=self._told(trial))

    def _say(self) -> None:
        trials = self._trials.values()
        best = Search(tuple(trials)).best(self._problem.objective)
        done = sum(trial.state in ("complete", "pruned") for trial in trials)
        failed = sum(trial.state == "failed" for trial in trials)
        value = best.value if best else None
        self._progress(Progress(done, len(self._running), failed, self._total, value))

    def result(self) -> Search:
        """What the search gave. Raises ``TuningError`` where it gave nothing, or too many trials failed."""
        self._tell_untold()
        search = Search(tuple(self._trials[number] for number in sorted(self._trials)), reason=self._reason)
        failed = [trial for trial in search.trials if trial.state == "failed"]
        allowed = self._problem.settings.max_failed_trials
        lost = len(failed) > allowed
        if not lost and search.best(self._problem.objective) is not None:
            return search
        if not failed:
            raise TuningError(f"No trial gave a value: {self._reason}.", "Give a larger time_budget.")
        # What failed is to be tried anew when the step is, with what has been mended.
        optuna.delete_study(study_name=self._study.study_name, storage=self._storage)
        how_many = "All" if len(failed) == len(search.trials) else f"{len(failed)} of"
        raise TuningError(
            f"{how_many} {len(search.trials)} trials failed (max_failed_trials is {allowed}). "
            f"The first, trial {failed[0].number}: {failed[0].error}",
            "Correct the search space or estimator_parameters.",
        )


@dataclass
class _Running:
    """A trial that runs."""

    trial: optuna.Trial
    parameters: Mapping[str, Any]
    resource: str
    rungs: tuple[int, ...]
    values: list[float] = field(default_factory=list)
    metrics: Mapping[str, float] = field(default_factory=dict)
    step: int = 0
    training: float = 0.0
    started: float = field(default_factory=time.time)

    def as_trial(self, number: int, state: State, value: float | None, error: str) -> Trial:
        parameters = dict(self.parameters)
        if self.resource:
            parameters[self.resource] = self.step or self.rungs[0]
        return Trial(
            number,
            parameters,
            state,
            value,
            dict(self.metrics),
            tuple(self.values),
            self.training or time.time() - self.started,
            error,
        )


def _record(trial: Trial) -> dict[str, Any]:
    """What the study keeps of a trial beside its parameters: JSON, which has no NaN."""
    return {
        "parameters": dict(trial.parameters),
        "state": trial.state,
        "value": trial.value,
        "metrics": {name: _finite(value) for name, value in trial.metrics.items()},
        "intermediate": [_finite(value) for value in trial.intermediate],
        "seconds": trial.seconds,
        "error": trial.error,
    }


def _from_record(number: int, record: Mapping[str, Any]) -> Trial:
    known = dict(record)
    known["metrics"] = {k: math.nan if v is None else v for k, v in known["metrics"].items()}
    known["intermediate"] = tuple(math.nan if v is None else v for v in known["intermediate"])
    return Trial(number, **known)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _total(problem: Problem) -> int:
    most = problem.settings.max_trials
    if problem.settings.algorithm != "grid":
        return most
    points = 0
    for points, _ in enumerate(grid(problem.space), 1):
        if points >= most:
            break
    return min(most, points + 1)
