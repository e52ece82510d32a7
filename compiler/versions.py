"""Semantic versions, as components and pipelines carry them (semver.org, without build metadata)."""

import re

#: A version is a file's name and part of a registry's tags.
VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9a-z]+(\.[0-9a-z]+)*)?")


def precedence(version: str) -> tuple[list[int], bool, list[tuple[bool, int, str]]]:
    """The sort key of a version: 1.9.0 before 1.10.0, and 2.0.0-rc.1 before 2.0.0 (semver.org, item 11)."""
    numbers, _, pre = version.partition("-")
    parts = [(not p.isdigit(), int(p) if p.isdigit() else 0, p) for p in pre.split(".")] if pre else []
    return [int(number) for number in numbers.split(".")], not pre, parts
