"""Generated files: writing them, and telling how those on disk differ from what they should be."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from kfp_lifecycle.compiler.errors import CompileError
from kfp_lifecycle.components.shared.outputs import whole_file


@dataclass(frozen=True)
class GeneratedFile:
    """A file as it should be.

    Args:
        path: Relative to the repository, with slashes.
        text: Its whole content.
    """

    path: str
    text: str


@dataclass(frozen=True)
class Difference:
    """How a file on disk is not what it should be.

    Args:
        path: Relative to the repository.
        kind: ``missing`` or ``changed``.
        diff: A unified diff from what is on disk to what it should be; empty unless changed.
    """

    path: str
    kind: str
    diff: str = ""


def differences(root: Path, files: Iterable[GeneratedFile]) -> list[Difference]:
    """The files under ``root`` that are missing or changed, in the order given."""
    found = []
    for file in files:
        on_disk = _read(root / file.path)
        if on_disk is None:
            found.append(Difference(file.path, "missing"))
        elif on_disk != file.text:
            found.append(Difference(file.path, "changed", _diff(file.path, on_disk, file.text)))
    return found


def write(root: Path, files: Iterable[GeneratedFile]) -> dict[str, str]:
    """Writes the files that are not yet as they should be.

    Returns:
        Path to what was done: ``new``, ``changed`` or ``unchanged``.

    Raises:
        StorageError: The disk is full or read-only.
    """
    done = {}
    for file in files:
        on_disk = _read(root / file.path)
        if on_disk != file.text:
            with whole_file(root / file.path) as partial:
                partial.write_bytes(file.text.encode())
        done[file.path] = "new" if on_disk is None else "unchanged" if on_disk == file.text else "changed"
    return done


def _read(path: Path) -> str | None:
    # Bytes, not text mode: a file with other line ends is another file.
    try:
        return path.read_bytes().decode()
    except FileNotFoundError:
        return None
    except (UnicodeDecodeError, OSError) as error:
        raise CompileError(
            f"{path} cannot be read: {error}.", "Delete it; it is a generated file."
        ) from error


def _diff(path: str, before: str, after: str) -> str:
    lines = difflib.unified_diff(
        before.splitlines(keepends=True),
        after.splitlines(keepends=True),
        f"{path} (on disk)",
        f"{path} (from the code)",
    )
    missing = "\n\\ No newline at end of file\n"
    return "".join(line if line.endswith("\n") else line + missing for line in lines)
