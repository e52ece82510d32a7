"""Runs a compiled file on this machine, by kfp.local."""

import contextlib
import logging
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

from kfp_lifecycle.components.shared.errors import LifecycleError, redact
from kfp_lifecycle.runner import traps
from kfp_lifecycle.runner.containers import STORE, containers
from kfp_lifecycle.runner.environment import code_folder, cpu_quota, step_environment
from kfp_lifecycle.runner.errors import PipelineFileError
from kfp_lifecycle.runner.events import EventKind, Observer, RunResult, State
from kfp_lifecycle.runner.hooks import hooked, logging_to
from kfp_lifecycle.runner.load import RunnableFile
from kfp_lifecycle.runner.logs import plain
from kfp_lifecycle.runner.plan import plan
from kfp_lifecycle.runner.record import make_output_dir, new_run_id, storage_errors
from kfp_lifecycle.runner.session import Session, is_artifact
from kfp_lifecycle.runner.values import shield, unshield, whole_numbers

_ONE_RUN = threading.Lock()


def run(
    compiled: RunnableFile,
    parameters: Mapping[str, Any],
    *,
    output_dir: Path | None = None,
    observers: Sequence[Observer] = (),
    engine: str = "",
    writable: Sequence[Path] = (),
) -> RunResult:
    """Runs ``compiled`` step by step, each step a process in the working directory, or a container.

    A failing step does not raise: the result says which, and why. Ctrl-C (and a TERM or HANG-UP signal)
    ends the running steps and gives a cancelled result.

    Args:
        compiled: The file to run; exactly it is executed.
        parameters: Values as :func:`~kfp_lifecycle.runner.parameters.read_parameters` gives them.
        output_dir: Folder for artifacts, logs, reports and ``run.json``; default ``runs/<run id>``.
        observers: Called with each event.
        engine: ``docker`` or ``podman`` runs each step in the image that the file names, as a user that is
            not root; empty runs it as a process.
        writable: Folders that steps in containers may write to, beside the run's own.

    Returns:
        The run as it ended.

    Raises:
        ImageError: The engine does not answer, or has not got an image.
        PipelineFileError: The file holds what kfp.local cannot run, or would run wrongly without a word.
        StorageError: The output folder cannot be written, or the disk is full.
    """
    findings = traps.check(compiled, parameters)
    traps.refuse(findings)
    if not _ONE_RUN.acquire(blocking=False):
        raise PipelineFileError("This process is running a pipeline already.", "Start another process.")
    try:
        with _temporary_folder() as temporary:
            code = code_folder(compiled.path)
            place = Path.cwd() / STORE if engine else Path.cwd()
            environment = step_environment(os.environ, place, temporary, cpu_quota(), code)
            result = _new_result(compiled, parameters, output_dir, environment["MLFLOW_TRACKING_URI"])
            result.notes = [f"{f.problem} {f.fix}".strip() for f in findings]
            inside = None
            if engine:
                artifacts = result.output_dir / "artifacts"
                inside = containers(
                    engine, compiled.spec, result.parameters, environment, artifacts, writable
                )
            session = Session(result, environment, observers, inside)
            with _ended_by_signals(session):
                _run(session, compiled, parameters, temporary)
    finally:
        _ONE_RUN.release()
    return result


def _new_result(
    compiled: RunnableFile, parameters: Mapping[str, Any], output_dir: Path | None, tracking_uri: str
) -> RunResult:
    run_id = new_run_id(compiled.name)
    defaults = {n: p["defaultValue"] for n, p in compiled.inputs.items() if "defaultValue" in p}
    return RunResult(
        run_id=run_id,
        name=compiled.name,
        version=compiled.version,
        file=compiled.path,
        sha256=compiled.sha256,
        output_dir=make_output_dir(output_dir, run_id),
        parameters={**defaults, **parameters},
        tracking_uri=tracking_uri,
        started=datetime.now(UTC),
        steps=plan(compiled.spec),
    )


def _run(session: Session, compiled: RunnableFile, parameters: Mapping[str, Any], temporary: Path) -> None:
    result = session.run
    session.emit(EventKind.RUN_STARTED)
    state = State.FAILED
    try:
        with logging_to(result.output_dir / "logs" / "kfp.log"):
            outputs = _execute(session, compiled, parameters, temporary)
        result.outputs = {
            name: whole_numbers(unshield(value)) for name, value in outputs.items() if not is_artifact(value)
        }
        state = State.SUCCEEDED
    except KeyboardInterrupt:
        state = State.CANCELLED
    except LifecycleError as error:
        result.error = redact(str(error))
    except Exception as error:
        failed = result.failed_step
        said = failed.error if failed else f"kfp.local failed: {plain(str(error)) or type(error).__name__}"
        result.error = result.error or redact(said)
    finally:
        session.end(state)


def _execute(
    session: Session, compiled: RunnableFile, parameters: Mapping[str, Any], temporary: Path
) -> dict[str, Any]:
    from google.protobuf import json_format
    from kfp import local
    from kfp.local import config, pipeline_orchestrator
    from kfp.pipeline_spec import pipeline_spec_pb2

    spec = json_format.ParseDict(compiled.spec, pipeline_spec_pb2.PipelineSpec())
    before = config.LocalExecutionConfig.instance
    workspace = temporary / "workspace"
    workspace.mkdir()
    local.init(
        runner=local.SubprocessRunner(use_venv=False),
        pipeline_root=str(session.run.output_dir / "artifacts"),
        # kfp.local deletes it after the run, and makes one outside our folder where it is given none.
        workspace_root=str(workspace),
        raise_on_error=True,
    )
    try:
        with hooked(session):
            outputs: dict[str, Any] = pipeline_orchestrator.run_local_pipeline(spec, shield(dict(parameters)))
    except Exception:
        logging.exception("The run has failed.")
        raise
    finally:
        config.LocalExecutionConfig.instance = before
    session.processes.check()
    return outputs


@contextlib.contextmanager
def _temporary_folder() -> Iterator[Path]:
    """A folder for the temporary files of steps, which leave them behind when they are killed."""
    with storage_errors(Path(tempfile.gettempdir())):
        folder = Path(tempfile.mkdtemp(prefix="kfp-lifecycle-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _ended_by_signals(session: Session) -> Iterator[None]:
    """For the block, Ctrl-C and its like end the running steps, and with them the run."""

    def end(number: int, frame: FrameType | None) -> None:
        session.run.signal = session.run.signal or number
        session.processes.cancel()

    numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    if threading.current_thread() is not threading.main_thread():
        numbers = []  # only the main thread may take signals
    # One that is ignored, as by nohup, stays so.
    before = {n: signal.signal(n, end) for n in numbers if signal.getsignal(n) is not signal.SIG_IGN}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
