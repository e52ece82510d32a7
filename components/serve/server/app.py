"""The server as an ASGI application: paths to handlers, errors to answers, limits on what comes in."""

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import orjson

from kfp_lifecycle.components.serve.server import protocol_v1, protocol_v2
from kfp_lifecycle.components.serve.server.failures import (
    ClientGoneError,
    NotAllowedError,
    NotFoundError,
    OverloadedError,
    RequestError,
    TooLargeError,
    TooSlowError,
)
from kfp_lifecycle.components.serve.server.host import Host
from kfp_lifecycle.components.serve.server.http import Header, HttpRequest, HttpResponse, Routes
from kfp_lifecycle.components.serve.server.inference import Call, Inference
from kfp_lifecycle.components.serve.server.options import ServerOptions

log = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_JSON: Header = (b"content-type", b"application/json")
_BYTES: Header = (b"content-type", b"application/octet-stream")
_CLOSE: Header = (b"connection", b"close")
_REQUEST_ID = b"x-request-id"
#: How long, and how far beyond the limit, a body is read that is refused: who still sends reads no answer.
_DISCARD_S, _DISCARD_TIMES = 10.0, 8


class App:
    """The ASGI application.

    Args:
        inference: What answers.
        options: The server's settings.
        routes: Paths beside the protocols'.
    """

    def __init__(self, inference: Inference, options: ServerOptions, routes: Routes) -> None:
        self._inference, self._options, self._routes = inference, options, routes
        self._host: Host = inference.host
        self._in_flight = 0
        #: While draining, each answer asks its client to connect elsewhere.
        self.draining = False

    def drain(self) -> None:
        """Says from now on that the server is not ready, and asks clients to connect elsewhere."""
        self._inference.ready, self.draining = False, True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        headers: list[Header] = scope["headers"]
        request_id = _request_id(headers)
        try:
            path: str = scope["path"]
            if scope["method"] == "POST" and (found := _prediction(path)) is not None:
                body, more = await self._predict(found, scope, receive, request_id)
                status = 200
            else:
                response = await self._other(scope, receive, request_id)
                body, status = response.body, response.status
                more = [(b"content-type", response.content_type), *response.headers]
        except ClientGoneError:
            return
        except RequestError as error:
            body, status = orjson.dumps(error.body(request_id)), error.status
            more = [_JSON, *([_CLOSE] if isinstance(error, (TooLargeError, TooSlowError)) else [])]
            if isinstance(error, OverloadedError):
                more.append((b"retry-after", b"1"))
        except Exception:
            log.exception("request %s failed", request_id)
            status, more = 500, [_JSON]
            body = orjson.dumps({"error": "The server failed; its log says why.", "request_id": request_id})
        if self.draining:
            more = [*more, _CLOSE]
        more.append((b"content-length", str(len(body)).encode()))
        more.append((_REQUEST_ID, request_id.encode("latin-1")))
        await send({"type": "http.response.start", "status": status, "headers": more})
        await send({"type": "http.response.body", "body": body})

    async def _predict(
        self, found: tuple[str, str, str], scope: Scope, receive: Receive, request_id: str
    ) -> tuple[bytes, list[Header]]:
        protocol, name, version = found
        call = Call(request_id, protocol, self._host.choose(name, version))
        self._inference.started(call)
        self._in_flight += 1
        try:
            if self._in_flight > self._options.max_in_flight:
                raise OverloadedError(f"{self._options.max_in_flight} requests are under way; try again.")
            body = await self._body(scope["headers"], receive)
            call.received = time.perf_counter()
            if protocol == "v1":
                answer = await self._inference.answer(call, protocol_v1.decode(body, call.served))
                return protocol_v1.encode(call.served, answer.outputs), [_JSON]
            length = _header(scope["headers"], protocol_v2.HEADER_LENGTH)
            given, wanted = protocol_v2.decode(body, length, call.served)
            protocol_v2.check_names(call.served, wanted.names)
            answer = await self._inference.answer(call, given)
            return _encoded(*protocol_v2.encode(answer, wanted))
        except RequestError as error:
            self._inference.failed(call, error)
            raise
        except BaseException:
            self._inference.failed(call, RequestError("The server failed."))
            raise
        finally:
            self._in_flight -= 1

    async def _other(self, scope: Scope, receive: Receive, request_id: str) -> HttpResponse:
        method, path = scope["method"], scope["path"]
        if path == "/" and method == "GET" and "text/html" not in _header(scope["headers"], b"accept"):
            return _json({"status": "alive"})  # what KServe's clients of V1 ask for
        handler = self._routes.get((method, path))
        if handler is not None:
            body = await self._body(scope["headers"], receive) if method == "POST" else b""
            client = (scope.get("client") or ("",))[0]
            return await handler(HttpRequest(method, path, scope["headers"], body, request_id, client))
        if method != "GET":
            if any(path == known for _, known in self._routes):
                raise NotAllowedError(f"{path} does not take {method}.")
            raise NotFoundError(f"There is nothing at {method} {path[:200]}.")
        return self._get(path)

    def _get(self, path: str) -> HttpResponse:
        parts = path.strip("/").split("/")
        match parts:
            case ["v2"]:
                extensions = protocol_v2.EXTENSIONS
                return _json({"name": "kfp-lifecycle", "version": _library(), "extensions": extensions})
            case ["v2", "health", "live"]:
                return _json({"live": True})
            case ["v2", "health", "ready"]:
                return self._ready(self._degraded())
            case ["v1", "models"] | ["v2", "models"]:
                return _json({"models": [self._host.name]})
            case ["v1", "models", name]:
                self._host.find(name)
                return self._ready({"name": name})
            case ["v2", "models", name] | ["v2", "models", name, "versions", _]:
                served = self._host.find(name, parts[4] if len(parts) > 4 else "")
                return _json(protocol_v2.metadata(served, [each.version for each in self._host.models]))
            case ["v2", "models", name, "ready"] | ["v2", "models", name, "versions", _, "ready"]:
                self._host.find(name, parts[4] if len(parts) > 4 else "")
                return self._ready({"name": name})
        raise NotFoundError(f"There is nothing at GET {path[:200]}.")

    def _degraded(self) -> dict[str, str]:
        """What requests are answered without just now, if anything."""
        problems = [each.lookup.degraded() for each in self._host.models if each.lookup]
        said = next((problem for problem in problems if problem), "")
        return {"degraded": f"feature store: {said}"} if said else {}

    def _ready(self, about: dict[str, Any]) -> HttpResponse:
        ready = self._inference.ready
        return _json({**about, "ready": ready}, 200 if ready else 503)

    async def _body(self, headers: list[Header], receive: Receive) -> bytes:
        """The whole body. Raises ``TooLargeError``, ``TooSlowError`` or ``ClientGoneError``."""
        limit = self._options.max_body
        length = _header(headers, b"content-length")
        if length.isdecimal() and int(length) > limit:
            await _discard(receive, limit * _DISCARD_TIMES)
            raise _too_large(limit)
        message = await self._part(receive)
        if not message.get("more_body"):
            if len(message["body"]) > limit:
                raise _too_large(limit)
            return message["body"]  # type: ignore[no-any-return]
        return await self._rest(message["body"], receive, limit)

    async def _rest(self, first: bytes, receive: Receive, limit: int) -> bytes:
        parts, size = [first], len(first)
        try:
            async with asyncio.timeout(self._options.read_timeout_s):
                while True:
                    message = await self._part(receive)
                    parts.append(message["body"])
                    size += len(message["body"])
                    if size > limit:
                        break
                    if not message.get("more_body"):
                        return b"".join(parts)
        except TimeoutError:
            seconds = self._options.read_timeout_s
            raise TooSlowError(f"The body did not come within {seconds:g} s.") from None
        if message.get("more_body"):
            await _discard(receive, limit * _DISCARD_TIMES)
        raise _too_large(limit)

    async def _part(self, receive: Receive) -> Message:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError("The client closed the connection before the request was whole.")
        return message


