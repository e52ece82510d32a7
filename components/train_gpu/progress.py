"""A progress bar for people at a terminal; a log gets a line an epoch instead."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol


class Progress(Protocol):
    """What the loop tells while it runs."""

    #: Seconds between two looks that are worth while; infinite where nobody looks.
    every_s: float

    def epoch(self, number: int, steps: int) -> None:
        """An epoch (from 1) of so many steps begins."""

    def step(self, step: int, loss: float) -> None:
        """So many steps of it are done, with this mean loss."""


class _Nobody:
    every_s = float("inf")

    def epoch(self, number: int, steps: int) -> None:
        pass

    def step(self, step: int, loss: float) -> None:
        pass


class _Bar:
    every_s = 0.2

    def __init__(self, bar: Any, epochs: int) -> None:
        self._bar, self._epochs = bar, epochs
        self._task = bar.add_task("", total=None, loss="")

    def epoch(self, number: int, steps: int) -> None:
        text = f"epoch {number}/{self._epochs}"
        self._bar.reset(self._task, description=text, total=steps, loss="")

    def step(self, step: int, loss: float) -> None:
        self._bar.update(self._task, completed=step, loss=f"loss {loss:.4f}")


@contextmanager
def progress(epochs: int, *, shown: bool) -> Iterator[Progress]:
    """A bar on standard error, where that is a terminal and ``shown``; log lines go above it."""
    if not shown or not sys.stderr.isatty():
        yield _Nobody()
        return
    from rich import progress as rich
    from rich.console import Console

    columns = (
        rich.TextColumn("{task.description}"),
        rich.BarColumn(),
        rich.TaskProgressColumn(),
        rich.TextColumn("{task.fields[loss]}"),
        rich.TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with rich.Progress(*columns, console=console, transient=True) as bar, _logs_through_stderr():
        yield _Bar(bar, epochs)


@contextmanager
def _logs_through_stderr() -> Iterator[None]:
    """Lets log handlers that hold the terminal write where the bar makes room for them."""
    moved = [
        (handler, handler.setStream(sys.stderr))
        for handler in logging.getLogger().handlers
        if isinstance(handler, logging.StreamHandler) and handler.stream is sys.__stderr__
    ]
    try:
        yield
    finally:
        for handler, before in moved:
            handler.setStream(before)
