"""The Kubernetes-native form: Pipeline and PipelineVersion objects."""

from pathlib import Path

import pytest
import yaml

from kfp_lifecycle.compiler.compile import compile_repository
from kfp_lifecycle.compiler.digest import verify_digest
from kfp_lifecycle.compiler.errors import CompileError
from kfp_lifecycle.compiler.objects import kubernetes_file
from kfp_lifecycle.compiler.profiles.find import find_profile
from kfp_lifecycle.compiler.reader import read
from kfp_lifecycle.compiler.repository import find_repository
from tests.repositories import GOOD, ROOT, run, tiny

REPOSITORY = find_repository(ROOT)
VERSION = "pipelines.kubeflow.org/v2beta1"


def test_the_objects_of_a_pipeline() -> None:
    (training,) = compile_repository(REPOSITORY, ["training"])
    file = kubernetes_file(training, "team-a")
    assert file.path == "pipelines/training/1.0.0.yaml"
    pipeline, version = yaml.safe_load_all(file.text)
    said = training.definition.component.description
    assert pipeline == {
        "apiVersion": VERSION,
        "kind": "Pipeline",
        "metadata": {"name": "training", "namespace": "team-a"},
        "spec": {"displayName": "training", "description": said},
    }
    spec = version.pop("spec")
    metadata = {"name": "training-1.0.0", "namespace": "team-a"}
    assert version == {"apiVersion": VERSION, "kind": "PipelineVersion", "metadata": metadata}
    assert spec.pop("pipelineSpec") == training.spec
    assert spec == {"displayName": "1.0.0", "pipelineName": "training", "description": said}
    verify_digest(training.spec)


def test_the_platform_settings_are_in_the_version(tmp_path: Path) -> None:
    (training,) = compile_repository(REPOSITORY, ["training-torch"], find_profile(REPOSITORY, "gpu"))
    text = kubernetes_file(training).text
    pipeline, version = yaml.safe_load_all(text)
    assert "namespace" not in pipeline["metadata"]
    assert version["spec"]["platformSpec"] == training.platform
    (tmp_path / "objects.yaml").write_text(text)
    compiled = read(tmp_path / "objects.yaml")
    assert compiled.name == "training-torch"
    assert compiled.kubernetes["exec-train-gpu"]["tolerations"]


def test_the_command_writes_all_of_them(tmp_path: Path) -> None:
    arguments = ("--format", "kubernetes", "--namespace", "team", "--out", str(tmp_path))
    done = run("compile", *arguments, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    names = []
    for file in tmp_path.rglob("*.yaml"):
        pipeline, version = yaml.safe_load_all(file.read_text())
        assert version["spec"]["pipelineName"] == pipeline["metadata"]["name"]
        assert {o["metadata"]["namespace"] for o in (pipeline, version)} == {"team"}
        names.append(version["metadata"]["name"])
    assert len(set(names)) == len(names) >= 6
    # An exit handler is never run by itself, which lint cannot know of a file outside compiled/.
    linted = [str(file) for file in tmp_path.rglob("*.yaml") if "notify-failure" not in str(file)]
    assert run("lint", *linted, cwd=ROOT).returncode == 0


@pytest.mark.parametrize(
    ("name", "version", "namespace", "refused"),
    [
        ("a" * 63, "1.0.0", "team", ""),
        ("a" * 64, "1.0.0", "team", "a" * 64),
        ("good", "1.0.0", "Team", "Team"),
        ("good", "1.0.0", "a.b", "a.b"),
        ("good", "1.0.0", "a" * 64, "a" * 64),
        ("good", "1.0.0-rc.1", "", ""),
    ],
)
def test_names_that_kubernetes_takes(
    name: str, version: str, namespace: str, refused: str, tmp_path: Path
) -> None:
    text = GOOD.replace("def good", f"def {name}").replace('"1.2.3"', f'"{version}"')
    repository = tiny(tmp_path / "r", {name: text})
    (compiled,) = compile_repository(repository)
    if not refused:
        kubernetes_file(compiled, namespace)
        return
    with pytest.raises(CompileError, match=f"Kubernetes takes '{refused}' for no name of"):
        kubernetes_file(compiled, namespace)
