"""Steps in containers: each runs in the image that the compiled file names, as it would on a cluster.

kfp.local's own DockerRunner reports some fast failures as success, because it has the engine remove a
container that it still asks for its exit code (kubeflow/pipelines issue 13332). Here the engine's own program
waits for the container, and the container is removed after that.
"""

import os
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from kfp_lifecycle.compiler.errors import ImageError
from kfp_lifecycle.compiler.images.engine import Engine, find_engine
from kfp_lifecycle.compiler.spec import images
from kfp_lifecycle.runner.record import storage_errors

#: The user of our images, for a run that root starts: a step is never root.
NOBODY = 65532

#: Where runs in containers keep MLflow's database: SQLite writes beside it, so the folder is mounted.
STORE = "mlflow-containers"

_PASSED = re.compile(
    r"(MLFLOW|AWS|GOOGLE|STORAGE_EMULATOR|KFP_LIFECYCLE)_\w+|(http|https|no|HTTP|HTTPS|NO)_(proxy|PROXY)"
    r"|OMP_\w+|PYTHONUNBUFFERED|DO_NOT_TRACK|GIT_PYTHON_REFRESH"
)
_LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Containers:
    """How the steps of one run are put into containers.

    Args:
        engine: Docker or Podman.
        working_dir: The steps' working directory, which relative paths in parameters go by.
        writable: Folders that steps write to.
        readable: Files and folders that they read.
        host_network: Whether steps reach servers of this machine under the names that it has for them.
    """

    engine: Engine
    working_dir: Path
    writable: tuple[Path, ...]
    readable: tuple[Path, ...]
    host_network: bool

    def command(self, name: str, image: str, command: Sequence[str], variables: Iterable[str]) -> list[str]:
        """What starts a step in a container and ends with the step's exit code.

        Args:
            name: A name for the container that no other has.
            image: Its image.
            command: The step's own command.
            variables: Names of environment variables that the engine's process has and the step is to have:
                their values stay off the command line.
        """
        found = [self.engine.program, "run", "--name", name, "--pull", "never", "--init=false"]
        # As under the restricted Pod Security Standard, with the read-only root that our images allow.
        found += ["--read-only", "--tmpfs", "/tmp:exec,mode=1777", "--cap-drop", "ALL"]
        found += [
            "--security-opt",
            "no-new-privileges",
            "--user",
            _user(),
            "--workdir",
            str(self.working_dir),
        ]
        if self.engine.name == "podman" and os.getuid():
            found += ["--userns", "keep-id"]
        if self.host_network:
            found += ["--network", "host"]
        for path in self.writable:
            found += ["--volume", f"{path}:{path}"]
        for path in self.readable:
            found += ["--volume", f"{path}:{path}:ro"]
        for variable in variables:
            found += ["--env", variable]
        return [*found, image, *command]

    def remove(self, name: str) -> None:
        """Removes a container, running or not."""
        command = [self.engine.program, "rm", "--force", "--volumes", name]
        subprocess.run(command, capture_output=True, check=False)


def containers(
    engine: str,
    spec: dict[str, Any],
    parameters: Mapping[str, Any],
    environment: Mapping[str, str],
    artifacts: Path,
    writable: Sequence[Path] = (),
) -> Containers:
    """Prepares a run in containers: its images are there, and its folders may be written.

    Args:
        engine: ``docker`` or ``podman``.
        spec: The pipeline spec.
        parameters: The run's parameters: the files that they name are what steps may read.
        environment: What the steps' environment is made from.
        artifacts: Where the steps' outputs go.
        writable: Further folders that steps write to; one that is missing is made, and belongs to their user.

    Raises:
        ImageError: The engine does not answer, or an image is neither here nor in a registry.
        StorageError: A folder cannot be made.
    """
    program = find_engine(engine)
    for image in images(spec):
        if "{{" not in image:
            _have(program, image)
    tracking = environment.get("MLFLOW_TRACKING_URI", "")
    own = [artifacts]
    if tracking.startswith("sqlite:///"):
        own.append(Path(tracking.removeprefix("sqlite:///")).parent)
    for folder in own:
        _make(folder, give=True)
    others = [folder.absolute() for folder in writable]
    for folder in others:
        _make(folder, give=not folder.exists())
    mounted = tuple(dict.fromkeys([*own, *others]))
    named = dict.fromkeys(path for value in parameters.values() for path in _paths(value))
    readable = tuple(path for path in named if not any(path.is_relative_to(folder) for folder in mounted))
    on_this_machine = urlsplit(tracking).hostname in _LOCAL_HOSTS
    return Containers(program, Path.cwd(), mounted, readable, on_this_machine)


def _make(folder: Path, *, give: bool) -> None:
    """Makes a folder where it is missing, and on wish gives it to the user that steps run as."""
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if give and not os.getuid():
            os.chown(folder, NOBODY, NOBODY)


def passed_on(environment: Mapping[str, str]) -> dict[str, str]:
    """Of ``environment`` what a step in a container gets: settings, and no paths of this machine."""
    return {name: value for name, value in environment.items() if _PASSED.fullmatch(name)}


def _paths(value: Any) -> list[Path]:
    """The file or folder that a parameter's value names, if one of that name exists."""
    if not isinstance(value, str) or not value or len(value) > 4096 or "\0" in value or "\n" in value:
        return []
    path = Path(value.removeprefix("file://")).expanduser().absolute()
    try:
        # Not a folder that holds this one: a lone dot or slash is not meant as a path.
        return [path] if path.exists() and not Path.cwd().is_relative_to(path) else []
    except OSError:  # a text that is too long for a path
        return []


def _have(engine: Engine, image: str) -> None:
    try:
        engine.run(["inspect", "--type", "image", "--format", "{{.Id}}", image], f"find the image {image}")
    except ImageError:
        try:
            engine.run(["pull", image], f"get the image {image}")
        except ImageError as error:
            raise ImageError(
                f"The image {image} is not on this machine, and cannot be pulled: {error.problem}",
                "Build it: kfp-lifecycle images build. Or correct the name or digest it is compiled with.",
            ) from error


def _user() -> str:
    return f"{os.getuid()}:{os.getgid()}" if os.getuid() else f"{NOBODY}:{NOBODY}"
