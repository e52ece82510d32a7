"""Kubernetes for steps: objects of the kinds that Katib and the Trainer watch, and their pods.

A step in a pod acts as its service account; elsewhere the kube config says where and who. What fails for a
moment (too many requests, a server that restarts, a dropped connection) is tried again with growing waits.
"""

import logging
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3
from kubernetes.client import ApiClient, Configuration
from kubernetes.client.exceptions import ApiException
from kubernetes.config import ConfigException, list_kube_config_contexts, load_kube_config
from kubernetes.config.incluster_config import load_incluster_config

from kfp_lifecycle.components.shared.cancel import Cancelled, cancellable
from kfp_lifecycle.components.shared.cluster_errors import (
    AlreadyThere,
    Changed,
    NotInstalled,
    declared,
    not_allowed,
    refusal,
    wait_before,
)
from kfp_lifecycle.components.shared.errors import ClusterError, redact

__all__ = [
    "AlreadyThere",
    "Cancelled",
    "Changed",
    "Cluster",
    "Kind",
    "NotInstalled",
    "Objects",
    "cancellable",
    "connect",
]

log = logging.getLogger(__name__)

#: For how long a call is tried, in seconds.
DEADLINE_S = 60.0
_TIMEOUT_S = (10, 60)
_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_PAGE = 500
#: Objects, each as the dict that its YAML is.
Found = list[dict[str, Any]]
#: Errors of the way to the server, and its answers.
_ERRORS = (ApiException, urllib3.exceptions.HTTPError, OSError)


@dataclass(frozen=True)
class Kind:
    """A kind of object.

    Args:
        name: Such as ``Experiment``.
        group: Its API group; empty for Kubernetes' core.
        version: Of the group, such as ``v1beta1``.
        plural: As its URL has it.
        installs: What brings it into a cluster; empty for Kubernetes' own.
    """

    name: str
    group: str
    version: str
    plural: str
    installs: str = ""

    @property
    def api_version(self) -> str:
        """``group/version``, as objects say it."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def resource(self) -> str:
        """``plural.group``, as RBAC and ``kubectl`` say it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural


POD = Kind("Pod", "", "v1", "pods")


def connect(namespace: str = "") -> "Cluster":
    """The cluster that this process is in, else the one of the kube config's current context.

    Args:
        namespace: The namespace to work in; empty is the pod's own, or the context's, or ``default``.

    Raises:
        ClusterError: There is neither a service account nor a kube config.
    """
    configuration = Configuration()
    try:
        if os.environ.get("KUBERNETES_SERVICE_HOST"):
            load_incluster_config(configuration)
            own = (_ACCOUNT / "namespace").read_text().strip()
        else:
            file = os.environ.get("KUBECONFIG") or None  # the client has read it when it was imported
            load_kube_config(file, client_configuration=configuration)
            own = list_kube_config_contexts(file)[1]["context"].get("namespace", "")
    except (ConfigException, OSError, KeyError, TypeError) as error:
        raise ClusterError(
            f"There is no way to a Kubernetes cluster from here: {redact(str(error)).rstrip('.')}.",
            "Run this as a step on the cluster, or set KUBECONFIG.",
        ) from error
    configuration.retries = False  # Cluster tries again itself, and knows what may be tried twice
    return Cluster(ApiClient(configuration), namespace or own or "default")


