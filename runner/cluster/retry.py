"""How long, and how often, a request is tried again."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Patience:
    """How long one goes on when the server does not answer.

    Args:
        seconds: From the first failure on.
        first_s: The longest first wait; each further one may be twice as long.
        most_s: The longest wait, but for one that the server asks for.
        settle_s: The least wait after a request that may still be under way, before one looks for it.
    """

    seconds: float = 60.0
    first_s: float = 0.5
    most_s: float = 10.0
    settle_s: float = 2.0
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False, compare=False)
    clock: Callable[[], float] = field(default=time.monotonic, repr=False, compare=False)

    def begin(self) -> "Waiting":
        """Starts to count."""
        return Waiting(self)


class Waiting:
    """The waits between the attempts of one request."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._first: float | None = None
        self.failures = 0

    def pause(self, asked_s: float | None, least_s: float = 0.0) -> bool:
        """Waits before the next attempt: exponential, with jitter, never less than the server asks for.

        Args:
            asked_s: Retry-After.
            least_s: A lower bound of ours.

        Returns:
            False at once where that would take longer than one has patience.
        """
        patience = self._patience
        now = patience.clock()
        self._first = now if self._first is None else self._first
        most = min(patience.most_s, patience.first_s * 2**self.failures)
        self.failures += 1
        # Many that fail together must not come back together.
        wait = max(random.uniform(most / 2, most), least_s)
        if asked_s is not None:
            wait = max(wait, asked_s + random.uniform(0, min(1.0, asked_s / 10)))
        if now - self._first + wait > patience.seconds:
            return False
        patience.sleep(wait)
        return True