async def _discard(receive: Receive, most: int) -> None:
    """Reads on for a while, so that a client that still sends gets to read its answer."""
    try:
        async with asyncio.timeout(_DISCARD_S):
            while most > 0:
                message = await receive()
                if message["type"] == "http.disconnect" or not message.get("more_body"):
                    return
                most -= len(message["body"])
    except TimeoutError:
        return


def _prediction(path: str) -> tuple[str, str, str] | None:
    """Protocol, model and version where a path is one of a prediction."""
    if path.startswith("/v1/models/") and path.endswith(":predict"):
        return "v1", path[11:-8], ""
    if path.startswith("/v2/models/") and path.endswith("/infer"):
        name, versions, version = path[11:-6].partition("/versions/")
        if versions:
            return "v2", name, version
        return "v2", name, ""
    return None


def _request_id(headers: list[Header]) -> str:
    for name, value in headers:
        if name == _REQUEST_ID:
            text = value[:128].decode("latin-1").strip()
            return text if text.isascii() and text.isprintable() and text else uuid.uuid4().hex
    return uuid.uuid4().hex


def _header(headers: list[Header], name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in headers if key == name), "")


def _encoded(body: bytes, json_length: int) -> tuple[bytes, list[Header]]:
    if not json_length:
        return body, [_JSON]
    return body, [_BYTES, (protocol_v2.HEADER_LENGTH, str(json_length).encode())]


def _json(data: dict[str, Any], status: int = 200) -> HttpResponse:
    return HttpResponse(orjson.dumps(data), status)


def _too_large(limit: int) -> TooLargeError:
    return TooLargeError(f"The body is larger than {limit / 1_000_000:g} MB; send fewer rows at a time.")


def _library() -> str:
    from kfp_lifecycle.components.shared.model_format import library_version

    return library_version()
