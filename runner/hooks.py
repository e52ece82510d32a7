"""What this runner changes in kfp.local while a run goes on, and puts back afterwards.

kfp.local still decides what runs, when, and with which inputs. Changed are the ways in which it reports
(it prints everything to the terminal), starts a step (a log of its own, a process group that a cancel can
end), and treats values: a user's text that looks like a placeholder or holds ``python3`` reaches the step
as it is. ``HOOKED`` names each function with its parameters; tests/runner/test_hooks.py holds them to the
installed kfp, so that an upgrade that changes one is noticed there and not in a run.
"""

import contextlib
import logging
import os
import re
import shlex
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from kfp_lifecycle.components.shared.errors import ParameterError, redact
from kfp_lifecycle.runner.containers import passed_on
from kfp_lifecycle.runner.errors import PipelineFileError
from kfp_lifecycle.runner.events import State
from kfp_lifecycle.runner.logs import ended_by, last_error, plain
from kfp_lifecycle.runner.parameters import MAX_ARGUMENT_BYTES
from kfp_lifecycle.runner.record import redacted, storage_errors
from kfp_lifecycle.runner.session import Session
from kfp_lifecycle.runner.values import shield, unshield, whole_numbers

_LOCAL = "kfp.local"
_ORCHESTRATOR = "kfp.local.orchestrator"

#: Module, name, and the parameters that the hook relies on.
HOOKED: dict[tuple[str, str], tuple[str, ...]] = {
    (f"{_ORCHESTRATOR}.task_executor", "execute_single_task"): (
        "task_name", "task_spec", "pipeline_resource_name", "components", "executors", "io_store",
        "pipeline_root", "runner", "unique_pipeline_id", "fail_stack",
    ),
    (f"{_ORCHESTRATOR}.enhanced_dag_orchestrator", "ConditionEvaluator.evaluate_condition"): (
        "condition", "io_store",
    ),
    (f"{_LOCAL}.subprocess_task_handler", "SubprocessTaskHandler"): (
        "image", "full_command", "pipeline_root", "runner", "env_vars",
    ),
    (f"{_LOCAL}.placeholder_utils", "replace_placeholders"): (
        "full_command", "executor_input_dict", "pipeline_resource_name", "task_resource_name",
        "pipeline_root", "unique_pipeline_id",
    ),
    (f"{_LOCAL}.executor_input_utils", "construct_local_task_root"): (
        "pipeline_root", "pipeline_resource_name", "task_resource_name",
    ),
    (f"{_LOCAL}.executor_input_utils", "get_local_pipeline_resource_name"): ("pipeline_name",),
    (f"{_LOCAL}.logging_utils", "local_logger_context"): (),
    (f"{_LOCAL}.logging_utils", "indented_print"): ("num_spaces",),
    (f"{_LOCAL}.logging_utils", "print_horizontal_line"): (),
}  # fmt: skip


@contextlib.contextmanager
def hooked(session: Session) -> Iterator[None]:
    """For the block, kfp.local runs its steps through ``session``."""
    from kfp.local import executor_input_utils, logging_utils, placeholder_utils, subprocess_task_handler
    from kfp.local.orchestrator import enhanced_dag_orchestrator, task_executor

    evaluator = enhanced_dag_orchestrator.ConditionEvaluator
    replacements: list[tuple[Any, str, Any]] = [
        (task_executor, "execute_single_task", _execute(session, task_executor.execute_single_task)),
        (task_executor, "time", SimpleNamespace(sleep=session.retry)),
        (evaluator, "evaluate_condition", staticmethod(_evaluate(session, evaluator.evaluate_condition))),
        (subprocess_task_handler, "SubprocessTaskHandler", _task_handler(session)),
        (
            placeholder_utils,
            "replace_placeholders",
            _fill_in(session, placeholder_utils.replace_placeholders),
        ),
        (executor_input_utils, "construct_local_task_root", _task_root),
        (executor_input_utils, "get_local_pipeline_resource_name", lambda pipeline_name: session.run.run_id),
        (logging_utils, "local_logger_context", contextlib.nullcontext),
        (logging_utils, "indented_print", contextlib.nullcontext),
        (logging_utils, "print_horizontal_line", lambda: None),
    ]
    with contextlib.ExitStack() as undo:
        for owner, name, replacement in replacements:
            undo.callback(setattr, owner, name, vars(owner)[name])
            setattr(owner, name, replacement)
        yield


def _execute(session: Session, original: Callable[..., Any]) -> Callable[..., Any]:
    """Runs one task: a step of the session begins and ends."""

    def execute_single_task(**given: Any) -> Any:
        component = given["task_spec"].component_ref.name
        _, _, loops = given["pipeline_resource_name"].partition("/")
        items = tuple(int(n) for n in re.findall(r"-iteration-(\d+)(?=/|$)", loops))
        with session.step(component, given["task_name"], items) as step:
            outputs, status = original(**{**given, "unique_pipeline_id": session.run.run_id})
            if status.name == "SUCCESS":
                session.succeed(step, outputs)
            else:
                step.state = State.FAILED
        return {name: shield(value) for name, value in outputs.items()}, status

    return execute_single_task


def _evaluate(session: Session, original: Callable[..., bool]) -> Callable[..., bool]:
    """Evaluates a condition; where kfp.local cannot, it would go on as if it did not hold."""

    def evaluate_condition(condition: str, io_store: Any) -> bool:
        with _warnings_here() as warnings:
            holds = original(condition=condition, io_store=io_store)
        if warnings:
            error = PipelineFileError(
                f"The condition {condition!r} cannot be evaluated locally: {warnings[-1].rstrip('.')}.",
                "Compare a single output, and texts without quotes or line breaks.",
            )
            session.run.error = str(error)  # inside a loop, kfp.local keeps the exception to itself
            raise error
        if not holds:
            session.skip(condition)
        return holds

    return evaluate_condition


