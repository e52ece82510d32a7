"""Building, pushing and locking images."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from kfp_lifecycle.compiler.errors import ImageError
from kfp_lifecycle.compiler.images.definitions import FOLDER, ImageSet
from kfp_lifecycle.compiler.images.engine import Engine, Output
from kfp_lifecycle.compiler.images.requirements import FILE, wheels

#: Where certificates that a network needs besides the usual ones are often named.
_CERTIFICATES = ("PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")


def build(
    images: ImageSet,
    name: str,
    engine: Engine,
    *,
    base: str = "",
    target: str = "",
    extra: Sequence[str] = (),
    output: Output | None = None,
) -> None:
    """Builds one image and tags it with its reference.

    pip's configuration and certificates go in as build secrets, so that no layer holds them.

    Args:
        images: The repository's images.
        name: Which.
        engine: What builds.
        base: The base image, best with its digest; the one of images.yaml where empty.
        target: A stage of the Dockerfile other than the last; its image is not tagged.
        extra: Further options for the engine's ``build``.
        output: Takes each line that the engine prints.

    Raises:
        ImageError: The engine fails, or the requirements are not locked.
    """
    if not (images.folder(name) / FILE).is_file():
        raise ImageError(
            f"The requirements of the image {name!r} are not locked.",
            "Run kfp-lifecycle images requirements.",
        )
    command = ["bud", "--isolation", "chroot"] if engine.name == "buildah" else ["build"]
    command += ["--file", str(images.root / FOLDER / "Dockerfile")]
    for key, value in _arguments(images, name, base or images.base).items():
        command += ["--build-arg", f"{key}={value}"]
    command += ["--target", target] if target else ["--tag", images.references[name]]
    _bring_wheels(images, name)
    with pip_secrets() as secrets:
        engine.run([*command, *secrets, *extra, str(images.root)], f"build {name}", output)


def push(images: ImageSet, name: str, engine: Engine, registry: str, output: Output | None = None) -> str:
    """Pushes an image to a registry and gives its reference there.

    Raises:
        ImageError: It is not built, or the registry refuses.
    """
    reference = in_registry(images, name, registry)
    engine.run(["tag", images.references[name], reference], f"find {name}, which must be built first")
    engine.run(["push", reference], f"push {name}", output)
    return reference


def in_registry(images: ImageSet, name: str, registry: str) -> str:
    """An image's reference in another registry: ``REGISTRY/python-core:0.1.0``."""
    reference = images.references[name]
    return f"{registry.rstrip('/')}/{reference.rpartition('/')[2]}" if registry else reference


def size(engine: Engine, reference: str) -> int:
    """The unpacked size of a built image, in bytes. Raises ``ImageError`` where it is not built."""
    inspect = ["inspect", "--format", "{{.Size}}", reference]
    return int(engine.run(inspect, f"find {reference}")[-1])


def _arguments(images: ImageSet, name: str, base: str) -> Mapping[str, str]:
    return {
        "BASE": base,
        "NAME": name,
        "VERSION": version("kfp-lifecycle"),
        "REVISION": _git(images.root, "rev-parse", "HEAD"),
        "SOURCE": _without_login(_git(images.root, "config", "--get", "remote.origin.url")),
        # Files in the image carry the time of the commit, so that two builds of it are the same.
        "SOURCE_DATE_EPOCH": _git(images.root, "log", "-1", "--format=%ct") or "0",
    }


def _bring_wheels(images: ImageSet, name: str) -> None:
    """Links wheels that no package index has beside the requirements: a build sees only its context."""
    folder = wheels()
    if folder is None or images.images[name].torch != "cpu":
        return
    place = images.folder(name) / "wheels"
    place.mkdir(exist_ok=True)
    for wheel in folder.glob("torch-*.whl"):
        target = place / wheel.name
        if not target.exists():
            shutil.copy(wheel, target)


def _without_login(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}" if separator else url


def _git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False
        )
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


@contextmanager
def pip_secrets() -> Iterator[list[str]]:
    """Options that pass this machine's pip configuration and certificates to a build."""
    with tempfile.TemporaryDirectory() as folder:
        configuration = Path(folder) / "pip.conf"
        configuration.write_text(_pip_configuration(), encoding="utf-8")
        options = ["--secret", f"id=pipconf,src={configuration}"]
        named = (os.environ.get(name, "") for name in _CERTIFICATES)
        if certificates := next((path for path in named if path and Path(path).is_file()), ""):
            options += ["--secret", f"id=ca,src={certificates}"]
            configuration.write_text(
                configuration.read_text(encoding="utf-8") + "cert = /etc/pip-ca.pem\n", encoding="utf-8"
            )
        yield options


def _pip_configuration() -> str:
    """What pip is configured to here, by files and environment, without paths of this machine."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = ["[global]"]
    for line in done.stdout.splitlines():
        key, _, value = line.partition("=")
        name, value = key.rpartition(".")[2], value.strip().strip("'")
        if (
            name in ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout")
            and "file:" not in value
        ):
            lines.append(f"{name} = {value}")
    return "\n".join(lines) + "\n"
