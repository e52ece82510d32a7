"""From a model's URI to its files here: folders, buckets, the registry."""

import logging
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from kfp_lifecycle.components.shared.errors import (
    LifecycleError,
    RegistryError,
    ServingError,
    StorageError,
    TrackingError,
    redact,
)
from kfp_lifecycle.components.shared.storage import fetch

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Seconds between attempts to reach what does not answer: doubled each time, up to the second.
_FIRST_WAIT_S, _LONGEST_WAIT_S = 1.0, 30.0
#: What MLflow answers where asking again gives nothing else.
_FINAL_CODES = {
    "RESOURCE_DOES_NOT_EXIST",
    "INVALID_PARAMETER_VALUE",
    "PERMISSION_DENIED",
    "UNAUTHENTICATED",
    "NOT_FOUND",
}
REGISTRY = "models:/"


@dataclass(frozen=True)
class Source:
    """Where a model is.

    Args:
        uri: Fixed: of a registered model with its version's number, never an alias.
        name: What it is called there: the registered name, or the folder's.
        version: The registry's version; empty for a folder or bucket.
    """

    uri: str
    name: str
    version: str = ""


def resolve(uri: str) -> Source:
    """What a URI names now.

    Args:
        uri: A folder, ``file://``, ``gs://``, ``s3://``, ``minio://``, ``models:/name/version`` or
            ``models:/name@alias``.

    Raises:
        RegistryError: There is no such model, version or alias.
        TrackingError: The registry fails or cannot be reached.
    """
    if not uri.startswith(REGISTRY):
        return Source(uri, uri.partition("?")[0].rstrip("/").rpartition("/")[2] or "model")
    rest = uri.removeprefix(REGISTRY).strip("/")
    name, at, alias = rest.partition("@")
    version = ""
    if not at:
        name, _, version = rest.partition("/")
    if not name or not (alias if at else version):
        raise RegistryError(f"{uri} names no version.", "Write models:/NAME/VERSION or models:/NAME@ALIAS.")
    return _registered(name, alias, version)


def _registered(name: str, alias: str, version: str) -> Source:
    from mlflow.exceptions import MlflowException

    from kfp_lifecycle.components.shared.tracking import connect, tracking_errors

    client = connect()
    with tracking_errors():
        try:
            found = (
                client.get_model_version_by_alias(name, alias)
                if alias
                else client.get_model_version(name, version)
            )
        except MlflowException as error:
            if error.error_code not in _FINAL_CODES:
                raise
            raise RegistryError(
                f"The registry has no {name}{'@' + alias if alias else '/' + version}: {error.message}",
                "Check the name, the version and the alias.",
            ) from error
    return Source(f"{REGISTRY}{name}/{found.version}", name, str(found.version))


def bring(source: Source, place: Path) -> Path:
    """The model's folder here: downloaded to ``place``, or where it is.

    Raises:
        StorageError: It is not there, or cannot be read.
        ServingError: What is there is no model, or not whole.
        TrackingError: The registry fails or cannot be reached.
    """
    registered = source.uri.startswith(REGISTRY)
    folder = _download(source.uri, place) if registered else fetch(source.uri, place)
    if not (folder / "MLmodel").is_file():
        raise ServingError(
            f"{redact(source.uri)} is no model, or not whole: it has no file MLmodel.",
            "Name the folder that holds MLmodel, or wait until all of it is uploaded.",
        )
    return folder


def _download(uri: str, place: Path) -> Path:
    import mlflow.artifacts

    from kfp_lifecycle.components.shared.tracking import connect, tracking_errors

    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # a log is no terminal
    connect()
    place.mkdir(parents=True, exist_ok=True)
    try:
        with tracking_errors():
            return Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(place)))
    except LifecycleError:
        raise
    except Exception as error:  # each artifact store has errors of its own
        said = redact(" ".join(str(error).split()))[:300] or type(error).__name__
        raise StorageError(
            f"The files of {uri} cannot be read: {said}.", "Check the registry's artifact store."
        ) from error


def patiently(attempt: Callable[[], T], within_s: float, wait: Callable[[float], Any] = time.sleep) -> T:
    """What ``attempt`` gives, tried again while a registry or bucket does not answer.

    Args:
        attempt: Raises ``TrackingError`` or ``StorageError`` where it failed.
        within_s: For how many seconds after the first failure; then the last error is raised.
        wait: Waits for some seconds.
    """
    deadline, pause = 0.0, _FIRST_WAIT_S
    while True:
        try:
            return attempt()
        except (TrackingError, StorageError) as error:
            deadline = deadline or time.monotonic() + within_s
            left = deadline - time.monotonic()
            if left <= 0 or _is_final(error):
                raise
            # Not all servers of a cluster at the same moment.
            seconds = min(pause, left) * random.uniform(0.75, 1.0)
            log.warning("%s Next attempt in %.0f s.", redact(str(error)), seconds)
            wait(seconds)
            pause = min(2 * pause, _LONGEST_WAIT_S)


def _is_final(error: LifecycleError) -> bool:
    """Whether asking again gives nothing else: it is not there, or not for this account."""
    cause: Any = error.__cause__
    if isinstance(cause, (ImportError, FileNotFoundError)):
        return True
    if getattr(cause, "error_code", "") in _FINAL_CODES:
        return True
    status = getattr(cause, "code", None) or getattr(cause, "response", None)
    if isinstance(status, dict):
        status = status.get("ResponseMetadata", {}).get("HTTPStatusCode")
    if isinstance(status, int):
        return 400 <= status < 500 and status not in (408, 429)
    return isinstance(error, StorageError) and cause is None
