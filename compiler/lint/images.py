"""KL3: images, and what is installed into them when a pod starts."""

import re
from collections.abc import Iterator

from kfp_lifecycle.compiler.ir import Executor, Pipeline
from kfp_lifecycle.compiler.lint.rule import Hit, Options, Severity, rule
from kfp_lifecycle.compiler.text import shown

#: Tags that mean another image tomorrow.
MOVING = {
    *("latest", "main", "master", "trunk", "head", "dev", "devel", "develop", "development", "nightly"),
    *("edge", "canary", "next", "alpha", "beta", "rc", "snapshot", "stable", "release", "current", "lts"),
    *("rolling", "test", "staging", "prod", "production"),
}

#: An image that is always the same one.
DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")
# Repository, then tag; the digest is cut off before. A colon before the last slash is a registry's port.
_TAGGED = re.compile(r"(?P<name>.+?)(:(?P<tag>[^:/]+))?")

_INSTALLS = re.compile(
    r"\b(pip3?|uv|conda|mamba|apt|apt-get|yum|dnf|npm|poetry)\b[^\n;&|]{0,200}\binstall\b|\bapk\s+add\b"
)


@rule(
    "KL301",
    "image-without-tag",
    Severity.ERROR,
    "An image without a tag is latest: another one tomorrow, and the cache does not notice.",
    "Name a version and its digest: name:1.2.3@sha256:….",
)
def _untagged(pipeline: Pipeline, options: Options) -> Iterator[Hit]:
    for place, executor in _images(pipeline):
        if not executor.image:
            yield Hit(executor.line, "There is no image.", place)
        elif tag_of(executor.image) == "" and not DIGEST.search(executor.image):
            yield Hit(executor.line_of("image"), f"Image {shown(executor.image)} has no tag.", place)


@rule(
    "KL302",
    "image-with-moving-tag",
    Severity.ERROR,
    "A moving tag is another image tomorrow: runs cannot be repeated, and the cache gives stale results.",
    "Name a version and its digest: name:1.2.3@sha256:….",
)
def _moving(pipeline: Pipeline, options: Options) -> Iterator[Hit]:
    for place, executor in _images(pipeline):
        if tag_of(executor.image).lower() in MOVING and not DIGEST.search(executor.image):
            yield Hit(executor.line_of("image"), f"The tag of {shown(executor.image)} moves.", place)


@rule(
    "KL303",
    "image-without-digest",
    Severity.NOTE,
    "A version's tag can be pushed again; only a digest is always the same image.",
    "Add the digest: name:1.2.3@sha256:….",
)
def _no_digest(pipeline: Pipeline, options: Options) -> Iterator[Hit]:
    severity = Severity.ERROR if options.require_digests else None
    for place, executor in _images(pipeline):
        tag = tag_of(executor.image)
        if tag and tag.lower() not in MOVING and not DIGEST.search(executor.image):
            said = f"Image {shown(executor.image)} has no digest."
            yield Hit(executor.line_of("image"), said, place, severity=severity)


@rule(
    "KL304",
    "installs-at-start",
    Severity.WARNING,
    "What a pod installs at its start costs seconds in every run, and may be another version each time.",
    "Put the packages into the image: install_kfp_package=False and no packages_to_install.",
)
def _installs(pipeline: Pipeline, options: Options) -> Iterator[Hit]:
    for place, executor in _places(pipeline):
        if any(_INSTALLS.search(part[:100_000]) for part in shell_parts(executor)):
            yield Hit(executor.line_of("command"), "Packages are installed when its pod starts.", place)


def tag_of(image: str) -> str:
    """The tag of an image's name; empty where there is none."""
    name = image.partition("@")[0]
    found = _TAGGED.fullmatch(name[:1000].rpartition("/")[2])
    return (found["tag"] or "") if found else ""


def shell_parts(executor: Executor) -> list[str]:
    """Command and arguments without a Python component's source, which may well speak of pip."""
    command = executor.command
    return [part for at, part in enumerate(command) if at == 0 or "executor_main" not in command[at - 1]]


def _places(pipeline: Pipeline) -> Iterator[tuple[str, Executor]]:
    """Each executor that runs a container, with a task that uses it."""
    seen = set()
    for task, executor in pipeline.pod_tasks:
        if executor.label not in seen:
            seen.add(executor.label)
            yield task.place, executor


def _images(pipeline: Pipeline) -> Iterator[tuple[str, Executor]]:
    """The same, without images that a parameter names."""
    return ((place, executor) for place, executor in _places(pipeline) if "{{" not in executor.image)
