"""How runs of the double go on: a play is a generator, and each look at a run takes it one step further."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tests.kfp_server.run import RunState

Play = Callable[[RunState], Iterator[None]]


def succeeds(outputs: Mapping[str, Mapping[str, list[str]]] | None = None) -> Play:
    """Every task after the other starts and succeeds.

    Args:
        outputs: Task to its outputs: name to artifact ids.
    """

    def play(run: RunState) -> Iterator[None]:
        for name in run.task_names:
            run.start(name)
            yield
            run.end(name, "SUCCEEDED", outputs=(outputs or {}).get(name, {}))
            yield
        run.finish("SUCCEEDED")

    return play


def fails(task: str, message: str = "") -> Play:
    """As :func:`succeeds` up to ``task``, which fails."""

    def play(run: RunState) -> Iterator[None]:
        for name in run.task_names:
            run.start(name)
            yield
            if name == task:
                run.end(name, "FAILED")
                run.finish("FAILED", message)
                return
            run.end(name, "SUCCEEDED")
            yield

    return play


def holds(after: str = "") -> Play:
    """Tasks succeed up to ``after``; the next one runs for ever."""

    def play(run: RunState) -> Iterator[None]:
        passed = not after
        for name in run.task_names:
            run.start(name)
            yield
            if passed:
                break
            run.end(name, "SUCCEEDED")
            passed = name == after
            yield
        while True:
            yield

    return play


def steps(*moves: Callable[[RunState], Any]) -> Play:
    """Each look makes the next move."""

    def play(run: RunState) -> Iterator[None]:
        for move in moves:
            move(run)
            yield

    return play
