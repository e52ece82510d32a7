"""KL6: what kfp.local refuses, or gets wrong without a word.

The traps themselves are found by :mod:`kfp_lifecycle.runner.traps`, by which ``kfp-lifecycle run`` refuses
files; here each becomes a rule. Those about values are made right by ``kfp-lifecycle run``, and are wrong in
a plain ``kfp.local`` run only.
"""

import json
import re
from collections.abc import Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from kfp_lifecycle.compiler.ir import Pipeline
from kfp_lifecycle.compiler.lint.rule import Hit, Options, Severity, rule
from kfp_lifecycle.compiler.lint.server import constants
from kfp_lifecycle.compiler.safe_yaml import Map
from kfp_lifecycle.compiler.text import shown
from kfp_lifecycle.runner import traps
from kfp_lifecycle.runner.load import RunnableFile

_CLUSTER = "Run it on a cluster, or "

#: Trap to id, severity, reason and fix.
_TRAPS = {
    "container-component": (
        "KL601",
        Severity.WARNING,
        "A local run without containers has only Python components.",
        _CLUSTER + "make it a @dsl.component.",
    ),
    "containerized-component": (
        "KL602",
        Severity.WARNING,
        "The code of a component with a target_image is only in its image, not in the file.",
        _CLUSTER + "leave target_image out.",
    ),
    "nested-artifact": (
        "KL603",
        Severity.WARNING,
        "kfp.local loses the artifacts of a nested pipeline that takes no parameter.",
        "Give it a parameter too, or call its components directly.",
    ),
    "one-of-artifacts": (
        "KL604",
        Severity.WARNING,
        "kfp.local cannot choose from a dsl.OneOf of artifacts.",
        "Use dsl.OneOf of parameters, or let each branch go on by itself.",
    ),
    "loop-over-named-output": (
        "KL605",
        Severity.WARNING,
        "kfp.local loops only over the output of a component that has one.",
        "Let the component return just that list.",
    ),
    "value-lost-in-loop": (
        "KL606",
        Severity.WARNING,
        "Inside a loop, kfp.local puts the loop's item in the place of other parameters, without a word.",
        "Pass the value as an artifact or a pipeline parameter, or put it into the items of the loop.",
    ),
    "condition-on-named-output": (
        "KL607",
        Severity.WARNING,
        "kfp.local skips a dsl.If without Else on a named output, without a word.",
        "Add a dsl.Else, or let the component return just that value.",
    ),
    "none-default": (
        "KL608",
        Severity.WARNING,
        "KFP compiles a default None to no value at all, which kfp.local cannot pass on.",
        "Give the input a default of its own type, or a value.",
    ),
    "artifact-input": (
        "KL609",
        Severity.NOTE,
        "A local run cannot be given an artifact.",
        "Make the artifact in a first step, or import it there.",
    ),
    "remote-import": (
        "KL610",
        Severity.NOTE,
        "kfp.local does not download what an importer names.",
        "Read the artifact by its uri, not its path.",
    ),
    "settings-without-effect": (
        "KL611",
        Severity.NOTE,
        "kfp.local leaves out resources and all settings for Kubernetes.",
        "Nothing, if the step can do without; set variables in your shell.",
    ),
}


@lru_cache(maxsize=1)
def _found(pipeline: Pipeline) -> list[traps.Finding]:
    file = pipeline.file
    return traps.check(RunnableFile(Path(file.path), file.spec, file.platform, ""), variables=None)


def _trap(trap: str, pipeline: Pipeline, options: Options) -> Iterator[Hit]:
    findings = [finding for finding in _found(pipeline) if finding.trap == trap]
    tasks = {task.name: task for task in reversed(list(pipeline.tasks))} if findings else {}
    for finding in findings:
        task = tasks.get(finding.task)
        line, place = (task.line, task.place) if task else (pipeline.root.line, "")
        yield Hit(line, shown(finding.problem, 400, quote=False), place, finding.fix)


for _name, (_id, _severity, _reason, _fix) in _TRAPS.items():
    rule(_id, f"local-{_name}", _severity, _reason, _fix)(partial(_trap, _name))


#: Placeholders that KFP itself compiles.
_PLACEHOLDER = re.compile(r"\{\{\$(\}\}|\.(inputs|outputs|json_escape|pipeline_|workspace_path))")


