"""The environment variables of steps."""

import os
from pathlib import Path

import pytest

from kfp_lifecycle.components.shared.tracking import tracking_uri
from kfp_lifecycle.runner.environment import code_folder, cpu_quota, step_environment


def test_the_default_store_is_the_one_that_steps_would_take_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert step_environment({}, Path.cwd(), tmp_path)["MLFLOW_TRACKING_URI"] == tracking_uri()


def test_what_the_user_has_set_is_kept(tmp_path: Path) -> None:
    mine = {"MLFLOW_TRACKING_URI": "http://mlflow.test", "OMP_NUM_THREADS": "7", "PYTHONUNBUFFERED": ""}

    env = step_environment(mine, tmp_path, tmp_path, cpu_quota=2)
    assert mine.items() <= env.items()
    assert env["OPENBLAS_NUM_THREADS"] == "2"


def test_threads_are_left_alone_where_nothing_limits_them(tmp_path: Path) -> None:
    assert not any(name.endswith("_NUM_THREADS") for name in step_environment({}, tmp_path, tmp_path))


@pytest.mark.parametrize(
    ("content", "expected"),
    [("50000 100000", 0.5), ("max 100000", None), ("99900000 100000", None), ("x", None)],
)
def test_the_limit_of_a_container_is_read(content: str, expected: float | None, tmp_path: Path) -> None:
    file = tmp_path / "cpu.max"
    file.write_text(content)

    assert cpu_quota(file) == expected
    assert cpu_quota(tmp_path / "none") is None


def test_a_step_finds_the_code_of_its_repository_wherever_the_run_starts(tmp_path: Path) -> None:
    compiled = tmp_path / "compiled/components/mine/1.0.0.yaml"
    compiled.parent.mkdir(parents=True)
    assert code_folder(compiled) is None
    (tmp_path / "pyproject.toml").touch()
    assert code_folder(compiled) == tmp_path.resolve()
    env = step_environment({"PYTHONPATH": "/else"}, tmp_path, tmp_path, code=code_folder(compiled))
    assert env["PYTHONPATH"] == f"{tmp_path.resolve()}{os.pathsep}/else"


def test_a_repository_that_is_an_installed_package_is_no_code_folder() -> None:
    assert code_folder(Path(__file__).parents[2] / "compiled/pipelines/training/1.0.0.yaml") is None
