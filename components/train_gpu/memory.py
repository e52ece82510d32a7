"""How much memory there is to use: of the device, and of the host within the limits of its container."""

from pathlib import Path

import torch

_CGROUP = Path("/sys/fs/cgroup")


def free_bytes(device: torch.device) -> int:
    """Bytes that can still be had on the device; for the CPU within the container's limit."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return host_free_bytes()


def host_free_bytes(cgroup: Path = _CGROUP, meminfo: Path = Path("/proc/meminfo")) -> int:
    """Bytes of host memory that can still be had: what the machine has left, or the container's limit leaves.

    Args:
        cgroup: Where control groups are mounted; version 2 and version 1 are understood.
        meminfo: What the kernel says of the machine's memory.
    """
    rooms = [_available(meminfo)]
    for limit, used in (
        (cgroup / "memory.max", cgroup / "memory.current"),
        (cgroup / "memory" / "memory.limit_in_bytes", cgroup / "memory" / "memory.usage_in_bytes"),
    ):
        allowed, taken = _number(limit), _number(used)
        if allowed is not None and taken is not None:
            rooms.append(max(0, allowed - taken + _cache(limit.parent)))
    return min(rooms)


def _available(meminfo: Path) -> int:
    for line in meminfo.read_text(encoding="ascii").splitlines():
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return int(value.split()[0]) * 1024
    raise OSError(f"{meminfo} does not say how much memory is available.")


def _cache(cgroup: Path) -> int:
    """File cache that the container is charged for and the kernel takes back when memory is wanted."""
    try:
        lines = (cgroup / "memory.stat").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    told = dict(line.split() for line in lines)
    return int(told.get("inactive_file", told.get("total_inactive_file", 0)))


def _number(file: Path) -> int | None:
    """The number in a file; None where there is none, or no limit (``max``)."""
    try:
        return int(file.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
