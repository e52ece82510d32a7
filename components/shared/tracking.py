"""MLflow tracking: which store, how it is reached, and a run to log into.

The default store is one SQLite file in the working directory, so that nothing need be installed or
started; a server is named by ``MLFLOW_TRACKING_URI``. Where Kubeflow's MLflow plugin has opened a run
(``MLFLOW_RUN_ID``), that run is used and left open for the plugin to end. Where ``MLFLOW_PARENT_RUN_ID``
names one, new runs are nested in it.
"""

import fcntl
import logging
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import mlflow
from mlflow.entities import Experiment, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, RESOURCE_DOES_NOT_EXIST, ErrorCode
from mlflow.tracking import MlflowClient
from requests.exceptions import RequestException

from kfp_lifecycle.components.shared.errors import TrackingError, redact

log = logging.getLogger(__name__)

URI = "MLFLOW_TRACKING_URI"
RUN_ID = "MLFLOW_RUN_ID"
EXPERIMENT_ID = "MLFLOW_EXPERIMENT_ID"
#: A run that new ones are nested in: trials of a search that Kubeflow starts by themselves.
PARENT_RUN_ID = "MLFLOW_PARENT_RUN_ID"

#: MLflow's own retries of a request, with exponential backoff: 0, 2, 4 and 8 seconds of waiting, where
#: MLflow's defaults wait four minutes. They are defaults: what the environment says, holds.
RETRIES = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "4", "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1"}
#: Seconds that one attempt to reach a server may take while connecting (MLflow's default is 120).
REACH_TIMEOUT = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}


def tracking_uri() -> str:
    """The tracking store: ``MLFLOW_TRACKING_URI``, else ``mlflow.db`` in the working directory.

    Raises:
        TrackingError: In a cluster pod with none configured: the file would vanish with the pod.
    """
    if uri := os.environ.get(URI, "").strip():
        return uri
    if os.environ.get("KUBERNETES_SERVICE_HOST"):
        raise TrackingError(
            f"No MLflow server is configured ({URI} is not set), and in a pod the default SQLite file would "
            "vanish with the pod.",
            f"Set {URI} in the profile that the pipeline is compiled with, such as http://mlflow.mlflow:5000.",
        )
    return f"sqlite:///{Path.cwd() / 'mlflow.db'}"


def connect() -> MlflowClient:
    """A client of the tracking store, after the store has answered.

    Sets the URI for all of MLflow in this process, so that an old ``./mlruns`` cannot flip it. An
    unreachable server is retried as the environment's ``MLFLOW_HTTP_REQUEST_*`` say (see :data:`RETRIES`).

    Raises:
        TrackingError: No store is configured where one is needed, or it does not answer.
    """
    uri = tracking_uri()
    for name, value in RETRIES.items():
        os.environ.setdefault(name, value)
    for name in ("alembic", "mlflow.store.db.utils"):  # a line for each of fifty migrations
        logging.getLogger(name).setLevel(logging.WARNING)
    file = _sqlite_file(uri)
    try:
        with _unless_set(REACH_TIMEOUT) if file is None else _alone(file):
            mlflow.set_tracking_uri(uri)
            client = MlflowClient(uri)  # makes a database's tables
            client.search_experiments(max_results=1)
    except Exception as error:
        raise _declared(error) from error
    return client


@contextmanager
def tracking_errors() -> Iterator[None]:
    """Turns what MLflow and the way to its server raise inside the block into a ``TrackingError``."""
    try:
        yield
    except (MlflowException, RequestException) as error:
        raise _declared(error) from error


def _declared(error: BaseException) -> TrackingError:
    uri = redact(tracking_uri())
    if uri.startswith("http"):
        fix = f"Check that the server runs and answers here, and its credentials, or correct {URI}."
    else:
        fix = f"Check the database, or set {URI}."
    return TrackingError(f"MLflow at {uri} failed: {_said(error)}.", fix)


def _said(error: BaseException) -> str:
    """What went wrong, in a line: of a failed request the innermost cause, which the outer ones only wrap."""
    if "failed with exception" in str(error):
        while (inner := error.__cause__ or error.__context__) is not None:
            error = inner
    said = redact(str(error)).strip().splitlines() or [type(error).__name__]
    return said[0][:400].rstrip(".")


