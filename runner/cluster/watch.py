"""Follows a run on a cluster until it ends."""

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from kfp_lifecycle.runner.cluster.connect import Server
from kfp_lifecycle.runner.cluster.errors import NotFoundError, ServerError
from kfp_lifecycle.runner.cluster.retry import Patience
from kfp_lifecycle.runner.events import Event, EventKind, Observer, Run, State, Step
from kfp_lifecycle.runner.plan import plan

#: Seconds between two looks.
INTERVAL_S = 3.0
#: How long a wait for a run outlasts a server that does not answer: an upgrade takes some minutes.
PATIENCE_S = 1800.0

STATES = {
    "PENDING": State.WAITING,
    "RUNNING": State.RUNNING,
    "SUCCEEDED": State.SUCCEEDED,
    "SKIPPED": State.SKIPPED,
    "FAILED": State.FAILED,
    "CANCELING": State.RUNNING,
    "CANCELED": State.CANCELLED,
    "PAUSED": State.RUNNING,
}
_ENDED = (State.SUCCEEDED, State.SKIPPED, State.FAILED, State.CANCELLED)


@dataclass(kw_only=True)
class ClusterRun(Run):
    """A run on a cluster.

    Args:
        display_name: The name that it was given.
        experiment_id: The experiment that it is in.
        link: Where the user interface shows it; empty where that is not known.
        planned: Whether its steps are known beforehand.
    """

    display_name: str
    experiment_id: str
    link: str
    planned: bool = True

    @property
    def place(self) -> str:
        """Its name there; of one that begins with the title, what comes after."""
        return self.display_name.removeprefix(self.title).strip() or self.run_id


