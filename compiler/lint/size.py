"""KL2: sizes, and text that a server cannot keep."""

import json
import re
from collections.abc import Iterator
from typing import Any

from kfp_lifecycle.compiler.ir import Pipeline
from kfp_lifecycle.compiler.lint.rule import Hit, Options, Severity, rule
from kfp_lifecycle.compiler.lint.server import constants
from kfp_lifecycle.compiler.safe_yaml import Map, texts
from kfp_lifecycle.compiler.text import shown

#: etcd keeps no larger object; and what Kubernetes handles well.
LARGEST_WORKFLOW, GOOD_WORKFLOW = 1536 * 1024, 256 * 1024
#: Bytes of a value that KFP passes as text.
LARGEST_PARAMETER = 100_000

# What the API server's own templates add to a Workflow: once, and for each task.
_TEMPLATES, _PER_TASK = 12_000, 2_000

_NOT_ASCII = re.compile(r"[^\x00-\x7f]")


@rule(
    "KL201",
    "workflow-size",
    Severity.WARNING,
    "The Workflow object that the API server makes must stay under 1.5 MiB, and is best under 256 KiB.",
    "Share components between tasks, move code into the image, or split the pipeline.",
)
def _workflow(pipeline: Pipeline, options: Options) -> Iterator[Hit]:
    size = workflow_size(pipeline)
    if size > LARGEST_WORKFLOW:
        said = f"Its Workflow object has about {size / 2**20:.1f} MiB, more than Kubernetes keeps."
        yield Hit(0, said, severity=Severity.ERROR)
    elif size > GOOD_WORKFLOW:
        yield Hit(0, f"Its Workflow object has about {size >> 10} KiB.")


def workflow_size(pipeline: Pipeline) -> int:
    """About how many bytes the API server's Workflow object has.

    It holds each component, container and Kubernetes setting as JSON once, each task as JSON where it is
    used, and templates of its own.
    """
    spec = pipeline.file.spec
    parts = [spec["root"], spec["components"], spec["deploymentSpec"], pipeline.file.kubernetes]
    # JSON within JSON: quotes and backslashes are escaped once more.
    size = sum(len(json.dumps(json.dumps(part))) for part in parts)
    return size + _TEMPLATES + _PER_TASK * sum(1 for _ in pipeline.tasks)


@rule(
    "KL202",
    "large-parameter",
    Severity.ERROR,
    "A parameter over 100 kB does not fit into the objects and arguments that it travels in.",
    "Pass it as an artifact, or pass the URI of a file.",
)
def _large(pipeline: Pipeline, options: Options) -> Iterator[Hit]:
    for component in pipeline.all_components:
        for port in component.inputs.values():
            if (size := _size(port.data.get("defaultValue"))) > LARGEST_PARAMETER:
                yield Hit(
                    port.line, f"The default of {shown(port.name)} has {size:,} bytes.", component.place
                )
    for task in pipeline.tasks:
        for name, value, line in constants(task):
            if (size := _size(value)) > LARGEST_PARAMETER:
                yield Hit(line, f"Its input {shown(name)} is given {size:,} bytes.", task.place)
        raw = (task.iterator or Map()).get("items", {}).get("raw", "")
        if (size := _size(raw)) > LARGEST_PARAMETER:
            yield Hit(task.line, f"It loops over items of {size:,} bytes.", task.place)


def _size(value: Any) -> int:
    return len((value if isinstance(value, str) else json.dumps(value)).encode(errors="replace"))


@rule(
    "KL203",
    "non-ascii-text",
    Severity.WARNING,
    "Text outside ASCII has broken API servers whose database is MySQL.",
    "Write it in ASCII; in Python code, as an escape such as \\u00e9.",
)
def _ascii(pipeline: Pipeline, options: Options) -> Iterator[Hit]:
    for document in (pipeline.file.spec, pipeline.file.platform, *pipeline.file.objects):
        for place, text in texts(document):
            if not text.isascii() and (found := _NOT_ASCII.search(text)):
                around = ascii(text[max(0, found.start() - 15) : found.end() + 15])
                yield Hit(place.line, f"{place} has {found[0]!a} in {around}.")
