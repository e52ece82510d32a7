"""Pods asked from outside the cluster, through the API server: for a person who rolls back from a laptop.

A step on the cluster reaches pods itself, and its account has no right to this (``pods/proxy``).
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import urllib3
from kubernetes.client.exceptions import ApiException

from kfp_lifecycle.components.shared.cluster import Cluster

_TIMEOUT_S = (10, 60)


class Relay:
    """An HTTP server on this machine: what is asked of ``url_of(pod)`` is asked of the pod.

    Args:
        cluster: Where.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        relay = self

        class Handler(_Handler):
            own = relay

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def url_of(self, pod: str, port: int) -> str:
        """The base URL of a pod's port."""
        return f"http://127.0.0.1:{self._server.server_port}/{pod}:{port}"

    def close(self) -> None:
        """Ends the server."""
        self._server.shutdown()
        self._server.server_close()

    def ask(self, method: str, path: str, body: bytes) -> tuple[int, bytes, str]:
        """Asks a pod; gives status, body and its content type. ``path`` begins with pod and port."""
        pod, _, rest = path.lstrip("/").partition("/")
        where = f"/api/v1/namespaces/{self._cluster.namespace}/pods/{pod}/proxy/{rest}"
        try:
            answer = self._cluster.client.call_api(
                where,
                method,
                header_params={"Accept": "*/*", "Content-Type": "application/json"},
                body=json.loads(body) if body else None,
                _preload_content=False,
                auth_settings=["BearerToken"],
                _return_http_data_only=True,
                _request_timeout=_TIMEOUT_S,
            )
        except ApiException as error:
            said = error.body or error.reason or ""
            return error.status or 502, said if isinstance(said, bytes) else said.encode(), "application/json"
        except (urllib3.exceptions.HTTPError, OSError) as error:
            return 502, str(error).encode(), "text/plain"
        return answer.status, answer.data, answer.headers.get("Content-Type", "application/json")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    own: Relay

    def _relay(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        status, body, kind = self.own.ask(self.command, self.path, self.rfile.read(length))
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = _relay  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Nothing: the rollout says what it does."""
