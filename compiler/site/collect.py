"""What the site is about: every component and pipeline of one or more repositories, with all its versions."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from kfp_lifecycle.compiler.catalog import PATH, Entry, entry
from kfp_lifecycle.compiler.diff import Change, diff
from kfp_lifecycle.compiler.discover import sources
from kfp_lifecycle.compiler.errors import CompileError
from kfp_lifecycle.compiler.ir import Pipeline
from kfp_lifecycle.compiler.reader import CompiledFile, read
from kfp_lifecycle.compiler.repository import Repository
from kfp_lifecycle.compiler.spec import in_order
from kfp_lifecycle.compiler.versions import precedence

_COMPILE = "Run kfp-lifecycle compile."


@dataclass(frozen=True)
class Version:
    """One compiled file.

    Args:
        entry: What the catalog says of it.
        text: The file's content.
        file: The same, read.
        released: Whether it can never change.
        previous: The version before it; empty for the first.
        changes: What changed since then.
    """

    entry: Entry
    text: str
    file: CompiledFile
    released: bool
    previous: str = ""
    changes: tuple[Change, ...] = ()

    @property
    def number(self) -> str:
        """The semantic version."""
        return str(self.entry["version"])

    @cached_property
    def pipeline(self) -> Pipeline:
        """The file as objects."""
        return Pipeline(self.file)


@dataclass(frozen=True)
class Item:
    """A component or pipeline.

    Args:
        kind: ``component`` or ``pipeline``.
        name: Its name.
        repository: Where it is from.
        module: What Python imports it from; empty where its code is no more.
        versions: Newest first.
    """

    kind: str
    name: str
    repository: Repository
    module: str
    versions: tuple[Version, ...]

    @property
    def function(self) -> str:
        """What it is called in Python."""
        return self.name.replace("-", "_")

    @property
    def current(self) -> Version:
        """The newest version; a pre-release only where there is no other."""
        return next((v for v in self.versions if "-" not in v.number), self.versions[0])

    @property
    def others(self) -> list[Version]:
        """All versions but the current one."""
        return [version for version in self.versions if version is not self.current]


def collect(repositories: Sequence[Repository]) -> list[Item]:
    """Every component and pipeline: pipelines by name, then components as the pipelines use them.

    Those of the first repository come before those of the others.

    Args:
        repositories: Where to look. A name is taken from the first that has it, as by ``kfp-lifecycle run``.

    Raises:
        CompileError: A catalog is missing, broken, or not about the files beside it.
        CompiledFileError: A compiled file cannot be read.
    """
    found: dict[tuple[str, str], Item] = {}
    for repository in {repository.root: repository for repository in repositories}.values():
        for item in _items(repository):
            found.setdefault((item.kind, item.name), item)
    roots = [repository.root for repository in repositories]
    items = sorted(found.values(), key=lambda item: (roots.index(item.repository.root), item.name))
    pipelines = [item for item in items if item.kind == "pipeline"]
    tasks = [name for p in pipelines for name, _ in in_order(p.current.file.spec["root"].get("dag", {}))]
    place = {name: at for at, name in reversed(list(enumerate(tasks)))}
    components = [item for item in items if item.kind == "component"]

    def order(item: Item) -> tuple[int, int]:
        return roots.index(item.repository.root), place.get(item.name, len(tasks))

    return [*pipelines, *sorted(components, key=order)]


def _items(repository: Repository) -> Iterator[Item]:
    versions: dict[tuple[str, str], list[Version]] = {}
    for version in sorted(_files(repository), key=lambda v: precedence(v.number)):
        before = versions.setdefault((version.entry["kind"], version.entry["name"]), [])
        if before:
            changes = tuple(diff(before[-1].file, version.file))
            version = replace(version, previous=before[-1].number, changes=changes)
        before.append(version)
    code = {(s.kind, s.name): repository.module(f"{s.kind}s", s.attribute) for s in sources(repository)}
    for key, found in versions.items():
        yield Item(*key, repository, code.get(key, ""), tuple(reversed(found)))


def _files(repository: Repository) -> Iterator[Version]:
    compiled = repository.compiled
    listed = _listed(repository)
    on_disk = {file.relative_to(compiled).as_posix() for file in compiled.glob("*/*/*.yaml")}
    if listed.keys() != on_disk:
        path = min(listed.keys() ^ on_disk)
        how = "lists no" if path in on_disk else "lists a missing"
        raise CompileError(f"{compiled / 'catalog.json'} {how} {path}.", _COMPILE)
    for path, (digest, released) in listed.items():
        file = read(compiled / path)
        text = (compiled / path).read_bytes().decode(errors="replace")
        found = entry(path, text, {"sdkVersion": ""} | file.spec)
        if found["sha256"] != digest:
            raise CompileError(f"{compiled / path} is not the file that the catalog lists.", _COMPILE)
        yield Version(found, text, file, released)


def _listed(repository: Repository) -> dict[str, tuple[str, bool]]:
    """Path to SHA-256 and whether it is released, of each file in the catalog; empty without a catalog."""
    catalog = repository.compiled / "catalog.json"
    try:
        files = json.loads(catalog.read_bytes())["files"]
        listed = {str(f["path"]): (str(f["sha256"]), f.get("released") is True) for f in files}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise CompileError(f"{catalog} cannot be read: {type(error).__name__}.", _COMPILE) from error
    for path in listed:
        if not PATH.fullmatch(path):
            raise CompileError(f"{catalog} lists {path!r}, which is no compiled file's place.", _COMPILE)
    return listed
