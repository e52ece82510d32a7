"""Who may come in, and what they may do."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.cookies import SimpleCookie

from tests.kfp_server.errors import RefusedError, denied, unauthenticated


class LoginPageError(Exception):
    """The proxy in front sends whoever has not logged in to its login page."""


@dataclass
class Gate:
    """Checks credentials and rights.

    Args:
        required: Whether anyone without credentials is turned away; else everyone is ``anonymous``.
        tokens: Bearer token to user.
        cookies: ``name=value`` to user.
        login_page: Whether one without credentials is redirected, as oauth2-proxy does, instead of refused.
        everywhere: Whether the health endpoint is guarded too, as by a proxy in front.
        rights: (user, namespace) to what is allowed there: verbs, or ``verb resource``; None allows all.
    """

    required: bool = False
    tokens: dict[str, str] = field(default_factory=dict)
    cookies: dict[str, str] = field(default_factory=dict)
    login_page: bool = False
    everywhere: bool = False
    rights: dict[tuple[str, str], set[str]] | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def expire(self, credential: str) -> None:
        """From now on, this token or cookie is worth nothing."""
        with self.lock:
            self.tokens.pop(credential, None)
            self.cookies.pop(credential, None)

    def user(self, headers: Mapping[str, str], path: str = "") -> str:
        """Who sends these headers."""
        if path.endswith("/healthz") and not self.everywhere and not self.login_page:
            return "anonymous"
        with self.lock:
            given = headers.get("Authorization") or ""
            if given.startswith("Bearer ") and given[7:] in self.tokens:
                return self.tokens[given[7:]]
            for name, morsel in SimpleCookie(headers.get("Cookie") or "").items():
                if f"{name}={morsel.value}" in self.cookies:
                    return self.cookies[f"{name}={morsel.value}"]
        if not self.required:
            return "anonymous"
        raise LoginPageError if self.login_page else unauthenticated()

    def admit(self, user: str, *, token: str = "", cookie: str = "") -> None:
        """Lets a user in with a token or a cookie (``name=value``), and nobody without one."""
        with self.lock:
            self.required = True
            if token:
                self.tokens[token] = user
            if cookie:
                self.cookies[cookie] = user

    def check(self, user: str, verb: str, resource: str, namespace: str) -> None:
        """Refuses what the user has no right to."""
        if self.rights is None:
            return
        allowed = self.rights.get((user, namespace), set())
        if verb not in allowed and f"{verb} {resource}" not in allowed:
            raise denied(user, verb, resource, namespace)


def as_upload(refused: RefusedError) -> RefusedError:
    """The upload endpoints answer 400 for what all others answer 401 and 403 for."""
    return RefusedError(3, refused.message) if refused.code in (7, 16) else refused
