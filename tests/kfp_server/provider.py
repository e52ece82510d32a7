"""A double of an OpenID Connect provider: discovery, and tokens for client credentials."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

from tests.kfp_server.gate import Gate


class Provider:
    """Gives out tokens that a server's gate then lets in; use it as a context manager.

    Args:
        gate: Told of each token.
        secret: The client's.
        lifetime_s: How long it says that a token is good for.
    """

    def __init__(self, gate: Gate, secret: str, lifetime_s: int = 3600) -> None:
        self.gate, self.secret, self.lifetime_s = gate, secret, lifetime_s
        self.given: list[str] = []
        self.asked: list[dict[str, list[str]]] = []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Nothing."""

            def do_GET(self) -> None:
                found = self.path == "/dex/.well-known/openid-configuration"
                self._send(200 if found else 404, {"token_endpoint": f"{owner.url}/token"} if found else {})

            def do_POST(self) -> None:
                text = self.rfile.read(int(self.headers["Content-Length"])).decode()
                self._send(*owner.answer(parse_qs(text)))

            def _send(self, status: int, data: dict[str, object]) -> None:
                body = json.dumps(data).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        """The issuer."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/dex"

    def answer(self, fields: dict[str, list[str]]) -> tuple[int, dict[str, object]]:
        """What the token endpoint answers."""
        self.asked.append(fields)
        if fields.get("client_secret") != [self.secret]:
            return 401, {"error": "invalid_client"}
        token = f"token-number-{len(self.given) + 1}"
        self.given.append(token)
        self.gate.admit("ci", token=token)
        return 200, {"id_token": token, "access_token": "opaque", "expires_in": self.lifetime_s}

    def __enter__(self) -> "Provider":
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
