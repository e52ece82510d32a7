"""The pipelines as compiled files, and as graphs."""

from collections.abc import Callable
from pathlib import Path

import pytest

from kfp_lifecycle.compiler.graph import Node, build
from kfp_lifecycle.compiler.reader import read


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The compiled file of one of the test pipelines, by name."""
    from kfp.compiler import Compiler

    from tests.compiler.graph.pipelines import ALL, fit

    folder = tmp_path_factory.mktemp("compiled")
    for pipeline in (*ALL, fit):
        Compiler().compile(pipeline, str(folder / f"{pipeline.name}.yaml"))
    return lambda name: folder / f"{name}.yaml"


@pytest.fixture(scope="session")
def graph(compiled: Callable[[str], Path]) -> Callable[[str], Node]:
    """The graph of one of the test pipelines, by name."""

    def of(name: str) -> Node:
        file = read(compiled(name))
        return build(file.spec, file.platform)

    return of
