"""`kfp-lifecycle lint` and `diff` of a file of 150 kB: own work, and cold start against `kfp --help`."""

import gc
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from measure import ROOT, median, publish, run, table

ROUNDS = 15
BIN = Path(sys.executable).parent
SIZE = 150_000


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        old, new = large_pair(Path(folder))
        publish("lint_diff", f"{own_work(old, new)}\n\n{cold_start(old, new)}")


def large_pair(folder: Path) -> tuple[Path, Path]:
    """The training pipeline with its tasks copied until it has 150 kB, and the same with other images."""
    newest = max((ROOT / "compiled" / "pipelines" / "training").glob("*.yaml"))
    spec: dict[str, Any] = yaml.safe_load(newest.read_bytes())
    components, executors = spec["components"], spec["deploymentSpec"]["executors"]
    originals = [(name, task, components[task["componentRef"]["name"]]) for name, task in tasks(spec).items()]
    copies = 0
    while len(text(spec)) < SIZE:
        name, task, component = originals[copies % len(originals)]
        copies += 1
        label = component["executorLabel"]
        executors[f"{label}-{copies}"] = executors[label]
        components[f"comp-{name}-{copies}"] = {**component, "executorLabel": f"{label}-{copies}"}
        tasks(spec)[f"{name}-{copies}"] = {**task, "componentRef": {"name": f"comp-{name}-{copies}"}}
    (folder / "old.yaml").write_text(text(spec))
    (folder / "new.yaml").write_text(text(spec).replace("image: ", "image: registry.example/"))
    return folder / "old.yaml", folder / "new.yaml"


def tasks(spec: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = spec["root"]["dag"]["tasks"]
    return found


class Plain(yaml.CSafeDumper):
    """Without anchors, as KFP writes."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def text(spec: dict[str, Any]) -> str:
    return str(yaml.dump(spec, Dumper=Plain))


def own_work(old: Path, new: Path) -> str:
    """Time past imports."""
    from kfp_lifecycle.compiler.diff import diff
    from kfp_lifecycle.compiler.lint import lint
    from kfp_lifecycle.compiler.reader import read

    works: list[tuple[str, Callable[[], object]]] = [
        ("lint", lambda: lint(old)),
        ("diff", lambda: diff(read(old), read(new))),
        ("lint and diff", lambda: (lint(old), diff(read(old), read(new)))),
    ]
    rows = [[name, f"{timed(work) * 1000:.0f} ms"] for name, work in works]
    head = f"Own work, past imports, on files of {old.stat().st_size / 1000:.0f} kB (median of {ROUNDS}):\n\n"
    return head + table(["work", "time"], rows)


def timed(work: Callable[[], object]) -> float:
    work()
    times = []
    for _ in range(ROUNDS):
        gc.collect()
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def cold_start(old: Path, new: Path) -> str:
    """Fresh processes, one after the other."""
    ours = str(BIN / "kfp-lifecycle")
    commands = {
        "kfp --help": [str(BIN / "kfp"), "--help"],
        "kfp-lifecycle lint FILE": [ours, "lint", str(old)],
        "kfp-lifecycle diff OLD NEW": [ours, "diff", str(old), str(new)],
    }
    rounds = [{name: run(command) for name, command in commands.items()} for _ in range(ROUNDS + 1)][1:]
    times = {name: median([r[name] for r in rounds]) for name in commands}
    bare = times["kfp --help"].seconds
    rows = [
        [f"`{name}`", f"{t.seconds:.2f} s", f"{t.seconds / bare:.2f}", f"{t.peak_mb:.0f} MB"]
        for name, t in times.items()
    ]
    head = f"Whole processes on the same files, side by side (median of {ROUNDS}):\n\n"
    return head + table(["process", "time", "ratio", "peak"], rows)


if __name__ == "__main__":
    main()
