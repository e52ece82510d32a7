"""The container engine: Docker, Podman or Buildah, by its command line."""

import os
import re
import shutil
import subprocess
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from kfp_lifecycle.compiler.errors import ImageError
from kfp_lifecycle.components.shared.errors import did_you_mean, redact

#: Takes each line that the engine prints.
Output = Callable[[str], None]

ENGINES = ("docker", "podman", "buildah")

_TAIL = 40

#: What an engine says (in lower case), and what mends it.
_KNOWN = (
    (r"cannot connect to the docker daemon|is the docker daemon running|cannot connect to podman",
     "The container engine is not running", "Start it (systemctl start docker), or set DOCKER_HOST."),
    (r"permission denied while trying to connect", "This user may not use the container engine",
     "Add the user to the group docker, or use podman: --engine podman."),
    (r"no space left on device|disk quota exceeded", "The disk is full",
     "Free space: docker system prune, or move the engine's data-root."),
    (r"unauthorized|authentication required|access denied|access to the resource is denied|403 forbidden",
     "The registry wants a login, or this account may not", "Log in: docker login REGISTRY."),
    (r"manifest unknown|not found: manifest|manifest for .* not found|pull access denied|"
     r"repository does not exist|failed to resolve source metadata|name unknown",
     "An image is not in its registry", "Check its name, tag and digest; the base image is set with --base."),
    (r"server gave http response to https client", "The registry does not speak TLS",
     "Name it under insecure-registries of the engine, or use one with TLS."),
    (r"no such host|connection refused|i/o timeout|network is unreachable|temporary failure in name",
     "A registry or package index cannot be reached", "Check the network, the proxy and its name."),
)  # fmt: skip


@dataclass(frozen=True)
class Engine:
    """A container engine.

    Args:
        name: ``docker``, ``podman`` or ``buildah``.
        program: The path of its program.
    """

    name: str
    program: str

    def run(self, arguments: Sequence[str], doing: str, output: Output | None = None) -> list[str]:
        """Runs the engine and gives the last lines that it printed.

        Args:
            arguments: What follows the program's name.
            doing: For messages, such as ``"build core"``.
            output: Takes each line as it comes.

        Raises:
            ImageError: It failed: says why, and what mends it.
        """
        # Docker before 23 takes the old builder, which knows no secrets, unless it is told.
        environment: Mapping[str, str] = {**os.environ, "DOCKER_BUILDKIT": "1", "BUILDKIT_PROGRESS": "plain"}
        lines: deque[str] = deque(maxlen=_TAIL)
        with subprocess.Popen(
            [self.program, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=environment,
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                lines.append(line.rstrip())
                if output is not None:
                    output(line.rstrip())
        if process.returncode:
            raise failure(self, doing, list(lines))
        return list(lines)


def find_engine(name: str = "") -> Engine:
    """The engine of a name, else the first of Docker, Podman and Buildah that is installed and answers.

    Raises:
        ImageError: There is none, or it does not answer.
    """
    if name and name not in ENGINES:
        raise ImageError(f"There is no container engine {name!r}.", did_you_mean(name, ENGINES))
    there = [Engine(n, program) for n in ([name] if name else ENGINES) if (program := shutil.which(n))]
    if not there:
        raise ImageError(
            f"{name or 'No container engine (docker, podman, buildah)'} is not installed.",
            "Install one: apt-get install docker.io, or podman.",
        )
    problems = []
    for engine in there:
        try:
            engine.run(["info"], "be asked how it is")
            return engine
        except ImageError as error:
            problems.append(error)
    raise problems[0]


def failure(engine: Engine, doing: str, lines: Sequence[str]) -> ImageError:
    """The error that an engine's last lines tell of."""
    text = "\n".join(lines)
    said = _telling(lines)
    for pattern, problem, fix in _KNOWN:
        if re.search(pattern, text.lower()):
            return ImageError(f"{engine.name} could not {doing}. {problem}: {redact(said)[:300]}", fix)
    return ImageError(f"{engine.name} could not {doing}: {redact(said)[:500]}", "Read what it printed above.")


def _telling(lines: Sequence[str]) -> str:
    """The line that says most of why: BuildKit repeats the whole command after it, over several lines."""
    lines = [line for line in lines if line.strip() and not re.match(r"-+$| > |executor failed", line)]
    errors = [line for line in lines if re.search(r"\berror\b(?!: executor failed)", line, re.IGNORECASE)]
    return (errors or lines or ["no word"])[-1].strip()
