"""What an operator asks of the runs on a server: which there are, how one stands, to stop or retry it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from kfp_lifecycle.components.shared.errors import LifecycleError, did_you_mean
from kfp_lifecycle.runner.cluster.errors import NotFoundError, RefusedError
from kfp_lifecycle.runner.cluster.experiments import find_experiment
from kfp_lifecycle.runner.cluster.schedules import find_schedules
from kfp_lifecycle.runner.cluster.watch import no_run

if TYPE_CHECKING:
    from kfp_lifecycle.runner.cluster.connect import Server

STATES = ("PENDING", "RUNNING", "SUCCEEDED", "SKIPPED", "FAILED", "CANCELING", "CANCELED", "PAUSED")
FINISHED = ("SUCCEEDED", "SKIPPED", "FAILED", "CANCELED")
#: What can be tried again; Kubernetes calls a run that was stopped a failed one.
_RETRIED = ("FAILED", "CANCELED")
_PAGE = 100
#: Of a UUID.
_ID_LENGTH = 36
#: Among so many of the newest runs the beginning of an id is looked for.
_MOST_SEARCHED = 200


class RunError(LifecycleError):
    """A run is not in a state for what is asked of it, or what is asked of runs cannot be read."""


@dataclass(frozen=True)
class Listed:
    """A run in a list.

    Args:
        run_id: Its id.
        name: Its name.
        state: As the API names it.
        created: When it was started.
        finished: When it ended; None while it goes on.
        experiment: Its experiment's name.
        pipeline: Its pipeline's name; empty where that is not kept on the server.
        version: The version's name, likewise.
        recurring_run_id: The recurring run that started it; empty for none.
        error: Why it failed, as far as the server says.
    """

    run_id: str
    name: str
    state: str
    created: datetime
    finished: datetime | None
    experiment: str
    pipeline: str
    version: str
    recurring_run_id: str
    error: str

    def seconds(self, now: datetime) -> float:
        """How long it took, or has taken so far."""
        return max(0.0, ((self.finished or now) - self.created).total_seconds())


@dataclass(frozen=True)
class Filter:
    """Which runs.

    Args:
        states: Only in one of these; empty for any.
        experiment: Only in this experiment.
        schedule: Only of this schedule, by its name or id.
        since: Only those started at this time or later.
        until: Only those started before this time.
        archived: Those that are archived, instead of those that are not.
    """

    states: tuple[str, ...] = ()
    experiment: str = ""
    schedule: str = ""
    since: datetime | None = None
    until: datetime | None = None
    archived: bool = False

    def predicates(self) -> str:
        """What of it the server itself can filter by."""
        found: list[dict[str, Any]] = [
            {
                "key": "storage_state",
                "operation": "EQUALS" if self.archived else "NOT_EQUALS",
                "stringValue": "ARCHIVED",
            }
        ]
        if self.states:
            found.append({"key": "state", "operation": "IN", "stringValues": {"values": list(self.states)}})
        for time, operation in ((self.since, "GREATER_THAN_EQUALS"), (self.until, "LESS_THAN")):
            if time is not None:
                found.append({"key": "created_at", "operation": operation, "timestampValue": _stamp(time)})
        return json.dumps({"predicates": found})


def parse_state(text: str) -> str:
    """A state as the API names it.

    Raises:
        RunError: There is none of that name.
    """
    cleaned = text.strip().upper().replace("CANCELLED", "CANCELED").replace("CANCELLING", "CANCELING")
    if cleaned not in STATES:
        raise RunError(f"{text!r} is no state of a run.", did_you_mean(cleaned, STATES))
    return cleaned


def list_runs(server: "Server", wanted: Filter | None = None, limit: int = 20) -> list[Listed]:
    """The newest runs that fit, newest first.

    Raises:
        RunError: There is no such experiment.
        ScheduleError: There is no such schedule.
        ServerError: The server refuses, or does not answer.
    """
    wanted, names = wanted or Filter(), Names(server)
    schedules = {one.id for one in find_schedules(server, wanted.schedule)} if wanted.schedule else set[str]()
    found: list[Listed] = []
    for run in _pages(server, wanted, limit if not schedules else _PAGE):
        if schedules and run.recurring_run_id not in schedules:
            continue
        if len(found) == limit:
            break
        found.append(_listed(run, names))
    return found


def _pages(server: "Server", wanted: Filter, size: int) -> Iterator[Any]:
    experiment_id, token = None, ""
    if wanted.experiment:
        experiment = find_experiment(server, wanted.experiment)
        if experiment is None:
            raise RunError(f"There is no experiment {wanted.experiment!r}.", "Correct --experiment.")
        experiment_id = experiment.experiment_id
    while True:
        answer = server.call(
            server.client.runs.run_service_list_runs,
            namespace=server.namespace or None,
            experiment_id=experiment_id,
            page_token=token,
            page_size=min(size, _PAGE),
            sort_by="created_at desc",
            filter=wanted.predicates(),
            what="list runs",
        )
        yield from answer.runs or ()
        token = answer.next_page_token or ""
        if not token:
            return


def _listed(run: Any, names: "Names") -> Listed:
    reference = run.pipeline_version_reference
    pipeline, version = (
        names.version(reference.pipeline_id, reference.pipeline_version_id) if reference else ("", "")
    )
    if not reference and isinstance(run.pipeline_spec, dict):
        spec = run.pipeline_spec.get("pipeline_spec", run.pipeline_spec)
        pipeline = str(spec.get("pipelineInfo", {}).get("name", ""))
    return Listed(
        run_id=run.run_id,
        name=run.display_name or "",
        state=run.state or "PENDING",
        created=run.created_at,
        # Protobuf's zero stands for none.
        finished=run.finished_at if run.finished_at and run.finished_at.year > 1971 else None,
        experiment=names.experiment(run.experiment_id or ""),
        pipeline=pipeline,
        version=version,
        recurring_run_id=run.recurring_run_id or "",
        error=" ".join(((run.error.message if run.error else "") or "").split()),
    )


class Names:
    """Names of what runs and schedules refer to by id, each asked for once."""

    def __init__(self, server: "Server") -> None:
        self._server = server
        self._known: dict[tuple[str, ...], str] = {}

    def experiment(self, id: str) -> str:  # noqa: A002
        """An experiment's name; its id where it is gone."""
        return self._name(self._server.client.experiments.experiment_service_get_experiment, id)

    def version(self, pipeline_id: str, version_id: str | None) -> tuple[str, str]:
        """The names of a pipeline and of its version, which is empty where the newest one is meant."""
        pipelines = self._server.client.pipelines
        pipeline = self._name(pipelines.pipeline_service_get_pipeline, pipeline_id)
        if not version_id:
            return pipeline, ""
        get = pipelines.pipeline_service_get_pipeline_version
        return pipeline, self._name(get, pipeline_id, version_id)

    def _name(self, get: Any, *ids: str) -> str:
        if not ids[-1]:
            return ""
        if ids not in self._known:
            try:
                found = self._server.call(get, *ids, what="look up a name")
                self._known[ids] = str(found.display_name or ids[-1])
            except NotFoundError:
                self._known[ids] = ids[-1]
        return self._known[ids]


