"""The progress bar on a real terminal (a pseudo terminal), and silence elsewhere."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from kfp_lifecycle.components.train_gpu.progress import progress
from tests.components.train_gpu import learnable
from tests.components.train_gpu.learnable import write_tables

GIVEN = {"epochs": 15, "batch_size": 4, "patience": 0}


def on_a_terminal(command: list[str]) -> str:
    """What a command writes to standard error, which is a terminal."""
    here, there = pty.openpty()
    process = subprocess.Popen(command, stderr=there, env={**os.environ, "TERM": "xterm", "COLUMNS": "160"})
    os.close(there)
    written = b""
    while True:
        try:
            written += os.read(here, 65536)
        except OSError:  # the other side is closed
            break
    assert process.wait() == 0
    return written.decode()


def test_a_bar_on_a_terminal_and_a_line_an_epoch_above_it(tmp_path: Path) -> None:
    write_tables(tmp_path, "binary")
    program = [sys.executable, "-m", learnable.__name__, str(tmp_path), "binary", json.dumps(GIVEN)]
    written = on_a_terminal([*program, str(tmp_path / "out.pt")])
    lines = written.split("\n")
    epochs = [line for line in lines if "INFO epoch" in line]
    assert len(epochs) == 15
    # A line of the log begins where the bar has been taken away.
    assert all(
        line.strip("\r").rpartition("\r")[2].rpartition("\x1b[2K")[2].startswith("INFO") for line in epochs
    )
    assert "━" in written
    assert "loss 0." in written


def test_no_bar_in_a_log(capfd: pytest.CaptureFixture[str]) -> None:
    with progress(3, shown=True) as bar:
        bar.epoch(1, 10)
        bar.step(5, 0.5)
        assert bar.every_s == float("inf")
    assert capfd.readouterr() == ("", "")
