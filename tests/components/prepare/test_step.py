"""The step as KFP calls it."""

import inspect
import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kfp_lifecycle.components.prepare.options import MISSING_VALUES, Options
from kfp_lifecycle.components.prepare.step import prepare_step
from kfp_lifecycle.components.shared.errors import ParameterError, SourceError
from kfp_lifecycle.components.shared.inference.schema import TableSchema
from tests.conftest import ROOT

CSV = "id,y,n,w\n" + "".join(f"{n},{'ab'[n % 2]},{n / 4},{'uvx'[n % 3]}\n" for n in range(60))


@dataclass
class Artifact:
    """A KFP output artifact, as far as a step sees it."""

    path: str
    metadata: dict = field(default_factory=dict)


@pytest.fixture
def artifacts(tmp_path):
    return {name: Artifact(str(tmp_path / "out" / name)) for name in ("train", "test", "schema", "profile")}


@pytest.fixture
def source(tmp_path):
    (tmp_path / "table.csv").write_text(CSV)
    return str(tmp_path / "table.csv")


def defaults():
    """The component's parameters and their defaults, as its face has them."""
    from kfp_lifecycle.components.prepare import component

    parameters = inspect.signature(component.prepare.python_func).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}


def test_the_options_are_what_the_face_gives_with_the_same_defaults():
    options = Options(source="s", target="t").to_dict()
    assert set(options) == {*defaults(), "source", "target"}
    assert options | {"rules": "{}", "source": "s"} == {"source": "s", "target": "t", **defaults()}
    assert defaults()["missing_values"] == list(MISSING_VALUES)


def test_artifacts_say_what_they_hold(artifacts, source):
    given = defaults() | {
        "min_rows": 20,
        "rules": '{"ranges": {"n": [0, 15]}}',
        "missing_values": [-999.0, "NA"],
    }
    prepare_step(source=source, target="y", **artifacts, **given)
    schema = TableSchema.load(artifacts["schema"].path)
    train, test = artifacts["train"].metadata, artifacts["test"].metadata
    assert train["rows"] + test["rows"] == 60
    for metadata in (train, test):
        assert metadata | {"rows": 0} == {
            "rows": 0,
            "columns": 4,
            "target": "y",
            "task": "binary",
            "source_uri": source,
            "source_digest": schema.source_digest,
        }
    assert Path(artifacts["profile"].path).read_text().startswith("<!doctype html>")
    # For lineage the parameters are kept as they were given.
    assert schema.parameters["min_rows"] == 20
    assert schema.parameters["rules"]["ranges"] == {"n": [0, 15]}
    assert schema.missing_values == ["-999", "NA"]
    assert json.loads(Path(artifacts["schema"].path).read_text())["format"] == 1


def test_the_same_inputs_give_the_same_outputs(artifacts, source):
    def contents():
        folder = Path(artifacts["train"].path).parent
        return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    prepare_step(source=source, target="y", **artifacts, **defaults())
    first = contents()
    prepare_step(source=source, target="y", **artifacts, **defaults())
    assert contents() == first
    assert len(first) == 4


def test_a_failure_leaves_no_output_even_of_an_earlier_run(artifacts, source):
    prepare_step(source=source, target="y", **artifacts, **defaults())
    with pytest.raises(SourceError):
        prepare_step(source=source + ".gone", target="y", **artifacts, **defaults())
    assert not any(Path(artifact.path).exists() for artifact in artifacts.values())


def test_rules_that_are_no_json_are_a_parameter_error(artifacts, source):
    with pytest.raises(ParameterError, match="'rules' is not JSON"):
        prepare_step(source=source, target="y", **artifacts, **defaults() | {"rules": "{,}"})


IN_A_STEP = """
import os, sys
os.environ["_KFP_RUNTIME"] = "true"
from types import SimpleNamespace
names = ("train", "test", "schema", "profile")
outputs = {{name: SimpleNamespace(path=f"{folder}/out/{{name}}", metadata={{}}) for name in names}}
from kfp_lifecycle.components.prepare.step import prepare_step
try:
    prepare_step(source={source!r}, target={target!r}, **outputs, **{defaults!r})
finally:
    print(sorted({{"pandas", "sklearn", "mlflow", "matplotlib", "kfp", "pyarrow"}} & {{*sys.modules}}))
"""


def in_a_step(folder, source, target):
    code = IN_A_STEP.format(folder=folder, source=source, target=target, defaults=defaults())
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)


def test_a_step_imports_nothing_heavy(tmp_path, source):
    done = in_a_step(tmp_path, source, "y")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_in_a_step_an_error_is_the_last_line_of_the_log_without_a_traceback(tmp_path, source):
    done = in_a_step(tmp_path, source, "z")
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("ERROR TargetError: Target 'z' is no column")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_in_a_step_a_password_is_not_in_the_log(tmp_path):
    done = in_a_step(tmp_path, "https://me:hunter2@host/t.csv", "y")
    assert done.returncode == 1
    assert "hunter2" not in done.stdout + done.stderr
