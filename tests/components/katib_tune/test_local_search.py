"""Searches on this machine: algorithms, limits, failures, and being killed."""

import json
import math
import multiprocessing
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kfp_lifecycle.components.katib_tune.backend import Progress, Search, Trial
from kfp_lifecycle.components.katib_tune.limits import cores, free_memory, parse_memory
from kfp_lifecycle.components.katib_tune.optuna_search import LocalSearch
from kfp_lifecycle.components.shared.errors import ParameterError, TuningError
from tests.components.katib_tune.conftest import SURROUNDINGS, TROUBLE, Tuner
from tests.conftest import ROOT, SOAK

TWO = {
    "level": {"type": "float", "min": 0.0, "max": 1.0},
    "size": {"type": "int", "min": 1, "max": 9},
}


def _values(search: Search) -> list[float | None]:
    return [trial.value for trial in search.trials]


@pytest.mark.parametrize(
    ("algorithm", "more"),
    [
        ("random", {}),
        ("tpe", {"algorithm_settings": {"n_startup_trials": 3}}),
        ("cmaes", {"algorithm_settings": {"sigma": 0.2}}),
        ("bayesianoptimization", {"algorithm_settings": {"n_initial_points": 3}}),
        ("hyperband", {"algorithm_settings": {"resource_name": "size", "eta": 3}}),
    ],
)
def test_each_algorithm_searches(algorithm: str, more: dict[str, Any], tuner: Tuner) -> None:
    found = tuner(TWO, algorithm=algorithm, max_trials=9, parallel_trials=2, **more)
    assert [trial.number for trial in found.trials] == list(range(9))
    first, *others = found.trials
    assert first.parameters == {}
    assert first.state == "complete"
    for trial in others:
        assert 0 <= trial.parameters["level"] <= 1
        assert type(trial.parameters["size"]) is int
        assert trial.state in ("complete", "pruned")
        assert trial.parameters["size"] == 9 or algorithm != "hyperband" or trial.state == "pruned"
    best = found.best(tuner.problem().objective)
    assert best is not None
    assert best.value == min(t.value for t in found.trials if t.value is not None and t.state == "complete")
    assert found.reason == "all trials are done"


def test_a_trial_is_what_cross_validation_says(tuner: Tuner) -> None:
    """Level l is off by (0.3 - l) and the noise: the objective is known."""
    found = tuner(max_trials=4)
    for trial in found.trials:
        level = trial.parameters.get("level", 0.0)
        assert trial.value == pytest.approx(math.hypot(0.3 - level, 0.1), abs=0.03)
        assert trial.value == trial.metrics["rmse"] == trial.intermediate[-1]
        assert len(trial.intermediate) == 3
        assert set(trial.metrics) == {"rmse", "mae", "r2"}
        assert trial.seconds > 0


def test_a_search_learns(tuner: Tuner) -> None:
    found = tuner(TWO, algorithm="tpe", max_trials=40, parallel_trials=2)
    levels = [trial.parameters["level"] for trial in found.trials[-10:]]
    assert abs(np.median(levels) - 0.3) < 0.15


def test_parameters_do_not_depend_on_the_workers(tuner: Tuner, tmp_path: Path) -> None:
    one = tuner(TWO, max_trials=8, parallel_trials=1)
    two = Tuner(tuner.inputs, tmp_path / "other")(TWO, max_trials=8, parallel_trials=2)
    assert [t.parameters for t in one.trials] == [t.parameters for t in two.trials]
    assert _values(one) == _values(two)


def test_a_grid_is_all_its_points_once(tuner: Tuner) -> None:
    space = {
        "level": {"type": "float", "min": 0.1, "max": 0.5, "step": 0.2},
        "size": {"values": [1, 2]},
    }
    found = tuner(space, algorithm="grid", max_trials=50, parallel_trials=2)
    points = [tuple(trial.parameters.values()) for trial in found.trials[1:]]
    assert sorted(points) == [(0.1, 1), (0.1, 2), (0.3, 1), (0.3, 2), (0.5, 1), (0.5, 2)]
    cut = Tuner(tuner.inputs, tuner.folder / "cut")(space, algorithm="grid", max_trials=3)
    assert [trial.parameters for trial in cut.trials] == [t.parameters for t in found.trials[:3]]


