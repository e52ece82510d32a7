"""The repository that a command works on: where its folders are and what their code is imported as."""

import importlib.machinery
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from kfp_lifecycle.compiler.errors import CompileError

#: The folders whose code the compiler imports.
CODE_FOLDERS = ("components", "pipelines")


@dataclass(frozen=True)
class Repository:
    """A folder with a pyproject.toml, and components/ or compiled/ beside it.

    Args:
        root: The folder.
        package: The dotted package that its ``components`` and ``pipelines`` are imported from:
            ``[tool.kfp-lifecycle] package`` of pyproject.toml. Empty where they are packages of their own.
    """

    root: Path
    package: str = ""

    @property
    def compiled(self) -> Path:
        """Where compiled files are kept."""
        return self.root / "compiled"

    def module(self, *parts: str) -> str:
        """The import name of a module in one of the repository's folders."""
        return ".".join((self.package, *parts) if self.package else parts)


def find_repository(start: Path | None = None) -> Repository:
    """The repository that ``start`` (default: the working directory) is in.

    Raises:
        CompileError: There is none, or its pyproject.toml is not TOML.
    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        settings = folder / "pyproject.toml"
        if settings.is_file() and any((folder / name).is_dir() for name in ("components", "compiled")):
            return Repository(folder, _package(settings))
    raise CompileError(
        f"{here} is not in a repository of components.",
        "Go to a folder that has, or is below one that has, a pyproject.toml and components/.",
    )


def _package(settings: Path) -> str:
    try:
        table = tomllib.loads(settings.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise CompileError(f"{settings} cannot be read: {error}.", "Mend the file.") from error
    return str(table.get("tool", {}).get("kfp-lifecycle", {}).get("package", ""))


def use_code_of(repository: Repository) -> None:
    """Makes the repository's package name mean the code in *its* folders, from here on in this process.

    The package may be installed from somewhere else, as from another clone or worktree; compiling that
    code into this repository would be wrong without a sign. What was imported from elsewhere is forgotten.
    """
    finders = [f for f in sys.meta_path if not isinstance(f, _Finder)]
    sys.meta_path[:] = [_Finder(repository), *finders]
    names = [repository.module(folder) for folder in CODE_FOLDERS]
    ours = {m for m in sys.modules if any(m == name or m.startswith(f"{name}.") for name in names)}
    elsewhere = {m for m in ours if any(repository.root not in p.parents for p in _places(sys.modules[m]))}
    for module in elsewhere:
        del sys.modules[module]


def _places(module: ModuleType) -> list[Path]:
    """The module's file; the folders of a package without one."""
    file = getattr(module, "__file__", None)
    return [Path(place).resolve() for place in ([file] if file else getattr(module, "__path__", []))]


class _Finder:
    """Finds ``<package>.components`` and ``<package>.pipelines`` in a repository, whatever is installed."""

    def __init__(self, repository: Repository) -> None:
        self.folders = {repository.module(folder) for folder in CODE_FOLDERS}
        self.root = str(repository.root)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname in self.folders:
            return importlib.machinery.PathFinder.find_spec(fullname, [self.root], target)
        return None
