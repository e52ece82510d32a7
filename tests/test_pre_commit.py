"""The hooks run before a commit, without a network, and stop what CI would stop."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from tests.repositories import ROOT, copy_of_this, run

CONFIG = ROOT / ".pre-commit-config.yaml"


def git(*arguments: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    who = {
        f"GIT_{part}_{what}": "test@example.com"
        for part in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    }
    environment = os.environ | who | {"SKIP": "mypy"}  # half a minute, and nothing of its own to show here
    return subprocess.run(
        ["git", *arguments], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


def test_nothing_is_fetched() -> None:
    for repository in yaml.safe_load(CONFIG.read_text())["repos"]:
        assert repository["repo"] == "local"
        assert all(hook["language"] == "system" for hook in repository["hooks"])


def test_a_commit_with_a_stale_compiled_file_is_stopped(tmp_path: Path) -> None:
    copy = copy_of_this(tmp_path / "copy")
    shutil.copy(CONFIG, copy)
    (copy / ".venv").symlink_to(sys.prefix)
    assert run("compile", cwd=copy).returncode == 0
    assert git("init", "-q", cwd=copy).returncode == 0
    assert git("add", "compiled", "components/prepare/component.py", cwd=copy).returncode == 0
    assert git("commit", "-q", "-m", "before", cwd=copy).returncode == 0
    subprocess.run([sys.executable, "-m", "pre_commit", "install"], cwd=copy, check=True, capture_output=True)

    face = copy / "components/prepare/component.py"
    face.write_text(face.read_text().replace("test_size: float = 0.2", "test_size: float = 0.25"))
    git("add", "components/prepare/component.py", cwd=copy)
    done = git("commit", "-m", "after", cwd=copy)
    assert done.returncode == 1
    assert "+          defaultValue: 0.25" in done.stderr
    assert "compiled/components/prepare/1.0.0.yaml is changed." in done.stderr
