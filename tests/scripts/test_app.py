"""The command line as a whole: help that teaches, one-line errors, exit codes, completion, quick to start."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kfp_lifecycle.scripts.app import app
from tests.repositories import COMMAND, ROOT, run

VERBS = ["compile", "docs", "catalog", "run", "serve", "submit", "schedule", "promote", "rollback"]
VERBS += ["demo-data"]
PAIRS = [("new", "component"), ("images", "build"), ("runs", "list")]
HEAVY = {"kfp", "polars", "pandas", "numpy", "sklearn", "mlflow", "matplotlib", "jinja2", "rich", "yaml"}


def test_help_lists_every_verb() -> None:
    done = CliRunner().invoke(app, ["--help"])
    assert done.exit_code == 0
    for verb in [*VERBS, "new"]:
        assert verb in done.output


@pytest.mark.parametrize("verb", [*((v,) for v in VERBS), *PAIRS], ids="-".join)
def test_help_of_a_verb_has_examples(verb: tuple[str, ...]) -> None:
    done = CliRunner().invoke(app, [*verb, "--help"])
    assert done.exit_code == 0
    _, _, examples = done.output.partition("Example")
    assert f"kfp-lifecycle {' '.join(verb)}" in examples


def test_without_a_verb_it_shows_help() -> None:
    done = CliRunner().invoke(app, [])
    assert "Usage: kfp-lifecycle" in done.output


def test_version() -> None:
    done = run("--version", cwd=ROOT)
    assert done.returncode == 0
    assert done.stdout.startswith("kfp-lifecycle 0.1.0 (kfp 2.17.0, Python 3.")


def test_starting_imports_nothing_heavy() -> None:
    code = "import sys; import kfp_lifecycle.scripts.app; print(*{m.partition('.')[0] for m in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not HEAVY & set(done.stdout.split())


def test_a_declared_error_is_one_line_and_exit_1(tmp_path: Path) -> None:
    done = run("compile", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(f"CompileError: {tmp_path} is not in a repository")
    assert done.stderr.count("\n") == 1


def test_an_unknown_name_suggests_the_nearest() -> None:
    done = run("compile", "featurise", cwd=ROOT)
    assert done.returncode == 1
    assert "There is no component or pipeline 'featurise'. Did you mean 'featurize'?" in done.stderr


@pytest.mark.parametrize(
    "arguments", [["compil"], ["compile", "--chek"], ["new", "component"], ["demo-data", "x"]]
)
def test_wrong_usage_exits_with_2(arguments: list[str]) -> None:
    done = run(*arguments, cwd=ROOT)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_bug_keeps_its_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("kfp_lifecycle.compiler.repository.find_repository", broken)
    done = CliRunner().invoke(app, ["compile"])
    assert isinstance(done.exception, ZeroDivisionError)


def completed(line: str) -> list[str]:
    """What bash offers at the end of ``line``, by the script that --show-completion prints."""
    words = line.split(" ")
    script = f"""
        source <(_KFP_LIFECYCLE_COMPLETE=source_bash {COMMAND})
        COMP_WORDS=({" ".join(f"'{w}'" for w in words)}); COMP_CWORD={len(words) - 1}
        _kfp_lifecycle_completion "$1"
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    surroundings = os.environ | {"PATH": f"{COMMAND.parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", script, "bash", "kfp-lifecycle"],
        cwd=ROOT,
        env=surroundings,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


def test_bash_completes_verbs_options_and_names() -> None:
    assert completed("kfp-lifecycle comp") == ["compile"]
    assert completed("kfp-lifecycle compile --ch") == ["--check"]
    assert completed("kfp-lifecycle compile tra") == ["train", "train-gpu", "training", "training-torch"]
    assert completed("kfp-lifecycle compile prepare featuriz") == ["featurize"]
    assert completed("kfp-lifecycle demo-data fl") == ["flights"]


def test_outside_a_repository_names_complete_to_nothing(tmp_path: Path) -> None:
    surroundings = {
        "_KFP_LIFECYCLE_COMPLETE": "complete_bash",
        "COMP_WORDS": "kfp-lifecycle compile t",
        "COMP_CWORD": "2",
    }
    done = run(cwd=tmp_path, env=surroundings)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")
