"""The hash of all that goes into an image: a tag says nothing of its content, this does."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from kfp_lifecycle.compiler.images.definitions import FOLDER, ImageSet
from kfp_lifecycle.compiler.images.requirements import FILE

#: The library's sources, as the Dockerfile copies them. compiled/ is left out: it holds this very hash.
_SOURCES = ("components", "pipelines", "compiler", "runner", "scripts", "profiles")
_FILES = ("pyproject.toml", "setup.py")
_SKIPPED = ("__pycache__", "benchmarks")


def inputs_digest(images: ImageSet, name: str) -> str:
    """``sha256:…`` of the Dockerfile, the base image, the locked requirements and the library's sources."""
    digest = hashlib.sha256(f"{images.base}\0{images.python}\0".encode())
    root = images.root
    own = [root / FOLDER / "Dockerfile", images.folder(name) / FILE, *(root / file for file in _FILES)]
    for file in [*own, *_sources(root)]:
        digest.update(file.relative_to(root).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return f"sha256:{digest.hexdigest()}"


def _sources(root: Path) -> Iterator[Path]:
    for folder in _SOURCES:
        for file in sorted((root / folder).rglob("*")):
            if file.is_file() and not set(file.relative_to(root).parts) & set(_SKIPPED):
                yield file
