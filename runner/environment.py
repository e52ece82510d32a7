"""The environment variables that steps run with."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from kfp_lifecycle.compiler.errors import CompileError
from kfp_lifecycle.compiler.repository import find_repository

#: Nothing that a step does not need: no usage statistics, no progress bars in logs, no complaint about git.
_QUIET = {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "GIT_PYTHON_REFRESH": "quiet",
    # A killed step's log has all that it printed, and the line it is at can be shown.
    "PYTHONUNBUFFERED": "1",
}

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def step_environment(
    base: Mapping[str, str],
    working_dir: Path,
    temporary: Path,
    cpu_quota: float | None = None,
    code: Path | None = None,
) -> dict[str, str]:
    """What every step's environment is made from; a task's own variables go on top.

    Args:
        base: The caller's environment; what it sets is kept.
        working_dir: Where the steps run; the default MLflow store is a file in it.
        temporary: For temporary files, which KFP's steps leave behind; the run removes it.
        cpu_quota: CPUs that a container limit allows, where it is fewer than the machine shows.
        code: A folder that steps import modules from, besides the working directory.

    Returns:
        All variables.
    """
    env = {**_QUIET, **base}
    # A step that compiles its imports anew is two to four times as slow to start.
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    # Programs that a step calls come from the environment that it runs in, activated or not.
    env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), base.get("PATH", os.defpath)])
    env["TMPDIR"] = str(temporary)
    if code is not None:
        env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(code), base.get("PYTHONPATH")]))
    if not env.get("MLFLOW_TRACKING_URI", "").strip():
        env["MLFLOW_TRACKING_URI"] = f"sqlite:///{working_dir / 'mlflow.db'}"
    if cpu_quota is not None:
        # OpenMP and BLAS count the machine's CPUs, and then get in each other's way.
        for name in _THREADS:
            env.setdefault(name, str(max(1, round(cpu_quota))))
    return env


def code_folder(compiled: Path) -> Path | None:
    """The repository that a compiled file lies in, where its components are imported by their own name.

    A step's code is found there wherever below the run is started. None for a file outside a repository, and
    for one whose code is an installed package, as this library's is.
    """
    try:
        repository = find_repository(compiled.parent)
    except CompileError:
        return None
    return None if repository.package else repository.root


def cpu_quota(cgroup: Path = Path("/sys/fs/cgroup/cpu.max")) -> float | None:
    """CPUs that the container may use, where that is fewer than the process may run on; else None."""
    try:
        quota, period = cgroup.read_text().split()
        allowed = float(quota) / float(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None
    return allowed if allowed < len(os.sched_getaffinity(0)) else None