def get_run(server: "Server", run_id: str) -> Any:
    """A run as the API gives it.

    Raises:
        NotFoundError: There is no such run.
        ServerError: The server refuses, or does not answer.
    """
    try:
        return server.call(server.client.get_run, run_id, what=f"look at run {run_id}")
    except NotFoundError:
        raise no_run(server, run_id) from None


def terminate(server: "Server", run_id: str) -> str:
    """Stops a run; one that is over stays as it is.

    Returns:
        What has come of it, as a sentence.

    Raises:
        NotFoundError: There is no such run.
        ServerError: The server refuses, or does not answer.
    """
    state = get_run(server, run_id).state
    if state in FINISHED:
        return f"Run {run_id} is over already: {state}."
    if state == "CANCELING":
        return f"Run {run_id} is being stopped already."
    try:
        server.call(server.client.runs.run_service_terminate_run, run_id, what=f"stop run {run_id}")
    except RefusedError:
        # It ended just now, or an answer was lost after the server had done it.
        if get_run(server, run_id).state not in (*FINISHED, "CANCELING"):
            raise
    return f"Run {run_id} is being stopped."


def retry(server: "Server", run_id: str) -> str:
    """Runs the failed tasks of a run again; those that have succeeded are kept.

    Returns:
        What has come of it, as a sentence.

    Raises:
        RunError: It has succeeded, is archived, or is being stopped.
        NotFoundError: There is no such run.
        ServerError: The server refuses, or does not answer.
    """
    before = get_run(server, run_id)
    _check_retry(before)
    if before.state not in _RETRIED:
        return f"Run {run_id} goes on already: {before.state}."

    def retried() -> bool | None:
        found = get_run(server, run_id)
        return True if found.state != before.state or _moves(found) > _moves(before) else None

    def ask() -> bool:
        server.client.runs.run_service_retry_run(run_id)
        return True

    server.create(retried, ask, what=f"retry run {run_id}")
    return f"Run {run_id} goes on with what had failed."


def _check_retry(run: Any) -> None:
    if run.storage_state == "ARCHIVED":
        raise RunError(f"Run {run.run_id} is archived.", "Restore it in the user interface first.")
    if run.state in ("SUCCEEDED", "SKIPPED"):
        raise RunError(
            f"Run {run.run_id} has not failed: {run.state}.", "Start a new one: kfp-lifecycle submit."
        )
    if run.state == "CANCELING":
        raise RunError(f"Run {run.run_id} is being stopped.", "Retry it once it has ended.")


def _moves(run: Any) -> int:
    """How often the run's state has changed."""
    return len(run.state_history or ())


def _stamp(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def find_run(server: "Server", text: str) -> str:
    """The id of a run from what a user types: the id, its beginning, or a link to the run.

    Raises:
        RunError: No run, or more than one, of the newest begins so.
    """
    text = text.strip().rstrip("/").rpartition("/")[2]
    if len(text) >= _ID_LENGTH:
        return text
    newest = islice(_pages(server, Filter(), _PAGE), _MOST_SEARCHED)
    found = [str(run.run_id) for run in newest if text and run.run_id.startswith(text)]
    if len(found) == 1:
        return found[0]
    many = f"{len(found)} of the newest runs begin" if found else "None of the newest runs begins"
    raise RunError(f"{many} with {text!r}.", f"See them: kfp-lifecycle runs list{server.options}.")
