"""What a pipeline takes and gives."""

import difflib
from collections.abc import Iterator, Mapping

from kfp_lifecycle.compiler.diff.change import Change, change
from kfp_lifecycle.compiler.diff.values import plain, said, same
from kfp_lifecycle.compiler.ir import Component, Pipeline, Port
from kfp_lifecycle.compiler.text import shown

Ports = Mapping[str, Port]


def interface_changes(old: Pipeline, new: Pipeline) -> Iterator[Change]:
    """Every change that someone who runs the pipeline, or reads about it, can see."""
    if old.name != new.name:
        message = f"The pipeline's name changes from {shown(old.name)} to {shown(new.name)}."
        yield change("pipeline-renamed", "", message, old.name, new.name, _info_lines(old, new, "name"))
    yield from _texts(old, new)
    yield from _inputs(old.root.inputs, new.root.inputs)
    yield from _outputs(old.root.outputs, new.root.outputs)


def inner_changes(old: Component, new: Component, place: str) -> Iterator[Change]:
    """Changed inputs and outputs of a component inside: nobody outside sees them."""
    for what, before, after in (("input", old.inputs, new.inputs), ("output", old.outputs, new.outputs)):
        for name in sorted(before.keys() | after.keys()):
            one, other = before.get(name), after.get(name)
            if one is None or other is None:
                message = f"The {what} {shown(name)} is {'new' if one is None else 'gone'}."
            elif one.type != other.type:
                message = f"The {what} {shown(name)} was {shown(one.type)} and is {shown(other.type)}."
            elif not same(one.data.get("defaultValue"), other.data.get("defaultValue")):
                message = f"The default of {shown(name)} changes {_from_to(name, one, other)}."
            elif one.required != other.required:
                message = f"The {what} {shown(name)} must {'' if other.required else 'not '}be given."
            elif one.description != other.description:
                yield _description(f"The description of {shown(name)}", place, one, other)
                continue
            else:
                continue
            yield change("inner-interface-changed", place, message, lines=_lines(one, other))


def _texts(old: Pipeline, new: Pipeline) -> Iterator[Change]:
    before, after = old.file.spec["pipelineInfo"], new.file.spec["pipelineInfo"]
    for key, kind in (("description", "description-changed"), ("displayName", "display-name-changed")):
        if before.get(key, "") != after.get(key, ""):
            what = "display name" if key == "displayName" else key
            message = f"The pipeline's {what} changes."
            yield change(kind, "", message, before.get(key), after.get(key), _info_lines(old, new, key))


def _info_lines(old: Pipeline, new: Pipeline, key: str) -> tuple[int, int]:
    return old.file.spec["pipelineInfo"].line_of(key), new.file.spec["pipelineInfo"].line_of(key)


def _inputs(old: Ports, new: Ports) -> Iterator[Change]:
    for name in sorted(old.keys() - new.keys()):
        message = f"The input {shown(name)} ({shown(old[name].type, quote=False)}) is gone."
        hint = _renamed(old[name], old, new)
        yield change("input-removed", "", message, name, None, (old[name].line, 0), hint)
    for name in sorted(new.keys() - old.keys()):
        kind = "input-added-required" if new[name].required else "input-added"
        must = "must be given" if new[name].required else f"defaults to {_default(new[name])}"
        message = f"The input {shown(name)} ({shown(new[name].type, quote=False)}) is new and {must}."
        yield change(kind, "", message, None, name, (0, new[name].line), _renamed(new[name], new, old))
    for name in sorted(old.keys() & new.keys()):
        yield from _input(old[name], new[name])


def _input(old: Port, new: Port) -> Iterator[Change]:
    lines, name = (old.line, new.line), old.name
    if old.type != new.type or old.is_artifact != new.is_artifact:
        message = f"The input {shown(name)} was {shown(old.type)} and is {shown(new.type)}."
        yield change("input-type-changed", "", message, old.type, new.type, lines)
    if new.required and not old.required:
        message = f"The input {shown(name)} must be given now; it was {_default(old)} by default."
        yield change(
            "input-now-required", "", message, plain(name, old.data.get("defaultValue")), None, lines
        )
    elif old.required and not new.required:
        message = f"The input {shown(name)} need not be given: it is {_default(new)} by default."
        yield change(
            "input-now-optional", "", message, None, plain(name, new.data.get("defaultValue")), lines
        )
    elif not same(old.data.get("defaultValue"), new.data.get("defaultValue")):
        values = [plain(name, port.data.get("defaultValue")) for port in (old, new)]
        message = f"The default of {shown(name)} changes {_from_to(name, old, new)}."
        yield change("input-default-changed", "", message, values[0], values[1], lines)
    yield from _literals(old, new)
    if old.description != new.description:
        yield _description(f"The description of the input {shown(name)}", "", old, new)


def _literals(old: Port, new: Port) -> Iterator[Change]:
    before, after = old.data.get("literals", []), new.data.get("literals", [])
    lines = (old.line, new.line)
    if after and (not before or any(value not in after for value in before)):
        message = f"The input {shown(old.name)} takes fewer values."
        yield change("input-literals-narrowed", "", message, before or None, after, lines)
    elif before and (not after or any(value not in before for value in after)):
        message = f"The input {shown(old.name)} takes more values."
        yield change("input-literals-widened", "", message, before, after or None, lines)


def _outputs(old: Ports, new: Ports) -> Iterator[Change]:
    for name in sorted(old.keys() - new.keys()):
        message = f"The output {shown(name)} ({shown(old[name].type, quote=False)}) is gone."
        hint = _renamed(old[name], old, new)
        yield change("output-removed", "", message, name, None, (old[name].line, 0), hint)
    for name in sorted(new.keys() - old.keys()):
        message = f"The output {shown(name)} ({shown(new[name].type, quote=False)}) is new."
        yield change("output-added", "", message, None, name, (0, new[name].line))
    for name in sorted(old.keys() & new.keys()):
        one, other = old[name], new[name]
        if one.type != other.type or one.is_artifact != other.is_artifact:
            message = f"The output {shown(name)} was {shown(one.type)} and is {shown(other.type)}."
            yield change("output-type-changed", "", message, one.type, other.type, (one.line, other.line))
        if one.description != other.description:
            yield _description(f"The description of the output {shown(name)}", "", one, other)


def _description(what: str, place: str, old: Port, new: Port) -> Change:
    values = (old.description or None, new.description or None)
    return change("description-changed", place, f"{what} changes.", *values, (old.line, new.line))


def _default(port: Port) -> str:
    return said(port.name, port.data["defaultValue"]) if "defaultValue" in port.data else "none"


def _from_to(name: str, old: Port, new: Port) -> str:
    return f"from {_default(old)} to {_default(new)}"


def _lines(old: Port | None, new: Port | None) -> tuple[int, int]:
    return old.line if old else 0, new.line if new else 0


#: Comparing each name with each takes long for thousands.
_MOST_NAMES = 200


def _renamed(port: Port, here: Ports, there: Ports) -> str:
    """A guess at the other name of a port that only one side has."""
    only = [other.name for other in there.values() if other.name not in here and other.type == port.type]
    if not only or len(only) > _MOST_NAMES:
        return ""
    alone = [other for other in here.values() if other.name not in there and other.type == port.type]
    near = difflib.get_close_matches(port.name[:100], only, n=1, cutoff=0.6)
    if not near and len(only) == len(alone) == 1:
        near = only
    return f"Renamed? The other file has {shown(near[0])}." if near else ""