def test_a_conditional_parameter_is_searched_under_its_condition(tuner: Tuner) -> None:
    space = {
        "journal": {"values": ["", "/dev/null"]},
        "level": {"type": "float", "min": 0.0, "max": 1.0, "when": {"journal": "/dev/null"}},
    }
    found = tuner(space, max_trials=12)
    for trial in found.trials[1:]:
        assert ("level" in trial.parameters) == (trial.parameters["journal"] == "/dev/null")
    assert {len(trial.parameters) for trial in found.trials} == {0, 1, 2}
    points = tuner({**space, "level": {**space["level"], "step": 0.5}}, algorithm="grid", max_trials=20)
    assert len(points.trials) == 1 + 1 + 3


def test_the_median_rule_ends_trials_that_are_worse(tuner: Tuner) -> None:
    found = tuner(algorithm="random", max_trials=25, early_stopping="median", folds=5)
    counts = Counter(trial.state for trial in found.trials)
    assert counts["pruned"] >= 5
    assert found.trials[0].state == "complete"
    done: list[Trial] = []
    for trial in found.trials:
        if trial.state == "pruned":
            step = len(trial.intermediate) - 1
            assert 1 <= step < 4
            others = [other.intermediate[step] for other in done]
            assert len(others) >= 3
        else:
            done.append(trial)


def test_the_goal_ends_the_search(tuner: Tuner) -> None:
    found = tuner(objective={"metric": "rmse", "goal": 0.15}, max_trials=60, parallel_trials=1)
    assert found.reason == "the goal is reached"
    assert len(found.trials) < 60
    assert found.trials[-1].value is not None
    assert found.trials[-1].value <= 0.15


def test_progress_is_told(tuner: Tuner) -> None:
    told: list[Progress] = []
    LocalSearch(tuner.folder / "t.db").search(tuner.problem(max_trials=4, parallel_trials=2), told.append)
    assert told[-1].done == told[-1].total == 4
    assert max(progress.running for progress in told) <= 2
    assert [p.best for p in told if p.best is not None] == sorted(
        (p.best for p in told if p.best is not None), reverse=True
    )


def test_the_time_budget_ends_running_trials_which_are_taken_up(tuner: Tuner) -> None:
    fixed, limits = {"seconds": 0.2}, {"max_trials": 6, "parallel_trials": 1}
    began = time.monotonic()
    first = tuner(fixed=fixed, time_budget=2.0, **limits)
    assert time.monotonic() - began < 20
    assert first.reason == "the time budget is spent"
    assert [trial.state for trial in first.trials].count("stopped") <= 1
    assert 0 < len([trial for trial in first.trials if trial.state == "complete"]) < 6
    second = tuner(fixed=fixed, **limits)
    assert [trial.state for trial in second.trials] == ["complete"] * 6
    kept = [trial for trial in first.trials if trial.state == "complete"]
    assert [t.seconds for t in second.trials[: len(kept)]] == [t.seconds for t in kept]


def test_no_trial_within_the_budget(tuner: Tuner) -> None:
    with pytest.raises(TuningError, match="No trial gave a value: the time budget is spent"):
        tuner(fixed={"seconds": 30}, time_budget=1.0)
    assert not _children()


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("raise", r"ValueError: level [01]\.\d is too high"),
        ("die", r"Its worker died \(SIGKILL"),
        ("exit", r"Its worker died \(exit code 3\)"),
        ("nan", "not finite numbers"),
        ("overflow", "Its rmse, the objective, is inf"),
    ],
)
def test_a_trial_that_fails_is_one_failed_trial(kind: str, says: str, tuner: Tuner) -> None:
    limits = {"max_trials": 8, "max_failed_trials": 8, "parallel_trials": 2}
    found = tuner(estimator=TROUBLE, fixed={"kind": kind}, **limits)
    for trial in found.trials:
        high = trial.parameters.get("level", 0) >= 0.5
        assert trial.state == ("failed" if high else "complete")
        assert (trial.value is None) == high
        assert re.search(says, trial.error) if high else not trial.error
    assert 0 < [trial.state for trial in found.trials].count("failed") < 8


def test_a_trial_that_outgrows_its_memory_has_failed(tuner: Tuner) -> None:
    found = tuner(
        {"level": {"values": [0.1, 0.9]}},
        estimator=TROUBLE,
        fixed={"kind": "grow"},
        algorithm="grid",
        max_trials=3,
        how={"memory": 800 * 2**20, "cores": 1},
    )
    assert [trial.state for trial in found.trials] == ["complete", "complete", "failed"]
    assert "outgrew its memory limit" in found.trials[2].error
    assert "of 800" in found.trials[2].error


