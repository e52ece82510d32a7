"""What a change between two compiled files is, and the one list of all kinds."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from kfp_lifecycle.compiler.text import shown


class Category(StrEnum):
    """Who notices: everyone who runs the pipeline; only who wants to; nobody from outside."""

    BREAKING = "breaking"
    COMPATIBLE = "compatible"
    INTERNAL = "internal"


#: The part of a semantic version that a change asks for, by its category.
BUMPS = {Category.BREAKING: "major", Category.COMPATIBLE: "minor", Category.INTERNAL: "patch"}


class Subject(StrEnum):
    """What a change is about."""

    INTERFACE = "interface"
    TEXT = "text"
    TASKS = "tasks"
    CODE = "code"
    IMAGES = "images"
    RESOURCES = "resources"
    CACHING = "caching"
    RETRIES = "retries"
    PLATFORM = "platform"
    FILE = "file"


@dataclass(frozen=True)
class Kind:
    """A kind of change.

    Args:
        id: Stable: ``input-removed``.
        category: Who notices.
        subject: What it is about.
        meaning: In one line.
    """

    id: str
    category: Category
    subject: Subject
    meaning: str


@dataclass(frozen=True)
class Change:
    """One difference between two files.

    Args:
        id: The kind's id.
        category: Who notices.
        subject: What it is about.
        place: The task or graph, from the root: ``condition-1/train``; empty for the pipeline itself.
        message: What changes, in one line.
        old: What it was; None where it was not there. Stars in the place of secrets.
        new: What it is; likewise.
        old_line: Its line in the old file; 0 where it was not there.
        new_line: Its line in the new file; likewise.
        hint: A guess at what was meant, such as another name.
    """

    id: str
    category: Category
    subject: Subject
    place: str
    message: str
    old: Any = None
    new: Any = None
    old_line: int = 0
    new_line: int = 0
    hint: str = ""


_B, _C, _I = Category.BREAKING, Category.COMPATIBLE, Category.INTERNAL
_S = Subject

#: Every kind by its id.
KINDS = {
    kind.id: kind
    for kind in (
        Kind("pipeline-renamed", _B, _S.INTERFACE, "The pipeline has another name: its history ends."),
        Kind("input-removed", _B, _S.INTERFACE, "A run that sets the input is refused."),
        Kind("input-added-required", _B, _S.INTERFACE, "A run that does not set the new input is refused."),
        Kind("input-added", _C, _S.INTERFACE, "A new input, with a default."),
        Kind("input-type-changed", _B, _S.INTERFACE, "A run that sets the input is refused."),
        Kind("input-now-required", _B, _S.INTERFACE, "A run that relied on the default is refused."),
        Kind("input-now-optional", _C, _S.INTERFACE, "The input need not be given any more."),
        Kind("input-default-changed", _B, _S.INTERFACE, "A run that relies on the default differs."),
        Kind("input-literals-narrowed", _B, _S.INTERFACE, "A value that was allowed is refused."),
        Kind("input-literals-widened", _C, _S.INTERFACE, "More values are allowed."),
        Kind("output-removed", _B, _S.INTERFACE, "Who takes the output finds none."),
        Kind("output-added", _C, _S.INTERFACE, "A new output."),
        Kind("output-type-changed", _B, _S.INTERFACE, "Who takes the output gets something else."),
        Kind("description-changed", _I, _S.TEXT, "A description that the UI shows."),
        Kind("display-name-changed", _I, _S.TEXT, "The name that the UI shows for the pipeline or a task."),
        Kind("task-added", _I, _S.TASKS, "A new task."),
        Kind("task-removed", _I, _S.TASKS, "A task is gone."),
        Kind("task-kind-changed", _I, _S.TASKS, "A task was a graph, container or importer, and is another."),
        Kind("task-dependencies-changed", _I, _S.TASKS, "A task waits for others than before."),
        Kind("task-argument-changed", _I, _S.TASKS, "A task is given something else."),
        Kind("task-condition-changed", _I, _S.TASKS, "When a task runs: its condition or trigger."),
        Kind("task-loop-changed", _I, _S.TASKS, "What a task loops over, or how many run at once."),
        Kind("graph-outputs-changed", _I, _S.TASKS, "An output comes from elsewhere."),
        Kind("inner-interface-changed", _I, _S.TASKS, "An input or output of a component inside."),
        Kind("command-changed", _I, _S.CODE, "What a container runs: its command, arguments or source."),
        Kind("environment-changed", _I, _S.CODE, "Environment variables of a container."),
        Kind("importer-changed", _I, _S.CODE, "What an importer imports."),
        Kind("image-changed", _I, _S.IMAGES, "The image of a container."),
        Kind("resources-changed", _I, _S.RESOURCES, "CPU or memory of a task."),
        Kind("accelerator-changed", _I, _S.RESOURCES, "Accelerator of a task."),
        Kind("caching-changed", _I, _S.CACHING, "Whether and by which key a task is cached."),
        Kind("retries-changed", _I, _S.RETRIES, "How often and when a task is tried again."),
        Kind("secrets-changed", _I, _S.PLATFORM, "Kubernetes Secrets that a task gets."),
        Kind("config-maps-changed", _I, _S.PLATFORM, "ConfigMaps that a task gets."),
        Kind("volumes-changed", _I, _S.PLATFORM, "Volumes that a task mounts."),
        Kind("tolerations-changed", _I, _S.PLATFORM, "Taints that a task bears."),
        Kind("node-selector-changed", _I, _S.PLATFORM, "Labels of the nodes that a task runs on."),
        Kind("affinity-changed", _I, _S.PLATFORM, "Nodes or pods that a task wants to be near or far from."),
        Kind("timeout-changed", _I, _S.PLATFORM, "How long a task may run."),
        Kind("pod-metadata-changed", _I, _S.PLATFORM, "Labels and annotations of a task's pod."),
        Kind("image-pull-changed", _I, _S.PLATFORM, "How a task's image is pulled."),
        Kind("security-context-changed", _I, _S.PLATFORM, "The user that a task runs as."),
        Kind("pod-fields-changed", _I, _S.PLATFORM, "Fields of its own pod that a task gets as variables."),
        Kind("run-settings-changed", _I, _S.PLATFORM, "Time-out, time to live or workspace of a run."),
        Kind("pipeline-root-changed", _I, _S.PLATFORM, "Where artifacts are put by default."),
        Kind("sdk-version-changed", _I, _S.FILE, "The SDK that compiled the file, or its schema."),
    )
}  # fmt: skip

_LONGEST = 600


def change(
    id: str,  # noqa: A002
    place: str,
    message: str,
    old: Any = None,
    new: Any = None,
    lines: tuple[int, int] = (0, 0),
    hint: str = "",
) -> Change:
    """A change of the kind ``id``."""
    kind = KINDS[id]
    # Names from the files are in them.
    place, message, hint = (shown(text, _LONGEST, quote=False) for text in (place, message, hint))
    return Change(id, kind.category, kind.subject, place, message, old, new, *lines, hint)
