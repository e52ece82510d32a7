"""A request and a response as handlers see them."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

Header = tuple[bytes, bytes]


class HttpRequest:
    """A request for a handler.

    Args:
        method: ``GET``, ``POST``, …
        path: The decoded path.
        headers: Names in lower case, and values.
        body: The body, whole.
        request_id: The client's ``x-request-id``, or a new one.
        client: The address that it came from.
    """

    __slots__ = ("body", "client", "headers", "method", "path", "request_id")

    def __init__(
        self,
        method: str,
        path: str,
        headers: Sequence[Header],
        body: bytes,
        request_id: str,
        client: str = "",
    ) -> None:
        self.method, self.path, self.headers = method, path, headers
        self.body, self.request_id, self.client = body, request_id, client

    def header(self, name: bytes) -> str:
        """A header's value; empty where it is absent."""
        return next((value.decode("latin-1") for key, value in self.headers if key == name), "")


@dataclass(slots=True)
class HttpResponse:
    """What a handler answers."""

    body: bytes
    status: int = 200
    content_type: bytes = b"application/json"
    headers: Sequence[Header] = field(default_factory=tuple)


Handler = Callable[[HttpRequest], Awaitable[HttpResponse]]
#: Method and path to handler.
Routes = dict[tuple[str, str], Handler]