def test_an_objective_that_no_fold_defines(tuner: Tuner, small: Any) -> None:
    """R² of one row a fold is not defined."""
    with pytest.raises(TuningError, match="It gave no r2, the objective; it gave: rmse, mae"):
        tuner(folds=120, objective="r2", max_trials=2, max_failed_trials=2)


def test_all_trials_failing_shows_the_first_one_s_own_error(tuner: Tuner) -> None:
    with pytest.raises(TuningError, match=r"All 4 trials failed .* trial 0: .*level 0.7 is too high"):
        tuner(
            {"kind": {"values": ["raise", "nan"]}},
            estimator=TROUBLE,
            fixed={"level": 0.7, "kind": "raise"},
            max_trials=4,
            max_failed_trials=4,
        )


def test_too_many_failed_trials_end_the_search(tuner: Tuner) -> None:
    with pytest.raises(TuningError, match=r"3 of \d+ trials failed \(max_failed_trials is 2\)"):
        tuner(estimator=TROUBLE, max_trials=30, max_failed_trials=2, parallel_trials=1)
    # What is mended is tried anew: nothing of the failed search is kept.
    again = tuner(estimator=TROUBLE, max_trials=30, max_failed_trials=30, parallel_trials=1)
    assert len(again.trials) == 30


def _children() -> list[str]:
    """Command lines of worker processes that are still there."""
    return [
        str(process)
        for process in Path("/proc").glob("[0-9]*/status")
        if (text := _text(process))
        and f"PPid:\t{os.getpid()}\n" in text
        and "Z (zombie)" not in text
        # The server that workers are forked from stays, and the tracker of multiprocessing's own.
        and not any(
            word in _text(process.with_name("cmdline")) for word in ("forkserver", "resource_tracker")
        )
    ]


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


SCRIPT = """
import sys
from pathlib import Path
from kfp_lifecycle.components.train.training import TrainingInputs
from tests.components.katib_tune.conftest import Tuner
if __name__ == "__main__":
    inputs, folder, journal = TrainingInputs(*map(Path, sys.argv[1:6])), Path(sys.argv[6]), sys.argv[7]
    tuner = Tuner(inputs, folder)
    space = {"level": {"type": "float", "min": 0.0, "max": 1.0}, "size": {"type": "int", "min": 1, "max": 9}}
    fixed = {"journal": journal, "seconds": 0.04}
    found = tuner(space, algorithm="tpe", max_trials=12, parallel_trials=1, folds=2, fixed=fixed)
    for trial in found.trials:
        print(trial.number, trial.state, trial.value, dict(trial.parameters))
"""


def test_a_search_that_is_killed_is_taken_up(tuner: Tuner, tmp_path: Path) -> None:
    """Killed at random moments: no finished trial runs again, and the trials are those of an unkilled run."""
    inputs = [
        str(getattr(tuner.inputs, name)) for name in ("rows", "features", "schema", "plan", "transform")
    ]
    script = tmp_path / "search.py"
    script.write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    def run(name: str, kill_after: float | None = None) -> str:
        command = [sys.executable, script, *inputs, tmp_path / name, tmp_path / f"{name}.txt"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT)
        if kill_after is not None:
            journal, deadline = tmp_path / f"{name}.txt", time.monotonic() + 60
            start = len(_text(journal).splitlines())
            while process.poll() is None and time.monotonic() < deadline:
                if len(_text(journal).splitlines()) > start:
                    time.sleep(kill_after)
                    break
                time.sleep(0.005)
            process.send_signal(signal.SIGKILL)
        return process.communicate()[0]

    moments = random.Random(0)
    kills = 30 if SOAK else 2
    for _ in range(kills):
        run("killed", moments.uniform(0.0, 0.4))
    # The fixed parameters name the journal, so the two searches are not one, but their trials are the same.
    killed, whole = run("killed"), run("whole")
    assert killed == whole
    assert len(whole.splitlines()) == 12
    fits = Counter((tmp_path / "killed.txt").read_text().splitlines())
    again = sum(count - 2 for count in fits.values())
    # Each kill costs at most the one trial that ran: its folds that had been fitted.
    assert 0 <= again <= 2 * kills


