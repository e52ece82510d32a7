"""Compiles components and pipelines to text, and says which files a repository should hold."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kfp_lifecycle.components
from kfp_lifecycle.compiler import catalog, release
from kfp_lifecycle.compiler.calls import check_calls
from kfp_lifecycle.compiler.checks import check_definition, check_spec, check_text
from kfp_lifecycle.compiler.describe import describe
from kfp_lifecycle.compiler.digest import embed_digest
from kfp_lifecycle.compiler.discover import Definition, load, select, sources
from kfp_lifecycle.compiler.errors import CompileError
from kfp_lifecycle.compiler.files import GeneratedFile
from kfp_lifecycle.compiler.images.inputs import check_inputs
from kfp_lifecycle.compiler.profiles import ImageNames, ProfileFile, Tracing, applied, find_profile
from kfp_lifecycle.compiler.profiles.tracing import forget_pods, run_settings
from kfp_lifecycle.compiler.repository import Repository
from kfp_lifecycle.compiler.serialize import to_yaml
from kfp_lifecycle.compiler.spec import Spec, executors, plain


@dataclass(frozen=True)
class Compiled:
    """A compiled component or pipeline.

    Args:
        definition: What was compiled.
        spec: The finished pipeline spec, plain.
        platform: The platform spec; empty where there is none.
        text: The compiled file.
    """

    definition: Definition
    spec: Spec
    platform: Spec
    text: str

    @property
    def path(self) -> str:
        """Where the file belongs in ``compiled/``."""
        return path_of(self.definition)


def path_of(definition: Definition) -> str:
    """Where the file of a component or pipeline belongs in ``compiled/``."""
    source = definition.source
    return f"{source.kind}s/{source.name}/{definition.version}.yaml"


def compile_repository(
    repository: Repository, names: Sequence[str] = (), profile: ProfileFile | None = None
) -> list[Compiled]:
    """Compiles the components and pipelines of these names; all of them where ``names`` is empty.

    A version that is released keeps the images and the SDK's version that it was released with.

    Args:
        repository: Where they are.
        names: Which ones.
        profile: The environment that they are compiled for; ``local`` where None.

    Raises:
        CompileError: A name is unknown, or a component or pipeline breaks a rule.
        ProfileError: The profile cannot be read, or names what is not there.
    """
    profile = profile or find_profile(repository)
    images = ImageNames(profile.images, repository.root)
    released = catalog.released(repository.compiled)
    known = sources(repository)
    with applied(profile) as tracing:
        definitions = load(repository, select(known, names))
        compiled = [compile_one(d, tracing, images, released.get(path_of(d), {})) for d in definitions]
        own = {source.name for source in known if source.kind == "component"} | _library_components()
        if profile.components.keys() - own - tracing.components:
            load(repository, known)  # it may be one from elsewhere, in a pipeline that was not asked for
        profile.check_components(own | tracing.components)
    for name, image in tracing.cached.items():
        images.check_cached(name, image)
    return compiled


def _library_components() -> set[str]:
    folders = [Path(folder) for folder in kfp_lifecycle.components.__path__]
    return {file.parent.name.replace("_", "-") for f in folders for file in f.glob("*/component.py")}


def compiled_files(repository: Repository, names: Sequence[str] = ()) -> list[GeneratedFile]:
    """Every file that compiling gives: one for each component and pipeline, and the catalog.

    The catalog also holds the versions that are on disk and that the code gives no more. Raises as
    :func:`compile_repository` does, and ``CompileError`` for a file on disk that is not a compiled one, for
    a released version that the code would change, a version number that does not fit its changes, a
    function that a released file calls and that is gone, and an image that changes under a released tag.
    """
    compiled = compile_repository(repository, names)
    released = catalog.released(repository.compiled)
    texts = {item.path: item.text for item in compiled}
    old = release.released_texts(repository.compiled, released, texts)
    check_calls(repository, old)
    texts = {path: release.settled(old, path, text) for path, text in texts.items()}
    fresh = {item.path: catalog.entry(item.path, texts[item.path], item.spec) for item in compiled}
    files = [GeneratedFile(f"compiled/{path}", text) for path, text in texts.items()]
    inputs = catalog.image_inputs(repository.compiled)
    check_inputs(repository, inputs)
    listed = catalog.to_text(repository.compiled, fresh, released.keys(), inputs)
    return [*files, GeneratedFile("compiled/catalog.json", listed)]


def compile_one(
    definition: Definition, tracing: Tracing, images: ImageNames, released: Mapping[str, Any]
) -> Compiled:
    """Compiles one component or pipeline.

    Args:
        definition: What to compile.
        tracing: What gives its tasks their settings.
        images: What names its images.
        released: The catalog's entry of this version if it is released; else empty.

    Raises:
        CompileError: KFP refuses it, or it breaks a rule of :mod:`kfp_lifecycle.compiler.checks`.
    """
    check_definition(definition)
    component = definition.component
    tracing.last = None  # a component that is itself from a compiled file makes no task: it is as it is
    spec = _spec(definition)
    if definition.source.kind == "component":
        forget_pods(spec)
    platform = _platform(definition, spec, tracing)
    spec["sdkVersion"] = released.get("sdk", spec["sdkVersion"])
    images.rename(spec, released.get("images", ()))
    describe(spec, definition)
    embed_digest(spec)
    check_spec(definition, spec)
    text = to_yaml(spec, platform, component.description or "")
    check_text(definition, text)
    return Compiled(definition, spec, platform, text)


def _spec(definition: Definition) -> Spec:
    try:
        return plain(definition.component)
    except (TypeError, ValueError) as error:
        source, problem = definition.source, str(error).rstrip(".")
        raise CompileError(
            f"KFP cannot compile the {source.kind} {source.name!r} ({source.file}): {problem}.",
            "Look at the types of its defaults and arguments.",
        ) from error


def _platform(definition: Definition, spec: Spec, tracing: Tracing) -> Spec:
    from google.protobuf import json_format
    from kfp.compiler import pipeline_spec_builder

    message = definition.component.platform_spec
    if definition.source.kind == "component" and tracing.last and tracing.last.platform_config:
        # KFP gives a component that is compiled alone no platform spec.
        (label,) = executors(spec)
        settings = tracing.last.platform_config
        message = pipeline_spec_builder.platform_config_to_platform_spec(settings, label)
    platform: Spec = json_format.MessageToDict(message)
    if run := run_settings(tracing.profile):
        kubernetes = platform.setdefault("platforms", {}).setdefault("kubernetes", {})
        kubernetes["pipelineConfig"] = run | kubernetes.get("pipelineConfig", {})
    return platform
