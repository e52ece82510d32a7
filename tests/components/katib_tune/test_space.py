"""Search spaces, objectives and settings: what they say, and what they refuse."""

import itertools
import json
import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as some

from kfp_lifecycle.components.katib_tune.backend import Progress, Search, Trial
from kfp_lifecycle.components.katib_tune.objective import Objective, TuneSettings
from kfp_lifecycle.components.katib_tune.search_file import parse_search, read_search
from kfp_lifecycle.components.katib_tune.space import Parameter, SearchSpace, check_takes
from kfp_lifecycle.components.katib_tune.sweep import from_sweep
from kfp_lifecycle.components.shared.errors import TuningError

FILE = """
objective: {metric: log_loss, goal: 0.2, additional_metrics: [roc_auc]}
algorithm: TPE
algorithm_settings: {n_startup_trials: 5}
early_stopping: median
max_trials: 12
parallel_trials: 3
time_budget: 60
parameters:
  learning_rate: {type: float, min: 1e-2, max: 0.3, log: true}
  drop_rate: {type: float, min: 0.1, max: 0.5, step: 0.1, when: {booster: dart}}
  booster: {values: [tree, dart]}
  max_depth: {type: int, min: 2, max: 8}
  bins: [32, 64]
"""


def test_a_file_its_text_and_its_mapping_say_the_same(tmp_path: Path) -> None:
    path = tmp_path / "search.yaml"
    path.write_text(FILE)
    mapping = yaml.safe_load(FILE)
    written = (str(path), FILE, mapping, json.dumps(mapping))
    parsed = [parse_search(read_search(one), "binary") for one in written]
    assert all(one == parsed[0] for one in parsed)
    space, objective, settings = parsed[0]
    # Those that others depend on come first.
    assert space.names.index("booster") < space.names.index("drop_rate")
    assert space["learning_rate"].min == 0.01
    assert space["bins"].values == (32, 64)
    assert objective == Objective("log_loss", False, 0.2, ("roc_auc",))
    assert settings == TuneSettings("tpe", {"n_startup_trials": 5}, "median", 3, 2, 12, 3, 3, 60)
    assert SearchSpace.parse(space.to_dict()) == space


def test_what_is_not_said_is_the_metric_of_the_task() -> None:
    space = {"parameters": {"a": [1, 2]}}
    assert parse_search(space, "binary")[1] == Objective("roc_auc", True)
    assert parse_search(space, "multiclass")[1] == Objective("roc_auc_ovr", True)
    assert parse_search(space, "regression")[1] == Objective("rmse", False)
    assert parse_search({**space, "objective": "r2"}, "regression")[1] == Objective("r2", True)
    assert parse_search({**space, "algorithm": "GP"}, "binary")[2].algorithm == "bayesianoptimization"


def test_the_floats_that_kfp_makes_of_integers_are_integers_again() -> None:
    given = {"parameters": {"d": {"type": "int", "min": 2.0, "max": 8.0, "step": 2.0}}, "max_trials": 4.0}
    space, _, settings = parse_search(given, "binary")
    assert space["d"].grid() == (2, 4, 6, 8)
    assert all(type(value) is int for value in space["d"].grid() or ())
    assert settings.max_trials == 4


