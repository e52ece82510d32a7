"""The short facts on a task: resources, accelerators, retries, caching, and what Kubernetes adds."""

import re
from typing import Any

from kfp_lifecycle.compiler.graph.access import Fields, fields

_PLACEHOLDER = re.compile(r"\{\{\$\.inputs\.parameters\[['\"](?:pipelinechannel--)?([^'\"]*)['\"]\]\}\}")


def of_task(task: Fields, executor: Fields, platform: Fields) -> tuple[str, ...]:
    """The badges of one task.

    Args:
        task: Its spec.
        executor: Its executor's spec; empty for a group.
        platform: What the Kubernetes document says of the executor; empty where it says nothing.
    """
    found = [*_resources(fields(executor, "container", "resources"))]
    if retries := fields(task, "retryPolicy").get("maxRetryCount"):
        found.append(f"retries {_number(retries)}")
    if executor and "cachingOptions" in task and not fields(task, "cachingOptions").get("enableCache"):
        found.append("not cached")
    if fields(task, "triggerPolicy").get("strategy") == "ALL_UPSTREAM_TASKS_COMPLETED":
        found.append("runs in any case")
    return (*found, *_kubernetes(platform))


def _resources(resources: Fields) -> list[str]:
    found = []
    cpu = _range(resources, "Cpu", "cpu", "")
    memory = _range(resources, "Memory", "memory", "G")
    if cpu:
        found.append(f"{cpu} CPU")
    if memory:
        found.append(memory)
    accelerator = fields(resources, "accelerator")
    count = accelerator.get("resourceCount", accelerator.get("count"))
    kind = accelerator.get("resourceType", accelerator.get("type"))
    if kind:
        found.append(f"{_number(count)} x {_number(kind)}" if count else _number(kind))
    return found


def _range(resources: Fields, name: str, old: str, unit: str) -> str:
    """``2``, ``1-2``, or ``from 1`` where only the request is given. Older SDKs wrote numbers alone."""
    limit = resources.get(f"resource{name}Limit") or _with_unit(resources.get(f"{old}Limit"), unit)
    request = resources.get(f"resource{name}Request") or _with_unit(resources.get(f"{old}Request"), unit)
    if limit and request and limit != request:
        return f"{_number(request)} - {_number(limit)}"
    if limit:
        return _number(limit)
    return f"from {_number(request)}" if request else ""


def _with_unit(value: Any, unit: str) -> str:
    return f"{_number(value)}{unit}" if value else ""


def _kubernetes(platform: Fields) -> list[str]:
    found = []
    for field, one, many in (
        ("secretAsEnv", "secret", "secrets"),
        ("secretAsVolume", "secret volume", "secret volumes"),
        ("pvcMount", "volume", "volumes"),
        ("emptyDirMounts", "scratch volume", "scratch volumes"),
    ):
        if isinstance(items := platform.get(field), list) and items:
            found.append(one if len(items) == 1 else f"{len(items)} {many}")
    if fields(platform, "nodeSelector"):
        found.append("node selector")
    seconds = str(platform.get("activeDeadlineSeconds", ""))
    if seconds.isascii() and seconds.isdigit() and len(seconds) < 10 and int(seconds):
        found.append(f"at most {_duration(int(seconds))}")
    return found


def _duration(seconds: int) -> str:
    for unit, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds % unit == 0:
            return f"{seconds // unit} {name}"
    return f"{seconds} s"


def _number(value: Any) -> str:
    """A number or quantity as it is written; a parameter that stands for one by its name."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return _PLACEHOLDER.sub(r"\1", str(value))
