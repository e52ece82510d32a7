"""The locked requirements of an image, every file by its hash, from the extras of pyproject.toml."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

from kfp_lifecycle.compiler.errors import CompileError
from kfp_lifecycle.compiler.images.definitions import ImageSet
from kfp_lifecycle.components.shared.errors import redact

FILE, SOURCES = "requirements.txt", "sources.txt"

#: Published without wheels: made into wheels by the tools below, and kept in a file of their own.
_SOURCE_ONLY = ("kfp-server-api",)

#: What images run on. Wheels for it are what is locked.
PLATFORM = "x86_64-manylinux_2_28"

#: In every image: process 1, which passes signals on. KFP itself goes in without its dependencies: a step
#: needs only its executor, and its exact pins would fight with those of the extras.
_ALWAYS = ("dumb-init>=1.2.5,<2",)
_WITHOUT_DEPENDENCIES = ("kfp",)

#: In no image: these work while one is built. The bill of materials comes from cyclonedx-py.
TOOLS = "tools"
_TOOLS = ("wheel", "cyclonedx-bom>=7,<8")

_HEADER = """\
# Locked by `kfp-lifecycle images requirements` from {extras} of pyproject.toml. Do not edit.
"""


def lock(images: ImageSet, name: str) -> dict[str, str]:
    """The files of ``images/NAME``, by their names: ``requirements.txt`` and, where needed, ``sources.txt``.

    Versions are those of constraints.txt where it has one.

    Raises:
        CompileError: uv is not installed, an extra does not exist, or nothing fits together.
    """
    project = tomllib.loads((images.root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    definition = images.images[name]
    wanted = [*_ALWAYS, *_extras(project["optional-dependencies"], definition.extras, name)]
    if definition.command:
        wanted += project["dependencies"]
    alone = [text for text in project["dependencies"] if text.partition("==")[0] in _WITHOUT_DEPENDENCIES]
    options = _cpu_build() if definition.torch == "cpu" else []
    locked = _compile(images, wanted, options)
    if not definition.command:
        locked += _compile(images, alone, ["--no-deps"])
    if definition.torch == "cpu" and "+cpu" not in locked:
        raise CompileError(
            f"PyTorch's build for CPUs, which the image {name!r} is to hold, was not found.",
            "Put its wheel into the folder that PIP_FIND_LINKS names, or make PyTorch's index reachable.",
        )
    parts = [*["the dependencies"] * definition.command, *(f"the extra {e}" for e in definition.extras)]
    header = _HEADER.format(extras=", ".join(parts))
    sources = "".join(block for block in _blocks(locked) if block.startswith(_SOURCE_ONLY))
    others = "".join(block for block in _blocks(locked) if not block.startswith(_SOURCE_ONLY))
    return {FILE: header + others, **({SOURCES: header + sources} if sources else {})}


def _blocks(locked: str) -> list[str]:
    """Each requirement with its hashes."""
    return re.findall(r"^\S.*\n(?:[ ].*\n)*", locked, re.MULTILINE)


def lock_tools(images: ImageSet) -> str:
    """The content of ``images/tools/requirements.txt``: what makes the wheel and the bill of materials."""
    wanted = tomllib.loads((images.root / "pyproject.toml").read_text(encoding="utf-8"))["build-system"][
        "requires"
    ]
    return _HEADER.format(extras="build-system.requires") + _compile(images, [*wanted, *_TOOLS], [])


def _extras(there: dict[str, list[str]], wanted: Iterable[str], image: str) -> list[str]:
    for extra in wanted:
        if extra not in there:
            raise CompileError(
                f"The image {image!r} is to hold the extra {extra!r}, which pyproject.toml does not have.",
                f"It has {', '.join(sorted(there))}.",
            )
    return [text for extra in wanted for text in there[extra]]


def wheels() -> Path | None:
    """The folder of wheels that pip is told of here, with PyTorch's build for CPUs, say; None without one."""
    folder = os.environ.get("UV_FIND_LINKS") or os.environ.get("PIP_FIND_LINKS", "")
    return Path(folder) if folder and Path(folder).is_dir() else None


def _cpu_build() -> list[str]:
    """Options that lead to PyTorch without CUDA: pip's folder of wheels, else PyTorch's own index."""
    folder = wheels()
    return ["--find-links", str(folder)] if folder else ["--torch-backend", "cpu"]


def _compile(images: ImageSet, requirements: list[str], options: list[str]) -> str:
    beside = Path(sys.executable).with_name("uv")
    uv = str(beside) if beside.is_file() else shutil.which("uv")
    if uv is None:
        raise CompileError("Locking requirements needs uv, which is not installed.", "pip install uv")
    command = [uv, "pip", "compile", "-", "--quiet", "--generate-hashes", "--no-header", "--no-annotate"]
    command += ["--no-emit-index-url", "--no-emit-find-links", "--only-binary", ":all:", "--upgrade"]
    command += [option for name in _SOURCE_ONLY for option in ("--no-binary", name)]
    command += ["--python-version", images.python, "--python-platform", PLATFORM]
    command += ["--constraint", str(images.root / "constraints.txt"), *options]
    environment = {**os.environ, "UV_FIND_LINKS": ""}
    done = subprocess.run(
        command, input="\n".join(requirements), env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise CompileError(
            f"The requirements do not fit together: {redact(done.stderr.strip())[-1000:]}",
            "Loosen the extras of pyproject.toml, or make constraints.txt anew (make lock).",
        )
    return done.stdout
