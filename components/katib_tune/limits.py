"""What this machine, or the container that it is, lets a search have: cores and memory."""

import math
import os
import re
from pathlib import Path

from kfp_lifecycle.components.shared.errors import ParameterError

#: The share of the memory that is free which trials may have.
SHARE = 0.8

_CGROUP = Path("/sys/fs/cgroup")
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_UNITS |= {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


def cores() -> int:
    """Whole cores that this process may use, by its affinity and its container's quota; at least 1."""
    own = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = (_CGROUP / "cpu.max").read_text(encoding="ascii").split()
        return max(1, own if quota == "max" else min(own, math.floor(int(quota) / int(period))))
    except (OSError, ValueError):
        return own


def free_memory() -> int:
    """Bytes that are free on the machine or in its container, whichever is less; 0 where nothing says."""
    found = [
        _number(Path("/proc/meminfo"), r"MemAvailable:\s+(\d+) kB") * 1024,
        _number(_CGROUP / "memory.max", r"(\d+)") - _number(_CGROUP / "memory.current", r"(\d+)"),
    ]
    return min((number for number in found if number > 0), default=0)


def parse_memory(text: str, parameter: str) -> int:
    """Bytes from a quantity as Kubernetes writes it, such as ``2Gi`` or ``500M``; an empty text is 0.

    Raises:
        ParameterError: It is none. Names ``parameter``.
    """
    if not text.strip():
        return 0
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]i?)?", text.strip())
    if match is None or not float(match[1]):
        raise ParameterError(f"Parameter {parameter!r} is {text!r}.", "Give a quantity such as 2Gi or 500Mi.")
    return int(float(match[1]) * _UNITS[match[2] or ""])


def _number(file: Path, pattern: str) -> int:
    try:
        match = re.search(pattern, file.read_text(encoding="ascii"))
    except OSError:
        return 0
    return int(match[1]) if match else 0
