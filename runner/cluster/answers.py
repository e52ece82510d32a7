"""What an answer of the API server, or the lack of one, means."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from urllib3 import exceptions as wire

from kfp_lifecycle.components.shared.errors import redact
from kfp_lifecycle.runner.cluster.errors import (
    ForbiddenError,
    NotFoundError,
    OldServerError,
    RefusedError,
    ServerError,
    TlsError,
    UnauthorizedError,
    UnreachableError,
)

#: gRPC's code for an object that is there already; the gateway answers 409 for others too.
_ALREADY_EXISTS = 6
#: Answers after which the same request may succeed, whatever it was.
_TRANSIENT = (429, 500, 502, 503, 504)
#: Those after which it is certain that nothing was done.
_NOT_DONE = (429,)
_LONGEST = 400

_RIGHT = re.compile(
    r"User '(?P<user>[^']*)' is not authorized.*?Namespace:(?P<namespace>[^,]*),Verb:(?P<verb>[^,]*),"
    r"Group:(?P<group>[^,]*),[^}]*?Resource:(?P<resource>[^,]*),",
    re.S,
)
#: As the upload endpoints of servers from 2026 say it.
_UPLOAD_RIGHT = re.compile(
    r"permission to (?P<verb>\w+) (?P<resource>\w+)\.(?P<group>[\w.]+) in namespace \"(?P<namespace>[^\"]*)\""
)
_UNKNOWN_FIELD = re.compile(r"unknown field \"?([\w.]+)\"?|no field named \"?([\w.]+)\"?")
_NO_IDENTITY = re.compile(r"no user identity header|Unauthenticated|authentication failed", re.I)


@dataclass(frozen=True)
class Answer:
    """What came back.

    Args:
        status: HTTP status; 0 where nothing came back.
        text: What the server says, in a line.
        code: gRPC's code; 0 where there is none.
        wait_s: The seconds that it asks to wait; None where it does not ask.
        sent: Whether the request may have reached the server.
        tls: Whether no encrypted connection could be made.
    """

    status: int
    text: str
    code: int = 0
    wait_s: float | None = None
    sent: bool = True
    tls: bool = False

    @property
    def transient(self) -> bool:
        """Whether the same request may succeed later."""
        return not self.tls and (self.status == 0 or self.status in _TRANSIENT) and not self.refuses

    @property
    def certainly_undone(self) -> bool:
        """Whether the server has certainly done nothing."""
        return not self.sent or self.status in _NOT_DONE

    @property
    def exists(self) -> bool:
        """Whether an object of that name is there already."""
        return self.status == 409 and self.code in (0, _ALREADY_EXISTS)

    @property
    def unauthorized(self) -> bool:
        """Whether the server wants to know who is calling."""
        if self.status in (401, 302, 303, 307):
            return True
        # Uploads answer 400, servers before 2.0 answer 500, with what others answer 401 with.
        return self.status in (400, 500) and bool(_NO_IDENTITY.search(self.text)) and not self._right

    @property
    def refuses(self) -> bool:
        """Whether a 500 is a refusal in other words, which no repetition mends."""
        return self.unauthorized or self._right is not None or self.unknown_field != ""

    @property
    def unknown_field(self) -> str:
        """The field that the server is too old to know; empty where that is not the matter."""
        found = _UNKNOWN_FIELD.search(self.text)
        return (found[1] or found[2]) if found else ""

    @property
    def _right(self) -> re.Match[str] | None:
        return _RIGHT.search(self.text) or _UPLOAD_RIGHT.search(self.text)

    def error(self, what: str, where: str) -> ServerError:
        """The declared error for it.

        Args:
            what: What was tried, such as ``start the run``.
            where: The server.
        """
        cannot = f"Cannot {what}" if what else "The request failed"
        if self.tls:
            return TlsError(f"{cannot}: no trusted connection to {where}: {self.text}.", _trust(self.text))
        if self.status == 0:
            return UnreachableError(f"{cannot}: {where} does not answer: {self.text}.", _REACH)
        if self.unauthorized:
            return UnauthorizedError(f"{cannot}: {where} does not know who you are ({self._said}).", _WHO)
        if self.status == 403 or self._right:
            return self._forbidden(cannot, where)
        if self.unknown_field:
            return OldServerError(
                f"{cannot}: {where} does not know {self.unknown_field!r}; it is older than the file.",
                "Upgrade the server, or see what it is too old for: "
                "kfp-lifecycle lint FILE --for-backend VERSION.",
            )
        if self.status == 404:
            return NotFoundError(f"{cannot}: {where} does not have it ({self._said}).")
        if self.status in (405, 501):
            return OldServerError(
                f"{cannot}: {where} does not offer that ({self._said}).", "Upgrade the server."
            )
        if self.transient:
            fix = (
                f"It asks to wait {self.wait_s:.0f} s. Try again later."
                if self.wait_s
                else "Try again later."
            )
            return UnreachableError(f"{cannot}: {where} is not well ({self._said}).", fix)
        return RefusedError(f"{cannot}: {where} refuses it ({self._said}).")

    def _forbidden(self, cannot: str, where: str) -> ForbiddenError:
        found = self._right
        if found is None:
            return ForbiddenError(
                f"{cannot}: {where} forbids it ({self._said}).",
                "Ask its administrator for access to the pipelines API in your namespace.",
            )
        user = f"user {found['user']!r}" if "user" in found.groupdict() else "you"
        where_to = f"namespace {found['namespace']!r}" if found["namespace"] else "the shared namespace"
        right = f"{found['verb']} {found['resource']}.{found['group'] or 'pipelines.kubeflow.org'}"
        return ForbiddenError(
            f"{cannot}: {user} may not {found['verb']} {found['resource']} in {where_to}.",
            f"Ask for the right to {right} there, or choose another namespace with --namespace.",
        )

    @property
    def _said(self) -> str:
        return f"{self.status}: {self.text}" if self.text else str(self.status)


_TRUST = "Give the certificate of its authority: --ca-cert FILE, KFP_CA_CERT, or ca_cert in the context."
#: What OpenSSL says of other matters than an unknown authority, and what helps.
_TLS = {
    r"WRONG_VERSION_NUMBER|wrong version number|UNKNOWN_PROTOCOL": (
        "The server speaks plain HTTP there: write http://, or name another port."
    ),
    r"[Mm]ismatch|doesn't match": "Use an address that the certificate is for.",
    r"has expired|not yet valid": "Have the certificate renewed, or set this machine's clock.",
}
_REACH = "Look at the address (kfp-lifecycle context show), and whether the server runs."
_WHO = (
    "Log in again, or give a token or cookie: KFP_TOKEN, KFP_COOKIES, or kfp-lifecycle context set "
    "--token-command."
)


def _trust(text: str) -> str:
    return next((fix for pattern, fix in _TLS.items() if re.search(pattern, text)), _TRUST)


def read_answer(error: Exception, hide: Callable[[str], str] = redact) -> Answer | None:
    """The answer in an exception of the generated client; None where it is another's.

    Args:
        error: What was raised.
        hide: Replaces credentials.
    """
    if isinstance(error, wire.HTTPError):
        return _no_answer(error, hide)
    # By name: importing kfp_server_api costs 0.3 s, and who raises it has imported it.
    if type(error).__name__ == "ApiException" and hasattr(error, "status"):
        headers = getattr(error, "headers", None) or {}
        text, code = _said(getattr(error, "body", None))
        return Answer(int(error.status or 0), hide(text), code, wait_seconds(headers.get("Retry-After")))
    return None


def wait_seconds(text: str | None) -> float | None:
    """Retry-After in seconds: a number, or a date (RFC 9110)."""
    if not text:
        return None
    if re.fullmatch(r"\d{1,9}", text.strip()):
        return float(text)
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (until.replace(tzinfo=until.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


def _no_answer(error: wire.HTTPError, hide: Callable[[str], str]) -> Answer:
    text = hide(_cause(error))
    if isinstance(error, wire.SSLError):
        return Answer(0, text, tls=True, sent=False)
    sent = not isinstance(
        error, (wire.NewConnectionError, wire.ConnectTimeoutError, wire.NameResolutionError)
    )
    return Answer(0, text, sent=sent)


def _cause(error: wire.HTTPError) -> str:
    """The system's own words, without the address of an object."""
    if isinstance(error, wire.ReadTimeoutError):
        return "no answer in time"
    if isinstance(error, wire.ConnectTimeoutError) and not isinstance(error, wire.NewConnectionError):
        return "no connection in time"
    text = " ".join(str(part) for part in error.args) or type(error).__name__
    text = re.sub(r"<[\w.]+(?:\([^)]*\))? object at 0x[0-9a-f]+>:? ?", "", text)
    text = re.sub(r"^(?:HTTPS?Connection(?:Pool)?\([^)]*\): )", "", text)
    text = re.sub(r"^Failed to establish a new connection: (\[Errno -?\d+\] )?", "", text)
    return " ".join(text.split())[:_LONGEST].rstrip(".")


def _said(body: Any) -> tuple[str, int]:
    """Message and gRPC code in a body, whichever of its forms it has."""
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else str(body or "")
    try:
        data = json.loads(text)
    except ValueError:
        shown = "" if text.lstrip().startswith("<") else text
        return _line(shown), 0
    if not isinstance(data, dict):
        return _line(text), 0
    message = data.get("message") or data.get("error_message") or data.get("error") or ""
    code = data.get("code")
    return _line(str(message)), code if isinstance(code, int) else 0


def _line(text: str) -> str:
    # The server repeats the message after stack traces of its own.
    text = text.partition("\ngithub.com/")[0]
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST * 2 else f"{text[: _LONGEST * 2]} …"
