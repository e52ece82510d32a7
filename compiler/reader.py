"""Reads any compiled KFP v2 file, ours or not, as plain data, without importing kfp.

A file may come from anyone: reading it ends in a :class:`CompiledFile` whose data has the types that KFP's
protobuf messages say, or in a :class:`CompiledFileError`, in bounded time and memory.
"""

import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kfp_lifecycle.compiler.conform import Problem, conform
from kfp_lifecycle.compiler.errors import CompiledFileError
from kfp_lifecycle.compiler.limits import MAX_FILE_BYTES
from kfp_lifecycle.compiler.safe_yaml import Document, Map, Note, load_documents, too_large
from kfp_lifecycle.compiler.text import shown

_COMPILE = "Name a file that kfp-lifecycle compile or KFP's compiler (2.x) wrote."
_MOVE = (
    "Its Python code moves to KFP 2 (kubeflow.org/docs/components/pipelines/user-guides/migration); then "
    "compile it with kfp 2.x."
)


@dataclass(frozen=True)
class Ignored:
    """A document that the API server leaves out without a word.

    Args:
        line: Where.
        text: What it is.
    """

    line: int
    text: str


@dataclass(frozen=True)
class CompiledFile:
    """A compiled pipeline or component.

    Args:
        path: The file's name as it was given.
        size: Its bytes.
        spec: The pipeline spec, clean: only known fields, of the types they should have. ``pipelineInfo``,
            ``root``, ``components`` and ``deploymentSpec`` are always there.
        platform: The platform spec, likewise; empty where there is none.
        objects: The Kubernetes objects that held the spec (Pipeline, PipelineVersion), as they are.
        refused: Fields and values for which the API server refuses the file.
        dropped: Those in executors and their Kubernetes settings, where it drops what it does not know.
        ignored: Documents that the API server leaves out.
        notes: Scalars that are not read alike by everyone.
    """

    path: str
    size: int
    spec: Map
    platform: Map
    objects: list[Map] = field(default_factory=list)
    refused: list[Problem] = field(default_factory=list)
    dropped: list[Problem] = field(default_factory=list)
    ignored: list[Ignored] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The name that the spec gives itself; empty where it gives none."""
        return str(self.spec["pipelineInfo"].get("name", ""))

    @property
    def kubernetes(self) -> Map:
        """The settings for Kubernetes: executor label to executor configuration."""
        settings = self.platform.get("platforms", {}).get("kubernetes", {}).get("deploymentSpec", {})
        found: Map = settings.get("executors") or Map()
        return found


def read(path: str | Path) -> CompiledFile:
    """Reads a compiled file.

    Args:
        path: A file of at most 32 MiB.

    Raises:
        CompiledFileError: The file is missing, unreadable, too large, not YAML or not compiled by KFP v2, or
            its components contain each other in a circle.
    """
    name = str(path)
    return read_bytes(_content(Path(path), name), name)


def read_bytes(data: bytes, name: str) -> CompiledFile:
    """As :func:`read`, from the file's content."""
    _check_kind(data, name)
    documents = load_documents(data, name)
    found = _sort(documents, name)
    spec, refused = conform(found.spec.value, "PipelineSpec", line=found.spec.line)
    for key in ("pipelineInfo", "root", "components", "deploymentSpec"):
        if key not in spec:
            spec[key] = Map(spec.line)
    deployment, dropped = conform(
        spec["deploymentSpec"],
        "PipelineDeploymentConfig",
        ("deploymentSpec",),
        spec.line_of("deploymentSpec"),
    )
    spec["deploymentSpec"] = deployment
    platform = Map()
    if found.platform is not None:
        platform, problems = conform(found.platform.value, "PlatformSpec", line=found.platform.line)
        refused += problems
        dropped += _settle_executors(platform)
    notes = [note for document in documents for note in document.notes]
    compiled = CompiledFile(
        name, len(data), spec, platform, found.objects, refused, dropped, found.ignored, notes
    )
    _check_circles(compiled)
    return compiled


def _content(path: Path, name: str) -> bytes:
    try:
        about = path.stat()
        if stat.S_ISDIR(about.st_mode):
            raise CompiledFileError(name, "This is a folder.", "Name a compiled file.")
        # A pipe or device may never end.
        if not stat.S_ISREG(about.st_mode):
            raise CompiledFileError(name, "This is no ordinary file.", "Name a compiled file.")
        if about.st_size > MAX_FILE_BYTES:
            raise too_large(name, about.st_size)
        with path.open("rb") as file:
            return file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or "its name is not possible"
        raise CompiledFileError(name, f"The file cannot be read: {said}.", "Name a compiled file.") from None


_KINDS = {
    b"PK\x03\x04": ("a zip archive", "Unpack it."),
    b"\x1f\x8b": ("a gzip archive", "Unpack it."),
    b"<": ("a web page", "Download the file itself."),
}


def _check_kind(data: bytes, name: str) -> None:
    for start, (what, fix) in _KINDS.items():
        if data.startswith(start):
            raise CompiledFileError(name, f"This is {what}, not a compiled pipeline.", fix)


