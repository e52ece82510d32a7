"""A model served by hand on this machine: what ``kfp-lifecycle serve`` does."""

import json
import logging
import shlex
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kfp_lifecycle.components.serve.rollout import local_process
from kfp_lifecycle.components.serve.rollout.local import LocalTarget
from kfp_lifecycle.components.serve.rollout.local_state import Running, StateFile
from kfp_lifecycle.components.serve.rollout.release import find_release
from kfp_lifecycle.components.serve.rollout.targets import state_file
from kfp_lifecycle.components.serve.server.sources import REGISTRY
from kfp_lifecycle.components.shared.errors import ServingError
from kfp_lifecycle.components.shared.model_example import Example

log = logging.getLogger(__name__)

#: The port that is tried first where none is asked for.
PORT = 8080
#: Seconds between two looks at an alias for a new version.
WATCH_S = 10
_READY_S = 300.0


@dataclass(frozen=True)
class HandServed:
    """A server, and how to ask it.

    Args:
        running: The server.
        state: Where its state is kept.
        curl: A line for a shell that asks it for a prediction; empty where the model has no example.
        was_there: Whether it ran before.
    """

    running: Running
    state: StateFile
    curl: str
    was_there: bool


def as_uri(model: str) -> str:
    """The URI of what a user names: a folder, a URI, ``churn``, ``churn@alias`` or ``churn/3``.

    A name alone is the registered model's champion; a folder that is there wins over a name.
    """
    if "://" in model or model.startswith(REGISTRY):
        return model
    if Path(model).exists():
        return str(Path(model).absolute())
    return f"{REGISTRY}{model}" if "@" in model or "/" in model else f"{REGISTRY}{model}@champion"


def serve_by_hand(
    model: str, *, name: str = "", port: int = 0, arguments: Sequence[str] = (), detach: bool = False
) -> HandServed:
    """Starts a server of the model and waits until it is ready; one that runs already is only found.

    A model named by an alias is looked at every :data:`WATCH_S` seconds for a new version.

    Args:
        model: As :func:`as_uri` takes it.
        name: The name to serve it under; empty is the registered name, else the folder's.
        port: Its port on loopback; 0 is :data:`PORT`, or a free one where that is taken.
        arguments: Further flags of the server.
        detach: Whether it goes on when this process ends; its log then goes to a file.

    Raises:
        ServingError: It is no model, does not start, or runs at another port than is asked for.
        RegistryError: There is no such model, version or alias.
        StorageError: Its files cannot be read.
        TrackingError: The registry fails or cannot be reached.
    """
    uri = as_uri(model)
    with tempfile.TemporaryDirectory(prefix="serve-") as place:
        release, example = find_release(uri, name, Path(place) / "model")
    state = state_file(release)
    with (target := LocalTarget(state, wait_s=0)).lock(f"kfp-lifecycle serve {model}"):
        if (running := target.find()) is not None:
            _check_port(running, port)
            return HandServed(running, state, curl_line(running, example), was_there=True)
        if "@" in uri.rpartition("/")[2]:
            release, arguments = replace(release, uri=uri), ["--watch", str(WATCH_S), *arguments]
        port = port or _port()
        running = local_process.start(state, release, port, arguments, log_lines=not detach)
        try:
            local_process.wait_until_ready(running, _READY_S)
        except BaseException:
            stop(HandServed(running, state, "", was_there=False))
            raise
    return HandServed(running, state, curl_line(running, example), was_there=False)


def find_served(model: str, name: str = "") -> HandServed | None:
    """The server of a model on this machine; None where there is none. Raises as :func:`serve_by_hand`."""
    with tempfile.TemporaryDirectory(prefix="serve-") as place:
        release, _ = find_release(as_uri(model), name, Path(place) / "model")
    state = state_file(release)
    running = LocalTarget(state).find()
    return None if running is None else HandServed(running, state, "", was_there=True)


def stop(served: HandServed) -> None:
    """Ends a server: what it has begun it answers."""
    local_process.stop(served.running)
    served.state.forget()


def curl_line(running: Running, example: Example) -> str:
    """A line for a shell that asks for the prediction of the first example row."""
    if not example.inputs:
        return ""
    body = json.dumps({"instances": example.inputs[:1]}, ensure_ascii=False, separators=(",", ":"))
    words = ["curl", "-s", f"{running.url}/v1/models/{running.name}:predict"]
    return shlex.join([*words, "-H", "Content-Type: application/json", "-d", body])


def _port() -> int:
    return PORT if local_process.is_free(PORT) else local_process.free_port()


def _check_port(running: Running, port: int) -> None:
    if port and port != running.port:
        raise ServingError(
            f"{running.name} is served at {running.url} already.",
            f"Stop it first: kfp-lifecycle serve {running.name} --stop",
        )
