"""How much memory there is, on the machine and within a container's limit."""

from pathlib import Path

import pytest
import torch

from kfp_lifecycle.components.train_gpu.memory import free_bytes, host_free_bytes

MIB = 2**20


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A machine with 1,000 MiB available, as the kernel says it."""
    file = tmp_path / "meminfo"
    file.write_text("MemTotal:  4096000 kB\nMemFree: 1 kB\nMemAvailable:    1024000 kB\n")
    return file


def group(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text + "\n")
    return folder


def test_without_a_limit_it_is_the_machines(tmp_path: Path, machine: Path) -> None:
    assert host_free_bytes(tmp_path / "nothing", machine) == 1000 * MIB
    unlimited = group(tmp_path / "cgroup", memory__max="max", memory__current=str(5 * MIB))
    assert host_free_bytes(unlimited, machine) == 1000 * MIB


def test_a_containers_limit_counts(tmp_path: Path, machine: Path) -> None:
    second = group(tmp_path / "v2", memory__max=str(300 * MIB), memory__current=str(100 * MIB))
    assert host_free_bytes(second, machine) == 200 * MIB
    first = tmp_path / "v1"
    names = {"memory__limit_in_bytes": str(50 * MIB), "memory__usage_in_bytes": str(60 * MIB)}
    group(first / "memory", **names)
    assert host_free_bytes(first, machine) == 0


def test_file_cache_is_free(tmp_path: Path, machine: Path) -> None:
    stat = f"anon 5\ninactive_file {80 * MIB}\nactive_file 7"
    second = group(
        tmp_path / "v2", memory__max=str(300 * MIB), memory__current=str(250 * MIB), memory__stat=stat
    )
    assert host_free_bytes(second, machine) == 130 * MIB


def test_a_limit_above_the_machine_is_none(tmp_path: Path, machine: Path) -> None:
    second = group(tmp_path / "v2", memory__max=str(2**62), memory__current="0")
    assert host_free_bytes(second, machine) == 1000 * MIB


def test_here_there_is_some() -> None:
    assert free_bytes(torch.device("cpu")) > 10 * MIB
