"""Repositories for tests: a copy of this one, and tiny ones; and the command line as a real process."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from kfp_lifecycle.compiler.repository import Repository

ROOT = Path(__file__).resolve().parents[1]
COMMAND = Path(sys.executable).with_name("kfp-lifecycle")

FOLDERS = ("components", "pipelines", "compiler", "runner", "scripts")
FOLDERS += ("compiled", "profiles", "images", "tests")
FILES = ("pyproject.toml", "setup.py", "README.md")


def copy_of_this(target: Path) -> Path:
    """This repository's working tree, copied to ``target``."""
    for folder in FOLDERS:
        skipped = shutil.ignore_patterns("__pycache__", "wheels")
        shutil.copytree(ROOT / folder, target / folder, ignore=skipped)
    for file in FILES:
        shutil.copy(ROOT / file, target / file)
    return target


def tiny(
    root: Path, components: Mapping[str, str] | None = None, pipelines: Mapping[str, str] | None = None
) -> Repository:
    """A repository with these sources: folder of a component, or name of a pipeline, to the module's text."""
    (root / "components").mkdir(parents=True)
    (root / "pyproject.toml").write_text("")
    for name, text in (components or {}).items():
        (root / "components" / name).mkdir()
        (root / "components" / name / "component.py").write_text(text, encoding="utf-8")
    if pipelines:
        (root / "pipelines").mkdir()
    for name, text in (pipelines or {}).items():
        (root / "pipelines" / f"{name}.py").write_text(text, encoding="utf-8")
    return Repository(root.resolve())


def run(
    *arguments: str, cwd: Path, env: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """``kfp-lifecycle`` as a user starts it; what it printed and how it ended."""
    return subprocess.run(
        [str(COMMAND), *arguments],
        cwd=cwd,
        env={**os.environ, "NO_COLOR": "1", "COLUMNS": "100", **(env or {})},
        capture_output=True,
        text=True,
        check=False,
    )


def files(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, bytecode excepted: path to content."""
    found = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


#: A component that compiles, to be changed by tests.
GOOD = '''
from kfp import dsl

VERSION = "1.2.3"


@dsl.component(base_image="registry/python-x:1", install_kfp_package=False)
def good(
    table: dsl.Input[dsl.Dataset], result: dsl.Output[dsl.Metrics], size: int = 3, name: str = "a"
) -> str:
    """Does good.

    Args:
        table: The table.
        result: What came out.
        size: How large,
            in rows.
        name: What to call it.

    Returns:
        What it did.
    """
    return name
'''

#: A pipeline of two, to be changed likewise.
PIPELINE = '''
from kfp import dsl
from components.good.component import good
from components.other.component import other

VERSION = "2.0.0"


@dsl.pipeline(name="flow")
def flow(size: int = 5, name: str = "b", depth: int = 1) -> None:
    """Flows.

    Args:
        depth: How deep.
    """
    start = dsl.importer(artifact_uri="gs://x/y", artifact_class=dsl.Dataset)
    last = good(table=start.output, size=size, name="first")
    with dsl.If(last.outputs["Output"] == "first"):
        other(table=start.output, size=7, name=name)
'''
#: The second component of the pipeline.
OTHER = GOOD.replace("def good", "def other").replace("How large,", "Another size,")
