"""Parameters of a run: a YAML file and ``name=value`` pairs, read as the compiled file types its inputs.

The type of each parameter decides how its text is read, not YAML's guess: ``positive_class: Yes`` is the
text "Yes". A mapping or list given for a text parameter becomes one JSON text, so that a parameters file
stays readable where KFP would turn the 200 in a mapping into 200.0.
"""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from kfp_lifecycle.components.shared.errors import ParameterError, did_you_mean
from kfp_lifecycle.runner.load import RunnableFile

#: The longest single argument of a process (Linux's MAX_ARG_STRLEN, 128 KiB with its closing zero byte): a
#: local run hands each step all its inputs as one.
MAX_ARGUMENT_BYTES = 131_071
#: Doubles, which is what KFP keeps every number in, hold whole numbers exactly up to here.
MAX_INTEGER = 2**53
#: What is left in that argument for the paths of a step's outputs.
_ROOM = 8192


def read_parameters(
    compiled: RunnableFile, file: Path | None = None, assignments: Sequence[str] = ()
) -> dict[str, Any]:
    """The parameters given for a run of ``compiled``, each of its declared type.

    Args:
        compiled: The file to run; its root's inputs say what there is.
        file: A YAML file of parameter names and values.
        assignments: Texts ``name=value``; they win over the file.

    Returns:
        The values given; what is not given has its default in the compiled file.

    Raises:
        ParameterError: A name is unknown, a value has the wrong type or cannot travel, or a parameter that
            must be given is not. Names the parameter, and the file and line.
    """
    given = _from_file(file) if file is not None else {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise ParameterError(f"-p {assignment!r} has no '='.", "Write -p name=value.")
        given[name.strip()] = _Given(text, "-p")
    values = {name: _value(compiled, name, item) for name, item in given.items()}
    _check_nothing_missing(compiled, values)
    return values


@dataclass(frozen=True)
class _Given:
    """A value as the user wrote it: a YAML node, or the text of an assignment; and where."""

    value: yaml.Node | str
    where: str


def _from_file(file: Path) -> dict[str, _Given]:
    try:
        root = yaml.compose(file.read_text(encoding="utf-8"), Loader=_Loader)
    except OSError as error:
        raise ParameterError(f"{file} cannot be read: {error.strerror}.", "Correct --params.") from error
    except UnicodeDecodeError as error:
        raise ParameterError(f"{file} is not UTF-8 text.", "Save it as UTF-8.") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "it cannot be parsed"
        raise ParameterError(f"{file}{where} is not YAML: {problem}.", "Correct the file.") from error
    if root is None:
        return {}
    if not isinstance(root, yaml.MappingNode):
        raise ParameterError(f"{file} is not a mapping.", "Write one parameter a line: name: value.")
    given: dict[str, _Given] = {}
    for key, value in root.value:
        where = f"{file}, line {key.start_mark.line + 1}"
        if key.value in given:
            raise ParameterError(f"Parameter {key.value!r} is given twice ({where}).", "Leave one out.")
        given[str(key.value)] = _Given(value, where)
    return given


def _value(compiled: RunnableFile, name: str, given: _Given) -> Any:
    definition = compiled.inputs.get(name)
    if definition is None:
        raise ParameterError(
            f"{compiled.name} has no parameter {name!r} ({given.where}).", did_you_mean(name, compiled.inputs)
        )
    problem = _Problem(name, given)
    value = _READERS[definition["parameterType"]](given.value, problem)
    allowed = definition.get("literals")
    if allowed and value not in allowed:
        raise problem(f"Give one of: {', '.join(map(str, allowed))}.")
    size = len(json.dumps(value).encode())
    if size > MAX_ARGUMENT_BYTES - _ROOM:
        raise ParameterError(
            f"Parameter {name!r} is {size >> 10} KiB long ({given.where}); a local run passes a step all its "
            f"inputs as one argument, of at most {(MAX_ARGUMENT_BYTES + 1) >> 10} KiB.",
            "Write it to a file and pass the path.",
        )
    return value


def _check_nothing_missing(compiled: RunnableFile, values: Mapping[str, Any]) -> None:
    missing = [
        name
        for name, definition in compiled.inputs.items()
        if name not in values and not definition.get("isOptional") and "defaultValue" not in definition
    ]
    if not missing:
        return
    said = [f"{name} ({compiled.inputs[name].get('description') or 'not described'})" for name in missing]
    raise ParameterError(
        f"{compiled.name} needs {'a parameter that is' if len(missing) == 1 else 'parameters that are'} not "
        f"given: {'; '.join(said)}.",
        f"Give {'it' if len(missing) == 1 else 'them'} in the --params file or as -p {missing[0]}=VALUE.",
    )


@dataclass(frozen=True)
class _Problem:
    """Makes the error that says what is wrong with a parameter's value, and where it was given."""

    name: str
    given: _Given

    def __call__(self, fix: str, said: str = "") -> ParameterError:
        said = said or f"is {_shown(self.given.value)}"
        return ParameterError(f"Parameter {self.name!r} {said} ({self.given.where}).", fix)


def _shown(value: yaml.Node | str) -> str:
    if isinstance(value, yaml.MappingNode):
        return "a mapping"
    if isinstance(value, yaml.SequenceNode):
        return "a list"
    text = str(value.value) if isinstance(value, yaml.Node) else value
    return repr(text) if len(text) <= 60 else f"{text[:60]!r}…"


def _string(value: yaml.Node | str, problem: _Problem) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, yaml.ScalarNode):
        if _is_null(value):
            raise problem(
                'Write "" for the empty text, or leave the line out for the default.', "has no value"
            )
        return str(value.value)
    return json.dumps(_construct(value, problem), ensure_ascii=False, allow_nan=False)


