"""The texts on a node."""

from collections.abc import Iterator, Mapping

from kfp_lifecycle.compiler.graph import words
from kfp_lifecycle.compiler.graph.access import (
    CHANNEL,
    Fields,
    component_name,
    declared,
    fields,
    iterated,
    iterator,
    text,
)
from kfp_lifecycle.compiler.graph.model import GROUPS, Kind
from kfp_lifecycle.components.shared.errors import redact


def title(key: str, task: Fields, kind: Kind) -> str:
    """The name that was given; none for a condition or loop that has only the one that KFP counts up."""
    name = text(task, "taskInfo", "name") or key
    return "" if name == key and kind in GROUPS - {Kind.PIPELINE} else name


def lead(kind: Kind, branch: str) -> str:
    """What a group is, in a word or two.

    Args:
        kind: Its kind.
        branch: ``if``, ``else if`` or ``else`` for a condition.
    """
    if kind is Kind.CONDITION:
        return branch
    words_for = {Kind.LOOP: "for each", Kind.BRANCHES: "branches"}
    return words_for.get(kind, kind.value if kind in GROUPS else "")


def notes(
    task: Fields, kind: Kind, executor: Fields, names: Mapping[str, str], branch: tuple[str, str], item: str
) -> Iterator[str]:
    """The condition, what is iterated over, what is imported.

    Args:
        task: The task's spec.
        kind: What it is; a condition's or loop's lead says the first words already.
        executor: Its executor's spec.
        names: Its inputs to how people know what they are given.
        branch: ``if``, ``else if`` or ``else``, and the condition; both may be empty.
        item: What the current item of a loop is called.
    """
    word, expression = branch
    if word:
        shown = words.condition(expression, names)
        yield shown if kind is Kind.CONDITION else f"{word} {shown}"
    if iterator(task):
        shown = f"{item} in {_over(task, names)}"
        limit = fields(task, "iteratorPolicy").get("parallelismLimit")
        shown += f", {words.constant(limit)} at a time" if limit else ""
        yield shown if kind is Kind.LOOP else f"for each {shown}"
    if kind is Kind.IMPORTER:
        uri = fields(executor, "importer", "artifactUri")
        given = names.get(text(uri, "runtimeParameter")) or words.constant(uri.get("constant"))
        yield redact(given.strip('"'))


def _over(task: Fields, names: Mapping[str, str]) -> str:
    _, name = iterated(task)
    if name:
        return names.get(name, name.removeprefix(CHANNEL))
    _, found = iterator(task) or (None, {})
    return words.loop_over(text(found, "items", "raw"))


def facts(key: str, task: Fields, executor: Fields, names: Mapping[str, str]) -> Iterator[str]:
    """What is shown on pointing at a task: its component, its image, what its parameters are given."""
    yield f"task {key}"
    yield f"component {component_name(task).removeprefix('comp-')}"
    if image := text(executor, "container", "image"):
        yield f"image {image}"
    for name in sorted(names):
        if not name.startswith(CHANNEL):
            yield redact(f"{name} = {names[name]}")


def interface(root: Fields) -> Iterator[str]:
    """The inputs and outputs of the pipeline, one a line."""
    for side, what in (("inputDefinitions", "input"), ("outputDefinitions", "output")):
        for port in declared(root, side).values():
            yield f"{what} {port.label}: {port.type}"


def item(level: int) -> str:
    """What the current item of a loop is called; loops inside loops count up."""
    return "item" if level == 1 else f"item {level}"
