"""What a step's log says at its end."""

import signal
from pathlib import Path

import pytest

from kfp_lifecycle.runner.logs import ended_by, last_error, last_line

HEAD = """[KFP Executor 2026-11-22 16:06:35 INFO]: Got executor_input:
{
    "inputs": {}
}
"""
TRACEBACK = """Traceback (most recent call last):
  File "a.py", line 1, in <module>
    f()
ValueError: the first
"""


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", ""),
        (HEAD, ""),
        (f"{HEAD}fold 1 of 5\nfold 2 of 5\n", "fold 2 of 5"),
        (f"{HEAD}fold 1 of 5\nfold 2 of", "fold 2 of"),
        (f"{HEAD}10%\r20%\r30%", "30%"),
        (f"{HEAD}\x1b[32mgreen\x1b[0m \x1b]0;title\x07text\x07\n", "green text"),
        (f"{HEAD}said\n\n   \n", "said"),
        (f"{HEAD}of the first\n\n--- attempt 2 of 3 ---\n{HEAD}", ""),
        (f"{HEAD}of the first\n\n--- attempt 2 of 3 ---\n{HEAD}of the second\n", "of the second"),
        ("x" * 9000 + "\nlast\n", "last"),
    ],
)
def test_the_line_that_a_step_is_at(text: str, line: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(text, newline="")

    assert last_line(log) == line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (HEAD, ""),
        (f"{HEAD}ERROR SourceError: it is gone. Correct it.\n", "SourceError: it is gone. Correct it."),
        (f"{HEAD}ERROR TrackingError: a.\nWARNING later\n", "TrackingError: a."),
        (f"{HEAD}ERROR logged: but not declared\n{TRACEBACK}", "ValueError: the first"),
        (f"{TRACEBACK}\nDuring handling of the above exception:\n\n{TRACEBACK[:-6]}second\n",
         "ValueError: the second"),
        (f"{TRACEBACK}and more lines\nof its message\n", "ValueError: the first"),
        (f"  {TRACEBACK.replace(chr(10), chr(10) + '  ')}", "ValueError: the first"),
        ("Segmentation fault\n", "Segmentation fault"),
        (f"{'x' * 70_000}\n{TRACEBACK}", "ValueError: the first"),
    ],
)  # fmt: skip
def test_the_line_that_says_why(text: str, line: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(text)

    assert last_error(log) == line


def test_a_log_that_is_not_there_says_nothing(tmp_path: Path) -> None:
    assert last_line(tmp_path / "none") == last_error(tmp_path / "none") == ""


@pytest.mark.parametrize(
    ("code", "by"),
    [(0, None), (1, None), (-9, signal.SIGKILL), (137, signal.SIGKILL), (139, signal.SIGSEGV), (255, None)],
)
def test_an_exit_code_tells_a_signal(code: int, by: signal.Signals | None) -> None:
    assert ended_by(code) == by
