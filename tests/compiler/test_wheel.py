"""The wheel holds all that the compiler needs, and works on a repository that is not this one."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.repositories import ROOT, files
from tests.wheels import build_wheel

RUN = "import sys; sys.argv[0] = 'kfp-lifecycle'; from kfp_lifecycle.scripts.app import main; main()"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PYTHONPATH with the wheel in it."""
    folder = tmp_path_factory.mktemp("wheel")
    wheel = build_wheel(folder)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def command(*arguments: str, cwd: Path, site: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", RUN, *arguments],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_compiled_files_are_in_it(installed: Path) -> None:
    shipped = files(installed / "kfp_lifecycle/compiled")
    assert {path: shipped.get(path) for path in files(ROOT / "compiled")} == files(ROOT / "compiled")


def test_the_profiles_are_in_it(installed: Path, tmp_path: Path) -> None:
    assert files(installed / "kfp_lifecycle/profiles") == files(ROOT / "profiles")
    (tmp_path / "components").mkdir()
    (tmp_path / "pyproject.toml").touch()
    command("new", "component", "clean_text", cwd=tmp_path, site=installed)
    command("compile", "--profile", "cpu", "--out", "build", cwd=tmp_path, site=installed)
    assert "resourceMemoryLimit: 4Gi" in (tmp_path / "build/components/clean-text/0.1.0.yaml").read_text()


def test_its_own_code_is_what_runs(installed: Path) -> None:
    code = "import kfp_lifecycle.compiler.render as found; print(found.__file__)"
    surroundings = os.environ | {"PYTHONPATH": str(installed)}
    done = subprocess.run([sys.executable, "-c", code], env=surroundings, capture_output=True, check=True)
    assert Path(done.stdout.decode().strip()).is_relative_to(installed)


def test_a_new_component_in_an_empty_repository(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "components").mkdir()
    (tmp_path / "pyproject.toml").touch()
    said = command("new", "component", "clean_text", cwd=tmp_path, site=installed)
    assert "compiled/components/clean-text/0.1.0.yaml" in said
    assert (
        "from components.clean_text.clean import measure"
        in (tmp_path / "components/clean_text/step.py").read_text()
    )
    for verb in ("compile", "docs"):
        command(verb, "--check", cwd=tmp_path, site=installed)
    command("catalog", cwd=tmp_path, site=installed)
    assert (tmp_path / "site/components/clean-text.html").is_file()
    assert (tmp_path / "site/pipelines/training.html").is_file()
    test = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"]
    surroundings = os.environ | {"PYTHONPATH": f"{installed}:{tmp_path}"}
    subprocess.run(test, cwd=tmp_path, env=surroundings, check=True, capture_output=True)
