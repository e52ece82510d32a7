"""One rollout of a model at a time, whoever holds the lock and however that one ends."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from kfp_lifecycle.components.serve.rollout.lock import file_lock
from kfp_lifecycle.components.shared.errors import RolloutError
from tests.conftest import ROOT

_HOLD = """
import sys, time
from pathlib import Path
from kfp_lifecycle.components.serve.rollout.lock import file_lock
with file_lock(Path(sys.argv[1]), "version 4 of churn, run 17", 0):
    print("held", flush=True)
    time.sleep(300)
"""


def test_the_second_is_refused_by_name_until_the_first_dies(tmp_path: Path) -> None:
    path = tmp_path / "churn.lock"
    command = [sys.executable, "-c", _HOLD, str(path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        with pytest.raises(RolloutError, match=rf"version 4 of churn, run 17 \(process {first.pid}, since 2"):
            file_lock(path, "another", 0).__enter__()
        first.kill()
    with file_lock(path, "another", 10):
        pass


def test_the_second_waits_for_the_first(tmp_path: Path) -> None:
    path, order = tmp_path / "churn.lock", []

    def second() -> None:
        with file_lock(path, "second", 30):
            order.append("second")

    with file_lock(path, "first", 0):
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.3)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
