"""``kfp-lifecycle lint`` and ``diff`` as real processes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.compiler.lint.cases import drop, put
from tests.compiler.specs import changed
from tests.repositories import COMMAND

IMAGE = "deploymentSpec/executors/exec-use/container/image"


def call(*words: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, *words], cwd=folder, capture_output=True, text=True, check=False, timeout=60
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "clean.yaml").write_bytes(changed())
    (tmp_path / "bad.yaml").write_bytes(changed(put(IMAGE, "python")))
    (tmp_path / "warned.yaml").write_bytes(changed(drop("root/dag/tasks/use/retryPolicy")))
    (tmp_path / "renamed.yaml").write_bytes(changed(put("pipelineInfo/name", "other")))
    (tmp_path / "argo.yaml").write_text("apiVersion: argoproj.io/v1alpha1\n")
    return tmp_path


def test_lint_exits_as_its_findings_say(folder: Path) -> None:
    assert call("lint", "clean.yaml", folder=folder).returncode == 0
    assert call("lint", "warned.yaml", folder=folder).returncode == 0
    assert call("lint", "warned.yaml", "--fail-on", "warning", folder=folder).returncode == 1
    done = call("lint", "bad.yaml", "clean.yaml", folder=folder)
    assert done.returncode == 1
    assert "bad.yaml:" in done.stdout
    assert "error KL301 use: Image 'python' has no tag." in done.stdout
    assert done.stdout.rstrip().endswith("1 error.")
    assert done.stderr == ""


def test_lint_takes_folders_and_says_what_is_no_pipeline(folder: Path) -> None:
    done = call("lint", ".", folder=folder)
    assert done.returncode == 1
    assert "argo.yaml:1: error KL001 This is an Argo workflow" in done.stdout
    assert "bad.yaml" in done.stdout


def test_lint_for_an_older_server(folder: Path) -> None:
    (folder / "keyed.yaml").write_bytes(changed(put("root/dag/tasks/use/cachingOptions", {"cacheKey": "v1"})))
    assert call("lint", "keyed.yaml", folder=folder).returncode == 0
    done = call("lint", "keyed.yaml", "--for-backend", "2.3", folder=folder)
    assert done.returncode == 1
    assert "API server 2.3 does not know PipelineTaskSpec.CachingOptions.cacheKey" in done.stdout
    assert call("lint", "keyed.yaml", "--for-backend", "2.4", folder=folder).returncode == 0


def test_lint_writes_json_and_sarif(folder: Path) -> None:
    report = json.loads(call("lint", "bad.yaml", "--json", folder=folder).stdout)
    assert report["errors"] == 1
    log = json.loads(call("lint", "bad.yaml", "--sarif", folder=folder).stdout)
    assert log["runs"][0]["results"][0]["ruleId"].startswith("KL")


def test_lint_is_switched_off_with_a_reason(folder: Path) -> None:
    ignore = '[[tool.kfp-lifecycle.lint.ignore]]\nfiles = ["bad.yaml"]\nrules = ["KL301"]\n'
    (folder / "pyproject.toml").write_text(ignore)
    done = call("lint", "bad.yaml", folder=folder)
    assert done.returncode == 2
    assert "has no reason" in done.stderr
    (folder / "pyproject.toml").write_text(ignore + 'reason = "Only here."\n')
    done = call("lint", "bad.yaml", folder=folder)
    assert done.returncode == 0
    assert "1 switched off" in done.stdout


@pytest.mark.parametrize(
    "words",
    [
        ["lint"],
        ["lint", "clean.yaml", "--for-backend", "new"],
        ["lint", "clean.yaml", "--fail-on", "anything"],
        ["lint", "empty"],
        ["diff", "clean.yaml"],
        ["diff", "clean.yaml", "missing.yaml"],
        ["diff", "argo.yaml", "clean.yaml"],
    ],
)
def test_wrong_usage_exits_with_two(words: list[str], folder: Path) -> None:
    (folder / "empty").mkdir()
    done = call(*words, folder=folder)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr


def test_diff_exits_with_one_when_something_breaks(folder: Path) -> None:
    done = call("diff", "clean.yaml", "clean.yaml", folder=folder)
    assert (done.returncode, done.stdout) == (0, "Nothing changes.\n")
    done = call("diff", "clean.yaml", "bad.yaml", folder=folder)
    assert done.returncode == 0
    assert "Internal (1)" in done.stdout
    assert "The version needs a patch bump." in done.stdout
    done = call("diff", "clean.yaml", "renamed.yaml", folder=folder)
    assert done.returncode == 1
    assert "Breaking (1)" in done.stdout
    assert "pipeline-renamed" in done.stdout


def test_diff_writes_json(folder: Path) -> None:
    done = call("diff", "clean.yaml", "renamed.yaml", "--json", folder=folder)
    assert done.returncode == 1
    assert json.loads(done.stdout)["bump"] == "major"


@pytest.mark.parametrize("words", [["lint", "clean.yaml"], ["diff", "clean.yaml", "bad.yaml"]])
def test_kfp_is_not_imported(words: list[str], folder: Path) -> None:
    program = (
        "import sys\n"
        "from kfp_lifecycle.scripts.app import app\n"
        f"app({words!r}, standalone_mode=False)\n"
        "print([m for m in sys.modules if m.split('.')[0] in ('kfp', 'google', 'polars', 'mlflow')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_hostile_names_do_not_reach_the_terminal(folder: Path) -> None:
    hostile = "\x1b[31mred\u202e [bold]x"
    (folder / "hostile.yaml").write_bytes(changed(put(IMAGE, hostile), put(f"root/dag/tasks/{hostile}", {})))
    for words in (["lint", "hostile.yaml"], ["diff", "clean.yaml", "hostile.yaml"]):
        done = call(*words, folder=folder)
        assert "\x1b" not in done.stdout + done.stderr
        assert "\\x1b[31mred\\u202e [bold]x" in done.stdout
