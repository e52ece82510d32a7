"""Compiles components and pipelines to text, and says which files a repository should hold."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kfp_lifecycle.compiler import catalog
from kfp_lifecycle.compiler.checks import check_definition, check_spec, check_text
from kfp_lifecycle.compiler.describe import describe
from kfp_lifecycle.compiler.digest import embed_digest
from kfp_lifecycle.compiler.discover import Definition, load, select, sources
from kfp_lifecycle.compiler.errors import CompileError
from kfp_lifecycle.compiler.files import GeneratedFile
from kfp_lifecycle.compiler.repository import Repository
from kfp_lifecycle.compiler.serialize import to_yaml
from kfp_lifecycle.compiler.spec import Spec, plain


@dataclass(frozen=True)
class Compiled:
    """A compiled component or pipeline.

    Args:
        definition: What was compiled.
        spec: The finished pipeline spec, plain.
        text: The compiled file.
    """

    definition: Definition
    spec: Spec
    text: str

    @property
    def path(self) -> str:
        """Where the file belongs in ``compiled/``."""
        source = self.definition.source
        return f"{source.kind}s/{source.name}/{self.definition.version}.yaml"


def compile_repository(repository: Repository, names: Sequence[str] = ()) -> list[Compiled]:
    """Compiles the components and pipelines of these names; all of them where ``names`` is empty.

    Raises:
        CompileError: A name is unknown, or a component or pipeline breaks a rule.
    """
    return [compile_one(d) for d in load(repository, select(sources(repository), names))]


def compiled_files(repository: Repository, names: Sequence[str] = ()) -> list[GeneratedFile]:
    """Every file that compiling gives: one for each component and pipeline, and the catalog.

    The catalog also holds the versions that are on disk and that the code gives no more. Raises as
    :func:`compile_repository` does, and ``CompileError`` for a file on disk that is not a compiled one.
    """
    compiled = compile_repository(repository, names)
    fresh = {item.path: catalog.entry(item.path, item.text, item.spec) for item in compiled}
    files = [GeneratedFile(f"compiled/{item.path}", item.text) for item in compiled]
    return [*files, GeneratedFile("compiled/catalog.json", catalog.to_text(repository.compiled, fresh))]


def compile_one(definition: Definition) -> Compiled:
    """Compiles one component or pipeline.

    Raises:
        CompileError: KFP refuses it, or it breaks a rule of :mod:`kfp_lifecycle.compiler.checks`.
    """
    check_definition(definition)
    component = definition.component
    spec = _spec(definition)
    describe(spec, definition)
    embed_digest(spec)
    check_spec(definition, spec)
    text = to_yaml(spec, _platform(component), component.description or "")
    check_text(definition, text)
    return Compiled(definition, spec, text)


def _spec(definition: Definition) -> Spec:
    try:
        return plain(definition.component)
    except (TypeError, ValueError) as error:
        source, problem = definition.source, str(error).rstrip(".")
        raise CompileError(
            f"KFP cannot compile the {source.kind} {source.name!r} ({source.file}): {problem}.",
            "Look at the types of its defaults and arguments.",
        ) from error


def _platform(component: Any) -> Spec:
    from google.protobuf import json_format

    settings: Spec = json_format.MessageToDict(component.platform_spec)
    return settings
