"""Tasks, what they are given, and when they run."""

from collections import deque
from collections.abc import Iterator

from kfp_lifecycle.compiler.diff.change import Change, change
from kfp_lifecycle.compiler.diff.executors import executor_changes
from kfp_lifecycle.compiler.diff.interface import inner_changes
from kfp_lifecycle.compiler.diff.values import plain, said, same, source
from kfp_lifecycle.compiler.errors import CompiledFileError
from kfp_lifecycle.compiler.ir import Component, Pipeline, Task
from kfp_lifecycle.compiler.safe_yaml import Map
from kfp_lifecycle.compiler.text import shown

#: Graphs that use each other's components crosswise can be paired in as many ways as there are products.
MOST_TASKS = 100_000

Pair = tuple[Component, Component]


def graph_changes(old: Pipeline, new: Pipeline) -> Iterator[Change]:
    """Every change in the graphs, from the root downwards; what two tasks share is compared once.

    Raises:
        CompiledFileError: There are too many pairs of tasks to compare.
    """
    seen = {(old.root.name, new.root.name)}
    pending: deque[Pair] = deque([(old.root, new.root)])
    compared = 0
    while pending:
        one, other = pending.popleft()
        yield from _outputs(one, other)
        yield from _added_and_removed(one, other)
        for name in sorted(one.tasks.keys() & other.tasks.keys()):
            compared += 1
            if compared > MOST_TASKS:
                raise CompiledFileError(new.file.path, "There are too many tasks to compare.")
            before, after = one.tasks[name], other.tasks[name]
            yield from _task(before, after)
            inner = (before.component_name, after.component_name)
            if inner not in seen and before.component is not None and after.component is not None:
                seen.add(inner)
                yield from _component(before.component, after.component, after.place)
                pending.append((before.component, after.component))


def _component(old: Component, new: Component, place: str) -> Iterator[Change]:
    if _kind(old) != _kind(new):
        message = f"It was {_kind(old)} and is {_kind(new)}."
        yield change("task-kind-changed", place, message, _kind(old), _kind(new), (old.line, new.line))
    yield from inner_changes(old, new, place)
    if old.executor is not None and new.executor is not None and _kind(old) == _kind(new):
        yield from executor_changes(old.executor, new.executor, place)


def _kind(component: Component) -> str:
    if component.dag is not None:
        return "a graph"
    executor = component.executor
    return f"a {next(iter(executor.data), 'nothing')}" if executor is not None else "nothing"


def _added_and_removed(old: Component, new: Component) -> Iterator[Change]:
    gone = [old.tasks[name] for name in sorted(old.tasks.keys() - new.tasks.keys())]
    come = [new.tasks[name] for name in sorted(new.tasks.keys() - old.tasks.keys())]
    twins = {_signature(task): task for task in reversed(come)}
    for task in gone:
        twin = twins.get(_signature(task))
        hint = f"Renamed? {shown(twin.name)} runs the same." if twin is not None else ""
        yield change("task-removed", task.place, "The task is gone.", task.name, None, (task.line, 0), hint)
    for task in come:
        yield change("task-added", task.place, "The task is new.", None, task.name, (0, task.line))


def _signature(task: Task) -> tuple[object, ...]:
    """What two tasks have in common that run the same code."""
    executor = task.executor
    return (tuple(executor.command), executor.image) if executor and executor.command else (id(task),)


def _task(old: Task, new: Task) -> Iterator[Change]:
    place, lines = new.place, (old.line, new.line)
    before, after = (task.data.get("taskInfo", {}).get("name") for task in (old, new))
    if before != after:
        message = f"The name that the UI shows changes from {shown(before or '')} to {shown(after or '')}."
        yield change("display-name-changed", place, message, before, after, lines)
    yield from _dependencies(old, new)
    yield from _arguments(old, new)
    yield from _trigger(old, new)
    yield from _loop(old, new)
    for key, kind, words in (
        ("cachingOptions", "caching-changed", "Caching"),
        ("retryPolicy", "retries-changed", "The retry policy"),
    ):
        one, other = old.data.get(key), new.data.get(key)
        # A missing field is not an empty one: there, nobody has decided.
        if not same(one, other):
            message = f"{words} changes from {_settings(one)} to {_settings(other)}."
            where = (old.data.line_of(key), new.data.line_of(key))
            yield change(kind, place, message, plain(None, one), plain(None, other), where)


def _settings(value: Map | None) -> str:
    if value is None:
        return "nothing said"
    return ", ".join(f"{key} {said(key, plain(key, item))}" for key, item in value.items()) or "off"


def _dependencies(old: Task, new: Task) -> Iterator[Change]:
    before, after = (set(task.data.get("dependentTasks", [])) for task in (old, new))
    if before != after:
        gone, come = sorted(before - after), sorted(after - before)
        parts = [f"no more for {shown(', '.join(gone))}"] if gone else []
        parts += [f"now for {shown(', '.join(come))}"] if come else []
        lines = (old.data.line_of("dependentTasks"), new.data.line_of("dependentTasks"))
        message = f"It waits {' and '.join(parts)}."
        yield change("task-dependencies-changed", new.place, message, sorted(before), sorted(after), lines)


def _arguments(old: Task, new: Task) -> Iterator[Change]:
    for side in ("parameters", "artifacts"):
        before, after = old.arguments(side), new.arguments(side)
        for name in sorted(before.keys() | after.keys()):
            one, other = before.get(name), after.get(name)
            if same(one, other):
                continue
            message = (
                f"Its input {shown(name)} was given {source(one, name)} and is given {source(other, name)}."
            )
            lines = (before.line_of(name) if one else 0, after.line_of(name) if other else 0)
            values = (plain(name, one), plain(name, other))
            yield change("task-argument-changed", new.place, message, *values, lines)


def _trigger(old: Task, new: Task) -> Iterator[Change]:
    before, after = (task.data.get("triggerPolicy", Map()) for task in (old, new))
    for key, words in (("condition", "condition"), ("strategy", "trigger")):
        one, other = before.get(key), after.get(key)
        if one != other:
            message = f"Its {words} changes from {shown(one or 'none')} to {shown(other or 'none')}."
            lines = (old.data.line_of("triggerPolicy"), new.data.line_of("triggerPolicy"))
            yield change("task-condition-changed", new.place, message, one, other, lines)


def _loop(old: Task, new: Task) -> Iterator[Change]:
    for key, words in (
        ("parameterIterator", "What it loops over"),
        ("artifactIterator", "What it loops over"),
        ("iteratorPolicy", "How many of its items run at once"),
    ):
        one, other = old.data.get(key), new.data.get(key)
        if not same(one, other):
            lines = (old.data.line_of(key), new.data.line_of(key))
            message = f"{words} changes."
            values = (plain(None, one), plain(None, other))
            yield change("task-loop-changed", new.place, message, *values, lines)


def _outputs(old: Component, new: Component) -> Iterator[Change]:
    before, after = ((c.dag or Map()).get("outputs", Map()) for c in (old, new))
    for side in ("parameters", "artifacts"):
        one, other = before.get(side, Map()), after.get(side, Map())
        for name in sorted(one.keys() & other.keys()):
            if not same(one[name], other[name]):
                message = f"The output {shown(name)} comes from elsewhere."
                lines = (one.line_of(name), other.line_of(name))
                values = (plain(None, one[name]), plain(None, other[name]))
                yield change("graph-outputs-changed", new.place, message, *values, lines)
