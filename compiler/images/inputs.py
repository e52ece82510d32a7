"""The hash of all that goes into an image: a tag says nothing of its content, this does."""

import hashlib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from kfp_lifecycle.compiler.errors import CompileError
from kfp_lifecycle.compiler.images.definitions import DEFINITIONS, FOLDER, ImageSet, find_images
from kfp_lifecycle.compiler.repository import Repository

#: The library's sources, as the Dockerfile copies them. compiled/ is left out: it holds this very hash.
_SOURCES = ("components", "pipelines", "compiler", "runner", "scripts", "profiles")
_FILES = ("pyproject.toml", "setup.py")
_SKIPPED = ("__pycache__", "benchmarks")


def current_inputs(repository: Repository, references: Collection[str]) -> dict[str, str]:
    """The hash of what goes into each of ``references`` that this repository builds, as its code is now."""
    if not (repository.root / FOLDER / DEFINITIONS).is_file():
        return {}
    images = find_images(repository)
    return {
        reference: inputs_digest(images, name)
        for name, reference in images.references.items()
        if reference in references
    }


def check_inputs(repository: Repository, released: Mapping[str, str]) -> None:
    """Checks that no image changes under a tag that a released version names.

    Args:
        repository: Where the images are defined.
        released: The hash that each image had at the release.

    Raises:
        CompileError: What goes into one has changed.
    """
    for reference, digest in current_inputs(repository, released).items() if released else ():
        if digest != released[reference]:
            raise CompileError(
                f"The image {reference} belongs to a release, but what goes into it has changed since.",
                "Set another TAG in components/shared/image.py: released files keep the old one.",
            )


def inputs_digest(images: ImageSet, name: str) -> str:
    """``sha256:…`` of the Dockerfile, the base image, the locked requirements and the library's sources."""
    digest = hashlib.sha256(f"{images.base}\0{images.python}\0".encode())
    root = images.root
    own = [
        root / FOLDER / "Dockerfile",
        *sorted(images.folder(name).glob("*.txt")),
        *(root / file for file in _FILES),
    ]
    for file in [*own, *_sources(root)]:
        digest.update(file.relative_to(root).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return f"sha256:{digest.hexdigest()}"


def _sources(root: Path) -> Iterator[Path]:
    for folder in _SOURCES:
        for file in sorted((root / folder).rglob("*")):
            if file.is_file() and not set(file.relative_to(root).parts) & set(_SKIPPED):
                yield file
