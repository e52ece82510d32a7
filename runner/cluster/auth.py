"""Credentials, as users of Kubeflow Pipelines have them: where each comes from, and how it is renewed.

None is kept in a configuration: a context says where one is to be found.
"""

import json
import os
import shlex
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from kfp_lifecycle.runner.cluster.errors import ContextError, UnauthorizedError

#: What a token is renewed before its end by, seconds: clocks differ.
_EARLY_S = 30.0
_COMMAND_S = 60.0

Source = Callable[[], str]


class Credentials(Protocol):
    """What is sent along with every request."""

    def headers(self) -> dict[str, str]:
        """The headers to send; asks for a token where there is none yet."""

    def renew(self) -> bool:
        """After a 401: forgets what is kept; False where nothing else can come of asking again."""

    @property
    def secrets(self) -> list[str]:
        """What must not be shown."""


class Anonymous:
    """No credentials: a port-forward, or a server of one user."""

    secrets: list[str] = []  # noqa: RUF012 - never changed

    def headers(self) -> dict[str, str]:
        """None."""
        return {}

    def renew(self) -> bool:
        """Never."""
        return False


@dataclass
class Held:
    """A bearer token or cookies that a source gives: a variable, a file, a command.

    Args:
        header: ``Authorization`` or ``Cookie``.
        source: Gives the value.
        changes: Whether it may give another one later.
        reread: Whether it is asked before each request: the kubelet replaces a service account's token.
    """

    header: str
    source: Source
    changes: bool = True
    reread: bool = False
    _value: str = field(default="", repr=False)
    _shown: list[str] = field(default_factory=list, repr=False)

    def headers(self) -> dict[str, str]:
        """The one header."""
        if self.reread or not self._value:
            self._value = self.source()
            self._shown.append(self._value)
        value = f"Bearer {self._value}" if self.header == "Authorization" else self._value
        return {self.header: value}

    def renew(self) -> bool:
        """Asks the source again; whether it has something new."""
        before = self._value
        if not self.changes:
            return False
        self._value = ""
        self.headers()
        return self._value != before

    @property
    def secrets(self) -> list[str]:
        """Every value it has had; of cookies, each on its own too."""
        parts = [part.partition("=")[2] for text in self._shown for part in text.split(";")]
        return [*self._shown, *(p for p in parts if self.header == "Cookie" and p)]


@dataclass
class ClientCredentials:
    """OAuth 2.0 client credentials (RFC 6749, 4.4) of an OpenID Connect provider such as Dex or Keycloak.

    Args:
        token_url: The provider's token endpoint, or its issuer, which says where that is.
        client_id: The client.
        client_secret: Gives its secret.
        scope: What is asked for; may be empty.
        audience: For whom the token is to be; may be empty.
        ca_cert: File with the authority that signed the provider's certificate; may be empty.
    """

    token_url: str
    client_id: str
    client_secret: Source
    scope: str = "openid"
    audience: str = ""
    ca_cert: str = ""
    clock: Callable[[], float] = field(default=time.monotonic, repr=False)
    _token: str = field(default="", repr=False)
    _until: float = 0.0
    _shown: list[str] = field(default_factory=list, repr=False)

    def headers(self) -> dict[str, str]:
        """The bearer token, a new one shortly before the old one ends."""
        if not self._token or self.clock() >= self._until:
            self._fetch()
        return {"Authorization": f"Bearer {self._token}"}

    def renew(self) -> bool:
        """Fetches another."""
        before, self._token = self._token, ""
        self.headers()
        return self._token != before

    @property
    def secrets(self) -> list[str]:
        """The secret and all tokens."""
        return list(self._shown)

    def _fetch(self) -> None:
        secret = self.client_secret()
        self._shown.append(secret)
        fields = {"grant_type": "client_credentials", "client_id": self.client_id, "client_secret": secret}
        fields |= {k: v for k, v in (("scope", self.scope), ("audience", self.audience)) if v}
        answer = self._ask("POST", self._endpoint(), fields)
        # Dex and Keycloak give both; oauth2-proxy and Istio check an identity.
        token = answer.get("id_token") or answer.get("access_token")
        if not isinstance(token, str) or not token:
            raise UnauthorizedError(
                f"{self.token_url} gave no token.", "Look at the client's settings there."
            )
        self._token = token
        self._shown.append(token)
        lifetime = float(answer.get("expires_in") or 300)
        self._until = self.clock() + max(lifetime - _EARLY_S, lifetime / 2)

    def _endpoint(self) -> str:
        if self.token_url.rstrip("/").endswith("/token"):
            return self.token_url
        # OpenID Connect Discovery 1.0, 4.
        place = f"{self.token_url.rstrip('/')}/.well-known/openid-configuration"
        found = self._ask("GET", place, None).get("token_endpoint")
        if not isinstance(found, str):
            raise UnauthorizedError(f"{place} names no token endpoint.", "Give the token endpoint itself.")
        return found

    def _ask(self, method: str, url: str, fields: dict[str, str] | None) -> dict[str, Any]:
        import certifi
        import urllib3

        pool = urllib3.PoolManager(ca_certs=self.ca_cert or certifi.where(), timeout=30.0, retries=2)
        try:
            form: dict[str, Any] = {} if fields is None else {"fields": fields, "encode_multipart": False}
            answer = pool.request(method, url, redirect=False, **form)
            data = json.loads(answer.data)
        except urllib3.exceptions.HTTPError as error:
            raise UnauthorizedError(
                f"The identity provider at {url} does not answer ({type(error).__name__}).",
                "Look at the address and the network.",
            ) from None
        except ValueError:
            data = {}
        if answer.status != 200 or not isinstance(data, dict):
            said = data.get("error") if isinstance(data, dict) else ""
            raise UnauthorizedError(
                f"The identity provider at {url} gives no token: {answer.status} {said or ''}".rstrip() + ".",
                "Look at client id, secret and scope.",
            )
        return data


def from_variable(name: str, environment: Mapping[str, str] = os.environ) -> Source:
    """A credential in an environment variable."""

    def read() -> str:
        if not environment.get(name):
            raise ContextError(f"The variable {name}, which is to hold a credential, is not set.", "Set it.")
        return environment[name].strip()

    return read


def from_file(path: str) -> Source:
    """A credential in a file, which may be replaced at any time."""

    def read() -> str:
        try:
            text = Path(path).expanduser().read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it is no text"
            raise ContextError(
                f"{path}, which is to hold a credential, cannot be read: {why}.", "Name another file."
            ) from None
        if not text:
            raise ContextError(f"{path}, which is to hold a credential, is empty.", "Name another file.")
        return text

    return read


def from_command(command: str) -> Source:
    """A credential that a program prints, such as ``kubectl create token default-editor``."""

    def read() -> str:
        program = shlex.split(command)[0]
        try:
            done = subprocess.run(
                shlex.split(command), capture_output=True, text=True, timeout=_COMMAND_S, check=False
            )
        except (OSError, subprocess.SubprocessError) as error:
            why = getattr(error, "strerror", None) or f"no end within {_COMMAND_S:.0f} s"
            raise ContextError(f"{program}, which is to print a credential, fails: {why}.") from None
        if done.returncode or not done.stdout.strip():
            said = done.stderr.strip().splitlines()
            why = f"{said[-1]}" if done.returncode and said else "it prints nothing"
            raise ContextError(
                f"{program}, which is to print a credential, ends with {done.returncode}: {why}.",
                "Run it by hand.",
            )
        return done.stdout.strip()

    return read
