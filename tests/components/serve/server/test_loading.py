"""Models that can be served, and those that cannot: the reason is one line."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kfp_lifecycle.components.serve.server.failures import BadRequestError
from kfp_lifecycle.components.serve.server.loading import load
from kfp_lifecycle.components.serve.server.protocol_v1 import decode, encode
from kfp_lifecycle.components.serve.server.sources import patiently, resolve
from kfp_lifecycle.components.serve.server.table import Table, by_column
from kfp_lifecycle.components.serve.server.tensors import Tensor, rows_of
from kfp_lifecycle.components.shared.errors import (
    LifecycleError,
    RegistryError,
    ServingError,
    StorageError,
    TrackingError,
)
from kfp_lifecycle.components.shared.model_format import load_predictor
from tests.components.serve.serving import Models


def near(values: list[Any]) -> Any:
    """Numbers but for the last bits: BLAS adds up a matrix in another order than a row."""
    return pytest.approx(values, rel=1e-12) if isinstance(values[0], float) else values


def copied(model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(model, tmp_path / "copy"))


@pytest.mark.parametrize("kind", ["binary", "regression", "multiclass"])
def test_an_artifact_answers_as_mlflow_does(models: Models, kind: str) -> None:
    folder: Path = getattr(models, kind)
    served = load(str(folder))
    assert served.description is not None
    assert served.example is not None
    rows = served.example.records() * 3
    want = load_predictor(folder).predict(pd.DataFrame(rows, dtype=object))
    got = served.predict(served.check(by_column(rows)))
    assert list(got.columns) == [column.name for column in served.outputs] == list(want.columns)
    for name in want.columns:
        assert list(got.columns[name]) == near(want[name].tolist())
    settled = served.settled(served.check(by_column(rows)))
    assert settled.height == len(rows)


def test_many_rows_are_answered_as_few_are(models: Models) -> None:
    served = load(str(models.binary))
    many = by_column(models.rows * 6)  # more than go the quick way
    few = served.predict(served.check(by_column(models.rows)))
    got = served.predict(served.check(many))
    for name, values in few.columns.items():
        assert list(got.columns[name][: len(models.rows)]) == near(list(values))


def test_a_plain_model_takes_and_gives_what_its_signature_says(models: Models) -> None:
    served = load(str(models.plain))
    assert [(c.name, c.type, c.required) for c in served.inputs] == [(n, "number", True) for n in "abcd"]
    rows = decode(
        b'{"instances": [{"a": 1, "b": 2.5, "c": 0, "d": -1}, {"a": -1, "b": -2, "c": 0, "d": 0}]}', served
    )
    answered = served.predict(served.check(rows))
    assert json.loads(encode(served, answered)) == {"predictions": [1, 0]}
    matrix = Tensor("x", "FP64", [2, 4], [1.0, 2.5, 0.0, -1.0, -1.0, -2.0, 0.0, 0.0])
    again = served.predict(served.check(rows_of([matrix], served)))
    assert list(again.columns["prediction"]) == [1, 0]


@pytest.mark.parametrize(
    ("row", "column", "reason"),
    [
        ({"a": "x", "b": 1, "c": 1, "d": 1}, "a", "Column 'a' is double, but has 'x' in row 0."),
        ({"a": True, "b": 1, "c": 1, "d": 1}, "a", "Column 'a' is double, but has 'True' in row 0."),
        ({"a": None, "b": 1, "c": 1, "d": 1}, "a", "Column 'a' has no value in row 0"),
        ({"b": 1, "c": 1, "d": 1}, "a", "The rows have no column 'a'."),
        ({"a": 1, "b": 1, "c": 1, "d": 1, "e": 1}, "e", "The model has no column 'e'."),
        ({"a": float("nan"), "b": 1, "c": 1, "d": 1}, "a", "Column 'a' has no value in row 0"),
    ],
)
def test_a_plain_models_rows_are_checked(
    models: Models, row: dict[str, Any], column: str, reason: str
) -> None:
    served = load(str(models.plain))
    with pytest.raises(BadRequestError) as error:
        served.check(by_column([row]))
    assert error.value.column == column
    assert reason in error.value.reason


def test_a_model_without_a_signature_takes_lists_of_numbers(tmp_path: Path) -> None:
    import mlflow.sklearn
    from sklearn.linear_model import LinearRegression

    fitted = LinearRegression().fit(np.eye(3), [1.0, 2.0, 3.0])
    mlflow.sklearn.save_model(
        fitted, tmp_path / "bare", serialization_format="cloudpickle", pip_requirements=["scikit-learn"]
    )
    served = load(str(tmp_path / "bare"))
    rows = decode(b'{"instances": [[1, 0, 0], [0, 0, 1]]}', served)
    answered = json.loads(encode(served, served.predict(served.check(rows))))
    assert answered["predictions"] == pytest.approx([1.0, 3.0])
    with pytest.raises(BadRequestError, match="a list of numbers, all of one length"):
        served.predict(served.check(decode(b'{"instances": [[1, 0, 0], [0]]}', served)))


def test_the_name_and_version_of_a_folder(models: Models) -> None:
    served, named = load(str(models.plain)), load(str(models.plain), "scores")
    assert (served.name, named.name) == ("plain", "scores")
    assert served.version == named.version == served.digest.removeprefix("sha256:")[:12]


@pytest.mark.parametrize(
    "missing",
    [
        "MLmodel",
        "data/lifecycle/schema.json",
        "data/lifecycle/transform.json",
        "data/lifecycle/estimator.pkl",
        "data/lifecycle/model.json",
        "data/lifecycle/training_rows.parquet",
        "code",
    ],
)
def test_a_model_that_is_not_all_there_is_refused(models: Models, tmp_path: Path, missing: str) -> None:
    folder = copied(models.binary, tmp_path)
    path = folder / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(ServingError, match="not whole") as error:
        load(str(folder))
    assert str(folder) in str(error.value)


@pytest.mark.parametrize("name", ["schema.json", "transform.json", "estimator.pkl", "example.json"])
def test_a_file_that_is_cut_off_is_refused(models: Models, tmp_path: Path, name: str) -> None:
    folder = copied(models.binary, tmp_path)
    file = folder / "data" / "lifecycle" / name
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(ServingError):
        load(str(folder))


def test_a_model_that_gives_other_outputs_than_recorded_is_refused(models: Models, tmp_path: Path) -> None:
    folder = copied(models.binary, tmp_path)
    file = folder / "data" / "lifecycle" / "example.json"
    recorded = json.loads(file.read_text())
    recorded["outputs"][2]["probability_Yes"] += 0.01
    file.write_text(json.dumps(recorded))
    with pytest.raises(ServingError, match=r"gives probability_Yes = .* for row 2 of its example"):
        load(str(folder))


def test_a_model_of_other_versions_is_refused_with_both_named(models: Models, tmp_path: Path) -> None:
    folder = copied(models.binary, tmp_path)
    requirements = folder / "requirements.txt"
    lines = requirements.read_text().splitlines()
    lines = ["scikit-learn==0.24.1" if line.startswith("scikit-learn") else line for line in lines]
    requirements.write_text("\n".join(lines))
    load(str(folder))  # it answers its example as recorded
    estimator = folder / "data" / "lifecycle" / "estimator.pkl"
    estimator.write_bytes(estimator.read_bytes().replace(b"sklearn.linear_model", b"sklearn.linear_mxxxl"))
    with pytest.raises(ServingError, match=r"made with scikit-learn 0\.24\.1 \(here 1\."):
        load(str(folder))


def test_a_model_that_an_older_library_saved_is_served(models: Models, tmp_path: Path) -> None:
    folder = copied(models.binary, tmp_path)
    (code,) = (folder / "code").iterdir()
    older = code.rename(code.with_name("kfp_lifecycle_model_000000000000"))
    source = (older / "model.py").read_text()
    for name in ("self.few =", "def settle(", "def outputs("):
        assert name in source
    (older / "model.py").write_text(
        source.replace("self.few =", "self._ =")
        .replace("def settle(", "def _settled(")
        .replace("self.settle(", "self._settled(")
        .replace("def outputs(", "def _outputs(")
        .replace("self.outputs(", "self._outputs(")
    )
    mlmodel = folder / "MLmodel"
    mlmodel.write_text(mlmodel.read_text().replace(code.name, older.name))
    served = load(str(folder))
    want = load(str(models.binary)).predict(by_column(models.rows[:5]))
    got = served.predict(served.check(by_column(models.rows[:5])))
    assert list(got.columns["probability_Yes"]) == pytest.approx(list(want.columns["probability_Yes"]))


def test_what_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="does not exist"):
        load(str(tmp_path / "nothing"))
    with pytest.raises(ServingError, match="has no file MLmodel"):
        load(str(tmp_path))
    with pytest.raises(RegistryError, match="names no version"):
        resolve("models:/churn")


def test_it_is_patient_with_what_does_not_answer() -> None:
    waits: list[float] = []
    left = [TrackingError("no"), StorageError("no"), TrackingError("no")]
    left[1].__cause__ = ConnectionError()

    def attempt() -> str:
        if left:
            raise left.pop()
        return "there"

    assert patiently(attempt, 100, waits.append) == "there"
    assert [0.75 <= wait / base <= 1 for wait, base in zip(waits, (1, 2, 4), strict=True)] == [True] * 3


def test_it_is_not_patient_with_what_is_final(tmp_path: Path) -> None:
    waits: list[float] = []
    for failing in (str(tmp_path / "nothing"), "models:/churn"):
        with pytest.raises(LifecycleError):
            patiently(lambda uri=failing: load(uri), 100, waits.append)
    assert not waits


def test_a_server_that_cannot_load_ends_with_the_reason_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "MLmodel").write_text("flavors: {")
    command = [sys.executable, "-m", "kfp_lifecycle.components.serve", "--model", str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    last = ended.stderr.strip().splitlines()[-1]
    assert last.startswith(f"ERROR ServingError: The model {tmp_path} does not load: its file MLmodel")
    assert "Traceback" not in ended.stderr


def test_a_table_is_cut_and_joined(models: Models) -> None:
    table = by_column(models.rows[:6])
    parts = [table.slice(0, 2), table.slice(2, 3), table.slice(5, 1)]
    assert Table.concatenated(parts).records() == models.rows[:6]
    assert table.select(["tenure", "nothing"]).records() == [{"tenure": r["tenure"]} for r in models.rows[:6]]
