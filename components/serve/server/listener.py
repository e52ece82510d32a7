"""The socket that clients connect to, and how it is closed without a request lost.

uvicorn's protocol speaks HTTP; what starts and ends it is here, because uvicorn's own server closes its
socket at once when it is told to end, with connections in it that nobody has accepted yet.
"""

import asyncio
import errno
import logging
import socket
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from kfp_lifecycle.components.serve.server.app import App
from kfp_lifecycle.components.serve.server.options import ServerOptions
from kfp_lifecycle.components.shared.errors import ServingError

log = logging.getLogger(__name__)

#: Connections that the system holds until the server accepts them.
BACKLOG = 2048


class Protocol(HttpToolsProtocol):
    """HTTP on one connection; a client that does not send whole headers in time is dropped."""

    read_timeout_s = 30.0
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected."""
        super().connection_made(transport)
        self._expect_headers()

    def data_received(self, data: bytes) -> None:
        """Something has come; the first of a request starts the clock."""
        if self._deadline is None and self.timeout_keep_alive_task is not None:
            self._expect_headers()
        super().data_received(data)

    def on_headers_complete(self) -> None:
        """The headers are whole."""
        self._expected()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._expected()
        super().connection_lost(exc)

    def _expect_headers(self) -> None:
        self._deadline = self.loop.call_later(self.read_timeout_s, self.transport.abort)

    def _expected(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class Listener:
    """The open socket.

    Args:
        app: The application.
        options: The server's settings.
    """

    def __init__(self, app: App, options: ServerOptions) -> None:
        self._app, self._options = app, options
        self._config = Config(
            app,
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            interface="asgi3",
            timeout_keep_alive=options.keep_alive_s,  # type: ignore[arg-type]
        )
        self._config.load()
        self._state = ServerState()
        self._socket = bind(options.host, options.port)
        self._server: asyncio.Server | None = None
        Protocol.read_timeout_s = options.read_timeout_s

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._socket.getsockname()[1])

    async def start(self) -> None:
        """Lets clients in."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._protocol, sock=self._socket.dup(), backlog=BACKLOG)

    async def drain(self) -> None:
        """Answers what has come, and closes; raises nothing.

        New requests are still taken for a while, because those who send them learn of the end with a delay:
        a load balancer, or a client whose connection is open. Each answer now asks to connect elsewhere.
        """
        self._app.drain()
        await asyncio.sleep(self._options.drain_delay_s)
        await self._stop_accepting()
        for protocol in list(self._state.connections):
            protocol.shutdown()
        left = self._options.drain_s
        while (self._state.tasks or self._state.connections) and left > 0:
            await asyncio.sleep(0.02)
            left -= 0.02
        if self._state.tasks:
            log.warning(
                "%d requests were not answered within %g s", len(self._state.tasks), self._options.drain_s
            )
        for protocol in list(self._state.connections):
            protocol.transport.abort()

    async def _stop_accepting(self) -> None:
        """Closes the socket, after those have been let in that the system had let connect already."""
        if self._server is None:
            return
        self._server.close()
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = self._socket.accept()
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ECONNABORTED:
                    break
                continue
            await loop.connect_accepted_socket(self._protocol, connection)
        self._socket.close()
        # What was just let in may have sent its request already: a turn of the loop reads it.
        await asyncio.sleep(0.01)

    def _protocol(self) -> Any:
        return Protocol(self._config, self._state, {})


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens at an address. Raises ``ServingError`` where it cannot."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.setblocking(False)
    try:
        listening.bind((host, port))
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise ServingError(
            f"The server cannot listen at {host}:{port}: {error.strerror}.", "Give another --port or --host."
        ) from error
    return listening
