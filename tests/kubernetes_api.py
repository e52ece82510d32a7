"""A double of the Kubernetes API server over HTTP, for tests: it keeps objects, and answers as the real one.

It knows pods with logs and ports, events, namespaces, and any custom kinds it is told of; resource versions,
conflicts, watches with history, finalizers and deletion timestamps, generated names, access reviews. It can
be told to deny, fail, delay and drop. What controllers do to objects, a test's own function does
(``api.controller``).

    with KubernetesApi(kinds=[EXPERIMENT]) as api:
        monkeypatch.setenv("KUBECONFIG", str(api.kube_config(tmp_path)))
"""

import copy
import http.client
import json
import queue
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

Object = dict[str, Any]
#: Group, plural, namespace, name.
Key = tuple[str, str, str, str]
#: The double itself, the type of the change, and the object as it is now.
Controller = Callable[["KubernetesApi", str, Object], None]

CORE = {"pods": ("", "v1", "Pod"), "events": ("", "v1", "Event"), "jobs": ("batch", "v1", "Job")}
TOKEN = "token-of-the-test"
USER = "system:serviceaccount:team:default-editor"

_PATH = re.compile(
    r"/(?:api/v1|apis/(?P<group>[^/]+)/(?P<version>[^/]+))/namespaces/(?P<namespace>[^/]+)/(?P<plural>[^/]+)"
    r"(?:/(?P<name>[^/]+))?(?:/(?P<sub>[^/]+))?"
)
_PROXY = re.compile(r"/api/v1/namespaces/([^/]+)/pods/([^/:]+):(\d+)/proxy(/.*)")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")


class Answer(Exception):  # noqa: N818
    """An answer that is no success: a Kubernetes ``Status``, or plain text."""

    def __init__(self, status: int, reason: str = "", message: str = "", **details: Any) -> None:
        super().__init__(status, reason, message)
        self.status, self.reason, self.message, self.details = status, reason, message, details
        self.headers: dict[str, str] = {}
        self.drop = False


@dataclass
class Fault:
    """What shall go wrong: for requests of a verb and a resource (empty is any), so many times."""

    status: int
    verb: str = ""
    plural: str = ""
    times: int = 1
    retry_after: float | None = None
    message: str = "the server is busy"
    #: Whether the request is done all the same, and only its answer is lost.
    after: bool = False


@dataclass
class Request:
    """A request that came in, as RBAC would call it."""

    verb: str
    plural: str
    name: str
    body: Any
    query: dict[str, str] = field(default_factory=dict)


