"""What a container engine says when it cannot, and what a user is told.

The engine here is a double: a script that says what real ones have said. tests/containers has the real one.
"""

import os
from pathlib import Path

import pytest

from kfp_lifecycle.compiler.errors import ImageError
from kfp_lifecycle.compiler.images.build import build, push
from kfp_lifecycle.compiler.images.definitions import find_images
from kfp_lifecycle.compiler.images.engine import find_engine
from kfp_lifecycle.compiler.repository import Repository
from tests.repositories import ROOT

IMAGES = find_images(Repository(ROOT, "kfp_lifecycle"))


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of the PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/bin")
    if any((Path("/bin") / name).exists() for name in ("docker", "podman", "buildah")):
        # Debian's own are there: only the shell is needed besides.
        (folder / "sh").symlink_to("/bin/sh")
        (folder / "cat").symlink_to("/bin/cat")
        monkeypatch.setenv("PATH", str(folder))
    return folder


def engine(folder: Path, name: str, says: str = "", code: int = 0, only: str = "") -> None:
    """A program that writes its arguments down, and fails with these words (at one of its commands only)."""
    program = folder / name
    test = f'[ "$1" = "{only}" ] || exit 0' if only else ""
    log = folder.parent / f"{name}.log"
    words = folder.parent / f"{name}.words"
    words.write_text(says)
    program.write_text(f'#!/bin/sh\necho "$@" >>{log}\n{test}\ncat {words} >&2\nexit {code}\n')
    program.chmod(0o755)


def test_no_engine_at_all(programs: Path) -> None:
    with pytest.raises(ImageError, match=r"No container engine \(docker, podman, buildah\) is not installed"):
        find_engine()
    with pytest.raises(ImageError, match="podman is not installed"):
        find_engine("podman")


def test_the_first_that_answers(programs: Path) -> None:
    engine(programs, "docker", "Cannot connect to the Docker daemon at unix:///var/run/docker.sock.", 1)
    with pytest.raises(ImageError, match=r"The container engine is not running.*systemctl start docker"):
        find_engine()
    engine(programs, "podman")
    assert find_engine().name == "podman"


@pytest.mark.parametrize(
    ("says", "told"),
    [
        (
            "#9 12.1 ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
            r"The disk is full.*docker system prune",
        ),
        (
            "ERROR: failed to solve: failed to resolve source metadata for docker.io/x: not found",
            r"An image is not in its registry.*--base",
        ),
        (
            "dial tcp: lookup registry-1.example on 10.0.0.1:53: no such host",
            r"cannot be reached.*Check the network",
        ),
        (
            "#8 76.9 SyntaxError: expected '('\n------\n > [image 4/4] RUN x:\n------\nexecutor failed",
            r"could not build core: #8 76.9 SyntaxError",
        ),
        ("", "could not build core: no word"),
    ],
)
def test_a_build_that_fails(programs: Path, says: str, told: str) -> None:
    engine(programs, "docker", says, 1, only="build")
    with pytest.raises(ImageError, match=told):
        build(IMAGES, "core", find_engine())


@pytest.mark.parametrize(
    ("says", "told"),
    [
        ("denied: requested access to the resource is denied", r"wants a login.*docker login"),
        ("unauthorized: authentication required", r"wants a login"),
        ("http: server gave HTTP response to HTTPS client", r"does not speak TLS"),
    ],
)
def test_a_push_that_is_refused(programs: Path, says: str, told: str) -> None:
    engine(programs, "docker", says, 1, only="push")
    with pytest.raises(ImageError, match=told):
        push(IMAGES, "core", find_engine(), "registry.example.com/team")


def test_credentials_are_never_shown(programs: Path) -> None:
    engine(programs, "docker", "error: cannot fetch https://me:hunter2@index.example/simple", 1, only="build")
    with pytest.raises(ImageError) as raised:
        build(IMAGES, "core", find_engine())
    assert "hunter2" not in str(raised.value)
    assert "index.example" in str(raised.value)


@pytest.mark.parametrize(
    ("name", "begins"), [("docker", "build --file"), ("buildah", "bud --isolation chroot --file")]
)
def test_what_an_engine_is_asked(
    programs: Path, monkeypatch: pytest.MonkeyPatch, name: str, begins: str
) -> None:
    engine(programs, name)
    monkeypatch.setenv("PIP_INDEX_URL", "https://me:hunter2@index.example/simple")
    build(IMAGES, "core", find_engine(name), base="python@sha256:abc")
    asked = (programs.parent / f"{name}.log").read_text().splitlines()[-1]
    assert asked.startswith(begins)
    assert "--build-arg BASE=python@sha256:abc" in asked
    assert "--tag kfp-lifecycle/python-core:0.1.0" in asked
    assert "--secret id=pipconf,src=" in asked
    assert "hunter2" not in asked
    assert asked.endswith(str(ROOT))
    # The secrets are gone when the build has ended.
    source = asked.partition("id=pipconf,src=")[2].split()[0]
    assert not os.path.exists(source)  # noqa: PTH110
