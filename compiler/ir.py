"""A compiled file as objects: components, tasks, executors and what they declare, each with its line.

Everything here stands on the clean data of :mod:`~kfp_lifecycle.compiler.reader`, so that it holds for
hostile files too: a name that nothing answers to gives None, and each component is visited once.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from kfp_lifecycle.compiler.reader import CompiledFile
from kfp_lifecycle.compiler.safe_yaml import Map

#: How the outermost component is called where a component's name is wanted.
ROOT = "root"

#: Thousands of graphs inside each other would make every place as long as the file.
_LONGEST_PLACE = 200

_SIDES = ("parameters", "artifacts")

#: What kfp-kubernetes writes as the image of the tasks that make and delete volumes.
_STUBS = {"argostub/createpvc", "argostub/deletepvc"}


@dataclass(frozen=True, eq=False)
class Port:
    """An input or output of a component.

    Args:
        name: Its name.
        data: Its definition.
        line: Its line.
        is_artifact: Whether it is an artifact or a parameter.
    """

    name: str
    data: Map
    line: int
    is_artifact: bool

    @property
    def type(self) -> str:
        """``STRING``, ``LIST``, …, or an artifact's title such as ``system.Model``; in brackets a list."""
        if not self.is_artifact:
            return str(self.data.get("parameterType", self.data.get("type", "")))
        kind = self.data.get("artifactType", {})
        title = kind.get("schemaTitle") or kind.get("instanceSchema") or kind.get("schemaUri") or ""
        return f"[{title}]" if self.data.get("isArtifactList") else str(title)

    @property
    def required(self) -> bool:
        """Whether an input must be given."""
        return not self.data.get("isOptional", False) and "defaultValue" not in self.data

    @property
    def description(self) -> str:
        """What the Kubeflow UI shows."""
        return str(self.data.get("description", ""))


@dataclass(frozen=True, eq=False)
class Executor:
    """What runs in a pod, or imports an artifact.

    Args:
        label: Its name.
        data: Its definition.
        line: Its line.
        kubernetes: Its settings for Kubernetes, from the platform spec.
    """

    label: str
    data: Map
    line: int
    kubernetes: Map

    @property
    def container(self) -> Map | None:
        """The container; None for an importer."""
        found: Map | None = self.data.get("container")
        return found

    @property
    def image(self) -> str:
        """The container's image; empty where there is none."""
        return str((self.container or Map()).get("image", ""))

    @property
    def command(self) -> list[str]:
        """Command and arguments."""
        container = self.container or Map()
        return [*container.get("command", []), *container.get("args", [])]

    @property
    def resources(self) -> Map:
        """CPU, memory and accelerator."""
        return (self.container or Map()).get("resources") or Map()

    @property
    def is_stub(self) -> bool:
        """Whether the server does its work itself, as for kfp.kubernetes.CreatePVC: no pod, no image."""
        return self.image in _STUBS

    def line_of(self, key: str) -> int:
        """The line of one of the container's fields."""
        return self.line if self.container is None else self.container.line_of(key)


@dataclass(frozen=True, eq=False)
class Task:
    """One step of a graph.

    Args:
        name: Its name in the graph.
        data: Its definition.
        line: Its line.
        parent: The component whose graph it is in.
    """

    name: str
    data: Map
    line: int
    parent: "Component"

    @property
    def place(self) -> str:
        """Where it is, from the root: ``condition-1/train``."""
        return f"{self.parent.place}/{self.name}" if self.parent.place else self.name

    @property
    def component_name(self) -> str:
        """The component that it runs."""
        return str(self.data.get("componentRef", {}).get("name", ""))

    @property
    def component(self) -> "Component | None":
        """The same, if the file has it."""
        return self.parent.pipeline.components.get(self.component_name)

    @property
    def executor(self) -> Executor | None:
        """What it runs, for a task that is no graph of its own."""
        return self.component.executor if self.component else None

    def arguments(self, side: str) -> Map:
        """What its ``parameters`` or ``artifacts`` are given."""
        found: Map = self.data.get("inputs", {}).get(side) or Map(self.line)
        return found

    @property
    def iterator(self) -> Map | None:
        """How it loops; None where it does not."""
        found: Map | None = self.data.get("parameterIterator") or self.data.get("artifactIterator")
        return found


