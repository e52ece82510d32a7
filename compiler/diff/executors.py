"""What a task runs, and with which settings."""

from collections import Counter
from collections.abc import Iterator

from kfp_lifecycle.compiler.diff.change import Change, change
from kfp_lifecycle.compiler.diff.values import plain, said, same
from kfp_lifecycle.compiler.ir import Executor, Pipeline
from kfp_lifecycle.compiler.safe_yaml import Map
from kfp_lifecycle.compiler.text import shown

#: Field of an executor's Kubernetes settings to the kind of its change, and how it is called.
_SETTINGS = {
    "secretAsEnv": ("secrets-changed", "secrets as variables"),
    "secretAsVolume": ("secrets-changed", "secrets as files"),
    "configMapAsEnv": ("config-maps-changed", "config maps as variables"),
    "configMapAsVolume": ("config-maps-changed", "config maps as files"),
    "pvcMount": ("volumes-changed", "volume claims"),
    "genericEphemeralVolume": ("volumes-changed", "ephemeral volumes"),
    "emptyDirMounts": ("volumes-changed", "empty folders"),
    "enabledSharedMemory": ("volumes-changed", "shared memory"),
    "tolerations": ("tolerations-changed", "tolerations"),
    "nodeSelector": ("node-selector-changed", "node selector"),
    "nodeAffinity": ("affinity-changed", "node affinity"),
    "podAffinity": ("affinity-changed", "pod affinity"),
    "activeDeadlineSeconds": ("timeout-changed", "time-out"),
    "podMetadata": ("pod-metadata-changed", "pod labels and annotations"),
    "imagePullPolicy": ("image-pull-changed", "image pull policy"),
    "imagePullSecret": ("image-pull-changed", "image pull secrets"),
    "securityContext": ("security-context-changed", "security context"),
    "fieldPathAsEnv": ("pod-fields-changed", "pod fields as variables"),
}


def executor_changes(old: Executor, new: Executor, place: str) -> Iterator[Change]:
    """Every change between what a task ran and what it runs."""
    one, other = old.container, new.container
    if one is None or other is None:
        if not same(old.data, new.data):
            values = (plain(None, old.data), plain(None, new.data))
            yield change("importer-changed", place, "What it imports changes.", *values, (old.line, new.line))
    else:
        yield from _container(old, new, place)
    yield from _settings(old, new, place)


def _container(old: Executor, new: Executor, place: str) -> Iterator[Change]:
    if old.image != new.image:
        message = f"The image changes from {shown(old.image, 200)} to {shown(new.image, 200)}."
        yield change("image-changed", place, message, old.image, new.image, _lines(old, new, "image"))
    if old.command != new.command:
        message = f"What it runs changes ({_line_count(old.command, new.command)})."
        yield change("command-changed", place, message, lines=_lines(old, new, "command"))
    yield from _environment(old, new, place)
    yield from _resources(old, new, place)


def _line_count(old: list[str], new: list[str]) -> str:
    before, after = (Counter(line for part in parts for line in part.splitlines()) for parts in (old, new))
    added, removed = (after - before).total(), (before - after).total()
    return f"{removed} lines gone, {added} new" if added or removed else "the same lines in another order"


def _environment(old: Executor, new: Executor, place: str) -> Iterator[Change]:
    before, after = _variables(old), _variables(new)
    for name in sorted(before.keys() | after.keys()):
        one, other = before.get(name), after.get(name)
        if one == other:
            continue
        if one is None or other is None:
            message = f"The variable {shown(name)} is {'new' if one is None else 'gone'}."
        else:
            message = f"The variable {shown(name)} changes from {said(name, one)} to {said(name, other)}."
        values = (plain(name, one), plain(name, other))
        yield change("environment-changed", place, message, *values, _lines(old, new, "env"))


def _variables(executor: Executor) -> dict[str, str]:
    variables = (executor.container or Map()).get("env", [])
    return {variable.get("name", ""): variable.get("value", "") for variable in variables}


def _resources(old: Executor, new: Executor, place: str) -> Iterator[Change]:
    for key in sorted(old.resources.keys() | new.resources.keys()):
        one, other = old.resources.get(key), new.resources.get(key)
        # The SDK writes the same amount once more, in a field for older servers.
        twin = f"resource{key[0].upper()}{key[1:]}"
        if same(_normal(one), _normal(other)) or twin in old.resources or twin in new.resources:
            continue
        kind = "accelerator-changed" if key == "accelerator" else "resources-changed"
        name = _WORDS.get(key.removeprefix("resource").lower(), key)
        message = f"The {name} changes from {_amount(one)} to {_amount(other)}."
        yield change(
            kind, place, message, plain(None, one), plain(None, other), _lines(old, new, "resources")
        )


_WORDS = {
    f"{what.lower()}{which}": f"{what} {which}"
    for what in ("CPU", "memory")
    for which in ("limit", "request")
}


def _normal(value: object) -> object:
    """An accelerator as a text, whichever fields its SDK wrote it in; anything else as it is."""
    if not isinstance(value, Map):
        return value
    kind = value.get("resourceType") or value.get("type") or "?"
    return f"{value.get('resourceCount') or value.get('count') or 0} x {kind}"


def _amount(value: object) -> str:
    return "none" if value is None else shown(str(_normal(value)), quote=False)


def _settings(old: Executor, new: Executor, place: str) -> Iterator[Change]:
    for key, (kind, words) in _SETTINGS.items():
        one, other = old.kubernetes.get(key), new.kubernetes.get(key)
        if same(one, other):
            continue
        lines = tuple(e.kubernetes.line_of(key) if key in e.kubernetes else 0 for e in (old, new))
        message = (
            f"Its {words} change{'' if words.endswith('s') else 's'} from {_short(one)} to {_short(other)}."
        )
        yield change(kind, place, message, plain(None, one), plain(None, other), (lines[0], lines[1]))


def run_changes(old: Pipeline, new: Pipeline) -> Iterator[Change]:
    """Settings of the whole run, and of the file."""
    one, other = (_run_settings(pipeline) for pipeline in (old, new))
    for key in sorted(one.keys() | other.keys()):
        if not same(one.get(key), other.get(key)):
            message = f"The run's {key} changes from {_short(one.get(key))} to {_short(other.get(key))}."
            values = (plain(None, one.get(key)), plain(None, other.get(key)))
            yield change("run-settings-changed", "", message, *values, (one.line_of(key), other.line_of(key)))
    before, after = old.file.spec, new.file.spec
    for key, kind, words in (
        ("defaultPipelineRoot", "pipeline-root-changed", "default pipeline root"),
        ("sdkVersion", "sdk-version-changed", "SDK"),
        ("schemaVersion", "sdk-version-changed", "schema version"),
    ):
        if before.get(key) != after.get(key):
            message = f"The {words} changes from {_short(before.get(key))} to {_short(after.get(key))}."
            lines = (before.line_of(key), after.line_of(key))
            yield change(kind, "", message, before.get(key), after.get(key), lines)


def _run_settings(pipeline: Pipeline) -> Map:
    kubernetes = pipeline.file.platform.get("platforms", {}).get("kubernetes", Map())
    found: Map = kubernetes.get("pipelineConfig") or Map()
    return found


def _short(value: object) -> str:
    return "none" if value is None else said(None, value, 100)


def _lines(old: Executor, new: Executor, key: str) -> tuple[int, int]:
    return old.line_of(key), new.line_of(key)
