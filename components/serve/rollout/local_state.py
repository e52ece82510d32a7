"""Which servers run on this machine: a small file for each model, by which a later run finds its server.

The files are in ``~/.local/state/kfp-lifecycle/serving`` (``KFP_LIFECYCLE_STATE`` names another folder). They
hold the token that a server takes commands with, and are readable by their owner alone.
"""

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from kfp_lifecycle.components.shared.errors import StorageError
from kfp_lifecycle.components.shared.outputs import storage_problem, whole_file

_VARIABLE = "KFP_LIFECYCLE_STATE"


@dataclass(frozen=True)
class Running:
    """A server on this machine, as it was when its state was last written.

    Args:
        name: The model's name.
        pid: The server's process.
        started: When that process was started, in seconds since 1970: another process may get its number.
        port: Where it listens on loopback.
        token: What it takes commands with.
        version: Its stable version.
        uri: Where it got that from.
        arguments: What else it was started with.
        log: File with what it has logged.
    """

    name: str
    pid: int
    started: float
    port: int
    token: str
    version: str
    uri: str
    arguments: tuple[str, ...]
    log: str

    @property
    def url(self) -> str:
        """Where it is reached."""
        return f"http://127.0.0.1:{self.port}"


class StateFile:
    """The state of one model's server.

    Args:
        name: The model's name.
        registry: Where the model is registered: models of one name in two registries are two models. Empty
            for one that is in none.
    """

    def __init__(self, name: str, registry: str = "") -> None:
        plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name)[:60]
        mark = hashlib.sha256(f"{registry}\0{name}".encode()).hexdigest()[:8]
        self._stem = state_folder() / f"{plain}-{mark}"

    @property
    def lock(self) -> Path:
        """The file that is locked by a rollout."""
        return self._stem.with_name(f"{self._stem.name}.lock")

    @property
    def log(self) -> Path:
        """Where the server logs to."""
        return self._stem.with_name(f"{self._stem.name}.log")

    @property
    def path(self) -> Path:
        """The state itself."""
        return self._stem.with_name(f"{self._stem.name}.json")

    def read(self) -> Running | None:
        """What is said of the server; None where nothing is, or it cannot be read."""
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
            values = {field.name: found[field.name] for field in fields(Running)}
            return Running(**{**values, "arguments": tuple(values["arguments"])})
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, running: Running) -> None:
        """Says where the server is now. Raises ``StorageError``."""
        with whole_file(self.path) as partial:
            partial.touch(0o600)
            partial.write_text(json.dumps(asdict(running), indent=1) + "\n", encoding="utf-8")

    def forget(self) -> None:
        """Says that there is no server."""
        self.path.unlink(missing_ok=True)


def state_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """The folder of the states; it is made where it is missing.

    Raises:
        StorageError: It cannot be made.
    """
    given = environment.get(_VARIABLE)
    base = environment.get("XDG_STATE_HOME") or "~/.local/state"
    folder = Path(given).expanduser() if given else Path(base).expanduser() / "kfp-lifecycle" / "serving"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return folder
    except (OSError, RuntimeError) as error:  # no home, as in a container
        if given:
            raise StorageError(
                f"The folder {folder} cannot be made: {storage_problem(error) or error}.",
                f"Let {_VARIABLE} name another.",
            ) from error
    folder = Path(tempfile.gettempdir()) / f"kfp-lifecycle-{os.getuid()}" / "serving"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder
