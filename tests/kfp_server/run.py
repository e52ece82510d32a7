"""A run in the double: its tasks, and what the API says of them."""

import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Spec = dict[str, Any]

FINISHED = ("SUCCEEDED", "FAILED", "CANCELED", "SKIPPED")


@dataclass
class _Node:
    """A node of the workflow, as the API shows it among the task details."""

    id: str
    pod: str
    name: str
    parent: str = ""
    state: str = ""
    created: str = ""
    started: str = ""
    ended: str = ""
    history: list[dict[str, Any]] = field(default_factory=list)
    outputs: dict[str, Any] = field(default_factory=dict)

    def reach(self, state: str, now: str) -> None:
        self.state = state
        self.history.append({"update_time": now, "state": state})


class RunState:
    """A run that goes on; the workflow has the nodes that KFP 2 makes of a pipeline.

    Each task of the spec is a driver ``NAME-driver`` and a node ``NAME`` above an ``executor``, all of them
    under ``root``. A node appears once its task has started. As on a real server, a task's details do not say
    why it failed, and its children are known by the names of their nodes alone (kubeflow/pipelines#14007).

    Args:
        wire: The run as the API shows it, without details; changed in place.
        spec: Its pipeline spec.
        clock: The server's time as RFC 3339.
    """

    def __init__(self, wire: Spec, spec: Spec, clock: Callable[[], str]) -> None:
        self.wire = wire
        self.spec = spec
        self._clock = clock
        self._nodes: dict[str, _Node] = {}
        self.wire["state_history"] = []
        self._reach("PENDING")
        self.play: Iterator[None] | None = None
        self.task_names = list(_names(spec, spec["root"]))

    @property
    def state(self) -> str:
        return str(self.wire["state"])

    @property
    def workflow(self) -> str:
        return f"{self.spec['pipelineInfo']['name']}-{self.wire['run_id'][:5]}"

    def advance(self) -> None:
        """One step of the play; without one, or after its end, nothing."""
        if self.state == "CANCELING":
            self._end_running("FAILED")
            self._reach("CANCELED", ended=True)
        elif self.play is not None and self.state not in FINISHED:
            next(self.play, None)

    def start(self, name: str) -> None:
        """A task starts: the driver is done, the executor runs."""
        if self.state == "PENDING":
            self._reach("RUNNING")
            self._node(self.workflow, "", "RUNNING")
            self._node("root-driver", self.workflow, "SUCCEEDED")
            self._node("root", self.workflow, "RUNNING")
        self._node(f"{name}-driver", "root", "SUCCEEDED")
        self._node(name, "root", "RUNNING")
        self._node(f"{name}/executor", name, "RUNNING")

    def end(self, name: str, state: str, *, outputs: Mapping[str, list[str]] | None = None) -> None:
        """A task ends; ``SKIPPED`` for one that has not started and never will."""
        if name not in self._nodes:
            self._node(f"{name}-driver", "root", "SUCCEEDED")
            self._node(name, "root", "PENDING")
        for key in (name, f"{name}/executor"):
            if key in self._nodes:
                self._ended(self._nodes[key], state)
        self._nodes[name].outputs = {key: {"artifact_ids": ids} for key, ids in (outputs or {}).items()}

    def finish(self, state: str, message: str = "") -> None:
        """The run ends."""
        self._end_running(state)
        if message:
            self.wire["error"] = {"code": 2, "message": message}
        self._reach(state, ended=True)

    def cancel(self) -> None:
        self._reach("CANCELING")
        self.play = None

    def retry(self, play: Iterator[None] | None) -> None:
        """Failed tasks are forgotten; what has succeeded stays."""
        for key in [k for k, node in self._nodes.items() if node.state == "FAILED" and "/" not in k]:
            for gone in (key, f"{key}-driver", f"{key}/executor"):
                self._nodes.pop(gone, None)
        for key in (self.workflow, "root"):
            self._nodes.pop(key, None)
        self.wire.pop("error", None)
        self.wire.pop("finished_at", None)
        self._node(self.workflow, "", "RUNNING")
        self._node("root", self.workflow, "RUNNING")
        self._reach("RUNNING")
        self.play = play

    @property
    def done(self) -> set[str]:
        """The tasks that have succeeded."""
        return {n for n in self.task_names if n in self._nodes and self._nodes[n].state == "SUCCEEDED"}

    def as_wire(self) -> Spec:
        """The run with its details, as the API shows it."""
        details = [self._detail(node) for node in self._nodes.values()]
        return {**self.wire, "run_details": {"task_details": details}} if details else dict(self.wire)

    def _reach(self, state: str, ended: bool = False) -> None:
        now = self._clock()
        self.wire["state"] = state
        self.wire["state_history"].append({"update_time": now, "state": state})
        if ended:
            self.wire["finished_at"] = now

    def _node(self, key: str, parent: str, state: str) -> None:
        if key in self._nodes:
            return
        now = self._clock()
        name = key.rpartition("/")[2]
        pod = f"{self.workflow}-{uuid.uuid4().int % 10**10}"
        node = _Node(str(uuid.uuid4()), pod, name, parent, created=now, started=now)
        self._nodes[key] = node
        node.reach(state, now)
        if state in FINISHED:
            node.ended = now

    def _ended(self, node: _Node, state: str) -> None:
        now = self._clock()
        node.reach(state, now)
        node.ended = now

    def _end_running(self, state: str) -> None:
        for node in self._nodes.values():
            if node.state in ("RUNNING", "PENDING"):
                self._ended(node, state)

    def _detail(self, node: _Node) -> Spec:
        key = next(key for key, found in self._nodes.items() if found is node)
        children = [{"pod_name": child.pod} for child in self._nodes.values() if child.parent == key]
        detail: Spec = {
            "run_id": self.wire["run_id"],
            "task_id": node.id,
            "display_name": node.name,
            "create_time": node.created,
            "start_time": node.started,
            "end_time": node.ended,
            "state": node.state,
            "state_history": node.history,
            "child_tasks": children,
            "outputs": node.outputs,
        }
        return {key: value for key, value in detail.items() if value}


def _names(spec: Spec, component: Spec) -> Iterator[str]:
    """The tasks that run in a pod, each after those it waits for."""
    tasks: Spec = component["dag"]["tasks"]
    left, seen = dict(tasks), set[str]()
    while left:
        ready = [n for n in sorted(left) if seen.issuperset(left[n].get("dependentTasks", []))]
        assert ready, f"tasks wait for each other: {sorted(left)}"
        for name in ready:
            inner = spec.get("components", {}).get(left.pop(name)["componentRef"]["name"], {})
            seen.add(name)
            if "dag" in inner:
                yield from _names(spec, inner)
            else:
                yield name
