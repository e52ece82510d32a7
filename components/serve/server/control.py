"""Rollout commands, as an extension of V2's model repository: load, traffic, promote, unload.

They are taken from this machine alone, with a token, and only where the server was started with
``--control``: whoever may send them decides what answers.
"""

import asyncio
import hmac
import ipaddress
import os
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson

from kfp_lifecycle.components.serve.server.failures import (
    BadRequestError,
    ConflictError,
    RequestError,
    TimedOutError,
    UnauthorizedError,
)
from kfp_lifecycle.components.serve.server.host import Host
from kfp_lifecycle.components.serve.server.http import Handler, HttpRequest, HttpResponse, Routes
from kfp_lifecycle.components.serve.server.loading import load
from kfp_lifecycle.components.serve.server.models import ServedModel
from kfp_lifecycle.components.serve.server.options import ServerOptions
from kfp_lifecycle.components.serve.server.protocol_v1 import parse_json
from kfp_lifecycle.components.shared.errors import LifecycleError, ParameterError, redact

TOKEN = "KFP_LIFECYCLE_SERVE_TOKEN"
#: Seconds that loading a candidate may take, unless the request says otherwise.
LOAD_TIMEOUT_S = 120.0

Command = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


class NotLoadedError(RequestError):
    """The candidate cannot be loaded; the stable model is as it was."""

    status, kind = 422, "bad_request"


class Control:
    """The control endpoints.

    Args:
        host: The models.
        options: The server's settings.

    Raises:
        ParameterError: They are turned on, but there is no token.
    """

    def __init__(self, host: Host, options: ServerOptions) -> None:
        self._host, self._options = host, options
        self._token = os.environ.get(TOKEN, "")
        if options.control and not self._token:
            raise ParameterError(f"--control needs a token in {TOKEN}.", "Set it to a long random text.")
        self._thread = ThreadPoolExecutor(1, "load")
        self._loading = False

    def routes(self) -> Routes:
        """The paths; none where control is off."""
        if not self._options.control:
            return {}
        base = f"/v2/repository/models/{self._host.name}"
        return {
            ("GET", "/v2/repository/index"): self._guarded(self._index),
            ("POST", "/v2/repository/index"): self._guarded(self._index),
            ("POST", f"{base}/load"): self._guarded(self._load),
            ("POST", f"{base}/traffic"): self._guarded(self._traffic),
            ("POST", f"{base}/promote"): self._guarded(self._promote),
            ("POST", f"{base}/unload"): self._guarded(self._unload),
        }

    def _guarded(self, command: Command) -> Handler:
        async def handle(request: HttpRequest) -> HttpResponse:
            if not _is_loopback(request.client):
                raise UnauthorizedError("Rollout commands are taken from this machine alone.")
            given = request.header(b"authorization").removeprefix("Bearer ")
            if not hmac.compare_digest(given.encode(), self._token.encode()):
                raise UnauthorizedError("Send the token as 'Authorization: Bearer …'.")
            body = parse_json(request.body) if request.body.strip() else {}
            return HttpResponse(orjson.dumps(await command(body)))

        return handle

    async def _index(self, _: dict[str, Any]) -> dict[str, Any]:
        return self._state()

    async def _load(self, body: dict[str, Any]) -> dict[str, Any]:
        """Loads a candidate; the same one again is no error."""
        given = body.get("parameters") or {}
        if not isinstance(given, dict) or not isinstance(uri := given.get("uri"), str) or not uri:
            raise BadRequestError("The body has no {'parameters': {'uri': …}}.")
        timeout_s = given.get("timeout_s", LOAD_TIMEOUT_S)
        if not isinstance(timeout_s, (int, float)) or isinstance(timeout_s, bool) or timeout_s <= 0:
            raise BadRequestError("'timeout_s' is no number of seconds.")
        present = self._host.candidate
        if present is not None and present.uri == uri:
            return self._state()
        if present is not None or self._loading:
            version = f"Version {present.version}" if present else "Another version"
            raise ConflictError(f"{version} is a candidate already, or being loaded; unload it first.")
        self._host.offer(await self._candidate(uri, float(timeout_s)))
        return self._state()

    async def _candidate(self, uri: str, timeout_s: float) -> ServedModel:
        loop = asyncio.get_running_loop()
        self._loading = True
        options = self._options
        how = (self._host.name, options.log_columns, options.lookup, options.device)
        loading = loop.run_in_executor(self._thread, load, uri, *how)
        try:
            candidate = await asyncio.wait_for(loading, timeout_s)
        except TimeoutError:
            raise TimedOutError(f"{redact(uri)} was not loaded within {timeout_s:g} s.") from None
        except LifecycleError as error:
            raise NotLoadedError(redact(str(error))) from error
        finally:
            self._loading = False
        if candidate.version == self._host.stable.version:
            raise ConflictError(f"Version {candidate.version} is the stable one already.")
        return candidate

    async def _traffic(self, body: dict[str, Any]) -> dict[str, Any]:
        share = body.get("share")
        if not isinstance(share, (int, float)) or isinstance(share, bool) or not 0 <= share <= 100:
            raise BadRequestError("'share' is no percentage from 0 to 100.")
        self._host.shift(float(share))
        return self._state()

    async def _promote(self, _: dict[str, Any]) -> dict[str, Any]:
        self._host.promote()
        return self._state()

    async def _unload(self, _: dict[str, Any]) -> dict[str, Any]:
        self._host.drop()
        return self._state()

    def _state(self) -> dict[str, Any]:
        return {
            "models": [
                {
                    "name": model.name,
                    "version": model.version,
                    "state": "READY",
                    "reason": "",
                    "uri": redact(model.uri),
                    "role": "stable" if model is self._host.stable else "candidate",
                    "share": self._host.share_of(model),
                }
                for model in self._host.models
            ]
        }


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