REFUSED = [
    ({}, "search space is empty"),
    ({"a": {"type": "int", "min": 3, "max": 1}}, "'a' has min 3 above max 1"),
    ({"a": {"type": "float", "min": 1, "max": 1}}, "alike: there is nothing to search"),
    ({"a": {"type": "float", "min": 0, "max": 1, "log": True}}, "log scale and min 0"),
    ({"a": {"type": "int", "min": -1, "max": 8, "log": True}}, "log scale and min -1"),
    ({"a": {"type": "int", "min": 1, "max": 9, "log": True, "step": 2}}, "log scale and a step"),
    ({"a": {"type": "float", "min": 0, "max": 1, "step": 0.3}}, "from 0.0 to 1.0. Give max 0.9"),
    ({"a": {"type": "int", "min": 0, "max": 1, "step": 5}}, "does not lead"),
    ({"a": {"type": "int", "min": 0, "max": 10, "step": 0}}, "has step 0"),
    ({"a": {"type": "int", "min": 0.5, "max": 10}}, "is int and has min 0.5"),
    ({"a": {"type": "float", "min": "low", "max": 10}}, "has min 'low'. Give a finite number"),
    ({"a": {"type": "float", "min": 0, "max": math.inf}}, "has max inf"),
    ({"a": {"type": "float", "min": True, "max": 2}}, "has min True"),
    ({"a": {"type": "float", "min": 0}}, "has no max"),
    ({"a": {"type": "integer", "min": 0, "max": 1}}, "the type 'integer'. Did you mean 'int'"),
    ({"a": {"min": 0, "max": 1}}, "no type"),
    ({"a": {"type": "float", "low": 0, "max": 1}}, "has 'low'. "),
    ({"a": {"type": "int", "values": [1, 2]}}, "is int and has values"),
    ({"a": {"type": "float", "min": 0, "max": 1, "log": "yes"}}, "has log 'yes'"),
    ({"a": {"values": []}}, "has no values"),
    ({"a": {"values": [1]}}, "one value only"),
    ({"a": {"values": [1, 2, 1.0]}}, "the value 1.0 twice"),
    ({"a": {"values": "xyz"}}, "has values 'xyz'. Give a list"),
    ({"a": {"values": [1, {2}]}}, "has the value {2}"),
    ({"a": {"values": [1, 2], "min": 1}}, "is categorical and has min"),
    ({"a": 5}, "is 5"),
    ({7: [1, 2]}, "a parameter named 7"),
    ({"a": {"values": [1, 2], "when": {"b": 1}}}, "depends on 'b', which is not searched"),
    ({"a": {"values": [1, 2], "when": {"b": 3}}, "b": [1, 2]}, "being 3, which it never is"),
    ({"a": {"values": [1, 2], "when": {"b": 1}}, "b": {"type": "int", "min": 1, "max": 2}}, "is a range"),
    ({"a": {"values": [1, 2], "when": {"b": 1}}, "b": {"values": [1, 2], "when": {"a": 1}}}, "on itself"),
    ({"a": {"values": [1, 2], "when": "b"}}, "has when 'b'"),
]


@pytest.mark.parametrize(("parameters", "says"), REFUSED, ids=[says for _, says in REFUSED])
def test_a_space_that_cannot_be(parameters: Any, says: str) -> None:
    with pytest.raises(TuningError) as caught:
        parse_search({"parameters": parameters}, "binary")
    assert says in str(caught.value)


SETTINGS = [
    ({"algorithm": "tpee"}, "'tpee' is unknown. Did you mean 'tpe'?"),
    ({"algorithm": "hyperbnd"}, "Did you mean 'hyperband'?"),
    ({"parallel_trials": 31}, "parallel_trials is 31, more than max_trials, 30"),
    ({"max_trials": 0}, "max_trials is 0"),
    ({"max_trials": 2.5}, "max_trials is 2.5"),
    ({"max_trials": "many"}, "max_trials is 'many'"),
    ({"max_failed_trials": -1}, "max_failed_trials is -1"),
    ({"time_budget": -1}, "time_budget is -1"),
    ({"early_stopping": "medain"}, "Did you mean 'median'?"),
    ({"start_step": 0}, "start_step is 0"),
    ({"max_trial": 3}, "setting 'max_trial'. Did you mean 'max_trials'?"),
    ({"algorithm": "random", "algorithm_settings": {"eta": 3}}, "random has no setting 'eta'"),
    ({"algorithm": "cmaes", "algorithm_settings": {"sigma": 0}}, "'sigma' is 0"),
    ({"algorithm": "cmaes", "algorithm_settings": {"restart_strategy": "ipo"}}, "Did you mean 'ipop'?"),
    ({"algorithm_settings": {"n_startup_trials": -2}}, "'n_startup_trials' is -2"),
    ({"algorithm_settings": [1]}, "algorithm_settings is [1]"),
    ({"algorithm": "grid"}, "'rate' has no step"),
    ({"algorithm": "cmaes", "parameters": {"a": [1, 2]}}, "fewer than two numbers"),
    ({"algorithm": "hyperband"}, "nothing says which parameter is the resource"),
    ({"algorithm": "hyperband", "algorithm_settings": {"resource_name": "deph"}}, "Did you mean 'depth'?"),
    ({"objective": "roc"}, "the metric 'roc', which no trial prints. Did you mean 'roc_auc'?"),
    ({"objective": {"metric": "roc_auc", "goal": "maximize"}}, "goal is 'maximize'"),
    ({"objective": {"metric": "roc_auc", "goal": math.nan}}, "goal is nan"),
    ({"objective": {"metric": "roc_auc", "type": "max"}}, "type is 'max'"),
    ({"objective": {"metrik": "roc_auc"}}, "has 'metrik'"),
    ({"objective": {"additional_metrics": ["roc_auc"]}}, "a metric twice"),
    ({"objective": {"additional_metrics": "f1"}}, "additional_metrics 'f1'"),
    ({"objective": 5}, "objective is 5"),
]


