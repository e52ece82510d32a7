"""Receivers of messages as real servers on loopback: a webhook, and a mail server."""

import contextlib
import json
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.servers import free_port


@dataclass
class Webhook:
    """A webhook.

    Args:
        url: Where it is; the last part stands for the secret in a real one's URL.
        told: The JSON bodies that have come in.
        headers: The headers of each.
        answers: Statuses of the next answers; 200 after them.
    """

    url: str = ""
    told: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)


@contextlib.contextmanager
def webhook() -> Iterator[Webhook]:
    """A webhook that is listening."""
    kept = Webhook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = kept.answers.pop(0) if kept.answers else 200
            kept.told.append(json.loads(body))
            kept.headers.append(dict(self.headers.items()))
            self.send_response(status)
            if status == 429:
                self.send_header("Retry-After", "0")
            self.end_headers()
            self.wfile.write(b"ok" if status == 200 else b"invalid_payload")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    kept.url = f"http://127.0.0.1:{server.server_address[1]}/services/hush-hush"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield kept
    finally:
        server.shutdown()
        server.server_close()


@dataclass
class Mailbox:
    """A mail server: where it is, and what it has taken."""

    host: str
    mails: list[EmailMessage] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)


@contextlib.contextmanager
def mail_server(
    certificate: Path | None = None, *, security: str = "none", user: str = ""
) -> Iterator[Mailbox]:
    """A mail server (aiosmtpd).

    Args:
        certificate: Certificate and key, one PEM file.
        security: ``starttls``, ``tls`` or ``none``.
        user: The user who may send, with the password ``hush-hush``; empty lets everybody.
    """
    from aiosmtpd.controller import Controller
    from aiosmtpd.smtp import AuthResult

    box = Mailbox(f"127.0.0.1:{free_port()}")

    class Handler:
        async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, _: Any) -> str:
            if address.startswith("nobody"):
                return "550 no such user"
            envelope.rcpt_tos.append(address)
            return "250 OK"

        async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
            mail = message_from_bytes(envelope.content, policy=policy.default)
            box.mails.append(mail)  # type: ignore[arg-type]
            box.recipients.append(envelope.rcpt_tos)
            return "250 OK"

    def authenticate(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> Any:
        ok = (data.login, data.password) == (user.encode(), b"hush-hush")
        return AuthResult(success=ok, handled=False)  # aiosmtpd answers

    more: dict[str, Any] = {}
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        more = {"ssl_context": context} if security == "tls" else {"tls_context": context}
        more["require_starttls"] = security == "starttls"
    if user:
        more |= {
            "authenticator": authenticate,
            "auth_required": True,
            "auth_require_tls": security == "starttls",
        }
    host, port = box.host.split(":")
    controller = Controller(Handler(), hostname=host, port=int(port), **more)
    controller.start()
    try:
        yield box
    finally:
        controller.stop()
