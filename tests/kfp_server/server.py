"""The double as a server on loopback: sockets, TLS, faults, restarts."""

import contextlib
import email.parser
import email.policy
import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.kfp_server.errors import RefusedError
from tests.kfp_server.faults import Faults, Kind
from tests.kfp_server.gate import Gate, LoginPageError, as_upload
from tests.kfp_server.routes import API, ROUTES, Request, Route
from tests.kfp_server.state import State


@dataclass
class Seen:
    """A request that has come in; its status is 0 until, and unless, there is an answer."""

    method: str
    path: str
    headers: dict[str, str]
    status: int = 0


class KfpServer:
    """A stateful double of the Kubeflow Pipelines API server; use it as a context manager.

    Args:
        multi_user: Whether it serves namespaces.
        store: Where it keeps pipelines: ``database`` or ``kubernetes``.
        version: What it is as old as: those before 2.6, 2.5 and 2.0 have other answers.
        tls: Certificate and key, one PEM file.
        prefix: Path in front of everything, such as ``/pipeline``.
        state: Of another one, to share.
    """

    def __init__(
        self,
        *,
        multi_user: bool = False,
        store: str = "database",
        version: str = "2.17",
        tls: str = "",
        prefix: str = "",
        state: State | None = None,
    ) -> None:
        self.state = state or State(multi_user, store)
        self.faults = Faults()
        self.gate = Gate()
        self.seen: list[Seen] = []
        self.prefix = prefix
        self.version = tuple(int(part) for part in version.split("."))
        self._tls = tls
        self._port = 0
        self._server: _Server | None = None

    @property
    def url(self) -> str:
        """Where it is, and stays after a restart."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self._port}{self.prefix}"

    def start(self) -> None:
        """Begins to answer; after :meth:`stop`, on the same port and with the same state."""
        self._server = _Server(("127.0.0.1", self._port), self)
        self._port = self._server.server_address[1]
        if self._tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self._tls)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Goes away at once; open connections go down."""
        if self._server is not None:
            self._server.shutdown()
            self._server.close_all()
            self._server.server_close()
            self._server = None

    def restart(self, after_s: float = 0.0) -> None:
        """Goes away and comes back."""
        self.stop()
        time.sleep(after_s)
        self.start()

    def requests(self, match: str = "") -> list[Seen]:
        """What has come in whose ``METHOD /path`` has ``match`` in it."""
        return [seen for seen in list(self.seen) if match in f"{seen.method} {seen.path}"]

    def __enter__(self) -> "KfpServer":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], owner: KfpServer) -> None:
        super().__init__(address, _Handler)
        self.owner = owner
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def close_all(self) -> None:
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away, or does not trust the certificate, is no news."""


class _DroppedError(Exception):
    """The connection is to go down without an answer."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing: tests look at ``seen``."""

    def handle_request(self) -> None:
        owner = self.server.owner
        line = f"{self.command} {urlsplit(self.path).path}"
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        faults = owner.faults.take(line)
        self._seen = Seen(self.command, self.path, dict(self.headers))
        owner.seen.append(self._seen)
        try:
            self._answer(line, body, faults)
        except _DroppedError:
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)

    do_GET = do_POST = do_DELETE = do_PATCH = handle_request  # noqa: N815

    def _answer(self, line: str, body: bytes, faults: dict[Kind, Any]) -> None:
        if Kind.DELAY in faults:
            time.sleep(faults[Kind.DELAY].seconds)
        if Kind.DROP_BEFORE in faults:
            raise _DroppedError
        if Kind.ANSWER in faults:
            fault = faults[Kind.ANSWER]
            self._send(fault.status, fault.body or "upstream connect error", fault.headers)
            return
        status, answer = self._act(line, body)
        if Kind.DROP_AFTER in faults:
            raise _DroppedError
        if status == 302:
            self._send(302, "<a href>Found</a>", {"Location": "/dex/auth?client_id=kubeflow"})
            return
        self._send(status, json.dumps(answer), {"Content-Type": "application/json"})

    def _act(self, line: str, body: bytes) -> tuple[int, dict[str, Any]]:
        """What the request does, and the answer to it."""
        owner, uploading = self.server.owner, "/pipelines/upload" in line
        try:
            with owner.state.lock:
                route, path = _find(owner, self.command, urlsplit(self.path).path)
                user = owner.gate.user(self.headers, line)  # type: ignore[arg-type]
                answer = route.handler(owner.state, self._request(path, body, user))
                return 200, _older(answer) if owner.version < (2, 5) else answer
        except LoginPageError:
            return 302, {}
        except RefusedError as refused:
            shown = as_upload(refused) if uploading else refused
            return shown.status, shown.body(uploading, owner.version < (2, 6))

    def _request(self, path: dict[str, str], body: bytes, user: str) -> Request:
        owner = self.server.owner
        query = dict(parse_qsl(urlsplit(self.path).query))
        kind = self.headers.get("Content-Type") or ""
        upload, parsed = ("", b""), {}
        if kind.startswith("multipart/form-data"):
            upload = _uploaded(kind, body)
        elif body:
            parsed = _json(body)
        if owner.version < (2, 5):
            # Names apart from those that are shown, and tags, came then.
            query.pop("display_name", None)
            parsed_unknown = {"name", "tags"} & parsed.keys()
        else:
            parsed_unknown = set()
        for name in (owner.state.unknown_fields & parsed.keys()) | parsed_unknown:
            raise RefusedError(3, f'proto: (line 1:2): unknown field "{name}"')

        def allow(verb: str, resource: str, namespace: str) -> None:
            if owner.state.multi_user:
                owner.gate.check(user, verb, resource, namespace)

        return Request(path, query, parsed, upload, allow)

    def _send(self, status: int, text: str, headers: dict[str, str]) -> None:
        data = text.encode()
        self._seen.status = status
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(data)

    def date_time_string(self, timestamp: float | None = None) -> str:
        return format_datetime(self.server.owner.state.now(), usegmt=True)


