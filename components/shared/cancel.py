"""Being cancelled: a signal becomes an exception once, so that a step can take back what it has begun."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Cancelled(BaseException):
    """The run was cancelled (SIGTERM) or interrupted (SIGINT).

    Not an ``Exception``, so that no handler of failures takes it for one. A step that ends with it says so in
    one line, as with every declared error.
    """

    is_declared = True


@contextmanager
def cancellable() -> Iterator[None]:
    """Turns the first SIGTERM or SIGINT inside the block into :class:`Cancelled`, wherever the block just is.

    Signals after the first are not heard until the block is left: what the block does about being cancelled
    (delete its objects, write a checkpoint) runs to its end. Kubernetes gives it 30 seconds. Outside the main
    thread, where Python hears no signals, the block runs as it is.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard = False

    def hear(number: int, _: FrameType | None) -> None:
        nonlocal heard
        if not heard:
            heard = True
            raise Cancelled(f"The step was cancelled ({signal.Signals(number).name}).")

    before = {number: signal.signal(number, hear) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