@rule(
    "KL612",
    "local-placeholder-text",
    Severity.WARNING,
    "A plain kfp.local run takes any value with {{$ in it for a placeholder of its own, and fails.",
    "Write the text otherwise, or read it from a file.",
)
def _placeholder(pipeline: Pipeline, options: Options) -> Iterator[Hit]:
    for what, value, line, place in _values(pipeline):
        text = value if isinstance(value, str) else json.dumps(value)
        if text.count("{{$") > len(_PLACEHOLDER.findall(text)):
            yield Hit(line, f"{what} holds {{{{$.", place)


@rule(
    "KL613",
    "local-python3-text",
    Severity.WARNING,
    "A plain kfp.local run puts the interpreter's path in the place of python3, in values too.",
    "Use kfp-lifecycle run, or write the value otherwise.",
)
def _python3(pipeline: Pipeline, options: Options) -> Iterator[Hit]:
    for what, value, line, place in _values(pipeline):
        if "python3" in (value if isinstance(value, str) else json.dumps(value)):
            yield Hit(line, f"{what} holds python3.", place)
    spec = pipeline.file.spec
    if "python3" in spec.get("defaultPipelineRoot", ""):
        yield Hit(spec.line_of("defaultPipelineRoot"), "The pipeline root holds python3.")


@rule(
    "KL614",
    "local-integers-become-floats",
    Severity.WARNING,
    "Numbers in lists and dicts arrive as floats: a RandomForest refuses max_depth=20.0.",
    "Take the whole as one JSON text (str) and parse it in the step.",
)
def _integers(pipeline: Pipeline, options: Options) -> Iterator[Hit]:
    for what, value, line, place in _values(pipeline):
        if _holds_whole_number(value):
            yield Hit(
                line,
                f"{what} has a whole number in its {'dict' if isinstance(value, dict) else 'list'}.",
                place,
            )


def _holds_whole_number(value: Any) -> bool:
    """Whether a list or dict has a whole number in it."""
    pending: list[Any] = [value] if isinstance(value, (list, dict)) else []
    while pending:
        item = pending.pop()
        if isinstance(item, (list, dict)):
            pending += item.values() if isinstance(item, dict) else item
        elif isinstance(item, (int, float)) and not isinstance(item, bool) and float(item).is_integer():
            return True
    return False


#: What Linux takes as one argument; kfp.local passes a step all its inputs as one.
LARGEST_ARGUMENT = 128 * 1024


@rule(
    "KL615",
    "local-large-inputs",
    Severity.WARNING,
    "kfp.local passes a step all its inputs as one argument, of which Linux takes 128 KiB.",
    "Pass large values as artifacts.",
)
def _large(pipeline: Pipeline, options: Options) -> Iterator[Hit]:
    for task in pipeline.tasks:
        if task.component is None or task.executor is None:
            continue
        given = {name: value for name, value, _ in constants(task)}
        defaults = {
            n: p.data["defaultValue"] for n, p in task.component.inputs.items() if "defaultValue" in p.data
        }
        size = sum(len(json.dumps(value)) for value in (defaults | given).values())
        if size > LARGEST_ARGUMENT:
            yield Hit(task.line, f"Its inputs have {size:,} bytes.", task.place)


@rule(
    "KL616",
    "local-image-name",
    Severity.NOTE,
    "kfp.local warns of an image without python in its name.",
    "Put python into the image's name, or bear the warning.",
)
def _image_name(pipeline: Pipeline, options: Options) -> Iterator[Hit]:
    for task, executor in pipeline.pod_tasks:
        if "python" not in executor.image and "{{" not in executor.image:
            said = f"Image {shown(executor.image)} has no python in its name."
            yield Hit(executor.line_of("image"), said, task.place)


def _values(pipeline: Pipeline) -> Iterator[tuple[str, Any, int, str]]:
    """Defaults and constants: what it is, value, line, place."""
    for component in pipeline.all_components:
        for port in component.inputs.values():
            if port.data.get("defaultValue") is not None:
                what = f"The default of {shown(port.name)}"
                yield what, port.data["defaultValue"], port.line, component.place
    for task in pipeline.tasks:
        for name, value, line in constants(task):
            yield f"Its input {shown(name)}", value, line, task.place
        raw = (task.iterator or Map()).get("items", {}).get("raw", "")
        if raw:
            yield "What it loops over", raw, task.line, task.place