@dataclass(eq=False)
class Component:
    """A component: an interface, and a graph or an executor.

    Args:
        name: Its name; ``root`` for the outermost.
        data: Its definition.
        line: Its line.
        pipeline: The pipeline it is in.
        place: Where it is first used, from the root: ``condition-1``; empty for the root. The name in angle
            brackets where nothing uses it.
        inherits_retry: Whether its tasks have the retry policy of a task around them.
    """

    name: str
    data: Map
    line: int
    pipeline: "Pipeline"
    place: str = ""
    inherits_retry: bool = False

    @cached_property
    def inputs(self) -> dict[str, Port]:
        """Inputs by name."""
        return dict(self._ports("inputDefinitions"))

    @cached_property
    def outputs(self) -> dict[str, Port]:
        """Outputs by name."""
        return dict(self._ports("outputDefinitions"))

    def _ports(self, key: str) -> Iterator[tuple[str, Port]]:
        for side in _SIDES:
            ports = self.data.get(key, {}).get(side, Map())
            for name, data in ports.items():
                yield name, Port(name, data, ports.line_of(name), side == "artifacts")

    @property
    def dag(self) -> Map | None:
        """Its graph; None where it is not made of tasks."""
        found: Map | None = self.data.get("dag")
        return found

    @cached_property
    def tasks(self) -> dict[str, Task]:
        """The tasks of its graph."""
        tasks = (self.dag or Map()).get("tasks", Map())
        return {name: Task(name, data, tasks.line_of(name), self) for name, data in tasks.items()}

    @property
    def executor(self) -> Executor | None:
        """What it runs, if it is no graph and the file has it."""
        return self.pipeline.executors.get(self.data.get("executorLabel", ""))


class Pipeline:
    """A compiled pipeline.

    Args:
        file: The file it is in.
    """

    def __init__(self, file: CompiledFile) -> None:
        self.file = file
        self.name = file.name
        spec = file.spec
        self.root = Component(ROOT, spec[ROOT], spec.line_of(ROOT), self)
        found = spec["components"]
        self.components = {
            name: Component(name, found[name], found.line_of(name), self, f"<{name}>") for name in found
        }
        executors, settings = spec["deploymentSpec"].get("executors", Map()), file.kubernetes
        self.executors = {
            label: Executor(label, data, executors.line_of(label), settings.get(label, Map()))
            for label, data in executors.items()
        }
        self._place()

    def _place(self) -> None:
        seen = {ROOT}
        pending = deque([self.root])
        while pending:
            for task in pending.popleft().tasks.values():
                if task.component is not None and task.component.name not in seen:
                    seen.add(task.component.name)
                    task.component.place = task.place[-_LONGEST_PLACE:]
                    task.component.inherits_retry = "retryPolicy" in task.data or task.parent.inherits_retry
                    pending.append(task.component)
        self.used = seen

    @property
    def all_components(self) -> Iterator[Component]:
        """The root and every component, used or not."""
        yield self.root
        yield from self.components.values()

    @property
    def tasks(self) -> Iterator[Task]:
        """Every task of every graph that the root leads to, once."""
        for component in self.all_components:
            if component is self.root or component.name in self.used:
                yield from component.tasks.values()

    @property
    def pod_tasks(self) -> Iterator[tuple[Task, Executor]]:
        """The tasks that run in a pod of their own, with their executor."""
        for task in self.tasks:
            executor = task.executor
            if executor is not None and executor.container is not None and not executor.is_stub:
                yield task, executor


def constant(argument: Any) -> Any:
    """The constant that a task's input is given; None where it is given something else."""
    return argument.get("runtimeValue", {}).get("constant")
