"""Runs commands as fresh processes and measures them; writes tables into docs/benchmarks.md."""

import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "benchmarks.md"


@dataclass(frozen=True)
class Measured:
    """Wall time in seconds and peak resident memory in MB of a process with all it waited for."""

    seconds: float
    peak_mb: float


def run(
    command: Sequence[str], env: Mapping[str, str] | None = None, cwd: Path = ROOT, log: Path | None = None
) -> Measured:
    """Runs ``command`` to its end; fails loudly when it fails."""
    target = log or Path("/dev/null")
    with target.open("wb") as out:
        start = time.perf_counter()
        process = subprocess.Popen(
            list(command),
            env={**os.environ, **(env or {})},
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)} failed with {process.returncode}; see {target}")
    return Measured(seconds, usage.ru_maxrss / 1024)


def median(runs: Sequence[Measured]) -> Measured:
    """The median time and the largest peak of several runs."""
    return Measured(statistics.median(r.seconds for r in runs), max(r.peak_mb for r in runs))


def machine() -> str:
    """The machine in one line: processor, cores, memory, Python."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores ({model}), {memory:.0f} GiB, Python {platform.python_version()}"


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(headers) + " |", "| " + " | ".join("---" for _ in headers) + " |"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def publish(section: str, text: str) -> None:
    """Prints a section and puts it between its markers in docs/benchmarks.md, with machine and date."""
    body = f"{text}\n\nMeasured {time.strftime('%Y-%m-%d')} on {machine()}."
    print(f"\n{body}")
    begin, end = f"<!-- {section}:begin -->", f"<!-- {section}:end -->"
    before, _, rest = PAGE.read_text().partition(begin)
    if not rest:
        sys.exit(f"{PAGE} has no markers for {section}")
    PAGE.write_text(f"{before}{begin}\n\n{body}\n\n{end}{rest.partition(end)[2]}")
