"""The images that a profile makes of those that the code names."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from kfp_lifecycle.compiler.errors import CompileError, ProfileError
from kfp_lifecycle.compiler.profiles.model import Images, Reference
from kfp_lifecycle.compiler.profiles.typed import Text, read_typed
from kfp_lifecycle.compiler.spec import Spec, executors, task_parameters, tasks

#: Below a repository, the digest of each image that was pushed.
LOCK = "images/images.lock"

#: Begins the image of a task that makes or deletes a volume: the server does that itself.
_STUB = "argostub/"

_DIGEST = re.compile(r".+@sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class Lock:
    """``images/images.lock``: the digest of each image, by its whole reference with its tag."""

    images: dict[Reference, Annotated[str, Text(r"sha256:[0-9a-f]{64}", "a digest: sha256:…")]]


class ImageNames:
    """From the image that the code names to the one that a compiled file names.

    Args:
        settings: The profile's.
        root: The repository, for its lock file.

    Raises:
        ProfileError: The lock file is wanted, and missing or damaged.
    """

    def __init__(self, settings: Images, root: Path) -> None:
        self.settings = settings
        self.lock = read_lock(root / LOCK) if settings.locked else None

    def rename(self, spec: Spec, released: Sequence[str] = ()) -> None:
        """Renames every image in a spec, in place; also where a task is told its image as a constant.

        Args:
            spec: A plain spec.
            released: The images of the same version when it was released: it keeps them.

        Raises:
            CompileError: An image has no digest, and the profile demands one.
        """
        containers = [e["container"] for e in executors(spec).values() if "image" in e.get("container", {})]
        kept = {repository_of(image): image for image in released}
        names = {}
        for image in {c["image"] for c in containers}:
            if not image.startswith(_STUB) and "{{" not in image:
                old = image if image in released else kept.get(repository_of(image), image)
                names[image] = self.name(old)
        for container in containers:
            container["image"] = names.get(container["image"], container["image"])
        _rename_constants(spec, names)

    def name(self, image: str) -> str:
        """The name of one image.

        Raises:
            CompileError: It has no digest, and the profile demands one.
        """
        name = self.settings.replace.get(repository_of(image)) or self._moved(image)
        if self.lock is not None and not _DIGEST.fullmatch(name):
            if name not in self.lock.images:
                raise CompileError(
                    f"{LOCK} has no digest of the image {name}.", "Run kfp-lifecycle images lock."
                )
            name = f"{name}@{self.lock.images[name]}"
        if self.settings.require_digests and not _DIGEST.fullmatch(name):
            raise CompileError(
                f"The image {name} has no digest, and the profile demands one.",
                "Compile with --locked, or name the image with its digest under images.replace.",
            )
        return name

    def check_cached(self, component: str, image: str) -> None:
        """Checks that the cache can tell one image of a component from the next.

        Raises:
            CompileError: The image has no digest: the cache would give the results of old code.
        """
        if not _DIGEST.fullmatch(self.name(image)):
            raise CompileError(
                f"The profile caches {component!r}, whose image {self.name(image)} has no digest: the cache "
                "could not tell new code from old.",
                "Compile with --locked, or set cache: false.",
            )

    def _moved(self, image: str) -> str:
        """The image in its other registry: the longest beginning that is named decides."""
        for start in sorted(self.settings.registries, key=len, reverse=True):
            if image == start or (image.startswith(start) and image[len(start)] in "/:@"):
                return self.settings.registries[start] + image[len(start) :]
        return image


def repository_of(image: str) -> str:
    """An image's name without tag and digest; a colon before the last slash is a registry's port."""
    name = image.partition("@")[0]
    folder, slash, last = name.rpartition("/")
    return f"{folder}{slash}{last.partition(':')[0]}"


def _rename_constants(spec: Spec, names: Mapping[str, str]) -> None:
    for _, task in tasks(spec):
        for argument in task_parameters(task).values():
            value = argument.get("runtimeValue", {})
            if isinstance(value.get("constant"), str):
                value["constant"] = names.get(value["constant"], value["constant"])


def read_lock(file: Path) -> Lock:
    """The lock file. Raises ``ProfileError`` where it is missing or damaged."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise ProfileError(
            str(file),
            f"The digests of images cannot be read: {error.strerror}.",
            "Run kfp-lifecycle images lock.",
        ) from None
    lock: Lock = read_typed(data, str(file), Lock)[0]
    return lock
