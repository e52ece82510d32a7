"""Images on a real container engine, with a registry on loopback: scripts/containers.sh starts both."""

import json
import os
import shutil
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.repositories import ROOT, copy_of_this, run

#: What can be built and run without a GPU; the one with CUDA differs in its requirements alone.
IMAGES = ("core", "tune", "torch-cpu", "serve", "monitor", "feast")


@dataclass
class Workshop:
    """A clone of this repository in which images are built, and the registry that they go to."""

    root: Path
    registry: str
    seconds: dict[str, float] = field(default_factory=dict)

    def run(self, *arguments: str, cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
        """``kfp-lifecycle`` in the clone; it must succeed."""
        done = run(*arguments, cwd=cwd or self.root)
        assert done.returncode == 0, f"{arguments}: {done.stdout[-2000:]}{done.stderr[-4000:]}"
        return done

    def refuse(self, *arguments: str, cwd: Path | None = None) -> str:
        """``kfp-lifecycle`` in the clone; it must fail, without a traceback. What it said."""
        done = run(*arguments, cwd=cwd or self.root)
        assert done.returncode == 1, done.stdout
        assert "Traceback" not in done.stderr
        return done.stderr


def docker(*arguments: str) -> str:
    """The engine itself; it must succeed. What it printed."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def layers(reference: str) -> list[str]:
    return json.loads(docker("inspect", "--format", "{{json .RootFS.Layers}}", reference))


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    registry = os.environ.get("KFP_LIFECYCLE_TEST_REGISTRY")
    if not registry:
        pytest.skip("needs a container engine and a registry: make containers starts them")
    folder = tmp_path_factory.mktemp("clone")
    for parent in (folder, *folder.parents[:2]):
        parent.chmod(0o755)  # the user in the containers passes through
    root = copy_of_this(folder / "repository")
    for name in (".dockerignore", "constraints.txt", "LICENSE"):
        shutil.copy(ROOT / name, root / name)
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.com"]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "all"]):
        subprocess.run([*git, *command], cwd=root, check=True, capture_output=True)
    shop = Workshop(root, registry)
    for name in IMAGES:
        start = time.monotonic()
        shop.run("images", "build", name)
        shop.seconds[name] = time.monotonic() - start
        print(f"built {name} in {shop.seconds[name]:.0f} s")
    return shop
