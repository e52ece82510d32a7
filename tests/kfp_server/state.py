"""What the server knows: its tables, and everything that changes them."""

import threading
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.kfp_server import plays, rules
from tests.kfp_server.errors import RefusedError, exists, invalid, not_found
from tests.kfp_server.plays import Play
from tests.kfp_server.run import FINISHED, RunState

Item = dict[str, Any]


class State:
    """The tables. It outlives the server's process, as a database does; whoever uses it holds ``lock``.

    Args:
        multi_user: Whether objects belong to namespaces.
        store: ``database``, or ``kubernetes`` where pipelines are kept as objects of the cluster.
    """

    def __init__(self, multi_user: bool = False, store: str = "database") -> None:
        self.lock = threading.RLock()
        self.multi_user = multi_user
        self.store = store
        #: Names of fields that the server is too old to know.
        self.unknown_fields: set[str] = set()
        #: How far the server's clock is ahead of ours.
        self.clock_ahead = timedelta()
        self.experiments: dict[str, Item] = {}
        self.pipelines: dict[str, Item] = {}
        self.versions: dict[str, Item] = {}
        self.runs: dict[str, RunState] = {}
        self.recurring: dict[str, Item] = {}
        #: How runs go on: pipeline name to play; the empty name for all others.
        self.plays: dict[str, Play] = {"": plays.succeeds()}
        self._tick = 0
        if not multi_user:
            self.add_experiment({"display_name": "Default"})

    def now(self) -> datetime:
        return datetime.now(UTC) + self.clock_ahead

    def stamp(self) -> str:
        return self.now().isoformat(timespec="seconds").replace("+00:00", "Z")

    # Experiments

    def add_experiment(self, body: Mapping[str, Any]) -> Item:
        name, namespace = str(body.get("display_name") or ""), self.namespace(body.get("namespace"))
        rules.check_name("Experiment", name)
        rules.check_length("Experiment", "Name", name)
        rules.check_length("Experiment", "Namespace", namespace)
        for found in self.experiments.values():
            if (found["display_name"], found.get("namespace", "")) == (name, namespace):
                raise exists("experiment", name)
        item = {
            "experiment_id": _id(),
            "display_name": name,
            "description": body.get("description"),
            "created_at": self.stamp(),
            "namespace": namespace,
            "storage_state": "AVAILABLE",
            "last_run_created_at": "1970-01-01T00:00:00Z",
        }
        self.experiments[item["experiment_id"]] = _filled(item)
        return self.experiments[item["experiment_id"]]

    def experiment(self, id: str) -> Item:  # noqa: A002
        return _get(self.experiments, id, "Experiment")

    def delete_experiment(self, id: str) -> None:  # noqa: A002
        self.experiment(id)
        for run in [k for k, r in self.runs.items() if r.wire["experiment_id"] == id]:
            del self.runs[run]
        for job in [k for k, j in self.recurring.items() if j["experiment_id"] == id]:
            del self.recurring[job]
        del self.experiments[id]

    # Pipelines

    def add_pipeline(self, body: Mapping[str, Any]) -> Item:
        display = str(body.get("display_name") or body.get("name") or "")
        name, namespace = str(body.get("name") or display), self.namespace(body.get("namespace"))
        rules.check_name("Pipeline", name)
        rules.check_length("Pipeline", "Name", name)
        rules.check_length("Pipeline", "Namespace", namespace)
        rules.check_tags(body.get("tags"))
        for found in self.pipelines.values():
            if (found["name"], found.get("namespace", "")) == (name, namespace):
                raise exists("pipeline", name)
        item = {
            "pipeline_id": _id(),
            "display_name": display,
            "name": name,
            "description": body.get("description"),
            "created_at": self.stamp(),
            "namespace": namespace,
            "tags": body.get("tags"),
        }
        self.pipelines[item["pipeline_id"]] = _filled(item)
        return self.pipelines[item["pipeline_id"]]

    def pipeline(self, id: str) -> Item:  # noqa: A002
        return _get(self.pipelines, id, "Pipeline")

    def delete_pipeline(self, id: str) -> None:  # noqa: A002
        self.pipeline(id)
        if any(version["pipeline_id"] == id for version in self.versions.values()):
            raise RefusedError(9, f"Failed to delete pipeline {id} as it still has existing versions")
        del self.pipelines[id]

    def add_version(self, body: Mapping[str, Any]) -> Item:
        """A version; ``pipeline_spec`` in ``body`` is the parsed file."""
        pipeline = self.pipeline(str(body.get("pipeline_id") or ""))
        display = str(body.get("display_name") or body.get("name") or "")
        name = str(body.get("name") or display)
        rules.check_name("PipelineVersion", name)
        rules.check_length("PipelineVersion", "Name", name)
        rules.check_tags(body.get("tags"))
        for found in self.versions.values():
            # As objects of the cluster, versions of all pipelines of a namespace share their names.
            beside = self.store == "kubernetes" or found["pipeline_id"] == pipeline["pipeline_id"]
            if beside and found["name"] == name:
                raise exists("pipeline version", name)
        item = {
            "pipeline_id": pipeline["pipeline_id"],
            "pipeline_version_id": _id(),
            "display_name": display,
            "name": name,
            "description": body.get("description"),
            "created_at": self.stamp(),
            "pipeline_spec": body["pipeline_spec"],
            "tags": body.get("tags"),
        }
        self.versions[item["pipeline_version_id"]] = _filled(item)
        return self.versions[item["pipeline_version_id"]]

    def version(self, pipeline_id: str, id: str) -> Item:  # noqa: A002
        found = _get(self.versions, id, "PipelineVersion")
        if found["pipeline_id"] != pipeline_id:
            raise not_found("PipelineVersion", id)
        return found

    # Runs

    def add_run(self, body: Mapping[str, Any], recurring_run_id: str = "") -> RunState:
        name = str(body.get("display_name") or "")
        if not name:
            raise invalid("The run name is empty. Please specify a valid name")
        rules.check_length("Run", "DisplayName", name)
        experiment = self._experiment_of(body)
        package, given = self._package(body), (body.get("runtime_config") or {}).get("parameters") or {}
        rules.check_parameters(package, given)
        now = self.stamp()
        wire = _filled(
            {
                "experiment_id": experiment["experiment_id"],
                "run_id": _id(),
                "display_name": name,
                "storage_state": "AVAILABLE",
                "description": body.get("description"),
                "pipeline_spec": body.get("pipeline_spec"),
                "pipeline_version_reference": body.get("pipeline_version_reference"),
                "runtime_config": body.get("runtime_config"),
                "service_account": body.get("service_account") or self._account(),
                "created_at": now,
                "scheduled_at": now,
                "recurring_run_id": recurring_run_id or body.get("recurring_run_id"),
            }
        )
        run = RunState(wire, rules.pipeline_spec(package), self.stamp)
        run.play = self._play(run)(run)
        self.runs[wire["run_id"]] = run
        experiment["last_run_created_at"] = now
        return run

    def run(self, id: str) -> RunState:  # noqa: A002
        return _get(self.runs, id, "Run")

    def terminate(self, id: str) -> None:  # noqa: A002
        run = self.run(id)
        if run.state in FINISHED:
            raise invalid(f"Failed to terminate run {id}: it has already finished")
        run.cancel()

    def retry(self, id: str) -> None:  # noqa: A002
        run = self.run(id)
        if run.state not in ("FAILED", "CANCELED"):
            raise RefusedError(13, f"Failed to retry run {id} as it does not allow retries")
        done, again = run.done, self._play(run)(run)
        run.retry(_without(done, run, again))

    def _play(self, run: RunState) -> Play:
        return self.plays.get(str(run.spec["pipelineInfo"]["name"]), self.plays[""])

    # Recurring runs

    def add_recurring(self, body: Mapping[str, Any]) -> Item:
        name = str(body.get("display_name") or "")
        rules.check_name("RecurringRun", name)
        rules.check_length("RecurringRun", "DisplayName", name)
        rules.check_schedule(body)
        experiment = self._experiment_of(body)
        given = (body.get("runtime_config") or {}).get("parameters") or {}
        rules.check_parameters(self._package(body), given)
        mode = body.get("mode") or "MODE_UNSPECIFIED"
        if mode not in ("ENABLE", "DISABLE"):
            raise invalid(f"Invalid recurring run mode: {mode}")
        now = self.stamp()
        trigger = {
            kind: {k: str(v) if k == "interval_second" else v for k, v in schedule.items() if v}
            for kind, schedule in body["trigger"].items()
            if schedule
        }
        item = {
            "recurring_run_id": _id(),
            "display_name": name,
            "description": body.get("description"),
            "pipeline_spec": body.get("pipeline_spec"),
            "pipeline_version_reference": body.get("pipeline_version_reference"),
            "runtime_config": body.get("runtime_config"),
            "service_account": body.get("service_account") or self._account(),
            "max_concurrency": str(body["max_concurrency"]),
            "trigger": trigger,
            "mode": mode,
            "created_at": now,
            "updated_at": now,
            "status": "ENABLED" if mode == "ENABLE" else "DISABLED",
            "no_catchup": body.get("no_catchup"),
            "namespace": experiment.get("namespace"),
            "experiment_id": experiment["experiment_id"],
        }
        self.recurring[item["recurring_run_id"]] = _filled(item)
        return self.recurring[item["recurring_run_id"]]

    def recurring_run(self, id: str) -> Item:  # noqa: A002
        return _get(self.recurring, id, "RecurringRun")

    def switch(self, id: str, on: bool) -> None:  # noqa: A002
        item = self.recurring_run(id)
        item |= {
            "mode": "ENABLE" if on else "DISABLE",
            "status": "ENABLED" if on else "DISABLED",
            "updated_at": self.stamp(),
        }

    def fire(self, id: str) -> RunState | None:  # noqa: A002
        """What the controller does when a schedule is due: a run, unless disabled or too many go on."""
        with self.lock:
            item = self.recurring_run(id)
            going = [r for r in self.runs.values() if r.wire.get("recurring_run_id") == id]
            busy = sum(run.state not in FINISHED for run in going)
            if item["status"] != "ENABLED" or busy >= int(item["max_concurrency"]):
                return None
            name = f"{item['display_name']}-{len(going) + 1}-{self.now():%s}"
            return self.add_run({**item, "display_name": name, "description": None}, id)

    # What all of them share

    def namespace(self, given: Any) -> str:
        """The namespace of a new object; a server for one user knows none."""
        if not self.multi_user:
            return ""
        return str(given or "")

    def _experiment_of(self, body: Mapping[str, Any]) -> Item:
        if id := body.get("experiment_id"):  # noqa: A001
            return self.experiment(str(id))
        if self.multi_user:
            raise invalid("A run cannot have an empty namespace in multi-user mode")
        return next(e for e in self.experiments.values() if e["display_name"] == "Default")

    def _package(self, body: Mapping[str, Any]) -> Item:
        reference, inline = body.get("pipeline_version_reference"), body.get("pipeline_spec")
        if bool(reference) == bool(inline):
            raise invalid("Exactly one of pipeline_spec and pipeline_version_reference is wanted")
        if inline:
            rules.check_spec(rules.pipeline_spec(inline), self.unknown_fields)
            return dict(inline)
        version = self.version(reference.get("pipeline_id", ""), reference.get("pipeline_version_id", ""))
        return dict(version["pipeline_spec"])

    def _account(self) -> str:
        return "default-editor" if self.multi_user else "pipeline-runner"


def _id() -> str:
    return str(uuid.uuid4())


def _filled(item: Item) -> Item:
    """Without the fields that hold nothing: protobuf's JSON leaves them out."""
    return {key: value for key, value in item.items() if value not in (None, "", {}, [], False)}


def _get(table: Mapping[str, Any], id: str, kind: str) -> Any:  # noqa: A002
    if id not in table:
        raise not_found(kind, id)
    return table[id]


def _without(done: set[str], run: RunState, play: Any) -> Any:
    """The play with tasks that are done left alone."""
    start: Callable[..., None] = run.start
    end: Callable[..., None] = run.end
    run.start = lambda name: None if name in done else start(name)  # type: ignore[method-assign]
    run.end = (  # type: ignore[method-assign]
        lambda name, state, **rest: None if name in done else end(name, state, **rest)
    )
    return play
