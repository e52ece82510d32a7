"""A rank's process: ``python -m kfp_lifecycle.components.train_gpu.worker MODULE ARGUMENTS…``.

Runs a module as ``python -m`` does, and leaves word of why it failed where :mod:`.launch` finds it.
"""

import ctypes
import json
import os
import runpy
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

#: Set by torchrun's agent for each process that it starts.
ERROR_FILE = "TORCHELASTIC_ERROR_FILE"
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of prctl(2)


def main(module: str, arguments: list[str]) -> None:
    """Runs ``module`` with these command line arguments; ends with code 1 where it raises."""
    if sys.platform == "linux":  # where nobody waits for the ranks any more, they would go on for nothing
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    # The step that has started the ranks says what went wrong, once.
    os.environ.pop("_KFP_RUNTIME", None)
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except Exception as error:
        _tell(error)
        if not getattr(error, "is_declared", False):
            traceback.print_exc()
        # Without waiting for threads that wait for other ranks.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)


def _tell(error: Exception) -> None:
    place = os.environ.get(ERROR_FILE)
    if not place:
        return
    said: dict[str, Any] = {"message": str(error), "extraInfo": {"timestamp": str(int(time.time()))}}
    said |= {"at": time.time(), "trace": traceback.format_exc()}
    if getattr(error, "is_declared", False):
        said["declared"] = [type(error).__name__, getattr(error, "problem", ""), getattr(error, "fix", "")]
    Path(place).write_text(json.dumps({"message": said}), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
