"""Compiling and running small pipelines, each in a folder of its own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kfp import compiler

from kfp_lifecycle.runner.events import RunResult
from kfp_lifecycle.runner.load import RunnableFile, load
from kfp_lifecycle.runner.local import run
from kfp_lifecycle.runner.parameters import read_parameters

Compile = Callable[[Any], RunnableFile]
Run = Callable[..., RunResult]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The test's own folder, as working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def compiled(here: Path) -> Compile:
    """Compiles a pipeline or component with KFP's own compiler, and reads the file."""

    def compile_(component: Any) -> RunnableFile:
        path = here / f"{component.name}.yaml"
        compiler.Compiler().compile(component, str(path))
        return load(path)

    return compile_


@pytest.fixture
def run_it(compiled: Compile, here: Path) -> Run:
    """Compiles and runs: parameters as ``name=value``, and the arguments of ``run``."""

    def run_(component: Any, *assignments: str, **arguments: Any) -> RunResult:
        file = compiled(component)
        return run(file, read_parameters(file, None, assignments), **arguments)

    return run_