#: Kubeflow Pipelines 2 answers it too; the client that is generated for 2 does not know it.
_OLD_HEALTHZ = Route(
    "GET", "/apis/v1beta1/healthz", lambda state, _: {"multi_user": state.multi_user, "tag_name": "1.8.5"}
)


def _patterns() -> Iterator[tuple[Route, re.Pattern[str]]]:
    for route in ROUTES:
        parts = re.split(r"\{(\w+)\}", route.template)
        found = [f"(?P<{part}>[^/:]+)" if at % 2 else re.escape(part) for at, part in enumerate(parts)]
        yield route, re.compile("".join(found))


_PATTERNS = list(_patterns())


def _find(owner: KfpServer, method: str, path: str) -> tuple[Route, dict[str, str]]:
    path = path.removeprefix(owner.prefix)
    if path == "/apis/v1beta1/healthz":
        return _OLD_HEALTHZ, {}
    # Kubeflow Pipelines 1 has none of them.
    if owner.version >= (2,) and path.startswith(API):
        for route, pattern in _PATTERNS:
            if route.method == method and (found := pattern.fullmatch(path)):
                return route, {key: unquote(value) for key, value in found.groupdict().items()}
    raise RefusedError(5, "Not Found")


def _older(answer: Any) -> Any:
    """Without the fields that came with 2.5."""
    if isinstance(answer, list):
        return [_older(item) for item in answer]
    if not isinstance(answer, dict):
        return answer
    kept = {key: _older(item) if key != "pipeline_spec" else item for key, item in answer.items()}
    if "pipeline_id" in kept and "display_name" in kept:
        kept = {key: item for key, item in kept.items() if key not in ("name", "tags")}
    return kept


def _json(body: bytes) -> dict[str, Any]:
    try:
        return dict(json.loads(body))
    except (ValueError, TypeError) as error:
        raise RefusedError(3, f"proto: syntax error: {error}") from None


def _uploaded(kind: str, body: bytes) -> tuple[str, bytes]:
    head = f"Content-Type: {kind}\r\n\r\n".encode()
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body)
    for part in message.iter_parts():  # type: ignore[attr-defined]
        if part.get_param("name", header="content-disposition") == "uploadfile":
            return part.get_filename() or "", part.get_payload(decode=True)
    raise RefusedError(3, "Failed to read pipeline from file")
