"""Connections into a cluster by the kube config, as ``kubectl port-forward`` makes them, without a port.

Each connection is a stream of the Kubernetes API to a pod that is ready just then: nothing listens on this
machine where others could use it, no program is started, and a server that restarts is found again.
"""

import logging
import os
from typing import Any
from urllib.parse import quote

import urllib3
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool

from kfp_lifecycle.components.shared.errors import redact
from kfp_lifecycle.runner.cluster.contexts import Context
from kfp_lifecycle.runner.cluster.errors import ContextError

_LOG = logging.getLogger(__name__)
_TIMEOUT_S = 10

#: The host that requests name; what is behind the service answers to any.
ADDRESS = "http://localhost"


def open_pool(context: Context) -> urllib3.PoolManager:
    """Connections to the service that ``context`` names, through the Kubernetes API.

    Raises:
        ContextError: There is no kube config, or it has no such context.
    """
    from kubernetes import config

    # The client reads this variable once, when it is imported.
    path = os.environ.get("KUBECONFIG") or "~/.kube/config"
    try:
        client = config.new_client_from_config(path, context=context.kube_context or None)
    except (config.ConfigException, OSError, TypeError, ValueError) as error:
        raise ContextError(
            f"No server is named, and no kube config leads to one: {redact(_line(error))}.",
            "Name it: --host URL, KFP_HOST, or kfp-lifecycle context set NAME --host URL.",
        ) from None
    forward = _Forward(client, context)

    class Connection(HTTPConnection):
        def _new_conn(self) -> Any:
            return forward.connect(self)

    class Pool(HTTPConnectionPool):
        ConnectionCls = Connection

    manager = urllib3.PoolManager(retries=False)
    manager.pool_classes_by_scheme = {"http": Pool, "https": Pool}
    return manager


class _Forward:
    """Streams to a service's pods."""

    def __init__(self, client: Any, context: Context) -> None:
        from kubernetes.client import CoreV1Api

        self._client = client
        self._api = CoreV1Api(client)
        self._namespace = context.kube_namespace
        self._service, _, self._port = context.kube_service.partition(":")

    def connect(self, connection: HTTPConnection) -> Any:
        """A socket to a ready pod of the service."""
        from kubernetes.client.exceptions import ApiException
        from websocket import WebSocketException

        try:
            socket = self._stream(*self._target())
        except (ApiException, WebSocketException, urllib3.exceptions.HTTPError, OSError) as error:
            raise urllib3.exceptions.NewConnectionError(
                connection, f"no port-forward to {self._service} in {self._namespace}: {_reason(error)}"
            ) from None
        socket.settimeout(connection.timeout)
        return socket

    def _target(self) -> tuple[str, int]:
        """A ready pod, and the port of it that the service leads to."""
        wanted, limit = int(self._port or 8888), {"_request_timeout": _TIMEOUT_S}
        endpoints = self._api.read_namespaced_endpoints(self._service, self._namespace, **limit)
        service = self._api.read_namespaced_service(self._service, self._namespace, **limit)
        named = next((p.name for p in service.spec.ports if p.port == wanted), None)
        for subset in endpoints.subsets or ():
            ports = [p.port for p in subset.ports or () if p.name == named or len(subset.ports) == 1]
            for address in subset.addresses or ():
                if ports and address.target_ref is not None:
                    return address.target_ref.name, ports[0]
        raise OSError("no pod of it is ready")

    def _stream(self, pod: str, port: int) -> Any:
        """A connection to a pod's port."""
        from kubernetes.stream.ws_client import PortForward, create_websocket, get_websocket_url

        class Closing(PortForward):  # type: ignore[misc] # no stubs
            def _proxy(self) -> None:
                # When the stream breaks off, kubernetes' own leaves the reader waiting.
                try:
                    super()._proxy()
                except Exception:
                    _LOG.debug("The port-forward broke off.", exc_info=True)
                finally:
                    for each in self.local_ports.values():
                        each.python.close()

        settings = self._client.configuration
        place = f"/api/v1/namespaces/{quote(self._namespace)}/pods/{quote(pod)}/portforward"
        headers: dict[str, str] = {}
        self._client.update_params_for_auth(headers, [], ["BearerToken"])
        url = get_websocket_url(f"{settings.host}{place}", [("ports", str(port))])
        return Closing(create_websocket(settings, url, headers), [port]).socket(port)


def _reason(error: Exception) -> str:
    status = getattr(error, "status", None) or getattr(error, "status_code", None)
    if status in (401, 403):
        return (
            f"{status}: the kube config's user needs the rights get services and endpoints, and create "
            "pods/portforward"
        )
    if status:
        return f"{status} {getattr(error, 'reason', '')}".strip()
    return redact(_line(error)) or type(error).__name__


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300].rstrip(".")
