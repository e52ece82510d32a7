"""``kfp-lifecycle compile`` and ``docs``: what they write and say, and that --check only looks."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kfp_lifecycle.scripts.app import app
from tests.repositories import GOOD, OTHER, PIPELINE, files, run, tiny


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny repository, compiled, as the working directory."""
    repository = tiny(tmp_path / "r", {"good": GOOD, "other": OTHER}, {"flow": PIPELINE})
    monkeypatch.chdir(repository.root)
    assert CliRunner().invoke(app, ["compile"]).exit_code == 0
    assert CliRunner().invoke(app, ["docs"]).exit_code == 0
    return repository.root


def test_it_says_what_it_wrote(root: Path) -> None:
    (root / "compiled/pipelines/flow/2.0.0.yaml").unlink()
    (root / "compiled/components/good/1.2.3.yaml").write_text("old\n")
    done = CliRunner().invoke(app, ["compile"])
    lines = [re.split(r"\s{2,}", line) for line in done.output.splitlines()]
    assert lines == [
        ["compiled/components/good/1.2.3.yaml", "changed"],
        ["compiled/components/other/1.2.3.yaml", "unchanged"],
        ["compiled/pipelines/flow/2.0.0.yaml", "new"],
        ["compiled/catalog.json", "unchanged"],
        ["4 files, 2 written."],
    ]


def test_only_what_is_named_is_written(root: Path) -> None:
    for file in root.glob("compiled/*/*/*.yaml"):
        file.unlink()
    assert CliRunner().invoke(app, ["compile", "flow", "good"]).exit_code == 0
    assert sorted(files(root / "compiled")) == [
        "catalog.json",
        "components/good/1.2.3.yaml",
        "pipelines/flow/2.0.0.yaml",
    ]


@pytest.mark.parametrize("verb", ["compile", "docs"])
def test_check_of_what_is_current_is_silent_about_it(verb: str, root: Path) -> None:
    before = files(root)
    done = CliRunner().invoke(app, [verb, "--check"])
    assert (done.exit_code, done.output) == (0, "Everything is what the code gives.\n")
    assert files(root) == before


def test_check_shows_a_readable_diff_and_writes_nothing(root: Path) -> None:
    component = root / "components/good/component.py"
    component.write_text(component.read_text().replace("size: int = 3", "size: int = 40"))
    (root / "compiled/components/other/1.2.3.yaml").unlink()
    before = files(root)
    done = run("compile", "--check", cwd=root)
    assert done.returncode == 1
    assert "-          defaultValue: 3\n+          defaultValue: 40\n" in done.stdout
    assert "+++ compiled/components/good/1.2.3.yaml (from the code)\n" in done.stdout
    assert done.stderr.splitlines() == [
        "compiled/components/good/1.2.3.yaml is changed.",
        "compiled/components/other/1.2.3.yaml is missing.",
        "compiled/pipelines/flow/2.0.0.yaml is changed.",
        "compiled/catalog.json is changed.",
        "Run kfp-lifecycle compile and commit what it writes.",
    ]
    assert files(root) == before


def test_docs_check_shows_a_readable_diff(root: Path) -> None:
    readme = root / "components/good/README.md"
    readme.write_text(readme.read_text().replace("How large,", "How small,"))
    done = CliRunner().invoke(app, ["docs", "--check"])
    assert done.exit_code == 1
    assert (
        "-| `size` | int | `3` | How small, in rows. |\n+| `size` | int | `3` | How large, in rows. |"
        in done.stdout
    )


def test_it_works_from_a_folder_below(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root / "components/good")
    done = CliRunner().invoke(app, ["compile", "--check"])
    assert done.exit_code == 0
