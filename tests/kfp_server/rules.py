"""What the server refuses before it does anything."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from tests.kfp_server.errors import RefusedError, invalid

Spec = dict[str, Any]

MAX_FILE_BYTES = 32 * 2**20
MAX_PARAMETER_BYTES = 100_000
MOST_TAGS, MAX_TAG = 20, 63
#: Characters of what a user names, by what it is.
LENGTHS = {
    ("Pipeline", "Name"): 128,
    ("PipelineVersion", "Name"): 127,
    ("Pipeline", "Namespace"): 63,
    ("Experiment", "Name"): 128,
    ("Experiment", "Namespace"): 63,
    ("Run", "DisplayName"): 191,
    ("RecurringRun", "DisplayName"): 191,
}
_PIPELINE_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,127}")
_TYPES: dict[str, tuple[type, ...]] = {
    "STRING": (str,),
    "NUMBER_INTEGER": (int, float),
    "NUMBER_DOUBLE": (int, float),
    "BOOLEAN": (bool,),
    "LIST": (list,),
    "STRUCT": (dict,),
}


def check_length(kind: str, field: str, value: str) -> None:
    most = LENGTHS[kind, field]
    if len(value) > most:
        raise invalid(f"{kind}.{field} length cannot exceed {most}")


def check_name(kind: str, name: str) -> None:
    if not name.strip():
        raise invalid(f"Failed to create a {kind.lower()}: name is empty. Please specify a valid name")


def check_tags(tags: Mapping[str, str] | None) -> None:
    if not tags:
        return
    if len(tags) > MOST_TAGS:
        raise invalid(f"too many tags: {len(tags)} exceeds the maximum of {MOST_TAGS}")
    for key, value in tags.items():
        if not key or len(key) > MAX_TAG or len(value) > MAX_TAG:
            raise invalid(f"tag {key!r}: keys and values have 1 to {MAX_TAG} characters")


def parse_package(data: bytes, unknown: Iterable[str]) -> Spec:
    """An uploaded file as the API gives it back: the spec, or both specs where it has platform settings.

    Args:
        data: The file.
        unknown: Names of fields that a server of this age does not know.
    """
    if len(data) > MAX_FILE_BYTES:
        raise invalid("Failed to read a pipeline spec file: file size too large")
    try:
        documents = [d for d in yaml.safe_load_all(data) if d is not None]
    except yaml.YAMLError:
        raise _bad("not YAML") from None
    specs = [d for d in documents if isinstance(d, dict) and "pipelineInfo" in d]
    platforms = [d for d in documents if isinstance(d, dict) and "platforms" in d]
    if len(specs) != 1 or len(platforms) > 1:
        raise _bad("one pipeline spec and at most one platform spec are wanted")
    check_spec(specs[0], unknown)
    if not platforms:
        return specs[0]
    _strict(platforms[0], pipeline_spec_pb2.PlatformSpec())
    return {"pipeline_spec": specs[0], "platform_spec": platforms[0]}


def check_spec(spec: Spec, unknown: Iterable[str]) -> None:
    old = set(unknown)
    for name in _keys(spec):
        if name in old:
            raise _bad(f'proto: (line 1:{len(name)}): unknown field "{name}"')
    _strict(spec, pipeline_spec_pb2.PipelineSpec())
    if spec.get("schemaVersion") != "2.1.0":
        raise _bad(f"schema version {spec.get('schemaVersion')!r} is not supported")
    name = spec["pipelineInfo"].get("name", "")
    if not _PIPELINE_NAME.fullmatch(name):
        raise _bad(f"pipeline's name must contain only lower case alphanumeric characters or '-': {name!r}")
    if not spec.get("root", {}).get("dag", {}).get("tasks"):
        raise _bad("pipeline has no root dag")


def _bad(why: str) -> RefusedError:
    return invalid(
        "Failed to create a pipeline version due to template creation error: "
        f"InvalidInputError: invalid v2 pipeline spec: {why}"
    )


def _strict(value: Spec, message: Any) -> None:
    try:
        json_format.ParseDict(value, message)
    except json_format.ParseError as error:
        raise _bad(str(error)) from None


def _keys(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from _keys(item)
    elif isinstance(value, list):
        for item in value:
            yield from _keys(item)


def pipeline_spec(package: Spec) -> Spec:
    """The pipeline spec in what the API gives back as one."""
    found: Spec = package.get("pipeline_spec", package)
    return found


def check_parameters(package: Spec, given: Mapping[str, Any]) -> None:
    wanted = pipeline_spec(package)["root"].get("inputDefinitions", {}).get("parameters", {})
    if unknown := sorted(given.keys() - wanted.keys()):
        raise invalid(f"unknown parameter(s) provided: {', '.join(unknown)}")
    missing = [
        name
        for name, found in wanted.items()
        if name not in given and "defaultValue" not in found and not found.get("isOptional")
    ]
    if missing:
        raise invalid(f"one or more required parameters are missing: {', '.join(sorted(missing))}")
    for name, value in given.items():
        kind = wanted[name].get("parameterType", "")
        fits = isinstance(value, _TYPES.get(kind, (object,)))
        if isinstance(value, bool) and kind.startswith("NUMBER"):
            fits = False
        if kind == "NUMBER_INTEGER" and isinstance(value, float) and not value.is_integer():
            fits = False
        if not fits:
            raise invalid(f"input parameter {name} requires type {kind}, but the parameter value is not")
    size = sum(len(str(value)) for value in given.values())
    if size > MAX_PARAMETER_BYTES:
        raise invalid(f"The input parameter length exceed maximum size of {MAX_PARAMETER_BYTES}.")


_RANGES = ((0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (0, 6))
_WORDS = {
    w: n
    for words, first in (
        ("jan feb mar apr may jun jul aug sep oct nov dec", 1),
        ("sun mon tue wed thu fri sat", 0),
    )
    for n, w in enumerate(words.split(), first)
}


def check_cron(text: str) -> None:
    """As robfig/cron 1.2 reads one: six fields, of which the last (day of week) may be missing."""
    if re.fullmatch(r"@(yearly|annually|monthly|weekly|daily|midnight|hourly|every [0-9.hmsuµn]+)", text):
        return
    fields = text.split()
    if len(fields) not in (5, 6):
        raise _cron(f"Expected 5 to 6 fields, found {len(fields)}: {text}")
    for field, (low, high) in zip(fields, _RANGES, strict=False):
        for part in field.split(","):
            span, _, step = part.partition("/")
            if step and (not step.isdigit() or int(step) == 0):
                raise _cron(f"Step of range should be a positive number: {part}")
            if span in ("*", "?"):
                continue
            ends = [_WORDS.get(end.lower(), end) for end in span.split("-")]
            if len(ends) > 2 or not all(str(end).isdigit() for end in ends):
                raise _cron(f"Failed to parse int from {part}")
            numbers = [int(end) for end in ends]
            if numbers[0] < low or numbers[-1] > high or numbers[0] > numbers[-1]:
                raise _cron(f"{part} is not in the range {low} to {high}")


def _cron(why: str) -> RefusedError:
    return invalid(
        "Schedule cron is not a supported format(https://godoc.org/github.com/robfig/cron). Error: " + why
    )


def check_schedule(body: Mapping[str, Any]) -> None:
    concurrency = int(body.get("max_concurrency") or 0)
    if not 1 <= concurrency <= 10:
        raise invalid(
            f"The max concurrency of a recurring run must be between 1 and 10, but got {concurrency}"
        )
    trigger = body.get("trigger") or {}
    cron, periodic = trigger.get("cron_schedule"), trigger.get("periodic_schedule")
    if bool(cron) == bool(periodic):
        raise invalid("A recurring run needs one trigger: a cron schedule or a periodic one")
    if cron:
        check_cron(cron.get("cron", ""))
    elif int(periodic.get("interval_second") or 0) < 1:
        raise invalid("Found invalid period schedule interval. Set at interval to least 1 second")
