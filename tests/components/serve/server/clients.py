"""Clients that send without end, and count what they saw."""

import http.client
import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit


class Load:
    """What several clients saw.

    Args:
        url: Base URL.
        path: Where to post.
        body: What to post, as JSON.
        until_refused: Whether a client ends at the first refused connection; else it goes on.
    """

    def __init__(self, url: str, path: str, body: Any, *, until_refused: bool) -> None:
        self.seen: Counter[str] = Counter()
        self.answers: list[Any] = []
        self._address, self._path = urlsplit(url).netloc, path
        self._body = json.dumps(body).encode()
        self._until_refused = until_refused
        self._stop = threading.Event()
        self._lock = threading.Lock()

    @contextmanager
    def clients(self, count: int) -> Iterator["Load"]:
        """Runs clients, each on a connection of its own, until the block ends."""
        threads = [threading.Thread(target=self._client) for _ in range(count)]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            for thread in threads:
                thread.join(30)

    def _client(self) -> None:
        connection = http.client.HTTPConnection(self._address, timeout=20)
        while not self._stop.is_set():
            seen = self._one(connection)
            with self._lock:
                self.seen[seen] += 1
            if seen != "200":
                connection.close()
            if seen == "refused":
                if self._until_refused:
                    return
                self._stop.wait(0.02)
        connection.close()

    def _one(self, connection: http.client.HTTPConnection) -> str:
        """The status of one request; ``refused`` where nobody listened, ``lost`` where no answer came."""
        try:
            if connection.sock is None:
                connection.connect()
        except OSError:
            return "refused"
        try:
            connection.request("POST", self._path, self._body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            return "lost"
        with self._lock:
            self.answers.append(json.loads(body))
        return str(answer.status)