class KubernetesApi:
    """The double. A context manager: the server runs inside the block.

    Args:
        kinds: Custom kinds that are installed: anything with ``group``, ``version``, ``plural`` and ``name``.
        namespaces: The namespaces that there are, each with its labels.
    """

    def __init__(self, kinds: Any = (), namespaces: Mapping[str, Mapping[str, str]] | None = None) -> None:
        self.kinds = {(k.group, k.plural): (k.group, k.version, k.name) for k in kinds}
        self.kinds |= {(about[0], plural): about for plural, about in CORE.items()}
        self.namespaces = {name: dict(labels) for name, labels in (namespaces or {"team": {}}).items()}
        self.changed = threading.Condition(threading.RLock())
        self.requests: list[Request] = []
        self.faults: list[Fault] = []
        self.denied: set[tuple[str, str]] = set()
        self.delay_s = 0.0
        self._objects: dict[Key, Object] = {}
        self._logs: dict[tuple[str, str, str], str] = {}
        self._history: list[tuple[int, tuple[str, str], str, Object]] = []
        self._version, self._forgotten = 1, 0
        self._work: queue.Queue[tuple[str, Object] | None] = queue.Queue()
        self._controllers: list[Controller] = []
        self.controller_errors: list[BaseException] = []
        self._closing = False

    # What tests say -----------------------------------------------------------------------------------------

    def deny(self, verb: str, plural: str) -> None:
        """From now on RBAC does not allow a verb on a resource."""
        self.denied.add((verb, plural))

    def fail(self, status: int, **more: Any) -> None:
        """The next requests are answered with an error; 0 drops the connection. See :class:`Fault`."""
        self.faults.append(Fault(status, **more))

    def forget_history(self) -> None:
        """Watches from before now are answered with 410 Gone."""
        with self.changed:
            self._forgotten = self._version
            self._history.clear()

    def controller(self, act: Controller) -> None:
        """Has ``act`` called, in a thread of its own, for every change of an object, in order."""
        self._controllers.append(act)

    def put(self, body: Object, namespace: str = "team") -> Object:
        """Makes an object as some other client would."""
        group, _, _ = str(body["apiVersion"]).rpartition("/")
        plural = next(p for (g, p), (_, _, kind) in self.kinds.items() if g == group and kind == body["kind"])
        return self._create(group, plural, namespace, body)

    def get(self, plural: str, name: str, namespace: str = "team") -> Object | None:
        """An object as it is; None where there is none."""
        with self.changed:
            key = self._key(plural, namespace, name)
            return copy.deepcopy(self._objects[key]) if key else None

    def all(self, plural: str, namespace: str = "team") -> list[Object]:
        """All objects of a kind, by name."""
        with self.changed:
            there = sorted(self._objects.items())
            return [copy.deepcopy(body) for key, body in there if key[1:3] == (plural, namespace)]

    def update(
        self, plural: str, name: str, change: Callable[[Object], Any], namespace: str = "team"
    ) -> None:
        """Changes an object, its status too, as a controller would. One that is gone stays gone."""
        with self.changed:
            if key := self._key(plural, namespace, name):
                body = copy.deepcopy(self._objects[key])
                change(body)
                self._store(key, body, "MODIFIED")

    def remove(self, plural: str, name: str, namespace: str = "team") -> None:
        """Deletes an object outright, whatever its finalizers."""
        with self.changed:
            if key := self._key(plural, namespace, name):
                self._drop(key)

    def add_pod(
        self,
        name: str,
        logs: Mapping[str, str],
        *,
        phase: str = "Running",
        namespace: str = "team",
        labels: Mapping[str, str] | None = None,
        status: Mapping[str, Any] | None = None,
        owner: str = "",
    ) -> None:
        """A pod with a log for each of its containers, more of its status than the phase, its owner's uid."""
        owners = [{"uid": owner}] if owner else []
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "labels": dict(labels or {}), "ownerReferences": owners},
            "spec": {"containers": [{"name": container, "image": "none"} for container in logs]},
            "status": {"phase": phase, **(status or {})},
        }
        self.put(pod, namespace)
        for container, text in logs.items():
            self._logs[namespace, name, container] = text

    def kube_config(self, folder: Path, namespace: str = "team") -> Path:
        """Writes a kube config whose current context is this server."""
        context = {"cluster": "double", "user": "test", "namespace": namespace}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "double",
            "clusters": [{"name": "double", "cluster": {"server": self.url}}],
            "users": [{"name": "test", "user": {"token": TOKEN}}],
            "contexts": [{"name": "double", "context": context}],
        }
        path = folder / "kube-config.yaml"
        path.write_text(json.dumps(config), encoding="utf-8")
        return path

    def verbs(self, plural: str) -> list[str]:
        """The verbs that were asked on a resource, in order."""
        return [request.verb for request in self.requests if request.plural == plural]

    # The server ---------------------------------------------------------------------------------------------

    def __enter__(self) -> "KubernetesApi":
        api = self

        class Handler(_Handler):
            double = api

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        for run in (lambda: self._server.serve_forever(0.02), self._control):
            threading.Thread(target=run, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with self.changed:
            self._closing = True
            self.changed.notify_all()
        self._work.put(None)
        self._server.shutdown()
        self._server.server_close()
        if self.controller_errors:
            raise self.controller_errors[0]

    def _control(self) -> None:
        while (change := self._work.get()) is not None:
            for act in self._controllers:
                try:
                    act(self, *copy.deepcopy(change))
                except BaseException as error:
                    self.controller_errors.append(error)

    # Requests -----------------------------------------------------------------------------------------------

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> Any:
        """The answer to a request: JSON, a text, or an iterator of a watch's lines."""
        if path.startswith(("/apis/authorization.k8s.io", "/apis/authentication.k8s.io")):
            return self._review(path, body)
        if match := re.fullmatch(r"/api/v1/namespaces/([^/]+)", path):
            return self._namespace(match[1])
        if match := _PROXY.fullmatch(path):
            return self._proxy(method, *match.groups(), body)
        match = _PATH.fullmatch(path)
        group, plural = (match["group"] or "", match["plural"]) if match else ("", "")
        known = match and (group, plural) in self.kinds
        if not known or (match["group"] and match["version"] != self.kinds[group, plural][1]):
            raise Answer(404, message="404 page not found")
        namespace, name, sub = match["namespace"], match["name"] or "", match["sub"] or ""
        verb = _verb(method, name, query)
        resource = f"{plural}/{sub}" if sub else plural
        request = Request(verb, resource, name, body, query)
        self.requests.append(request)
        self._check_allowed(verb, resource, group, namespace, name)
        fault = self._fault(request)
        if fault and not fault.after:
            raise _broken(fault)
        done = self._log(namespace, name, query) if sub else self._do(request, group, namespace)
        if fault:
            raise _broken(fault)
        return done

    def _do(self, request: Request, group: str, namespace: str) -> Any:
        verb, plural, name = request.verb, request.plural, request.name
        if verb == "create":
            return self._create(group, plural, namespace, request.body)
        if verb == "list":
            return self._list(group, plural, namespace, request.query)
        if verb == "watch":
            return self._watch(group, plural, namespace, request.query)
        key = (group, plural, namespace, name)
        with self.changed:
            if key not in self._objects:
                said = f'{_resource(group, plural)} "{name}" not found'
                raise Answer(404, "NotFound", said, kind=plural, name=name, group=group)
            if verb == "delete":
                return self._delete(key)
            if verb == "patch":
                return self._change(key, _merged(self._objects[key], request.body))
            if verb == "update":
                return self._replace(key, request.body)
            return copy.deepcopy(self._objects[key])

    def _key(self, plural: str, namespace: str, name: str) -> Key | None:
        return next((key for key in self._objects if key[1:] == (plural, namespace, name)), None)

    def _check_allowed(self, verb: str, resource: str, group: str, namespace: str, name: str) -> None:
        if (verb, resource) in self.denied:
            named = f' "{name}"' if name else ""
            said = f'{_resource(group, resource)}{named} is forbidden: User "{USER}" cannot {verb} resource '
            said += f'"{resource}" in API group "{group}" in the namespace "{namespace}"'
            raise Answer(403, "Forbidden", said, kind=resource, name=name, group=group)
        if namespace not in self.namespaces:
            said = f'namespaces "{namespace}" not found'
            raise Answer(404, "NotFound", said, kind="namespaces", name=namespace)

    def _fault(self, request: Request) -> Fault | None:
        with self.changed:
            for fault in self.faults:
                if fault.times and fault.verb in ("", request.verb) and fault.plural in ("", request.plural):
                    fault.times -= 1
                    return fault
        return None

    def _create(self, group: str, plural: str, namespace: str, body: Object) -> Object:
        body = copy.deepcopy(body)
        about = body.setdefault("metadata", {})
        if not about.get("name"):
            if not about.get("generateName"):
                raise Answer(422, "Invalid", "name or generateName is required", kind=plural)
            about["name"] = f"{about['generateName']}{uuid.uuid4().hex[:5]}"
        name = about["name"]
        if len(name) > 253 or not _NAME.fullmatch(name):
            raise Answer(422, "Invalid", f'metadata.name: Invalid value: "{name}"', kind=plural, name=name)
        if about.setdefault("namespace", namespace) != namespace:
            raise Answer(400, "BadRequest", "the namespace of the object is not the request's")
        with self.changed:
            key = (group, plural, namespace, name)
            if key in self._objects:
                said = f'{_resource(group, plural)} "{name}" already exists'
                raise Answer(409, "AlreadyExists", said, kind=plural, name=name)
            about |= {"uid": str(uuid.uuid4()), "creationTimestamp": _now(), "generation": 1}
            return self._store(key, body, "ADDED")

    def _delete(self, key: Key) -> Object:
        body = copy.deepcopy(self._objects[key])
        if body["metadata"].get("finalizers"):
            body["metadata"].setdefault("deletionTimestamp", _now())
            return self._store(key, body, "MODIFIED")
        self._drop(key)
        return {"kind": "Status", "apiVersion": "v1", "status": "Success"}

    def _replace(self, key: Key, body: Object) -> Object:
        version = body.get("metadata", {}).get("resourceVersion")
        if version and version != self._objects[key]["metadata"]["resourceVersion"]:
            raise Answer(409, "Conflict", "the object has been modified", kind=key[1], name=key[3])
        return self._change(key, copy.deepcopy(body))

    def _change(self, key: Key, body: Object) -> Object:
        """A change by a client: another spec is another generation."""
        before = self._objects[key]
        same = body.get("spec") == before.get("spec")
        body["metadata"]["generation"] = int(before["metadata"].get("generation", 1)) + (not same)
        return self._store(key, body, "MODIFIED")

    def _store(self, key: Key, body: Object, change: str) -> Object:
        with self.changed:
            finished = body["metadata"].get("deletionTimestamp") and not body["metadata"].get("finalizers")
            if finished:
                self._drop(key)
                return body
            self._version += 1
            body["metadata"]["resourceVersion"] = str(self._version)
            self._objects[key] = body
            self._tell(key, change, body)
            return copy.deepcopy(body)

    def _drop(self, key: Key) -> None:
        body = self._objects.pop(key)
        self._version += 1
        body["metadata"]["resourceVersion"] = str(self._version)
        self._tell(key, "DELETED", body)
        for other, item in list(self._objects.items()):  # garbage collection
            owners = item["metadata"].get("ownerReferences", [])
            if other in self._objects and any(o.get("uid") == body["metadata"]["uid"] for o in owners):
                self._drop(other)

    def _tell(self, key: Key, change: str, body: Object) -> None:
        self._history.append((self._version, (key[0], key[1]), change, copy.deepcopy(body)))
        self._work.put((change, copy.deepcopy(body)))
        self.changed.notify_all()

    def _list(self, group: str, plural: str, namespace: str, query: dict[str, str]) -> Object:
        with self.changed:
            found = [
                copy.deepcopy(body)
                for (g, p, ns, _), body in sorted(self._objects.items())
                if (g, p, ns) == (group, plural, namespace) and _selected(body, query)
            ]
            start, limit = int(query.get("continue") or 0), int(query.get("limit") or 0) or len(found)
            about = {"resourceVersion": str(self._version)}
            if start + limit < len(found):
                about["continue"] = str(start + limit)
            _, version, kind = self.kinds[group, plural]
            api_version = f"{group}/{version}" if group else version
            items = found[start : start + limit]
            return {"apiVersion": api_version, "kind": f"{kind}List", "metadata": about, "items": items}

    def _watch(self, group: str, plural: str, namespace: str, query: dict[str, str]) -> Iterator[str]:
        since = int(query.get("resourceVersion") or 0)
        deadline = time.monotonic() + float(query["timeoutSeconds"])
        if since < self._forgotten:
            gone = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}
            yield json.dumps({"type": "ERROR", "object": gone})
            return
        while True:
            with self.changed:
                news = [
                    (version, change, body)
                    for version, where, change, body in self._history
                    if version > since and where == (group, plural)
                    if body["metadata"]["namespace"] == namespace and _selected(body, query)
                ]
                if not news:
                    left = deadline - time.monotonic()
                    if left <= 0 or self._closing:
                        return
                    self.changed.wait(min(left, 1.0))
            for version, change, body in news:
                since = version
                yield json.dumps({"type": change, "object": body})

    def _log(self, namespace: str, name: str, query: dict[str, str]) -> str:
        pod = self.get("pods", name, namespace)
        if pod is None:
            raise Answer(404, "NotFound", f'pods "{name}" not found', kind="pods", name=name)
        containers = [container["name"] for container in pod["spec"]["containers"]]
        container = query.get("container") or (containers[0] if len(containers) == 1 else "")
        if container not in containers:
            raise Answer(400, "BadRequest", f"a container must be named for pod {name}: {containers}")
        if pod["status"]["phase"] == "Pending":
            raise Answer(400, "BadRequest", f'container "{container}" in pod "{name}" is waiting to start')
        lines = self._logs[namespace, name, container].splitlines(keepends=True)
        return "".join(lines[-int(query["tailLines"]) :] if "tailLines" in query else lines)

    def _proxy(self, method: str, namespace: str, name: str, port: str, path: str, body: Any) -> Any:
        """What the pod itself answers at its address."""
        verb = "get" if method == "GET" else "create"
        self.requests.append(Request(verb, "pods/proxy", name, body))
        self._check_allowed(verb, "pods/proxy", "", namespace, name)
        pod = self.get("pods", name, namespace)
        if pod is None:
            raise Answer(404, "NotFound", f'pods "{name}" not found', kind="pods", name=name)
        there = http.client.HTTPConnection(pod["status"]["podIP"], int(port), timeout=10)
        sent = json.dumps(body) if body is not None else None
        there.request(method, path, sent, {"Content-Type": "application/json"})
        answer = there.getresponse()
        text = answer.read().decode()
        there.close()
        if answer.status != 200:
            raise Answer(answer.status, message=text)
        return text if answer.headers.get_content_type() == "text/plain" else json.loads(text)

    def _namespace(self, name: str) -> Object:
        self.requests.append(Request("get", "namespaces", name, None))
        self._check_allowed("get", "namespaces", "", name, name)
        about = {"name": name, "labels": {"kubernetes.io/metadata.name": name, **self.namespaces[name]}}
        return {"apiVersion": "v1", "kind": "Namespace", "metadata": about}

    def _review(self, path: str, body: Object) -> Object:
        if path.endswith("/selfsubjectreviews"):
            return {**body, "status": {"userInfo": {"username": USER}}}
        asked = body["spec"]["resourceAttributes"]
        resource = "/".join(filter(None, (asked["resource"], asked.get("subresource"))))
        return {**body, "status": {"allowed": (asked["verb"], resource) not in self.denied}}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16  # one packet an answer
    double: KubernetesApi

    def _handle(self) -> None:
        address = urlsplit(self.path)
        query = {key: values[-1] for key, values in parse_qs(address.query).items()}
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        time.sleep(self.double.delay_s)
        try:
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                raise Answer(401, "Unauthorized", "Unauthorized")
            if self.command == "PATCH" and self.headers["Content-Type"] != "application/merge-patch+json":
                raise Answer(415, "UnsupportedMediaType", "the double takes JSON merge patches only")
            answer = self.double.answer(self.command, unquote(address.path), query, body)
        except Answer as refused:
            self._refuse(refused)
        else:
            self._stream(answer) if isinstance(answer, Iterator) else self._send(200, answer)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _handle  # noqa: N815

    def _refuse(self, refused: Answer) -> None:
        if refused.drop:
            self.close_connection = True
            self.connection.close()
        elif not refused.reason:
            self._send(refused.status, f"{refused.message}\n", refused.headers)
        else:
            status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
            status |= {"message": refused.message, "reason": refused.reason, "code": refused.status}
            self._send(refused.status, status | {"details": refused.details}, refused.headers)

    def _send(self, status: int, answer: Any, headers: Mapping[str, str] | None = None) -> None:
        text = answer if isinstance(answer, str) else json.dumps(answer)
        self.send_response(status)
        self.send_header("Content-Type", "text/plain" if isinstance(answer, str) else "application/json")
        self.send_header("Content-Length", str(len(text.encode())))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text.encode())

    def _stream(self, lines: Iterator[str]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            for line in lines:
                piece = f"{line}\n".encode()
                self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
                self.wfile.flush()
            self.wfile.write(b"0\r\n\r\n")
            self.wfile.flush()
        except OSError:  # the client has gone
            self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """Nothing: tests read ``requests``."""


def _verb(method: str, name: str, query: Mapping[str, str]) -> str:
    if method == "GET":
        return "get" if name else ("watch" if query.get("watch", "").lower() == "true" else "list")
    return {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}[method]


def _broken(fault: Fault) -> Answer:
    reasons = {429: "TooManyRequests", 500: "InternalError", 503: "ServiceUnavailable", 504: "Timeout"}
    broken = Answer(fault.status, reasons.get(fault.status, "Unknown"), fault.message)
    broken.drop = not fault.status
    if fault.retry_after is not None:
        broken.headers["Retry-After"] = str(fault.retry_after)
    return broken


def _selected(body: Object, query: Mapping[str, str]) -> bool:
    labels = body["metadata"].get("labels") or {}
    for term in filter(None, query.get("labelSelector", "").split(",")):
        key, _, value = term.partition("=")
        if labels.get(key) != value:
            return False
    wanted = query.get("fieldSelector", "").removeprefix("metadata.name=")
    return not wanted or body["metadata"]["name"] == wanted


def _merged(target: Any, patch: Any) -> Any:
    """RFC 7396."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _merged(result.get(key), value)
    return result


def _resource(group: str, plural: str) -> str:
    return f"{plural}.{group}" if group else plural


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
