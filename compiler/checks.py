"""What must hold before a file is written, so that no server and no run finds out later."""

import inspect
import json
import re
from collections.abc import Iterator
from typing import Any

from kfp_lifecycle.compiler.discover import Definition
from kfp_lifecycle.compiler.errors import CompileError
from kfp_lifecycle.compiler.limits import MAX_FILE_BYTES, MAX_VERSION_LENGTH, NAME
from kfp_lifecycle.compiler.spec import PARAMETER_TYPES, Spec, artifacts, executors, parameters

_UNPRINTABLE = re.compile(r"[^\t\n\x20-\x7e]")


def check_definition(definition: Definition) -> None:
    """Checks the name, the version and, before KFP turns them into protobuf, the defaults in the signature.

    Raises:
        CompileError: The server refuses the name; a default is None, or has an integer in a list or dict.
    """
    _check_server_rules(definition)
    if definition.function is None:
        return
    inputs = definition.component.component_spec.inputs or {}
    for name, parameter in inspect.signature(definition.function).parameters.items():
        if name not in inputs:
            continue
        if parameter.default is None:
            raise CompileError(
                f"{_where(definition, name)} has the default None, which a run cannot pass on.",
                'Give it a default of its own type, such as "", or none.',
            )
        if isinstance(parameter.default, (list, dict)) and _has_integer(parameter.default):
            raise CompileError(
                f"{_where(definition, name)} has an integer in its {type(parameter.default).__name__}: "
                "KFP makes 200 into 200.0 there.",
                "Take the whole as one JSON text (str) and parse it in the step.",
            )


def check_spec(definition: Definition, spec: Spec) -> None:
    """Checks the finished spec.

    Raises:
        CompileError: Names the component, the input or output, and what to change.
    """
    _check_text(definition, spec)
    for side, what in (("inputDefinitions", "input"), ("outputDefinitions", "output")):
        items = {**parameters(spec["root"], side), **artifacts(spec["root"], side)}
        silent = [name for name in sorted(items) if not items[name].get("description")]
        if silent:
            raise CompileError(
                f"{_title(definition)} does not say what {', '.join(map(repr, silent))} "
                f"{'is' if len(silent) == 1 else 'are'} for.",
                f"Describe every {what} in the docstring of the function, under Args or Returns.",
            )
    for name, parameter in parameters(spec["root"], "inputDefinitions").items():
        _check_default(definition, name, parameter)
    _check_nothing_installed(definition, spec)


def check_text(definition: Definition, text: str) -> None:
    """Checks the compiled file's size. Raises ``CompileError``."""
    if len(text) > MAX_FILE_BYTES:
        raise CompileError(
            f"{_title(definition)} compiles to {len(text) >> 20} MiB; the API server takes 32.",
            "Split it into several pipelines.",
        )


def _check_server_rules(definition: Definition) -> None:
    name, version = definition.source.name, definition.version
    if not NAME.fullmatch(name):
        raise CompileError(
            f"{_title(definition)} has a name that the API server refuses.",
            "Use at most 128 lower-case letters, digits and dashes, and begin with a letter or digit.",
        )
    if len(version) > MAX_VERSION_LENGTH:
        raise CompileError(
            f"{_title(definition)} has a version of {len(version)} characters.", "Use at most 127."
        )


def _check_text(definition: Definition, spec: Spec) -> None:
    for path, text in _texts(spec):
        if (bad := _UNPRINTABLE.search(text)) is not None:
            around = text[max(0, bad.start() - 20) : bad.end() + 20]
            raise CompileError(
                f"{_title(definition)} has the character {bad[0]!a} in {path}: {around!a}.",
                "Use printable ASCII only: other characters have broken servers whose database is MySQL.",
            )


def _texts(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield f"{path}.{key}".lstrip("."), str(key)
            yield from _texts(item, f"{path}.{key}".lstrip("."))
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from _texts(item, f"{path}[{position}]")
    elif isinstance(value, str):
        yield path, value


def _check_default(definition: Definition, name: str, parameter: Spec) -> None:
    python, types = PARAMETER_TYPES[parameter["parameterType"]]
    if "defaultValue" not in parameter or not types:
        return
    default = parameter["defaultValue"]
    if not isinstance(default, types) or (isinstance(default, bool) and bool not in types):
        raise CompileError(
            f"{_where(definition, name)} is {python}, but its default is {default!r}.", "Change one."
        )
    if "{{$" in json.dumps(default):
        raise CompileError(
            f"{_where(definition, name)} has the default {default!r}, which KFP takes for a placeholder.",
            "Leave {{$ out of it.",
        )


def _check_nothing_installed(definition: Definition, spec: Spec) -> None:
    for executor in executors(spec).values():
        # The last part of a Python component's command is its source, which may well speak of pip.
        command = executor.get("container", {}).get("command", [])[:-1]
        if any("pip install" in part for part in command):
            raise CompileError(
                f"{_title(definition)} installs packages when its pod starts.",
                "Set install_kfp_package=False and no packages_to_install; put packages into the image.",
            )


def _has_integer(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_integer, value.values()))
    if isinstance(value, list):
        return any(map(_has_integer, value))
    return isinstance(value, int) and not isinstance(value, bool)


def _title(definition: Definition) -> str:
    return f"The {definition.source.kind} {definition.source.name!r} ({definition.source.file})"


def _where(definition: Definition, name: str) -> str:
    source = definition.source
    return f"Parameter {name!r} of the {source.kind} {source.name!r} ({source.file})"
