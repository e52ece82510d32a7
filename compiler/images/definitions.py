"""``images/images.yaml``: which images there are, and what each one holds."""

import runpy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, cast

from kfp_lifecycle.compiler.errors import CompileError
from kfp_lifecycle.compiler.profiles.typed import Text, read_typed
from kfp_lifecycle.compiler.repository import Repository
from kfp_lifecycle.components.shared.errors import did_you_mean

FOLDER, DEFINITIONS = "images", "images.yaml"

Name = Annotated[str, Text(r"[a-z0-9]+(-[a-z0-9]+)*", "lower-case letters, digits and hyphens")]


@dataclass(frozen=True)
class Definition:
    """One image.

    Args:
        about: What runs in it.
        extras: The extras of pyproject.toml that it holds.
        command: Whether it holds what the command line needs: the dependencies of pyproject.toml itself.
        torch: ``cpu`` takes PyTorch's build without CUDA.
    """

    about: str
    extras: tuple[Name, ...] = ()
    command: bool = False
    torch: Annotated[str, Text("cpu", "cpu")] = ""


@dataclass(frozen=True)
class _File:
    base: str
    python: Annotated[str, Text(r"3\.\d+", "a version of Python in quotes, such as '3.11'")]
    images: dict[Name, Definition]


@dataclass(frozen=True)
class ImageSet:
    """The images of a repository.

    Args:
        root: The repository.
        base: The image that all are built on.
        python: Its version of Python.
        images: Each image by its name.
        references: The full reference of each, as components name it.
    """

    root: Path
    base: str
    python: str
    images: dict[str, Definition]
    references: dict[str, str]

    def chosen(self, names: Sequence[str]) -> list[str]:
        """``names``, or all where there are none.

        Raises:
            CompileError: There is no image of a name; says the nearest.
        """
        for name in names:
            if name not in self.images:
                raise CompileError(f"There is no image {name!r}.", did_you_mean(name, self.images))
        return list(dict.fromkeys(names)) or list(self.images)

    def folder(self, name: str) -> Path:
        """Where an image's locked requirements are."""
        return self.root / FOLDER / name


def find_images(repository: Repository) -> ImageSet:
    """The images of a repository.

    Raises:
        ProfileError: ``images/images.yaml`` says something that cannot be; names the line.
        CompileError: The repository defines no images.
    """
    file = repository.root / FOLDER / DEFINITIONS
    try:
        data = file.read_bytes()
    except OSError as error:
        raise CompileError(
            f"{file} cannot be read: {error.strerror}.", "Go to a repository that defines images."
        ) from None
    found: _File = read_typed(data, str(file), _File)[0]
    reference = _references(repository.root / "components" / "shared" / "image.py")
    return ImageSet(
        repository.root,
        found.base,
        found.python,
        dict(found.images),
        {name: reference(name) for name in found.images},
    )


def _references(module: Path) -> Callable[[str], str]:
    """The function that gives an image's reference; as it is in that file, whatever is installed."""
    try:
        return cast("Callable[[str], str]", runpy.run_path(str(module))["image"])
    except (OSError, KeyError) as error:
        raise CompileError(
            f"{module} gives no names to images: {error}.", "Define image(name) there, as this library does."
        ) from error
