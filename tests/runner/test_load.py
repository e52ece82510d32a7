"""A file that cannot be run is told from one that can."""

from pathlib import Path

import pytest

from kfp_lifecycle.components.shared.errors import LifecycleError
from kfp_lifecycle.runner.load import load
from tests.runner.components import say
from tests.runner.conftest import Compile


def test_a_compiled_file_says_what_it_is(compiled: Compile, here: Path) -> None:
    file = compiled(say)
    versioned = here / "1.2.0.yaml"
    file.path.rename(versioned)

    assert (file.name, file.version, list(file.inputs)) == ("say", "", ["text"])
    assert load(versioned).version == "1.2.0"
    assert load(versioned).sha256 == file.sha256


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"\x80\x81", "not UTF-8"),
        (b"a: [", "not YAML"),
        (b"just a text", "holds no mapping"),
        (b"source: data/churn.csv\n", "not a compiled pipeline"),
        (b"apiVersion: argoproj.io/v1alpha1\nkind: Workflow\n", "an Argo workflow"),
        (b"name: old\nimplementation: {container: {image: a}}\n", "a component of KFP 1"),
        (b"pipelineInfo: {name: a}\nroot: {}\ndeploymentSpec: {}\ncomponents: {}\n", "has no task"),
        (b"pipelineInfo: {name: a}\nroot: {dog: {}}\n", "dog"),
    ],
)
def test_what_is_no_compiled_file_is_a_declared_error(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "file.yaml"
    path.write_bytes(content)
    with pytest.raises(LifecycleError, match=message) as raised:
        load(path)
    assert str(path) in str(raised.value)


def test_a_missing_file_is_a_declared_error(tmp_path: Path) -> None:
    with pytest.raises(LifecycleError, match=r"none\.yaml"):
        load(tmp_path / "none.yaml")
