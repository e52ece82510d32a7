"""One trial: the program that Katib starts, hyperparameters as text, folds that lie on disk."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from mlflow.tracking import MlflowClient
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from kfp_lifecycle.components.shared.errors import ParameterError
from kfp_lifecycle.components.shared.inference.schema import Split
from kfp_lifecycle.components.shared.scores import METRICS
from kfp_lifecycle.components.shared.tracking import tracked_run
from kfp_lifecycle.components.train.__main__ import hyperparameters, main
from kfp_lifecycle.components.train.crossval import cross_validate
from kfp_lifecycle.components.train.flags import complaint, typed_parameters
from kfp_lifecycle.components.train.fold_files import FoldFiles, write_folds
from kfp_lifecycle.components.train.folds import make_folds
from kfp_lifecycle.components.train.training import (
    TrainingInputs,
    TrainingOptions,
    make_recipe,
    target_values,
)
from kfp_lifecycle.components.train.trial import run_trial
from tests.components.train.tables import Prepared, prepared

#: How Katib's StdOut collector reads a line.
KATIB = re.compile(r"([\w|-]+)\s*=\s*([+-]?\d*(\.\d+)?([Ee][+-]?\d+)?)")


@pytest.fixture(scope="module")
def churn(table: Any) -> Prepared:
    return prepared(pl.from_pandas(table("churn")).head(2000), "churn", "binary")


@pytest.fixture(scope="module")
def inputs(churn: Prepared, tmp_path_factory: pytest.TempPathFactory) -> TrainingInputs:
    return churn.write(tmp_path_factory.mktemp("trial") / "inputs")


def _words(inputs: TrainingInputs, *more: str) -> list[str]:
    return ["--train", str(inputs.rows), "--schema", str(inputs.schema), "--plan", str(inputs.plan), *more]


def _run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kfp_lifecycle.components.train", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_program_prints_what_cross_validation_finds(churn: Prepared, inputs: TrainingInputs) -> None:
    done = _run(*_words(inputs, "--folds=3", "--seed=5", "--max_iter=30", "--learning_rate", "0.2"))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    found: dict[str, list[float]] = {}
    for line in lines:
        ((name, value, *_),) = KATIB.findall(line)
        assert line == f"{name}={value}"
        found.setdefault(name, []).append(float(value))
    assert set(found) == set(METRICS["binary"])
    assert all(len(values) == 3 for values in found.values())
    options = TrainingOptions(estimator_parameters={"max_iter": 30, "learning_rate": 0.2}, seed=5)
    y = target_values(churn.rows, churn.schema)
    recipe = make_recipe(options, churn.schema, churn.plan)
    folds = cross_validate(recipe, churn.rows, y, make_folds(churn.rows, y, churn.schema, 3, 5)).folds
    for name, values in found.items():
        assert values == pytest.approx([np.mean([fold[name] for fold in folds[: k + 1]]) for k in range(3)])
    # Nothing in the log looks like a metric: Katib's collector reads both streams as one.
    assert not [name for name, *_ in KATIB.findall(done.stderr) if name in METRICS["binary"]]


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--learning_rat=0.1"], "'learning_rate'"),
        (["--max_iter=0"], "max_iter"),
        (["--estimator=sklearn.ensemble.RandomForestClasifier"], "'RandomForestClassifier'"),
        (["--folds=0"], "'folds'"),
        (["--train=/nowhere/rows"], "/nowhere/rows does not exist"),
        (["learning_rate=0.1"], "--name=value"),
        (["--max_iter=5", "--max_iter=6"], "twice"),
        (["--estimator_parameters={"], "'estimator_parameters'"),
    ],
)
def test_a_trial_that_fails_ends_with_one_line_and_code_1(
    more: list[str], says: str, inputs: TrainingInputs, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_code:
        main(_words(inputs, "--folds=2", *more))
    assert exit_code.value.code == 1
    last = capfd.readouterr().err.splitlines()[-1]
    assert last.startswith("ERROR ")
    assert says in last


def test_a_trial_is_a_nested_run_where_a_run_is_named(inputs: TrainingInputs, here: Path) -> None:
    with tracked_run("tuning") as parent:
        main(_words(inputs, "--folds=2", "--max_iter=5", f"--mlflow_parent_run={parent}"))
    client = MlflowClient()
    experiment = client.get_run(parent).info.experiment_id
    (run,) = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parent}'")
    assert run.data.params == {"max_iter": "5"}
    assert run.info.status == "FINISHED"
    assert set(METRICS["binary"]) <= set(run.data.metrics)
    history = client.get_metric_history(run.info.run_id, "roc_auc_so_far")
    assert [point.step for point in history] == [0, 1]
    assert history[-1].value == run.data.metrics["roc_auc"]


class Plain:
    """An estimator that says nothing of what it accepts but by its defaults."""

    def __init__(
        self, size: int = 3, rate: float = 0.5, kind: str = "1", flag: bool = False, other: Any = None
    ): ...


@pytest.mark.parametrize(
    ("cls", "name", "text", "value"),
    [
        (HistGradientBoostingClassifier, "max_depth", "5", 5),
        (HistGradientBoostingClassifier, "max_depth", "5.0", 5),
        (HistGradientBoostingClassifier, "max_depth", "none", None),
        (HistGradientBoostingClassifier, "max_depth", "null", None),
        (HistGradientBoostingClassifier, "learning_rate", "1e-2", 0.01),
        (HistGradientBoostingClassifier, "early_stopping", "true", True),
        (HistGradientBoostingClassifier, "early_stopping", "False", False),
        (HistGradientBoostingClassifier, "early_stopping", "auto", "auto"),
        (HistGradientBoostingClassifier, "max_depth", "2.5", 2.5),
        (RandomForestClassifier, "max_features", "1.0", 1.0),
        (RandomForestClassifier, "max_features", "1", 1),
        (RandomForestClassifier, "max_features", "sqrt", "sqrt"),
        (RandomForestClassifier, "class_weight", '{"0": 2}', {"0": 2}),
        (LogisticRegression, "C", "10", 10),
        (Plain, "size", "4.0", 4),
        (Plain, "rate", "1", 1.0),
        (Plain, "kind", "1", "1"),
        (Plain, "flag", "true", True),
        (Plain, "other", "7", 7),
        (Plain, "unknown", "x", "x"),
    ],
)
def test_texts_become_what_the_estimator_wants(cls: type[Any], name: str, text: str, value: Any) -> None:
    (found,) = typed_parameters(cls, {name: text}).values()
    assert found == value
    assert type(found) is type(value)


def test_what_an_estimator_does_not_take_is_said() -> None:
    assert "max_depth" in complaint(HistGradientBoostingClassifier, "max_depth", 0)
    assert not complaint(HistGradientBoostingClassifier, "max_depth", None)
    assert not complaint(Plain, "size", "anything")


def test_flags_in_both_ways() -> None:
    assert hyperparameters(["--a=1", "--b", "2", "--c=x=y"]) == {"a": "1", "b": "2", "c": "x=y"}
    with pytest.raises(ParameterError, match="'--b' has no value"):
        hyperparameters(["--a=1", "--b"])


@pytest.mark.parametrize("early_stopping", [False, True])
def test_folds_on_disk_give_what_cross_validation_gives(
    churn: Prepared, tmp_path: Path, early_stopping: bool
) -> None:
    rows, schema = churn.rows, churn.schema
    y = target_values(rows, schema)
    folds = make_folds(rows, y, schema, 3, 1)
    write_folds(tmp_path, churn.plan, schema, rows, y, folds)
    options = TrainingOptions(
        estimator_parameters={"max_iter": 20, "early_stopping": early_stopping, "random_state": 0}
    )
    recipe = make_recipe(options, schema, churn.plan)
    files, told = FoldFiles(tmp_path, 3), []
    metrics = run_trial(recipe, map(files.read, range(3)), lambda number, found: told.append((number, found)))
    expected = cross_validate(recipe, rows, y, folds).folds
    assert metrics == {name: np.mean([fold[name] for fold in expected]) for name in METRICS["binary"]}
    assert [number for number, _ in told] == [0, 1, 2]
    assert told[0][1] == expected[0]
    assert told[-1][1] == metrics


def test_each_fold_on_disk_has_a_transform_of_its_own(tmp_path: Path) -> None:
    """Scaled by the rows that it fits on alone: their mean is 0, of the others' it is not."""
    rng = np.random.default_rng(0)
    rows = pl.DataFrame({"x": np.arange(300.0), "when": np.arange(300), "y": rng.normal(size=300)})
    made = prepared(rows, "y", "regression", split=Split("time", column="when"), roles={"when": "time"})
    y = target_values(made.rows, made.schema)
    write_folds(tmp_path, made.plan, made.schema, made.rows, y, make_folds(made.rows, y, made.schema, 3, 1))
    for number in range(3):
        data = FoldFiles(tmp_path, 3).read(number)
        assert isinstance(data.features, np.memmap)
        assert data.features.mean() == pytest.approx(0, abs=1e-9)
        assert data.judged.min() > data.features.max()  # later than all that was fitted on
        fitted = data.rows() if callable(data.rows) else data.rows
        assert len(fitted) == len(data.y) == len(data.features)
        np.testing.assert_array_equal(fitted["y"], data.y)
