"""How to use a component or pipeline, as code that runs as it is."""

import json
import keyword
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kfp_lifecycle.compiler.catalog import Entry
from kfp_lifecycle.compiler.site.collect import Item, Version

#: Artifact types that kfp.dsl has a class for.
_CLASSES = {
    "Artifact",
    "ClassificationMetrics",
    "Dataset",
    "HTML",
    "Markdown",
    "Metrics",
    "Model",
    "SlicedClassificationMetrics",
}
_PARAMETERS = {"bool", "dict", "float", "int", "list", "str"}
_STATUS = "PipelineTaskFinalStatus"
_WIDTH = 88


@dataclass(frozen=True)
class Example:
    """One way to use it.

    Args:
        title: Which.
        code: Python or a command.
    """

    title: str
    code: str


def examples(item: Item, version: Version, own: bool, target: str) -> list[Example]:
    """The ways to use a version.

    None where an input's name cannot be written in Python: such a file is not from Python, nor for it. None
    for an exit handler that takes a final status: only the pipeline that it ends can give it one.

    Args:
        item: The component or pipeline.
        version: Which of its versions.
        own: Whether it is in the reader's repository, or else downloaded from the page.
        target: What ``kfp-lifecycle run`` and ``submit`` know it as.
    """
    if any(i["type"] == _STATUS for i in version.entry["inputs"]):
        return []
    # KFP itself gives what is of another type.
    given = [i for i in version.entry["inputs"] if i["required"] and (i["kind"] == "artifact" or _known(i))]
    names = [i["name"] for i in given]
    if not all(name.isidentifier() and not keyword.iskeyword(name) for name in (item.function, *names)):
        return []
    file = f"compiled/{version.entry['path']}" if own else f"{item.name}-{version.number}.yaml"
    # An input of the component's own name would hide it inside the pipeline.
    called = f"{item.function}_step" if item.function in names else item.function
    use = _pipeline(called, version, given)
    load = f"{called} = components.load_component_from_file({json.dumps(file)})\n"
    found = [Example("From the YAML file", f"from kfp import components, dsl\n\n{load}{use}")]
    if item.module and version is item.current:
        renamed = "" if called == item.function else f" as {called}"
        imports = f"from kfp import dsl\nfrom {item.module} import {item.function}{renamed}\n"
        found.append(Example("From Python", imports + use))
    if all(i["kind"] == "parameter" for i in given):
        found.append(Example("On this machine", _verb("run", item, version, target, names)))
        found.append(Example("On a cluster", _verb("submit", item, version, target, names)))
        found.append(Example("On a cluster, with kfp", _client(file, names)))
    return found


def _known(item: Entry) -> bool:
    return item["type"] in _PARAMETERS


def _pipeline(called: str, version: Version, given: Sequence[Entry]) -> str:
    """A pipeline of one task, whose inputs are those that must be given."""
    head = _call("def my_pipeline", [f"{i['name']}: {_annotation(i)}" for i in given], ":")
    call = _call(f"    task = {called}", [f"{i['name']}={i['name']}" for i in given], "", "    ")
    outputs = (f"    # task.outputs[{json.dumps(o['name'])}]: {o['type']}\n" for o in _some(version))
    return f'\n\n@dsl.pipeline(name="my-pipeline")\n{head}{call}{"".join(outputs)}'


def _some(version: Version) -> Iterator[Entry]:
    """Outputs whose type can be said in a comment's line."""
    return (output for output in version.entry["outputs"] if output["type"].isidentifier())


def _annotation(item: Entry) -> str:
    if item["kind"] == "parameter":
        return str(item["type"])
    kind = f"dsl.{item['type'] if item['type'] in _CLASSES else 'Artifact'}"
    return f"dsl.Input[list[{kind}]]" if item.get("list") else f"dsl.Input[{kind}]"


def _call(start: str, arguments: Sequence[str], end: str, indent: str = "") -> str:
    line = f"{start}({', '.join(arguments)}){end}"
    if len(line) <= _WIDTH:
        return f"{line}\n"
    return "\n".join(
        [f"{start}(", *(f"{indent}    {argument}," for argument in arguments), f"{indent}){end}\n"]
    )


def _verb(verb: str, item: Item, version: Version, target: str, names: Sequence[str]) -> str:
    named = target if version is item.current else f"{target}@{version.number}"
    given = (f"-p {shlex.quote(f'{name}={name.upper()}')}" for name in names)
    return " ".join([f"kfp-lifecycle {verb}", named, *given]) + "\n"


def _client(file: str, names: Sequence[str]) -> str:
    arguments = "".join(f"        {json.dumps(name)}: {json.dumps(name.upper())},\n" for name in names)
    given = f"    arguments={{\n{arguments}    }},\n" if names else ""
    return (
        "import kfp\n\n"
        'client = kfp.Client(host="http://localhost:8080")\n'
        f"client.create_run_from_pipeline_package(\n    {json.dumps(file)},\n{given})\n"
    )