@pytest.mark.parametrize(("settings", "says"), SETTINGS, ids=[says for _, says in SETTINGS])
def test_settings_that_cannot_be(settings: dict[str, Any], says: str) -> None:
    numbers = {
        "rate": {"type": "float", "min": 0, "max": 1},
        "depth": {"type": "int", "min": 1, "max": 9},
    }
    with pytest.raises(TuningError) as caught:
        parse_search({"parameters": numbers, **settings}, "binary")
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("parameters: {a: [1, 2], a: [3, 4]}", "'a' twice"),
        ('{"max_trials": 3, "max_trials": 4}', "'max_trials' twice"),
        ("parameters: [", "is not YAML or JSON"),
        ("just a text", "is 'just a text'"),
        ("nowhere/search.yaml", "nowhere/search.yaml cannot be read"),
        ("!!python/object/apply:os.system [ls]", "is not YAML or JSON"),
    ],
)
def test_a_text_that_is_no_search(text: str, says: str) -> None:
    with pytest.raises(TuningError) as caught:
        read_search(text)
    assert says in str(caught.value)


def test_conditions_and_sizes() -> None:
    space = parse_search(read_search(FILE), "binary")[0]
    assert space.active("drop_rate", {"booster": "dart"})
    assert not space.active("drop_rate", {"booster": "tree"})
    assert not space.active("drop_rate", {})
    assert space.active("bins", {})
    assert space.size() is None
    stepped = {"type": "float", "min": 0, "max": 1, "step": 0.1}
    assert SearchSpace.parse({"a": [1, 2], "b": stepped}).size() == 22
    check_takes(["a"], ["a", "b"], "the estimator")
    with pytest.raises(TuningError, match=r"'max_dept', which the estimator does not take\. Did you mean"):
        check_takes(["max_dept"], ["max_depth"], "the estimator")


@pytest.mark.parametrize(
    ("values", "text", "value"),
    [(("1", 2), "1", "1"), ((1, "1"), "1", "1"), ((1, 2), "1", 1), ((0.5, 1.0), "1.0", 1.0)],
)
def test_a_text_of_katibs_is_the_value_again(values: tuple[Any, ...], text: str, value: Any) -> None:
    found = Parameter("a", "categorical", values=values).cast(text)
    assert found == value
    assert type(found) is type(value)


def test_json_texts_of_katibs_are_the_values_again() -> None:
    parameter = Parameter("a", "categorical", values=(True, None, [64, 32], 0.5, "x"))
    texts = ("true", "null", "[64, 32]", "0.5", "x")
    assert tuple(parameter.cast(text) for text in texts) == parameter.values
    assert Parameter("n", "int", 1, 9).cast("3.0") == 3
    for wrong in ("y", "None"):
        with pytest.raises(TuningError, match="none of its values"):
            Parameter("a", "categorical", values=("x", "z")).cast(wrong)
    with pytest.raises(TuningError, match="which is no number"):
        Parameter("n", "int", 1, 9).cast("many")


@given(some.integers(-50, 50), some.integers(1, 40), some.sampled_from([0.1, 0.01, 0.25, 2, 3.5]))
def test_a_grid_goes_from_min_to_max_in_steps(low: int, steps: int, step: float) -> None:
    high = float(f"{low + steps * step:.12g}")
    grid = Parameter("a", "float", low, high, step=step).grid()
    assert grid is not None
    assert (len(grid), grid[0], grid[-1]) == (steps + 1, low, high)
    assert all(abs(b - a - step) < 1e-9 for a, b in itertools.pairwise(grid))
    assert all(len(repr(value)) < 12 for value in grid)


def test_the_best_trial_and_progress() -> None:
    def trial(number: int, value: float | None, state: Any = "complete") -> Trial:
        return Trial(number, {}, state, value)

    higher, lower = Objective("roc_auc", True, 0.9), Objective("rmse", False, 1.0)
    trials = (trial(0, 0.5), trial(1, 0.7), trial(2, 0.9, "pruned"), trial(3, 0.7), trial(4, None, "failed"))
    best = Search(trials).best(higher)
    assert best is not None
    assert best.number == 1
    assert Search(trials).best(lower) == trials[0]
    assert Search((trials[4], trials[2])).best(higher) is None
    assert higher.reached(0.9)
    assert not lower.reached(1.1)
    assert not higher.better(math.nan, None)
    assert str(Progress(3, 2, 0, 9, None)) == "3 of 9 trials done, 2 running"
    assert str(Progress(3, 2, 1, 9, 0.5)) == "3 of 9 trials done, 2 running, 1 failed, best 0.5"


