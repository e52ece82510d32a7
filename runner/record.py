"""A run on disk: its folder, and ``run.json``, which says all that is known of it."""

import contextlib
import functools
import json
import os
import platform
import secrets
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from kfp_lifecycle.components.shared.errors import StorageError, redact
from kfp_lifecycle.components.shared.outputs import whole_file
from kfp_lifecycle.runner.events import Artifact, RunResult, Step

#: Where runs are kept when no folder is named.
RUNS = Path("runs")
_LATEST = "latest"
_PACKAGES = ("kfp-lifecycle", "kfp", "kfp-pipeline-spec")


def new_run_id(name: str) -> str:
    """An id for a run of ``name`` that no other run has, sortable by time."""
    return f"{name}-{datetime.now():%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


def make_output_dir(chosen: Path | None, run_id: str) -> Path:
    """Makes the folder of a run: ``chosen``, else ``runs/<run id>``, which ``runs/latest`` then leads to.

    Raises:
        StorageError: It cannot be made or written, or ``chosen`` already holds something.
    """
    folder = (chosen or RUNS / run_id).expanduser().absolute()
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise StorageError(f"{folder} is not empty.", "Name a new folder, or delete that one.")
        (folder / "logs").mkdir()
        if chosen is None:
            _link_latest(folder)
    return folder


def _link_latest(folder: Path) -> None:
    """Makes ``runs/latest`` lead to ``folder``, at once: two runs may start together."""
    link = folder.parent / f".{folder.name}.link"
    link.symlink_to(folder.name)
    try:
        link.replace(folder.parent / _LATEST)
    except OSError:  # something that is no link has that name
        link.unlink()


@contextlib.contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turns the operating system's refusal to write at ``path`` into a ``StorageError``."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"{path} cannot be written: {(error.strerror or str(error)).lower()}.",
            "Free space there, or choose another folder with --output-dir.",
        ) from error


def write_record(run: RunResult) -> None:
    """Writes ``run.json`` into the run's folder; whoever reads it finds a whole one at any time.

    Raises:
        StorageError: The disk is full or read-only.
    """
    path = run.output_dir / "run.json"
    with storage_errors(path), whole_file(path) as partial:
        partial.write_text(json.dumps(redacted(_record(run)), indent=2, default=str) + "\n", encoding="utf-8")


def link_report(run: RunResult, step: Step, artifact: Artifact) -> None:
    """Gives an HTML artifact, which KFP names without a suffix, a name that a browser opens."""
    source = Path(artifact.uri)
    if artifact.type != "system.HTML" or not source.is_file():
        return
    report = run.output_dir / "reports" / f"{step.file_name}-{artifact.name}.html"
    with storage_errors(report):
        report.parent.mkdir(exist_ok=True)
        try:
            report.hardlink_to(source)
        except OSError:  # a file system without links
            shutil.copyfile(source, report)
    artifact.report = report


def redacted(value: Any) -> Any:
    """``value`` with the credentials in every text of it replaced."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {redact(str(key)): redacted(item) for key, item in value.items()}
    return [redacted(item) for item in value] if isinstance(value, list) else value


def _record(run: RunResult) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "state": run.state,
        "error": run.error,
        "started": _time(run.started),
        "seconds": round(run.seconds, 3),
        "pipeline": {
            "name": run.name,
            "version": run.version,
            "file": str(run.file.absolute()),
            "sha256": run.sha256,
        },
        "parameters": run.parameters,
        "outputs": run.outputs,
        "reports": [str(report) for report in run.reports],
        "notes": run.notes,
        "steps": [_step(step) for step in run.steps],
        "environment": {
            "python": platform.python_version(),
            "platform": platform.platform(),
            "packages": {name: _version(name) for name in _PACKAGES},
            "working_dir": str(Path.cwd()),
            "MLFLOW_TRACKING_URI": run.tracking_uri,
            "pid": os.getpid(),
        },
    }


def _step(step: Step) -> dict[str, Any]:
    return {
        "name": step.name,
        "component": step.component,
        "state": step.state,
        "error": step.error,
        "started": _time(step.started),
        "seconds": None if step.seconds is None else round(step.seconds, 3),
        "attempts": step.attempts,
        "exit_code": step.exit_code,
        "log": None if step.log is None else str(step.log),
        "outputs": step.outputs,
        "artifacts": [
            {"name": a.name, "type": a.type, "uri": a.uri, "metadata": a.metadata} for a in step.artifacts
        ],
    }


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="milliseconds")


@functools.cache
def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
