"""Finds the components and pipelines of a repository."""

import importlib
import inspect
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kfp_lifecycle.compiler.errors import CompileError
from kfp_lifecycle.compiler.repository import Repository, use_code_of
from kfp_lifecycle.compiler.versions import VERSION
from kfp_lifecycle.components.shared.errors import did_you_mean

if TYPE_CHECKING:
    from docstring_parser import Docstring


@dataclass(frozen=True)
class Source:
    """Where a component or pipeline is defined; known without importing anything.

    Args:
        kind: ``component`` or ``pipeline``.
        attribute: Name of the function, and of the folder or module, such as ``train_gpu``.
        module: Import name of the module that defines it.
        file: The module's file.
    """

    kind: str
    attribute: str
    module: str
    file: Path

    @property
    def name(self) -> str:
        """The name that KFP gives it, such as ``train-gpu``."""
        return self.attribute.replace("_", "-")


@dataclass(frozen=True)
class Definition:
    """A component or pipeline as its module defines it.

    Args:
        source: Where it was found.
        version: Its semantic version.
        component: The KFP object: a ``BaseComponent``, and for a pipeline a ``GraphComponent``.
    """

    source: Source
    version: str
    component: Any

    @property
    def function(self) -> Callable[..., Any] | None:
        """The Python function with the signature and the docstring; None for a component from elsewhere."""
        found: Callable[..., Any] | None = getattr(self.component, "python_func", None)
        return found or getattr(self.component, "pipeline_func", None)

    @property
    def docstring(self) -> "Docstring":
        """The function's docstring, parsed; empty where there is none."""
        import docstring_parser

        return docstring_parser.parse(inspect.getdoc(self.function) or "" if self.function else "")


def sources(repository: Repository) -> list[Source]:
    """Every component, then every pipeline, by name."""
    components = sorted(repository.root.glob("components/*/component.py"))
    pipelines = sorted(repository.root.glob("pipelines/[!_]*.py"))
    return [
        Source("component", f.parent.name, repository.module("components", f.parent.name, "component"), f)
        for f in components
    ] + [Source("pipeline", f.stem, repository.module("pipelines", f.stem), f) for f in pipelines]


def select(known: Iterable[Source], names: Sequence[str]) -> list[Source]:
    """The sources of these names, all where ``names`` is empty; ``train_gpu`` and ``train-gpu`` are the same.

    Raises:
        CompileError: There is none of that name.
    """
    found = list(known)
    wanted = {name.replace("_", "-"): name for name in names}
    for name, as_given in wanted.items():
        if not any(source.name == name for source in found):
            raise CompileError(
                f"There is no component or pipeline {as_given!r}.",
                did_you_mean(as_given, {source.name for source in found}),
            )
    return [source for source in found if not wanted or source.name in wanted]


def load(repository: Repository, chosen: Iterable[Source]) -> list[Definition]:
    """Imports the modules and takes the component or pipeline from each.

    Raises:
        CompileError: A module cannot be imported, or does not define what its place says it defines.
    """
    use_code_of(repository)
    _same_everywhere()
    return [_definition(source) for source in chosen]


def _same_everywhere() -> None:
    # An environment variable decides KFP's default; a compiled file must not depend on who compiles it.
    from kfp.dsl.pipeline_context import Pipeline

    Pipeline._execution_caching_default = True


def _definition(source: Source) -> Definition:
    from kfp.dsl import base_component, graph_component

    module = _import(source)
    component = getattr(module, source.attribute, None)
    kind = graph_component.GraphComponent if source.kind == "pipeline" else base_component.BaseComponent
    if not isinstance(component, kind):
        place = "file" if source.kind == "pipeline" else "folder"
        raise CompileError(
            f"{source.file} defines no {source.kind} {source.attribute!r}.",
            f"Name the function under @dsl.{source.kind} as the {place} is named.",
        )
    if component.name != source.name:
        raise CompileError(
            f"The {source.kind} in {source.file} has the name {component.name!r}.",
            f"Give it the name {source.name!r}, which follows from where it is.",
        )
    version = getattr(module, "VERSION", None)
    if not isinstance(version, str) or not VERSION.fullmatch(version):
        raise CompileError(
            f"{source.file} has {'no VERSION' if version is None else f'the VERSION {version!r}'}.",
            'Write a semantic version in it, such as VERSION = "1.0.0".',
        )
    return Definition(source, version, component)


def _import(source: Source) -> Any:
    try:
        return importlib.import_module(source.module)
    except Exception as error:  # whatever a user's module does, the answer is where and what
        raise CompileError(
            f"{source.file} cannot be imported: {type(error).__name__}: {error} ({_where(error)}).",
            "Mend it there.",
        ) from error


def _where(error: Exception) -> str:
    """The innermost line of the error that is not inside an installed library."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}, line {error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if "site-packages" not in f.filename and not f.filename.startswith("<")]
    last = (own or frames)[-1]
    return f"{last.filename}, line {last.lineno}"
