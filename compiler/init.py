"""A repository of a user's own components and pipelines: small ones that work, to be changed into theirs."""

import re
import tempfile
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

from kfp_lifecycle.compiler.compile import compiled_files
from kfp_lifecycle.compiler.docs import generated_docs
from kfp_lifecycle.compiler.errors import CompileError
from kfp_lifecycle.compiler.files import GeneratedFile, write
from kfp_lifecycle.compiler.graph.pictures import FOLDER as PICTURES
from kfp_lifecycle.compiler.render import render
from kfp_lifecycle.compiler.repository import Repository
from kfp_lifecycle.compiler.scaffold import new_component

#: The component that a new repository begins with; its pipeline uses it.
COMPONENT = "count_rows"

#: Place of each file to its template in ``compiler/templates/init``.
FILES = {
    ".dockerignore": "dockerignore",
    ".github/workflows/pipelines.yaml": "github/pipelines.yaml",
    ".gitignore": "gitignore",
    ".pre-commit-config.yaml": "pre-commit-config.yaml",
    "Dockerfile": "Dockerfile",
    "README.md": "README.md",
    "ci/gate.py": "ci/gate.py",
    "components/__init__.py": "components/__init__.py",
    "components/shared/image.py": "components/image.py",
    "data/penguins.csv": "data/penguins.csv",
    "pipelines/__init__.py": "pipelines/__init__.py",
    "pipelines/params/penguins.yaml": "pipelines/params/penguins.yaml",
    "pipelines/penguins.py": "pipelines/penguins.py",
    "profiles/cluster.yaml": "profiles/cluster.yaml",
    "pyproject.toml": "pyproject.toml",
    "tests/pipelines/test_params.py": "tests/test_params.py",
}


def new_repository(name: str) -> list[GeneratedFile]:
    """The files of a new repository, compiled and documented.

    Args:
        name: What it is called, such as its folder; becomes the project's name and part of its image's.
    """
    with tempfile.TemporaryDirectory(prefix="kfp-lifecycle-") as folder:
        repository = Repository(Path(folder).resolve())
        (repository.root / PICTURES).mkdir(parents=True)
        values = {"project": project_name(name), "version": version("kfp-lifecycle")}
        sources = [GeneratedFile(place, render(f"init/{t}.j2", **values)) for place, t in FILES.items()]
        write(repository.root, sources)
        # The component takes its image from the file that is there by now.
        component = new_component(repository, COMPONENT)
        write(repository.root, component)
        compiled = compiled_files(repository)
        write(repository.root, compiled)
        files = {file.path: file for file in [*sources, *component, *compiled, *generated_docs(repository)]}
    return [files[path] for path in sorted(files)]


def refuse_existing(root: Path, files: Iterable[GeneratedFile]) -> None:
    """Sees to it that nothing is overwritten.

    Raises:
        CompileError: Files of these places are in ``root`` already; names them.
    """
    if root.exists() and not root.is_dir():
        raise CompileError(f"{root} is a file.", "Name a folder, new or empty.")
    there = [file.path for file in files if (root / file.path).exists()]
    if there:
        more = f" and {len(there) - 5} more" if len(there) > 5 else ""
        raise CompileError(
            f"{root} has {', '.join(there[:5])}{more} already, and nothing is overwritten.",
            "Begin in an empty folder, or move these away.",
        )


def project_name(name: str) -> str:
    """A name that a Python project and an image may both have: ``My Models`` is ``my-models``."""
    words = re.findall(r"[a-z0-9]+", name.lower())
    return "-".join(words)[:40].strip("-") or "pipelines"