@contextlib.contextmanager
def _warnings_here() -> Iterator[list[str]]:
    """Collects what this thread logs as a warning within the block."""
    said: list[str] = []
    thread = threading.get_ident()

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.thread == thread:
                said.append(record.getMessage())

    handler = Collector(logging.WARNING)
    logging.getLogger().addHandler(handler)
    try:
        yield said
    finally:
        logging.getLogger().removeHandler(handler)


def _fill_in(session: Session, original: Callable[..., list[str]]) -> Callable[..., list[str]]:
    """Fills a step's placeholders in, and only KFP's own."""
    started = f"{session.run.started:%Y-%m-%dT%H:%M:%SZ}"
    # Placeholders that a cluster knows and kfp.local fails on.
    unknown = {
        "{{$.pipeline_job_resource_name}}": session.run.run_id,
        "{{$.pipeline_job_create_time_utc}}": started,
        "{{$.pipeline_job_schedule_time_utc}}": started,
    }

    def replace_placeholders(executor_input_dict: dict[str, Any], **given: Any) -> list[str]:
        inputs = executor_input_dict.get("inputs", {})
        for name, value in inputs.get("parameterValues", {}).items():
            for placeholder, text in unknown.items() if isinstance(value, str) else ():
                value = value.replace(placeholder, text)
            inputs["parameterValues"][name] = whole_numbers(value)
        if "artifacts" in inputs:
            inputs["artifacts"] = whole_numbers(inputs["artifacts"])
        return [unshield(part) for part in original(executor_input_dict=executor_input_dict, **given)]

    return replace_placeholders


def _task_root(pipeline_root: str, pipeline_resource_name: str, task_resource_name: str) -> str:
    """Where a task writes: a folder of its name, below one for each loop item; empty at every attempt."""
    root = os.path.join(pipeline_root, *pipeline_resource_name.split("/")[1:], task_resource_name)  # noqa: PTH118
    shutil.rmtree(root, ignore_errors=True)
    return root


def _task_handler(session: Session) -> type[Any]:
    from kfp.local import status, subprocess_task_handler

    class StepProcess(subprocess_task_handler.SubprocessTaskHandler):  # type: ignore[misc]
        """Starts a step as the original does, in a process group and with a log of its own."""

        def validate_image(self, image: str) -> None:
            """No warning: here the image is not what runs, and in a container it may be called anything."""

        def run(self) -> Any:
            step, log = session.current, session.attempt()
            _check_length(step.name, self.full_command)
            step.exit_code = self.start(log)
            if step.exit_code == 0:
                step.error = ""
                return status.Status.SUCCESS
            step.error = redacted(_reason(step.exit_code, log))
            return status.Status.FAILURE

        def start(self, log: Path) -> int:
            """Runs the step as a process, or in a container; gives its exit code."""
            containers, processes = session.containers, session.processes
            if containers is None:
                command = with_this_python(self.full_command)
                return processes.run(command, {**session.environment, **self.env_vars}, log)
            name = f"{session.run.run_id}-{log.stem}-{session.current.attempts}"
            variables = {**passed_on(session.environment), **self.env_vars}
            command = containers.command(name, self.image, self.full_command, variables)
            try:
                return processes.run(command, {**session.environment, **self.env_vars}, log)
            finally:
                containers.remove(name)

    return StepProcess


def _reason(code: int, log: Path) -> str:
    """Why a step failed, in a line."""
    if (by := ended_by(code)) is not None:
        memory = ", as when the machine runs out of memory" if by is signal.SIGKILL else ""
        return f"It was killed by {by.name}{memory}."
    return last_error(log) or f"It ended with exit code {code} and printed nothing."


def _check_length(step: str, command: list[str]) -> None:
    longest = max(len(os.fsencode(part)) for part in command)
    if longest > MAX_ARGUMENT_BYTES:
        raise ParameterError(
            f"The inputs of {step!r} are {longest >> 10} KiB long; a local run passes them as one argument, "
            f"of at most {(MAX_ARGUMENT_BYTES + 1) >> 10} KiB.",
            "Pass what is long as an artifact or in a file.",
        )


def with_this_python(command: list[str]) -> list[str]:
    """``command`` with this interpreter for ``python3`` in its shell script, and nowhere else.

    kfp.local replaces the text in the step's inputs too, and does not quote a path with spaces.
    """
    script = next(n for n, part in enumerate(command) if "kfp.dsl.executor_main" in part)
    python = shlex.quote(sys.executable)
    start = [
        re.sub(r"(?<![\w./-])python3(?![\w.-])", lambda _: python, part) for part in command[: script + 1]
    ]
    return start + command[script + 1 :]


@contextlib.contextmanager
def logging_to(path: Path) -> Iterator[None]:
    """For the block, what kfp.local logs and warns of goes into the file at ``path``, and nowhere else.

    Raises:
        StorageError: The file cannot be written.
    """
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    with storage_errors(path):
        file = _File(path, encoding="utf-8")
    file.setFormatter(_Plain("%(asctime)s %(levelname)s %(message)s"))
    root.handlers[:] = [file]
    root.setLevel(logging.INFO)
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.handlers[:] = handlers
        root.setLevel(level)
        with contextlib.suppress(OSError):
            file.close()


class _File(logging.FileHandler):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the standard library's name
        """Nothing: a full disk ends the run at what matters more, and not with tracebacks on the terminal."""


class _Plain(logging.Formatter):
    """Without the colours that kfp.local puts around names, and without credentials."""

    def format(self, record: logging.LogRecord) -> str:
        return redact(plain(super().format(record)))