@contextmanager
def tracked_run(experiment: str, run_name: str = "", tags: Mapping[str, str] | None = None) -> Iterator[str]:
    """An MLflow run for the block: a new one, or the one that Kubeflow's MLflow plugin has opened.

    A new run ends as FINISHED, or as FAILED when the block raises. A joined run (``MLFLOW_RUN_ID``) is
    neither named nor ended, because the plugin that opened it does both.

    Args:
        experiment: Name of the experiment for a new run; made where it is missing.
        run_name: Name of a new run; empty lets MLflow choose.
        tags: Tags to set on the run, new or joined.

    Yields:
        The run's id.

    Raises:
        TrackingError: The store fails or cannot be reached, or there is no such run or experiment.
    """
    client = connect()
    joined = os.environ.get(RUN_ID, "").strip()
    with tracking_errors():
        run = _join(client, joined) if joined else _open(client, experiment, run_name)
        client.log_batch(run.info.run_id, tags=[RunTag(key, value) for key, value in (tags or {}).items()])
    try:
        with tracking_errors():
            yield run.info.run_id
    except BaseException:
        if not joined:
            _end(client, run.info.run_id, "FAILED")
        raise
    if not joined:
        with tracking_errors():
            client.set_terminated(run.info.run_id, "FINISHED")


def _join(client: MlflowClient, run_id: str) -> Run:
    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code != ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
            raise
        raise TrackingError(
            f"{RUN_ID} names the run {run_id!r}, which MLflow at {redact(tracking_uri())} does not have.",
            f"Unset {RUN_ID}, or correct {URI}.",
        ) from error
    log.info("logging into the MLflow run %s that %s names", run_id, RUN_ID)
    return run


def _open(client: MlflowClient, experiment: str, run_name: str) -> Run:
    if parent := os.environ.get(PARENT_RUN_ID, "").strip():
        experiment_id = client.get_run(parent).info.experiment_id
        tags = {"mlflow.parentRunId": parent}
        return client.create_run(experiment_id, run_name=run_name or None, tags=tags)
    experiment_id = os.environ.get(EXPERIMENT_ID, "").strip() or _experiment_id(client, experiment)
    return client.create_run(experiment_id, run_name=run_name or None)


def _experiment_id(client: MlflowClient, name: str) -> str:
    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name, artifact_location=_artifact_location(tracking_uri())))
        except MlflowException as error:  # another process has made it meanwhile
            if error.error_code != ErrorCode.Name(RESOURCE_ALREADY_EXISTS):
                raise
            found = client.get_experiment_by_name(name)
    return _active(found, name)


def _active(experiment: Experiment | None, name: str) -> str:
    if experiment is None or experiment.lifecycle_stage != "active":
        raise TrackingError(
            f"The MLflow experiment {name!r} is deleted.", "Restore it in MLflow, or name another experiment."
        )
    return str(experiment.experiment_id)


def _artifact_location(uri: str) -> str | None:
    """Beside the database for a SQLite store, whatever the working directory; a server's own choice else."""
    file = _sqlite_file(uri)
    return None if file is None else (file.parent / "mlartifacts").as_uri()


def _end(client: MlflowClient, run_id: str, status: str) -> None:
    try:
        client.set_terminated(run_id, status)
    except Exception as error:  # the block's own error is the one to be read
        log.warning("the MLflow run %s could not be marked %s: %s", run_id, status, redact(str(error)))


def _sqlite_file(uri: str) -> Path | None:
    return Path(uri.removeprefix("sqlite:///")).absolute() if uri.startswith("sqlite:///") else None


@contextmanager
def _alone(database: Path) -> Iterator[None]:
    """Keeps other processes out while MLflow makes its tables, which two at once would break.

    Opens the file first: on a damaged or unreadable one MLflow itself would go on retrying for minutes.
    """
    database.parent.mkdir(parents=True, exist_ok=True)
    with database.with_name(f".{database.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with closing(sqlite3.connect(database)) as connection:
            connection.execute("PRAGMA schema_version")
        yield


@contextmanager
def _unless_set(defaults: Mapping[str, str]) -> Iterator[None]:
    """Environment variables for the block, where the environment does not say otherwise."""
    new = {name: value for name, value in defaults.items() if name not in os.environ}
    os.environ.update(new)
    try:
        yield
    finally:
        for name in new:
            os.environ.pop(name, None)
