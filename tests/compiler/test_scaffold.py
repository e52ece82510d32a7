"""A new component passes every check as generated; a bad name is an error that says which would do."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kfp_lifecycle.compiler.errors import CompileError
from kfp_lifecycle.compiler.files import write
from kfp_lifecycle.compiler.repository import find_repository
from kfp_lifecycle.compiler.scaffold import MAX_NAME_LENGTH, new_component
from tests.repositories import ROOT, copy_of_this, run

REPOSITORY = find_repository(ROOT)
NAMESPACE = ("components", "pipelines", "compiler", "runner", "scripts")


def checked(*command: str, cwd: Path) -> str:
    """Runs a tool of this environment on the copy's code; its output, once it has passed."""
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(cwd / ".mypy_root"), "MYPYPATH": str(cwd / ".mypy_root")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_passes_every_check_as_generated(tmp_path: Path) -> None:
    copy = copy_of_this(tmp_path / "copy")
    (copy / ".mypy_root/kfp_lifecycle").mkdir(parents=True)
    for folder in NAMESPACE:
        (copy / ".mypy_root/kfp_lifecycle" / folder).symlink_to(copy / folder)
    for verb in ("compile", "docs"):  # others may have changed a component since
        assert run(verb, cwd=copy).returncode == 0

    done = run("new", "component", "count_rows", cwd=copy)
    assert done.returncode == 0, done.stderr
    made = ["components/count_rows", "tests/components/count_rows"]
    assert sorted(f.name for f in (copy / made[0]).glob("*.*")) == [
        "README.md",
        "__init__.py",
        "component.py",
        "count.py",
        "step.py",
    ]
    assert (copy / "compiled/components/count-rows/0.1.0.yaml").is_file()
    assert "[`count-rows`](components/count_rows/README.md)" in (copy / "README.md").read_text()

    checked("ruff", "check", *made, cwd=copy)
    checked("ruff", "format", "--check", *made, cwd=copy)
    checked("mypy", "-p", "kfp_lifecycle.components.count_rows", cwd=copy)
    assert "4 passed" in checked("pytest", "-q", "-p", "no:cacheprovider", made[1], cwd=copy)
    for verb in ("compile", "docs"):
        done = run(verb, "--check", cwd=copy)
        assert done.returncode == 0, done.stdout + done.stderr


ALLOWED = ["a", "zip_2", "shared_keys", "import_rows", "component_list", "x" * MAX_NAME_LENGTH]


@pytest.mark.parametrize("name", ALLOWED)
def test_every_allowed_name_gives_clean_code(name: str, tmp_path: Path) -> None:
    write(tmp_path, new_component(REPOSITORY, name))
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    checked("ruff", "check", ".", cwd=tmp_path)
    checked("ruff", "format", "--check", ".", cwd=tmp_path)
    for file in tmp_path.rglob("*.py"):
        compile(file.read_text(), file, "exec")


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("Train-GPU", "'train_gpu'"),
        ("CleanText", "'clean_text'"),
        ("2fast", "begin with a letter"),
        ("a__b", "'a_b'"),
        ("", "such as 'clean_text'"),
        ("../etc", "'etc'"),
        ("x" * (MAX_NAME_LENGTH + 1), f"at most {MAX_NAME_LENGTH}"),
        ("gr\u00f6\u00dfe", "lower-case letters"),
        ("class", "Try class_data"),
        ("list", "Try list_data"),
        ("step", "Try step_data"),
        ("prepare", "Choose another name"),
        ("training", "Choose another name"),
    ],
)
def test_a_bad_name_is_an_error_with_the_fix(name: str, fix: str) -> None:
    with pytest.raises(CompileError) as error:
        new_component(REPOSITORY, name)
    assert fix in str(error.value)
