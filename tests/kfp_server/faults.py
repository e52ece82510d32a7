"""What the server is told to do wrong."""

import threading
from dataclasses import dataclass, field
from enum import StrEnum


class Kind(StrEnum):
    ANSWER = "answer"
    DELAY = "delay"
    DROP_BEFORE = "drop before"
    DROP_AFTER = "drop after"


@dataclass
class Fault:
    """One thing that goes wrong with the next requests that fit.

    Args:
        kind: What happens.
        match: Part of ``METHOD /path``; empty for every request.
        times: How often; -1 for ever.
        status: Of the answer that is given instead.
        headers: Of it.
        body: Of it.
        seconds: How long a delay is.
    """

    kind: Kind
    match: str = ""
    times: int = 1
    status: int = 503
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""
    seconds: float = 0.0


class Faults:
    """The faults that are still to come; each request takes at most one, and one delay besides."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pending: list[Fault] = []

    def answer(
        self,
        status: int,
        match: str = "",
        *,
        retry_after: str = "",
        times: int = 1,
        body: str = "",
        headers: dict[str, str] | None = None,
    ) -> None:
        """The server answers with ``status`` and does nothing."""
        found = dict(headers or {}) | ({"Retry-After": retry_after} if retry_after else {})
        self.add(Fault(Kind.ANSWER, match, times, status, found, body))

    def delay(self, seconds: float, match: str = "", times: int = 1) -> None:
        """The server takes that long before it does anything."""
        self.add(Fault(Kind.DELAY, match, times, seconds=seconds))

    def drop_before(self, match: str = "", times: int = 1) -> None:
        """The connection goes down before the server has done anything."""
        self.add(Fault(Kind.DROP_BEFORE, match, times))

    def drop_after(self, match: str = "", times: int = 1) -> None:
        """The server does what it was asked for; then the connection goes down."""
        self.add(Fault(Kind.DROP_AFTER, match, times))

    def add(self, fault: Fault) -> None:
        with self._lock:
            self._pending.append(fault)

    def clear(self) -> None:
        with self._lock:
            self._pending.clear()

    def take(self, request: str) -> dict[Kind, Fault]:
        """The faults of this request, ``METHOD /path``."""
        with self._lock:
            taken: dict[Kind, Fault] = {}
            for fault in self._pending:
                slow = fault.kind is Kind.DELAY
                if fault.match in request and not any((kind is Kind.DELAY) is slow for kind in taken):
                    fault.times -= 1
                    taken[fault.kind] = fault
            self._pending = [fault for fault in self._pending if fault.times]
            return taken