class Cluster:
    """A cluster, and the namespace in it to work in.

    Args:
        client: A client with credentials.
        namespace: The namespace.
    """

    def __init__(self, client: ApiClient, namespace: str) -> None:
        self.client, self.namespace = client, namespace

    @property
    def host(self) -> str:
        """URL of the API server."""
        return str(self.client.configuration.host)

    def objects(self, kind: Kind) -> "Objects":
        """The namespace's objects of a kind."""
        return Objects(self, kind)

    def require(self, kind: Kind, *verbs: str) -> None:
        """Asks whether this account has rights, before anything is begun that needs them later.

        Raises:
            ClusterError: It lacks one; names verb, resource and account.
        """
        for verb in verbs:
            asked = {"namespace": self.namespace, "verb": verb, "group": kind.group, "resource": kind.plural}
            answer = self._ask("authorization", "SelfSubjectAccessReview", {"resourceAttributes": asked})
            if answer is not None and not answer.get("status", {}).get("allowed", True):
                raise not_allowed(verb, f"{kind.resource} in namespace {self.namespace!r}", self.account())

    def account(self) -> str:
        """Who this is to the cluster, such as ``system:serviceaccount:team:default-editor``."""
        answer = self._ask("authentication", "SelfSubjectReview") or {}
        return str(answer.get("status", {}).get("userInfo", {}).get("username") or "this account")

    def namespace_labels(self) -> dict[str, str] | None:
        """The namespace's labels; None where this account may not look."""
        try:
            found = self.call("get", f"/api/v1/namespaces/{self.namespace}", f"namespace {self.namespace!r}")
        except ClusterError as error:
            log.info("%s", error.problem)
            return None
        return dict(found["metadata"].get("labels") or {})

    def pods(self, selector: str) -> Found:
        """The pods with these labels (``a=b,c=d``), the earliest first."""
        found = self.objects(POD).list(selector)
        return sorted(found, key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")))

    def pod_logs(self, pod: str, container: str = "", *, tail: int = 0, previous: bool = False) -> str:
        """What a pod's container has printed; empty where it has not started.

        Args:
            pod: The pod.
            container: Its container; empty where it has one only.
            tail: How many of the last lines; 0 is all.
            previous: Whether of the container before its restart.

        Raises:
            ClusterError: As :meth:`call` does.
        """
        query = [("container", container)] * bool(container) + [("tailLines", str(tail))] * bool(tail)
        query += [("previous", "true")] * previous
        return str(self._log(pod, query, "str") or "")

    def log_stream(self, pod: str, container: str, *, since: str = "", tail: int = 0) -> Any:
        """The same as an open response, each line after the time it was printed at.

        Args:
            pod: The pod.
            container: Its container.
            since: Only lines of this second (RFC 3339) or later.
            tail: How many of the last lines; 0 is all.

        Returns:
            urllib3's response, to be closed; None where the container has not started, or the pod is gone.

        Raises:
            ClusterError: As :meth:`call` does.
        """
        query = [("container", container), ("timestamps", "true")]
        query += [("sinceTime", since)] * bool(since) + [("tailLines", str(tail))] * bool(tail)
        return self._log(pod, query, "stream")

    def _log(self, pod: str, query: list[tuple[str, str]], answer: str) -> Any:
        path = f"/api/v1/namespaces/{self.namespace}/pods/{pod}/log"
        try:
            return self.call("get", path, f"pods/log {pod!r}{self._where()}", query=query, answer=answer)
        except (_Waiting, _NotThere):
            return None

    def call(
        self,
        verb: str,
        path: str,
        what: str,
        *,
        body: Any = None,
        query: list[tuple[str, str]] | None = None,
        kind: Kind | None = None,
        answer: str = "object",
    ) -> Any:
        """One request, tried again while it may help.

        Args:
            verb: As RBAC calls it: ``get``, ``list``, ``create``, ``update``, ``delete``.
            path: Path of the URL.
            what: What it is about, for messages.
            body: What to send.
            query: Query of the URL.
            kind: The kind of object, where it is not Kubernetes' own.
            answer: ``object`` for JSON, ``str`` for text, ``stream`` for a response that is still open.

        Raises:
            AlreadyThere: An object of the name is there.
            Changed: The object is not any more the one that was read.
            NotInstalled: The cluster does not know the kind.
            ClusterError: It refuses, or cannot be reached for :data:`DEADLINE_S` seconds.
        """
        deadline, attempt = time.monotonic() + DEADLINE_S, 0
        while True:
            try:
                return self._send(verb, path, body, query, answer)
            except _ERRORS as error:
                found, attempt = refusal(error), attempt + 1
                wait = wait_before(attempt, found)
                if not found.transient or time.monotonic() + wait > deadline:
                    if found.status == 404 and found.name and found.about != "namespaces":
                        raise _NotThere(found.said) from error
                    if found.status == 400 and path.endswith("/log"):
                        raise _Waiting from error
                    installs = kind.installs if kind else ""
                    raise declared(found, verb, what, self.host, installs) from error
                log.info("%s %s: %s; another attempt in %.1f s", verb, what, found.said, wait)
                time.sleep(wait)

    def _send(self, verb: str, path: str, body: Any, query: list[tuple[str, str]] | None, answer: str) -> Any:
        method = {"create": "POST", "update": "PUT", "delete": "DELETE"}.get(verb, "GET")
        return self.client.call_api(
            path,
            method,
            query_params=query or [],
            header_params={"Accept": "application/json" if answer == "object" else "*/*"},
            body=body,
            response_type=None if answer == "stream" else answer,
            _preload_content=answer != "stream",
            auth_settings=["BearerToken"],
            _return_http_data_only=True,
            _request_timeout=_TIMEOUT_S,
        )

    def _ask(self, group: str, kind: str, spec: Any = None) -> dict[str, Any] | None:
        """The answer to a question about oneself; None from a cluster that does not answer it."""
        review = {"apiVersion": f"{group}.k8s.io/v1", "kind": kind, **({"spec": spec} if spec else {})}
        try:
            path = f"/apis/{review['apiVersion']}/{kind.lower()}s"
            return dict(self.call("create", path, kind, body=review))
        except (ClusterError, _NotThere) as error:
            log.info("%s: %s", kind, error)
            return None

    def _where(self) -> str:
        return f" in namespace {self.namespace!r}"


class Objects:
    """The objects of one kind in a cluster's namespace, each as the dict that its YAML is.

    Every method raises ``ClusterError`` as :meth:`Cluster.call` does.

    Args:
        cluster: The cluster.
        kind: The kind.
    """

    def __init__(self, cluster: Cluster, kind: Kind) -> None:
        self.cluster, self.kind = cluster, kind
        root = f"/apis/{kind.api_version}" if kind.group else f"/api/{kind.version}"
        self._path = f"{root}/namespaces/{cluster.namespace}/{kind.plural}"

    def create(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Makes an object and gives it back. It must have a name, so that no second attempt makes another.

        Raises:
            AlreadyThere: One of the name is there.
        """
        name = body["metadata"]["name"]
        return dict(self._call("create", self._path, name, body=dict(body)))

    def get(self, name: str) -> dict[str, Any] | None:
        """The object of the name; None where there is none."""
        try:
            return dict(self._call("get", f"{self._path}/{name}", name))
        except _NotThere:
            return None

    def list(self, selector: str = "") -> Found:
        """The objects with these labels (``a=b,c=d``); all of them where no label is given."""
        items: Found = []
        query = [("limit", str(_PAGE)), *([("labelSelector", selector)] if selector else [])]
        more = ""
        while True:
            page = self._call("list", self._path, "", query=[*query, ("continue", more)] if more else query)
            items += page["items"]
            more = page["metadata"].get("continue", "")
            if not more:
                return items

    def update(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Puts an object in the place of the one that was read, and gives it back.

        Raises:
            Changed: Another has changed it since (its ``resourceVersion`` is another), or it is gone.
        """
        name = body["metadata"]["name"]
        try:
            return dict(self._call("update", f"{self._path}/{name}", name, body=dict(body)))
        except _NotThere as error:
            raise Changed(f"There is no {self._what(name)} any more.", "Run this again.") from error

    def delete(self, name: str) -> bool:
        """Deletes an object and, in the background, what it owns; False where it was not there."""
        try:
            self._call("delete", f"{self._path}/{name}", name, query=[("propagationPolicy", "Background")])
        except _NotThere:
            return False
        return True

    def gone(self, name: str, timeout_s: float) -> bool:
        """Waits until an object that is being deleted is no more; False where it still is after the time."""
        deadline = time.monotonic() + timeout_s
        while self.get(name) is not None:
            if time.monotonic() > deadline:
                return False
            time.sleep(min(1.0, max(0.05, timeout_s / 20)))
        return True

    def _call(self, verb: str, path: str, name: str, **more: Any) -> Any:
        return self.cluster.call(verb, path, self._what(name), kind=self.kind, **more)

    def _what(self, name: str) -> str:
        named = f" {name!r}" if name else ""
        return f"{self.kind.resource}{named} in namespace {self.cluster.namespace!r}"


class _NotThere(Exception):  # noqa: N818
    """There is no object of the name."""


class _Waiting(Exception):  # noqa: N818
    """The container has no log yet."""