def test_a_search_is_done_by_one_process_at_a_time(tuner: Tuner) -> None:
    context = multiprocessing.get_context("spawn")
    problem = tuner.problem(fixed={"seconds": 1.0}, max_trials=4, parallel_trials=1, folds=2)
    other = context.Process(target=tuner.search, args=(problem,))
    other.start()
    try:
        deadline = time.monotonic() + 60
        while not list(tuner.folder.glob(".tuning.db.*.lock")) and time.monotonic() < deadline:
            time.sleep(0.02)
        with pytest.raises(TuningError, match="Another process does the search"):
            tuner.search(problem)
    finally:
        other.kill()
        other.join()
    assert len(tuner.search(problem).trials) == 4


def test_an_ended_search_is_not_run_again_and_goes_on_with_more_trials(tuner: Tuner, tmp_path: Path) -> None:
    journal = tmp_path / "journal.txt"
    given: dict[str, Any] = {"fixed": {"journal": str(journal)}, "parallel_trials": 1, "folds": 2}
    first = tuner(TWO, max_trials=4, **given)
    fits = journal.read_text()
    again = tuner(TWO, max_trials=4, **given)
    assert again.trials == first.trials
    assert journal.read_text() == fits
    more = tuner(TWO, max_trials=6, **given)
    assert more.trials[:4] == first.trials
    assert len(journal.read_text().splitlines()) == 12


def test_a_file_that_is_no_database(tuner: Tuner) -> None:
    (tuner.folder / "tuning.db").write_bytes(b"not a database, but long enough to look like one" * 50)
    with pytest.raises(TuningError, match=r"tuning.db cannot be used: file is not a database"):
        tuner()


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (
            {"algorithm": "bayesianoptimization", "algorithm_settings": {"acq_func": "LCB"}},
            "'acq_func' is 'LCB', which Optuna does not have",
        ),
        ({"algorithm": "cmaes", "algorithm_settings": {"restart_strategy": "ipop"}}, "Optuna does not have"),
    ],
)
def test_what_optuna_does_not_have_is_said_first(more: dict[str, Any], says: str, tuner: Tuner) -> None:
    with pytest.raises(TuningError, match=says):
        tuner(TWO, **more)


def test_a_package_that_an_algorithm_needs(tuner: Tuner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(TuningError, match="bayesianoptimization needs torch"):
        tuner(TWO, algorithm="gp")


def test_workers_have_one_thread_and_map_the_folds(tuner: Tuner) -> None:
    found = tuner(estimator=SURROUNDINGS, max_trials=3, parallel_trials=2)
    # As :class:`.doubles.Surroundings` predicts: threads, and 1000 where the features are a map of a file.
    assert all(trial.metrics["mae"] == pytest.approx(1001 - 0.3, abs=0.1) for trial in found.trials)
    assert not _children()


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("", 0),
        ("2Gi", 2**31),
        ("500M", 500_000_000),
        ("1.5Gi", 3 * 2**29),
        (" 64 Mi ", 2**26),
        ("1024", 1024),
    ],
)
def test_memory_as_kubernetes_writes_it(text: str, size: int) -> None:
    assert parse_memory(text, "memory_limit") == size


@pytest.mark.parametrize("text", ["2 gigabytes", "-1Gi", "0", "Gi"])
def test_what_is_no_memory(text: str) -> None:
    with pytest.raises(ParameterError, match="'memory_limit'"):
        parse_memory(text, "memory_limit")


def test_this_machine_has_cores_and_memory() -> None:
    assert 1 <= cores() <= (os.cpu_count() or 1)
    assert free_memory() > 2**26


def test_a_search_is_known_again_whatever_the_order_in_its_plan(tuner: Tuner, tmp_path: Path) -> None:
    """KFP shuffles the keys of a dict parameter, and with them what featurize writes."""
    first = tuner(TWO, max_trials=3)
    plan = json.loads(tuner.inputs.plan.read_text())
    shuffled = tmp_path / "plan.json"
    shuffled.write_text(json.dumps({key: plan[key] for key in reversed(plan)}, indent=1))
    again = Tuner(replace(tuner.inputs, plan=shuffled), tuner.folder)(TWO, max_trials=3)
    assert again.trials == first.trials