@dataclass
class _Found:
    """The documents of a file by what they are."""

    spec: Document
    platform: Document | None
    objects: list[Map]
    ignored: list[Ignored]


def _sort(documents: list[Document], name: str) -> _Found:
    specs: list[Document] = []
    platforms: list[Document] = []
    objects: list[Map] = []
    ignored: list[Ignored] = []
    for document in documents:
        value = document.value
        if _is_object(value):
            objects.append(value)
            held = value.get("spec") if value.get("kind") == "PipelineVersion" else None
            for key, several in (("pipelineSpec", specs), ("platformSpec", platforms)):
                if isinstance(held, Map) and isinstance(held.get(key), Map):
                    several.append(Document(held[key], held.lines[key]))
        elif isinstance(value, Map) and not value.keys().isdisjoint(("pipelineInfo", "pipeline_info")):
            specs.append(document)
        elif isinstance(value, Map) and "platforms" in value:
            platforms.append(document)
        else:
            ignored.append(Ignored(document.line, _what(value)))
    if not specs:
        raise _not_kfp(documents, name)
    for several, what in ((specs, "pipeline"), (platforms, "platform")):
        if len(several) > 1:
            problem = f"The file has {len(several)} {what} specs; the API server takes one."
            raise CompiledFileError(
                name, problem, "Put each pipeline into a file of its own.", several[1].line
            )
    return _Found(specs[0], platforms[0] if platforms else None, objects, ignored)


def _is_object(value: Any) -> bool:
    return isinstance(value, Map) and _text(value, "apiVersion").startswith("pipelines.kubeflow.org/")


def _text(value: Map, key: str) -> str:
    text = value.get(key)
    return text if isinstance(text, str) else ""


def _what(value: Any) -> str:
    if not isinstance(value, Map):
        return "no mapping"
    kind = _text(value, "kind")
    return (
        f"neither a pipeline spec nor a platform spec{', a ' if kind else ''}{shown(kind, 40, quote=False)}"
    )


def _not_kfp(documents: list[Document], name: str) -> CompiledFileError:
    """Why a file without a pipeline spec is not what was wanted."""
    if not documents:
        return CompiledFileError(name, "The file is empty.", _COMPILE)
    value, line = documents[0].value, documents[0].line
    if not isinstance(value, Map):
        return CompiledFileError(
            name, "This is not a compiled pipeline: it holds no mapping.", _COMPILE, line
        )
    version = str(value.get("apiVersion", ""))
    for found, what, fix in (
        (version.startswith("argoproj.io/"), "an Argo workflow, as KFP 1 compiled pipelines", _MOVE),
        (version.startswith("tekton.dev/"), "a Tekton pipeline, as kfp-tekton compiled them", _MOVE),
        ("implementation" in value, "a component of KFP 1", _MOVE),
        (
            isinstance(value.get("pipelineSpec"), Map),
            "a pipeline job, as Vertex AI keeps them",
            "What it holds under pipelineSpec is the compiled pipeline.",
        ),
        ("platforms" in value, "a platform spec without its pipeline", _COMPILE),
        (_is_object(value), "a Kubernetes object without a pipeline spec", "The PipelineVersion holds it."),
    ):
        if found:
            return CompiledFileError(name, f"This is {what}.", fix, line)
    return CompiledFileError(name, "This is YAML, but not a compiled pipeline or component.", _COMPILE, line)


def _settle_executors(platform: Map) -> list[Problem]:
    """Holds the Kubernetes settings of each executor, free data to the API server, against their own tree."""
    problems: list[Problem] = []
    kubernetes = platform.get("platforms", {}).get("kubernetes", {})
    executors = kubernetes.get("deploymentSpec", {}).get("executors", {})
    for label in executors:
        where = ("platforms", "kubernetes", "deploymentSpec", "executors", label)
        executors[label], found = conform(
            executors[label], "KubernetesExecutorConfig", where, executors.lines[label]
        )
        problems += found
    return problems


def _check_circles(compiled: CompiledFile) -> None:
    components = compiled.spec["components"]
    done: set[str] = set()
    path: dict[str, Iterator[str]] = {}
    for start in components:
        name: str | None = start
        while name is not None:
            if name in path:
                circle = [*list(path)[list(path).index(name) :], name]
                problem = f"Components contain each other in a circle: {_chain(circle)}."
                raise CompiledFileError(compiled.path, problem, _COMPILE, components.lines[name])
            if name not in done and name in components:
                path[name] = iter(_used_by(components[name]))
            name = None
            while path and name is None:
                last = next(reversed(path))
                name = next(path[last], None)
                if name is None:
                    done.add(last)
                    del path[last]


def _used_by(component: Map) -> list[str]:
    tasks = component.get("dag", {}).get("tasks", {}).values()
    return [task.get("componentRef", {}).get("name", "") for task in tasks]


def _chain(names: list[str], most: int = 10) -> str:
    some = names if len(names) <= most else [*names[: most - 1], "…", names[-1]]
    return " -> ".join(shown(name, 60, quote=False) for name in some)
