"""A double of as much of the Kubernetes API as a port-forward asks for, to a server on loopback."""

import base64
import hashlib
import json
import select
import socket
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import yaml

_MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3


class KubernetesForward:
    """Services, endpoints and ``pods/portforward`` (v4.channel.k8s.io); use it as a context manager.

    Args:
        target: Port on loopback that the pod's port leads to.
        token: What the kube config's user shows.
    """

    def __init__(self, target: int, token: str = "kube-token") -> None:
        self.target, self.token = target, token
        self.ready = True
        self.denied = ""
        self.streams = 0
        #: After how many bytes of an answer a stream breaks off; 0 for never.
        self.break_after = 0
        self.seen: list[str] = []
        owner = self

        class Handler(_Handler):
            forward = owner

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True

    def write_config(self, path: Path, context: str = "kind") -> None:
        """A kube config that leads here."""
        server = f"http://127.0.0.1:{self._server.server_address[1]}"
        path.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": context,
                    "clusters": [{"name": "c", "cluster": {"server": server}}],
                    "users": [{"name": "u", "user": {"token": self.token}}],
                    "contexts": [{"name": context, "context": {"cluster": "c", "user": "u"}}],
                }
            )
        )

    def __enter__(self) -> "KubernetesForward":
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    forward: KubernetesForward

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing."""

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        self.forward.seen.append(path)
        if self.headers.get("authorization") != f"Bearer {self.forward.token}":
            self._send(401, {"kind": "Status", "message": "Unauthorized"})
        elif self.forward.denied and self.forward.denied in path:
            self._send(403, {"kind": "Status", "message": "forbidden"})
        elif path.endswith("/services/ml-pipeline"):
            ports = [{"name": "http", "port": 8888, "targetPort": 8888}, {"name": "grpc", "port": 8887}]
            self._send(200, {"kind": "Service", "spec": {"ports": ports}})
        elif path.endswith("/endpoints/ml-pipeline"):
            self._send(200, {"kind": "Endpoints", "subsets": self._subsets()})
        elif path.endswith("/portforward"):
            self._stream(int(parse_qs(urlsplit(self.path).query)["ports"][0]))
        else:
            self._send(404, {"kind": "Status", "message": "not found"})

    def _subsets(self) -> list[dict[str, object]]:
        address = {"ip": "10.0.0.9", "targetRef": {"kind": "Pod", "name": "ml-pipeline-7d"}}
        kind = "addresses" if self.forward.ready else "notReadyAddresses"
        return [{kind: [address], "ports": [{"name": "grpc", "port": 8887}, {"name": "http", "port": 8888}]}]

    def _send(self, status: int, data: dict[str, object]) -> None:
        body = json.dumps(data).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, port: int) -> None:
        """Carries one connection until either end closes it."""
        self.forward.streams += 1
        accept = base64.b64encode(
            hashlib.sha1((self.headers["Sec-WebSocket-Key"] + _MAGIC).encode()).digest()
        ).decode()
        self.send_response(101)
        for name, value in (
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Accept", accept),
            ("Sec-WebSocket-Protocol", "v4.channel.k8s.io"),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.flush()
        self.close_connection = True
        for channel in (0, 1):
            self._frame(bytes([channel]) + struct.pack("<H", port))
        try:
            with socket.create_connection(("127.0.0.1", self.forward.target), 5) as pod:
                self._pump(pod)
        except ConnectionRefusedError:
            self._frame(b"\x01error forwarding port: connection refused")
        except OSError:
            pass
        self._frame(struct.pack(">H", 1000), opcode=8)

    def _pump(self, pod: socket.socket) -> None:
        while True:
            readable, _, _ = select.select([self.connection, pod], [], [], 30)
            if not readable:
                return
            if pod in readable:
                data = pod.recv(65536)
                if not data:
                    return
                if 0 < self.forward.break_after < len(data):
                    self.forward.break_after = 0
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                self._frame(b"\x00" + data)
            if self.connection in readable:
                opcode, data = self._read_frame()
                if opcode == 8:
                    return
                if data[:1] == b"\x00":
                    pod.sendall(data[1:])

    def _frame(self, data: bytes, opcode: int = 2) -> None:
        size, head = len(data), bytes([0x80 | opcode])
        if size < 126:
            head += bytes([size])
        elif size < 65536:
            head += struct.pack(">BH", 126, size)
        else:
            head += struct.pack(">BQ", 127, size)
        self.connection.sendall(head + data)

    def _read_frame(self) -> tuple[int, bytes]:
        first, second = self._exactly(2)
        size = second & 0x7F
        if size == 126:
            (size,) = struct.unpack(">H", self._exactly(2))
        elif size == 127:
            (size,) = struct.unpack(">Q", self._exactly(8))
        mask = self._exactly(4) if second & 0x80 else bytes(4)
        data = self._exactly(size)
        return first & 0x0F, bytes(b ^ mask[n % 4] for n, b in enumerate(data))

    def _exactly(self, size: int) -> bytes:
        found = b""
        while len(found) < size:
            piece = self.connection.recv(size - len(found))
            if not piece:
                raise ConnectionResetError
            found += piece
        return found
