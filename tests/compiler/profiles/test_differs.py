"""Two profiles of one pipeline differ in images and settings of the platform, and in nothing else."""

from pathlib import Path

import pytest

from kfp_lifecycle.compiler.compile import compile_repository
from kfp_lifecycle.compiler.diff import Subject, diff
from kfp_lifecycle.compiler.profiles.find import find_profile, read_profile
from kfp_lifecycle.compiler.reader import read, read_bytes
from kfp_lifecycle.compiler.repository import find_repository
from kfp_lifecycle.compiler.spec import images
from tests.compiler.profiles.test_apply import EVERYTHING
from tests.repositories import ROOT, run

REPOSITORY = find_repository(ROOT)

#: What a profile may change.
ALLOWED = {Subject.IMAGES, Subject.RESOURCES, Subject.CACHING, Subject.RETRIES, Subject.PLATFORM}

OWN = EVERYTHING.replace("images: {", "images: {registries: {kfp-lifecycle: registry.example.com/team}, ")


@pytest.mark.parametrize("name", ["cpu", "gpu", "own"])
def test_only_images_and_platform_settings_differ(name: str, tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(OWN)
    profile = read_profile(tmp_path / "own.yaml") if name == "own" else find_profile(REPOSITORY, name)
    compiled = compile_repository(REPOSITORY, (), profile)
    assert len(compiled) >= 6
    for item in compiled:
        local = read(ROOT / "compiled" / item.path)
        changes = diff(local, read_bytes(item.text.encode(), item.path))
        assert changes
        used = images(item.spec)
        for change in changes:
            # A task that is told its image, or the file's digest, is told the new one.
            told = change.new["runtimeValue"]["constant"] if change.id == "task-argument-changed" else ""
            is_told = told in used or told.startswith("sha256:")
            # Steps that make pods themselves are told what those are to have.
            own = ("'LEVEL'", "'KFP_LIFECYCLE_TRIAL_PODS'", "'KFP_LIFECYCLE_PREDICTOR_PODS'")
            is_variable = change.id == "environment-changed" and any(n in change.message for n in own)
            assert change.subject in ALLOWED or is_told or is_variable, change


def test_the_command_writes_elsewhere(tmp_path: Path) -> None:
    names = ("training", "training-torch", "train")
    done = run("compile", *names, "--profile", "gpu", "--out", str(tmp_path / "gpu"), cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert sorted(f.relative_to(tmp_path).as_posix() for f in tmp_path.rglob("*.yaml")) == [
        "gpu/components/train/1.0.0.yaml",
        "gpu/pipelines/training-torch/1.0.0.yaml",
        "gpu/pipelines/training/1.0.0.yaml",
    ]
    # scikit-learn has no use for a GPU, and the other steps of the pipeline have none either.
    for name, accelerators in (("training", 0), ("training-torch", 1)):
        text = (tmp_path / f"gpu/pipelines/{name}/1.0.0.yaml").read_text()
        assert text.count("resourceType: nvidia.com/gpu") == accelerators
    again = ("compile", "training", "--profile", "gpu", "--out", str(tmp_path / "gpu"), "--check")
    assert run(*again, cwd=ROOT).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--profile", "gpu"], "compiled/ holds the profile local"),
        (["--locked"], "compiled/ holds the profile local"),
        (["--format", "kubernetes"], "compiled/ holds the profile local"),
        (["--out", "compiled"], "say where else"),
        (["--out", "x", "--namespace", "a"], "Only --format kubernetes has one"),
        (["--out", "x", "--locked"], "Run kfp-lifecycle images lock"),
        (["--out", "x", "--profile", "gpuu"], "Did you mean 'gpu'?"),
    ],
)
def test_wrong_usage(arguments: list[str], said: str) -> None:
    done = run("compile", "train", *arguments, cwd=ROOT)
    assert done.returncode != 0
    assert said in " ".join(done.stderr.replace("│", " ").split())
    assert not (ROOT / "x").exists()
