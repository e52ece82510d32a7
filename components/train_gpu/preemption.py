"""Being told to stop: SIGTERM, as Kubernetes sends before it takes a node or deletes a pod."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Preempted(SystemExit):
    """The process was told to stop, and has: it ends with code 143 (128 + SIGTERM), as a killed one would.

    Not 0, which a pipeline would take for success; whoever starts the step again goes on at the checkpoint.

    Args:
        said: Where it stopped, and what is kept.
    """

    def __init__(self, said: str) -> None:
        super().__init__(128 + signal.SIGTERM)
        self.said = said


class StopSign:
    """Whether the process has been told to stop."""

    seen = False


@contextmanager
def stop_sign() -> Iterator[StopSign]:
    """Turns SIGTERM into a sign that the block looks at, instead of the end of the process.

    Only the main thread is told of signals: elsewhere the sign is never seen.
    """
    sign = StopSign()
    if threading.current_thread() is not threading.main_thread():
        yield sign
        return

    def see(number: int, frame: FrameType | None) -> None:
        sign.seen = True

    before = signal.signal(signal.SIGTERM, see)
    try:
        yield sign
    finally:
        signal.signal(signal.SIGTERM, before)
