"""Clients of the model server: a month that is replayed, and somebody who asks all the time."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any

import requests

Row = Mapping[str, Any]


@dataclass
class Answers:
    """What has become of requests.

    Args:
        sent: How many were sent.
        failed: What those that failed were answered, or how they ended.
    """

    sent: int = 0
    failed: list[str] = field(default_factory=list)


def ask(session: requests.Session, url: str, name: str, rows: Sequence[Row], answers: Answers) -> None:
    """One request over the V1 protocol."""
    answers.sent += 1
    try:
        answer = session.post(f"{url}/v1/models/{name}:predict", json={"instances": list(rows)}, timeout=60)
        if not answer.ok or len(answer.json()["predictions"]) != len(rows):
            answers.failed.append(f"{answer.status_code} {answer.text[:200]}")
    except (requests.RequestException, ValueError, KeyError) as error:
        answers.failed.append(f"{type(error).__name__}: {error}")


def replay(url: str, name: str, rows: Sequence[Row], size: int, answers: Answers) -> None:
    """Sends all rows, ``size`` to a request."""
    with requests.Session() as session:
        for start in range(0, len(rows), size):
            ask(session, url, name, rows[start : start + size], answers)


@contextmanager
def asking(
    url: str, name: str, rows: Sequence[Row], answers: Answers, pause_s: float = 0.02
) -> Iterator[None]:
    """Somebody who asks for one row after the other while the block goes on."""
    over = threading.Event()

    def go() -> None:
        with requests.Session() as session:
            for row in cycle(rows):
                ask(session, url, name, [row], answers)
                if over.wait(pause_s):
                    return

    thread = threading.Thread(target=go, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