def watch(
    server: Server,
    run_id: str,
    observers: Sequence[Observer] = (),
    *,
    interval_s: float = INTERVAL_S,
    patience: Patience | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> ClusterRun:
    """Follows a run until it ends, whatever becomes of the connection in between.

    Args:
        server: Where it runs.
        run_id: Which one.
        observers: Called with each event.
        interval_s: Seconds between two looks.
        patience: How long to go on when the server does not answer.
        sleep: Waits.

    Returns:
        The run as it ended; a failed one too.

    Raises:
        NotFoundError: There is no such run, or it was deleted meanwhile.
        ServerError: The server lets nobody in any more, or has not answered for too long.
    """
    watching = _Watching(server, observers, patience or replace(server.patience, seconds=PATIENCE_S))
    while True:
        run = watching.look(run_id)
        if run.state in (*_ENDED, State.NOT_RUN):
            return run
        sleep(interval_s)


def look(server: Server, run_id: str) -> ClusterRun:
    """The run as it stands now.

    Raises:
        NotFoundError: There is no such run.
    """
    try:
        found = server.call(server.client.get_run, run_id, what=f"look at run {run_id}")
    except NotFoundError:
        raise no_run(server, run_id) from None
    run = describe(server, found)
    update(run, found)
    return run


def no_run(server: Server, run_id: str) -> NotFoundError:
    """The error for a run that the server does not have."""
    return NotFoundError(
        f"{server.place} has no run {run_id!r}.",
        f"See those it has: kfp-lifecycle runs list{server.options}.",
    )


def pipeline_of(server: Server, found: Any) -> tuple[dict[str, Any], str]:
    """The pipeline spec that a run runs, and its version's name; empty where the server has them no more."""
    held, name = found.pipeline_spec, ""
    reference = found.pipeline_version_reference
    if not held and reference is not None and reference.pipeline_version_id:
        try:
            version = server.call(
                server.client.get_pipeline_version,
                reference.pipeline_id,
                reference.pipeline_version_id,
                what="read the run's pipeline",
            )
        except NotFoundError:
            return {}, ""
        held, name = version.pipeline_spec, version.display_name or ""
    if not isinstance(held, dict):
        return {}, name
    spec = held.get("pipeline_spec", held)
    return (spec if isinstance(spec, dict) and spec.get("root", {}).get("dag") else {}), name


def describe(server: Server, found: Any) -> ClusterRun:
    """A run without the state of its steps."""
    spec, version = pipeline_of(server, found)
    info = spec.get("pipelineInfo", {})
    config = found.runtime_config
    return ClusterRun(
        run_id=found.run_id,
        name=str(info.get("name") or found.display_name),
        version=version,
        parameters=dict((config.parameters if config else None) or {}),
        started=_time(found.created_at) or datetime.now(UTC),
        steps=plan(spec) if spec else [],
        display_name=found.display_name,
        experiment_id=found.experiment_id or "",
        link=server.link(found.run_id),
        planned=bool(spec),
    )


def update(run: ClusterRun, found: Any) -> list[Event]:
    """Brings ``run`` up to what the server says, and gives what is new as events."""
    events: list[Event] = []
    details = list((found.run_details.task_details if found.run_details else None) or ())
    for step, detail in _matched(run, details):
        before, after = step.state, STATES.get(detail.state, State.WAITING)
        if after is before:
            continue
        step.state, step.started = after, _time(detail.start_time) or step.started
        step.attempts = max(step.attempts, int(after is not State.WAITING))
        ended = _time(detail.end_time)
        if after in _ENDED and step.started and ended:
            step.seconds = max(0.0, (ended - step.started).total_seconds())
        step.outputs = {
            name: ", ".join(listed.artifact_ids or ()) for name, listed in (detail.outputs or {}).items()
        }
        step.error = (detail.error.message or "") if detail.error else ""
        if before is State.WAITING and after is not State.SKIPPED:
            events.append(Event(EventKind.STEP_STARTED, run, step))
        if after in _ENDED:
            events.append(Event(EventKind.STEP_ENDED, run, step))
    _update_run(run, found)
    return events


def _update_run(run: ClusterRun, found: Any) -> None:
    run.state = STATES.get(found.state, State.WAITING)
    ended = _time(found.finished_at) or datetime.now(UTC)
    run.seconds = max(0.0, (ended - run.started).total_seconds())
    run.outputs = _plugin_outputs(found)
    if run.state not in _ENDED:
        return
    run.error = " ".join(((found.error.message if found.error else "") or "").split())
    for step in run.steps:
        if step.state is State.WAITING:
            step.state = State.SKIPPED if run.state is State.SUCCEEDED else State.NOT_RUN
        elif step.state is State.RUNNING:
            step.state = run.state
    if run.state is State.FAILED and not run.error:
        failed = run.failed_step
        run.error = (failed.error if failed else "") or "the server does not say why; the step's log does"


def _matched(run: ClusterRun, details: Sequence[Any]) -> list[tuple[Step, Any]]:
    """Each step with what the server says of it.

    The server says a task's name but not the graph that it is in: several of one name are taken in the order
    of their beginning. A loop's step stands for its items until they start.
    """
    found: dict[str, list[Any]] = defaultdict(list)
    for detail in sorted(details, key=lambda d: str(d.create_time or d.start_time or "")):
        found[detail.display_name].append(detail)
    if not run.planned:
        known = {step.task for step in run.steps}
        run.steps += [Step(name, name, name) for name in found if name not in known and _is_task(name, found)]
    pairs: list[tuple[Step, Any]] = []
    for task in dict.fromkeys(step.task for step in run.steps):
        # A step whose driver has failed never begins.
        said = found[task] or [d for d in found[f"{task}-driver"] if d.state == "FAILED"]
        _unfold(run, [step for step in run.steps if step.task == task], len(said))
        pairs += zip((step for step in run.steps if step.task == task), said, strict=False)
    return pairs


def _unfold(run: ClusterRun, steps: list[Step], wanted: int) -> None:
    """Makes a step for each item of a loop."""
    last = steps[-1]
    if not last.in_loop or wanted <= max(len(steps), 1):
        return
    base, at = last.name.partition(" #")[0], run.steps.index(last) + 1
    if " #" not in last.name:
        last.name = f"{base} #1"
    more = [
        replace(last, name=f"{base} #{n}", state=State.WAITING, started=None, seconds=None, outputs={})
        for n in range(len(steps) + 1, wanted + 1)
    ]
    run.steps[at:at] = more


def _is_task(name: str, found: dict[str, list[Any]]) -> bool:
    """Whether a node of the workflow is a step, where no spec says which are: each has a driver."""
    return f"{name}-driver" in found and name != "root"


def _plugin_outputs(found: Any) -> dict[str, Any]:
    """What the server's plugins say of the run, such as the address of its MLflow run."""
    return {
        f"{plugin}.{name}": entry.value
        for plugin, said in (found.plugins_output or {}).items()
        for name, entry in (said.entries or {}).items()
        if entry.value not in (None, "")
    }


def _time(moment: datetime | None) -> datetime | None:
    """A time of the server; protobuf's zero stands for none."""
    return moment if moment is not None and moment.year > 1971 else None


class _Watching:
    """What is known of a run between two looks."""

    def __init__(self, server: Server, observers: Sequence[Observer], patience: Patience) -> None:
        self._server = server
        self._observers = observers
        self._patience = patience
        self._run: ClusterRun | None = None
        self._trouble = ""

    def look(self, run_id: str) -> ClusterRun:
        """Looks once, and reports what is new."""
        found = self._get(run_id)
        if self._trouble:
            self._trouble = ""
            self._emit(EventKind.TROUBLE)
        if self._run is None:
            self._run = describe(self._server, found)
            self._emit(EventKind.RUN_STARTED)
        for event in update(self._run, found):
            self._tell(event)
        if self._run.state in (*_ENDED, State.NOT_RUN):
            self._emit(EventKind.RUN_ENDED)
        return self._run

    def _get(self, run_id: str) -> Any:
        try:
            return self._server.call(
                self._server.client.get_run,
                run_id,
                what=f"look at run {run_id}",
                patience=self._patience,
                notify=self._notify,
            )
        except NotFoundError as error:
            if self._run is None:
                raise no_run(self._server, run_id) from error
            raise NotFoundError(f"Run {run_id} was deleted while it was watched.") from error
        except ServerError as error:
            again = f"kfp-lifecycle watch {run_id}{self._server.options}"
            error.fix = f"{error.fix} The run goes on without this command; follow it again: {again}.".strip()
            raise

    def _notify(self, what: str, why: str) -> None:
        """The first failure in a row is told; those after it are the same."""
        if not self._trouble and self._run is not None:
            self._trouble = f"{why} Trying again; the run goes on."
            self._emit(EventKind.TROUBLE, self._trouble)

    def _emit(self, kind: EventKind, text: str = "") -> None:
        assert self._run is not None
        self._tell(Event(kind, self._run, text=text))

    def _tell(self, event: Event) -> None:
        for observer in self._observers:
            observer(event)
