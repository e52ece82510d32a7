"""Released versions: they never change, and what comes after them has the number that its changes need.

A version is released once ``compiled/catalog.json`` marks it so. From then on its file is what it was that
day: the compiler gives it the images and the SDK's version of that day, and refuses code that would give
anything else.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kfp_lifecycle.compiler.errors import CompileError
from kfp_lifecycle.compiler.reader import read_bytes
from kfp_lifecycle.compiler.serialize import from_yaml
from kfp_lifecycle.compiler.versions import precedence

if TYPE_CHECKING:
    from kfp_lifecycle.compiler.diff import Change

Entries = Mapping[str, Mapping[str, Any]]

#: More changes than this are only counted.
_MOST_SHOWN = 3

_LOST = "Get it back from version control; a released file never changes."


def released_texts(compiled: Path, released: Entries, fresh: Mapping[str, str]) -> dict[str, str]:
    """The released files by path, once it is certain that they are what they were.

    Args:
        compiled: The folder of compiled files.
        released: The catalog's entries of released versions.
        fresh: What the code gives, by path; a file that is gone and in here is no loss.

    Raises:
        CompileError: A released file is gone or was changed.
    """
    texts = {}
    for path, entry in released.items():
        if path in fresh and _sha256(fresh[path].encode()) == entry["sha256"]:
            texts[path] = fresh[path]
            continue
        try:
            content = (compiled / path).read_bytes()
        except OSError:
            raise CompileError(f"compiled/{path} is released, but is gone.", _LOST) from None
        if _sha256(content) != entry["sha256"]:
            raise CompileError(f"compiled/{path} is released, but was changed since.", _LOST)
        texts[path] = content.decode()
    return texts


def settled(released: Mapping[str, str], path: str, text: str) -> str:
    """What the file of one version holds: ``text``, or for a released version what it always held.

    Args:
        released: The released files by path.
        path: Where the version belongs.
        text: What the code gives.

    Raises:
        CompileError: The version is released and its file would change, or its number is too small for what
            changed since the release before it; says which number the changes need.
    """
    before = path if path in released else _release_before(path, released)
    if before is None or released[before] == text:
        return text
    from kfp_lifecycle.compiler.diff import bump, diff

    old = released[before]
    if before == path and from_yaml(old) == from_yaml(text):
        return old  # the same, laid out otherwise: another version of the YAML library
    changes = diff(read_bytes(old.encode(), f"compiled/{before}"), read_bytes(text.encode(), path))
    name, version, last = path.split("/")[1], Path(path).stem, Path(before).stem
    needed = next_version(last, bump(changes))
    if before == path:
        raise _refused(f"{name} {version} is released, but the code gives another file", changes, needed)
    if precedence(version)[0] < precedence(needed)[0]:
        raise _refused(f"{name} {version} changes more than its number says since {last}", changes, needed)
    return text


def next_version(version: str, part: str) -> str:
    """The number that follows ``version`` when ``part`` (major, minor, patch or none) of it changes.

    Before 1.0.0 what breaks needs a minor number, and everything else a patch.
    """
    numbers, _, pre = version.partition("-")
    if pre:
        return numbers  # a pre-release promises nothing
    major, minor, patch = (int(number) for number in numbers.split("."))
    if part == "major" and major:
        return f"{major + 1}.0.0"
    if part == "major" or (part == "minor" and major):
        return f"{major}.{minor + 1}.0"
    return f"{major}.{minor}.{patch + 1}"


def _release_before(path: str, released: Iterable[str]) -> str | None:
    """The path of the newest released version below this one, pre-releases aside."""
    folder, _, file = path.rpartition("/")
    below = [
        (precedence(Path(p).stem), p)
        for p in released
        if p.rpartition("/")[0] == folder and "-" not in Path(p).stem
    ]
    older = [(rank, p) for rank, p in below if rank < precedence(file.removesuffix(".yaml"))]
    return max(older)[1] if older else None


def _refused(problem: str, changes: Sequence["Change"], needed: str) -> CompileError:
    """The error, with the changes that weigh most; the digest changes with whatever else does."""
    telling = [c for c in changes if c.category == changes[0].category and not _is_digest(c)]
    said = [f"{c.place + ': ' if c.place else ''}{c.message.rstrip('.')}" for c in telling[:_MOST_SHOWN]]
    if len(telling) > _MOST_SHOWN:
        said.append(f"and {len(telling) - _MOST_SHOWN} more changes")
    return CompileError(f"{problem}: {'; '.join(said) or 'its bytes differ'}.", f'Set VERSION = "{needed}".')


def _is_digest(change: "Change") -> bool:
    given = change.new if change.id == "task-argument-changed" and change.new else {}
    return str(given.get("runtimeValue", {}).get("constant", "")).startswith("sha256:")


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
