"""Reading a step's log from its end: the line it is at, and the line that says why it failed."""

import contextlib
import re
import signal
from pathlib import Path

_TAIL_BYTES = 65_536
_LINE_BYTES = 4_096

#: Escape sequences of terminals, and what else a terminal would act on.
_CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|[\x00-\x08\x0b-\x1f\x7f]")
#: A declared error: the last thing a step of this library prints.
_DECLARED = re.compile(r"ERROR [A-Z]\w*Error: ")
_TRACEBACK = "Traceback (most recent call last):"
#: KFP's own lines at the start of each log, and what it prints in them.
_CHATTER = re.compile(r"\[KFP Executor|[\s{}]|$")


def plain(text: str) -> str:
    """``text`` without colours, cursor movements and other control characters."""
    return _CONTROL.sub("", text)


def last_line(log: Path) -> str:
    """The last line in ``log`` that the step itself has printed; empty if there is none yet."""
    attempt = re.split(r"^--- attempt \d.*$", _tail(log, _LINE_BYTES), flags=re.MULTILINE)[-1]
    lines = [plain(line) for line in re.split(r"[\r\n]+", attempt)]
    return next((line for line in reversed(lines) if not _CHATTER.match(line)), "")


def last_error(log: Path) -> str:
    """The line in ``log`` that says why the step failed: declared error, exception, or else the last one."""
    lines = [plain(line) for line in re.split(r"\r?\n", _tail(log, _TAIL_BYTES))]
    for line in reversed(lines):
        if _DECLARED.match(line):
            return line.removeprefix("ERROR ")
    starts = [number for number, line in enumerate(lines) if line.strip() == _TRACEBACK]
    if starts:
        indent = len(lines[starts[-1]]) - len(lines[starts[-1]].lstrip())
        for line in lines[starts[-1] + 1 :]:
            if line.strip() and len(line) - len(line.lstrip()) <= indent:
                return line.strip()
    return last_line(log)


def ended_by(code: int) -> signal.Signals | None:
    """The signal that ended a process with this exit code; a shell reports a child's as 128 and more."""
    with contextlib.suppress(ValueError):
        return signal.Signals(-code if code < 0 else code - 128)
    return None


def _tail(log: Path, size: int) -> str:
    """The last ``size`` bytes of ``log`` as text, from the start of a line; empty if it cannot be read."""
    try:
        with log.open("rb") as file:
            end = file.seek(0, 2)
            file.seek(max(0, end - size))
            text = file.read(size).decode("utf-8", "replace")
    except OSError:
        return ""
    return text.partition("\n")[2] or text if end > size else text
