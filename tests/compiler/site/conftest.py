"""A repository whose catalog has two versions, a released one, a pipeline, and texts that mean no good."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from kfp_lifecycle.compiler import catalog
from kfp_lifecycle.compiler.compile import compiled_files
from kfp_lifecycle.compiler.files import write
from kfp_lifecycle.compiler.repository import Repository
from tests.repositories import GOOD, OTHER, PIPELINE, tiny

OLD = GOOD.replace("1.2.3", "1.0.0").replace("size: int = 3", "size: int = 2")
HOSTILE = "</script><script>window.broken = 1</script><img src=x onerror='window.broken = 2'> \u202egnp.exe"
HOSTILE_INPUT = "\"'><svg onload=window.broken=3>"


def edit(repository: Repository, path: str, change: Any) -> None:
    """Changes a compiled file's spec, and brings the catalog up to date."""
    file = repository.compiled / path
    header = "".join(line for line in file.read_text().splitlines(keepends=True) if line.startswith("#"))
    spec = yaml.safe_load(file.read_text())
    change(spec)
    file.write_text(header + yaml.safe_dump(spec, allow_unicode=False), encoding="utf-8")
    relist(repository)


def relist(repository: Repository, *released: str) -> None:
    """Writes the catalog anew, from the files that are there."""
    listed = json.loads(catalog.to_text(repository.compiled, {}))
    for entry in listed["files"]:
        entry["released"] = entry["path"] in released
    (repository.compiled / "catalog.json").write_text(json.dumps(listed))


def _worsen(spec: dict[str, Any]) -> None:
    parameters = spec["root"]["inputDefinitions"]["parameters"]
    parameters["name"]["description"] = HOSTILE
    parameters["api_key"] = {"parameterType": "STRING", "defaultValue": "hunter2hunter2", "isOptional": True}
    parameters["mode"] = {
        "parameterType": "STRING",
        "defaultValue": "fast",
        "isOptional": True,
        "literals": ["fast", "exact"],
    }
    parameters[HOSTILE_INPUT] = {"parameterType": "STRING", "isOptional": True, "description": "Odd."}


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """Compiled once: good 1.0.0 (released) and 1.2.3, other 1.2.3, and the pipeline flow 2.0.0 of both."""
    folder = tmp_path_factory.mktemp("site")
    before = tiny(folder / "before", {"good": OLD})
    repository = tiny(folder / "now", {"good": GOOD, "other": OTHER}, {"flow": PIPELINE})
    write(repository.root, compiled_files(repository))
    (old,) = (f for f in compiled_files(before) if f.path.endswith("1.0.0.yaml"))
    write(repository.root, [old])
    edit(repository, "components/good/1.2.3.yaml", _worsen)
    relist(repository, "components/good/1.0.0.yaml")
    return repository


@pytest.fixture
def repository(original: Repository, tmp_path: Path) -> Repository:
    """A copy of it, to be changed."""
    shutil.copytree(original.root, tmp_path / "r", ignore=shutil.ignore_patterns("__pycache__"))
    return Repository(tmp_path / "r")
