"""The command line as a child process: as a step, KFP loads neither its client nor a compiled file."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from kfp_lifecycle.components.shared.errors import RetrainError, redact

PROGRAM = (sys.executable, "-c", "from kfp_lifecycle.scripts.app import main; main()")
#: Of the step alone: the run that is started is none of its steps, and logs into runs of its own.
_OWN = ("_KFP_RUNTIME", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_PARENT_RUN_ID")
#: A local run removes the folder for temporary files that it makes for its steps.
_TEMPORARY = "kfp-lifecycle-"
#: Of what a failing command has said, so many characters go into the error.
_SAID = 1500


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The child's environment: the step's, without what is the step's alone."""
    found = {name: value for name, value in os.environ.items() if name not in _OWN}
    if Path(found.get("TMPDIR", "")).name.startswith(_TEMPORARY):
        del found["TMPDIR"]
    return found | dict(more or {})


def call(arguments: Sequence[str], doing: str, more: Mapping[str, str] | None = None) -> str:
    """Runs ``kfp-lifecycle`` with arguments; gives what it has printed to standard output.

    Args:
        arguments: Such as ``["submit", "training"]``.
        doing: What for, such as ``start the retraining``, for the error.
        more: Environment variables.

    Raises:
        RetrainError: It has failed; has its own words.
    """
    done = subprocess.run(
        [*PROGRAM, *arguments], env=environment(more), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise failed(doing, done.stderr or done.stdout, done.returncode)
    return done.stdout


def failed(doing: str, said: str, code: int) -> RetrainError:
    """The error for a command that has failed."""
    lines = [line.strip() for line in redact(said).splitlines() if line.strip()]
    words = " ".join(lines)[-_SAID:] or f"exit code {code}"
    return RetrainError(f"kfp-lifecycle could not {doing}: {words}", "The run itself says more.")