def _number(pattern: re.Pattern[str], kind: Callable[[str], Any], fix: str) -> "_Reader":
    def read(value: yaml.Node | str, problem: _Problem) -> Any:
        text = _plain(value, problem, fix)
        if not pattern.fullmatch(text):
            raise problem(fix)
        number = kind(text)
        if not math.isfinite(number) or (isinstance(number, int) and abs(number) > MAX_INTEGER):
            raise problem("KFP cannot pass it on exactly: take a smaller number, or a text parameter.")
        return number

    return read


def _boolean(value: yaml.Node | str, problem: _Problem) -> bool:
    fix = "Give true or false."
    text = _plain(value, problem, fix).lower()
    if text not in ("true", "false"):
        raise problem(fix)
    return text == "true"


def _collection(kind: type[list[Any]] | type[dict[str, Any]], fix: str) -> "_Reader":
    wanted = yaml.SequenceNode if kind is list else yaml.MappingNode

    def read(value: yaml.Node | str, problem: _Problem) -> Any:
        node = _composed(value, problem, fix) if isinstance(value, str) else value
        if not isinstance(node, wanted):
            raise problem(fix)
        built = _construct(node, problem)
        _check_travels(built, problem)
        return built

    return read


def _plain(value: yaml.Node | str, problem: _Problem, fix: str) -> str:
    if isinstance(value, str):
        return value.strip()
    if not isinstance(value, yaml.ScalarNode):
        raise problem(fix)
    if _is_null(value):
        raise problem("Give a value, or leave the line out for the default.", "has no value")
    if value.style is not None:
        raise problem(fix, f"is the quoted text {_shown(value)}")
    return str(value.value)


def _composed(text: str, problem: _Problem, fix: str) -> yaml.Node | None:
    try:
        return yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise problem(fix) from error


def _construct(node: yaml.Node, problem: _Problem) -> Any:
    try:
        built = _Loader("").construct_document(node)
        json.dumps(built, allow_nan=False)
    except (yaml.YAMLError, ValueError, TypeError) as error:
        raise problem("Write only texts, numbers, true, false, lists and mappings in it.") from error
    return built


def _check_travels(value: Any, problem: _Problem) -> None:
    """Refuses what KFP cannot put into a list or mapping, or would change there without a word."""
    if value is None:
        raise problem("KFP has no null: leave the entry out.", "has an empty entry")
    if isinstance(value, int) and abs(value) > MAX_INTEGER:
        raise problem("Quote it, as a text.", f"holds {value}, which KFP cannot pass on exactly")
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _check_travels(item, problem)


def _is_null(node: yaml.ScalarNode) -> bool:
    return bool(node.tag == "tag:yaml.org,2002:null")


class _Loader(yaml.SafeLoader):
    """YAML as its version 1.2 reads it: Yes, on, 012, 1:30 and dates are texts, keys are texts."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own name and type

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        self.flatten_mapping(node)
        return {str(key.value): self.construct_object(value, deep=True) for key, value in node.value}


for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)", list("-+0123456789")),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", list("-+.0123456789")),
    ("merge", r"<<", ["<"]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})$"), _first)

_Reader = Callable[[yaml.Node | str, _Problem], Any]

_READERS: dict[str, _Reader] = {
    "STRING": _string,
    "NUMBER_INTEGER": _number(re.compile(r"[-+]?[0-9]+"), int, "Give a whole number."),
    "NUMBER_DOUBLE": _number(
        re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"), float, "Give a number."
    ),
    "BOOLEAN": _boolean,
    "LIST": _collection(list, "Give a list, such as [a, b]."),
    "STRUCT": _collection(dict, "Give a mapping, such as {a: b}."),
}
