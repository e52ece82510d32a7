"""Real compiled files, compiled once."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files that KFP's own compiler wrote, by name."""
    from kfp.compiler import Compiler

    from tests.compiler.compiled import EXAMPLES

    folder = tmp_path_factory.mktemp("compiled")
    for name, pipeline in EXAMPLES.items():
        Compiler().compile(pipeline, str(folder / f"{name}.yaml"))
    return {name: folder / f"{name}.yaml" for name in EXAMPLES}