# Sweeps -----------------------------------------------------------------------------------------------------

#: The guide's own sweep.
GUIDE = """
program: train.py
method: bayes
metric: {name: roc_auc, goal: maximize, target: 0.95}
run_cap: 50
early_terminate: {type: hyperband, min_iter: 3}
parameters:
  learning_rate: {distribution: log_uniform_values, min: 1e-5, max: 1e-1}
  batch_size: {values: [16, 32, 64, 128]}
  hidden: {distribution: q_uniform, min: 64, max: 512, q: 64}
  dropout: {distribution: uniform, min: 0.1, max: 0.5}
  epochs: {value: 10}
  layers: {min: 1, max: 4}
  momentum: {min: 0.5, max: 0.99}
  decay: {distribution: log_uniform, min: -9.210340371976182, max: 0}
  units: {distribution: q_log_uniform_values, min: 8, max: 512, q: 1}
  share: {distribution: q_uniform, min: 0, max: 0.5, q: 0.1}
  depth: {distribution: int_uniform, min: 2, max: 9}
"""


def test_the_guides_sweep_is_converted() -> None:
    found = from_sweep(yaml.safe_load(GUIDE))
    assert found.fixed == {"epochs": 10}
    assert found.search["parameters"] == {
        "learning_rate": {"type": "float", "min": 1e-5, "max": 0.1, "log": True},
        "batch_size": {"type": "categorical", "values": [16, 32, 64, 128]},
        "hidden": {"type": "int", "min": 64, "max": 512, "step": 64},
        "dropout": {"type": "float", "min": 0.1, "max": 0.5},
        "layers": {"type": "int", "min": 1, "max": 4},
        "momentum": {"type": "float", "min": 0.5, "max": 0.99},
        "decay": {"type": "float", "min": pytest.approx(1e-4), "max": 1.0, "log": True},
        "units": {"type": "int", "min": 8, "max": 512, "log": True},
        "share": {"type": "float", "min": 0.0, "max": 0.5, "step": 0.1},
        "depth": {"type": "int", "min": 2, "max": 9},
    }
    space, objective, settings = parse_search(found.search, "binary")
    assert len(space) == 10
    assert objective == Objective("roc_auc", True, 0.95)
    assert (settings.algorithm, settings.max_trials, settings.early_stopping) == ("tpe", 50, "median")
    assert settings.start_step == 3
    assert len(found.notes) == 3
    assert "program is for W&B's agent" in found.notes[0]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"parameters": {"a": {"distribution": "normal", "mu": 0}}}, "'a' has the distribution normal"),
        ({"parameters": {"a": {"distribution": "beta"}}}, "cannot be said here. Use constant"),
        ({"parameters": {"a": {"values": [1, 2], "probabilities": [0.1, 0.9]}}}, "'a' has probabilities"),
        ({"parameters": {"a": {"parameters": {"b": {"value": 1}}}}}, "'a' has parameters"),
        (
            {"parameters": {"a": {"distribution": "q_log_uniform_values", "min": 1, "max": 9, "q": 2}}},
            "steps of 2 on a log scale",
        ),
        ({"parameters": {"a": {"max": 3}}}, "neither values nor min and max"),
        ({"parameters": {"a": {"distribution": "uniform", "min": "x", "max": 3}}}, "has min 'x'"),
        ({"parameters": {"a": 3}}, "'a' is 3"),
        ({"parameters": {"a": {"min": 3, "max": 1}}}, "min 3 above max 1"),
        ({"parameters": {}}, "no parameters"),
        ({"method": "bayess"}, "Did you mean 'bayes'?"),
        ({"metric": "roc_auc"}, "metric is 'roc_auc'"),
        ({"early_terminate": {"type": "envelope"}}, "early_terminate"),
        ({"parametrs": {}}, "Did you mean 'parameters'?"),
    ],
)
def test_what_cannot_be_converted_is_named(change: dict[str, Any], says: str) -> None:
    with pytest.raises(TuningError) as caught:
        from_sweep({"parameters": {"b": {"values": [1, 2]}}, **change})
    assert says in str(caught.value)
