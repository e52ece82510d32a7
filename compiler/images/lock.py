"""``images/images.lock``: the digest of every pushed image, which ``compile --locked`` takes."""

from collections.abc import Sequence

import yaml

from kfp_lifecycle.compiler.images.build import in_registry
from kfp_lifecycle.compiler.images.definitions import ImageSet
from kfp_lifecycle.compiler.images.registry import digest
from kfp_lifecycle.compiler.profiles.images import LOCK, read_lock
from kfp_lifecycle.components.shared.outputs import whole_file

_HEADER = (
    "# The digest of each pushed image. Written by `kfp-lifecycle images lock`; read by compile --locked.\n"
)


def lock(images: ImageSet, names: Sequence[str], registry: str) -> dict[str, str]:
    """Asks the registry for the digest of each image, and writes them all, or nothing.

    Entries of other images and registries stay.

    Returns:
        The digests, by reference.

    Raises:
        ImageError: The registry lacks an image, wants a login, or cannot be reached.
        ProfileError: The lock file that is there is damaged.
    """
    found = {reference: digest(reference) for reference in (in_registry(images, n, registry) for n in names)}
    file = images.root / LOCK
    kept = dict(read_lock(file).images) if file.is_file() else {}
    with whole_file(file) as new:
        new.write_text(_HEADER + yaml.safe_dump({"images": kept | found}), encoding="utf-8")
    return found


def check(images: ImageSet) -> dict[str, str]:
    """The locked digests, each after its registry has said that it still has it.

    Raises:
        ImageError: A registry no longer has one; names it.
        ProfileError: There is no lock file, or it is damaged.
    """
    locked = read_lock(images.root / LOCK).images
    for reference, known in locked.items():
        digest(f"{reference.rpartition(':')[0]}@{known}")
    return dict(locked)
