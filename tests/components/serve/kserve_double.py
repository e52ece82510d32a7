"""Doubles for rollouts on KServe: its controller, Knative's, a Gateway, the cluster's names, a model server.

They play on the double of the Kubernetes API. Pods are real HTTP servers on loopback addresses of their own,
at port 8080. The cluster's names lead there (``names_of``): through a Service to one of its pods, through a
route by its weights, through Knative's addresses by its traffic. Status is written as KServe 0.20 writes it.
"""

import itertools
import json
import random
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from kfp_lifecycle.components.serve.rollout.kserve_objects import OF_SERVICE, VERSION
from tests.kubernetes_api import KubernetesApi, Object

NAMESPACE, DOMAIN = "team", "team.svc.cluster.local"
REVISION = "serving.knative.dev/revision"


@dataclass
class Model:
    """How a version's server behaves.

    Args:
        factor: It predicts this times x.
        error_rate: Share of its requests that fail, once the first ten have not.
        latency_s: What each takes.
        ready_after_s: When it is ready; None is never.
        crashes: Whether it ends again and again.
        log: What it has logged.
    """

    factor: float = 2.0
    error_rate: float = 0.0
    latency_s: float = 0.0
    ready_after_s: float | None = 0.0
    crashes: bool = False
    log: str = "INFO serving\n"


class TinyServer:
    """A model server with the protocol and the metrics of ours, for one number in and one out."""

    def __init__(self, address: str, args: Mapping[str, str], version: str, model: Model) -> None:
        self.name, self.version, self.model = args["name"], version, model
        self.counts: Counter[str] = Counter()
        self._every = itertools.count(1)
        server = self

        class Handler(_Handler):
            own = server

        self._server = ThreadingHTTPServer((address, 8080), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def infer(self, body: Object) -> tuple[int, Object]:
        time.sleep(self.model.latency_s)
        self.counts["requests"] += 1
        number = next(self._every)
        if self.model.error_rate and number > 10 and number % round(1 / self.model.error_rate) == 0:
            self.counts["errors"] += 1
            return 500, {"error": "it failed"}
        values = [self.model.factor * x for x in body["inputs"][0]["data"]]
        output = {"name": "prediction", "datatype": "FP64", "shape": [len(values)], "data": values}
        return 200, {"model_name": self.name, "model_version": self.version, "outputs": [output]}

    def metrics(self) -> str:
        own = f'model="{self.name}",version="{self.version}"'
        done, seconds = self.counts["requests"], max(self.model.latency_s, 0.001)
        buckets = "".join(
            f'model_prediction_latency_seconds_bucket{{{own},le="{bound}"}} '
            f"{done if seconds <= float(bound) else 0}\n"
            for bound in ("0.01", "0.1", "1.0", "10.0", "+Inf")
        )
        return (
            "# TYPE model_requests_total counter\n"
            f"model_requests_total{{{own}}} {done}\n"
            "# TYPE model_request_errors_total counter\n"
            f'model_request_errors_total{{{own},kind="internal"}} {self.counts["errors"]}\n'
            "# TYPE model_prediction_latency_seconds histogram\n"
            f"{buckets}model_prediction_latency_seconds_count{{{own}}} {done}\n"
            f"model_prediction_latency_seconds_sum{{{own}}} {done * seconds}\n"
        )


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    own: TinyServer

    def do_GET(self) -> None:
        if self.path == "/metrics":
            self._send(200, self.own.metrics().encode(), "text/plain")
        else:
            self._send(200 if self.path.startswith("/v2/health") else 404, b"{}")

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        match = re.fullmatch(r"/v2/models/([^/]+)(?:/versions/([^/]+))?/infer", self.path)
        known = match and match[1] == self.own.name and match[2] in (None, self.own.version)
        status, answer = self.own.infer(body) if known else (404, {"error": f"no {self.path} here"})
        self._send(status, json.dumps(answer).encode())

    def _send(self, status: int, body: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


#: Starts a pod's server: its address, the server's arguments, its variables, its version.
Starter = Callable[[str, dict[str, str], dict[str, str], str], Any]


@dataclass
class Pod:
    """A pod that runs."""

    name: str
    service: str
    version: str
    address: str
    server: Any
    revision: str = ""
    ready: bool = False


@dataclass
class KServe:
    """KServe's controller, and with it Knative's and the Gateway's.

    Args:
        api: The API server.
        mode: ``Standard``, ``RawDeployment``, ``Knative`` or ``Serverless``.
        models: How the server of a model's URI behaves; see :class:`Model`.
        replicas: Pods of each predictor.
        headless: Whether Services have no address of their own, and so only the pods' port.
        starter: Starts a server in the place of the tiny one.
        accepts: Whether the Gateway takes routes.
        says_mode: Whether it writes the mode into the status.
        outside: Whether the test's process is outside the cluster, and knows none of its names.
    """

    api: KubernetesApi
    mode: str = "Standard"
    models: dict[str, Model] = field(default_factory=dict)
    replicas: int = 1
    headless: bool = False
    starter: Starter | None = None
    accepts: bool = True
    says_mode: bool = True
    outside: bool = False

    def __post_init__(self) -> None:
        self.pods: list[Pod] = []
        self.logs: list[str] = []
        self._made: dict[str, str] = {}
        self._numbers = itertools.count(1)
        self._revisions: dict[str, int] = {}
        self._rolled: dict[str, tuple[str, str]] = {}
        self._lock = threading.RLock()
        self._closed = False
        self.api.controller(self.act)

    @property
    def knative(self) -> bool:
        return self.mode in ("Knative", "Serverless")

    def act(self, _: KubernetesApi, change: str, body: Object) -> None:
        if body["kind"] == "HTTPRoute" and change != "DELETED":
            self._take_route(body)
        if body["kind"] != "InferenceService":
            return
        with self._lock:
            if change == "DELETED":
                self._take_down([pod for pod in self.pods if pod.service == body["metadata"]["name"]])
                self._made.pop(body["metadata"]["name"], None)
                return
            self.reconcile(body)

    def reconcile(self, body: Object) -> None:
        assert not (said := _complaints(body, self.knative)), said
        name, template = body["metadata"]["name"], _template(body)
        if self._made.get(name) != template:
            self._made[name] = template
            self._revisions[name] = self._revisions.get(name, 0) + 1
            revision = f"{name}-predictor-{self._revisions[name]:05d}"
            for _number in range(self.replicas):
                self._start(body, revision)
        self._write(name)

    def _start(self, body: Object, revision: str) -> None:
        spec, about = body["spec"]["predictor"]["model"], body["metadata"]
        args = dict(word.removeprefix("--").split("=", 1) for word in spec["args"])
        model = self.models.get(args["model"], Model())
        address = f"127.{random.randint(1, 254)}.{random.randint(1, 254)}.{random.randint(1, 254)}"
        version = about["labels"][VERSION]
        name = f"{revision}-{next(self._numbers)}"
        pod = Pod(name, about["name"], version, address, None, revision)
        if not model.crashes:
            if self.starter:
                env = {own["name"]: own["value"] for own in spec.get("env", []) if "value" in own}
                pod.server = self.starter(address, args, env, version)
            else:
                pod.server = TinyServer(address, args, version, model)
        self.pods.append(pod)
        labels = {**about["labels"], OF_SERVICE: about["name"], "component": "predictor", REVISION: revision}
        with self.api.changed:
            self.api.add_pod(
                name, {"kserve-container": model.log}, labels=labels, status=_pod_status(pod, model.crashes)
            )
            self.api.update(
                "pods", name, lambda own: own["spec"]["containers"][0].update(ports=[{"containerPort": 8080}])
            )
        threading.Thread(target=self._wait_ready, args=(pod, model), daemon=True).start()

    def _wait_ready(self, pod: Pod, model: Model) -> None:
        if model.ready_after_s is None or model.crashes:
            return
        time.sleep(model.ready_after_s)
        while self.starter and not pod.server.is_ready() and not self._closed:
            time.sleep(0.1)
        with self._lock:
            if self._closed or pod not in self.pods:
                return
            pod.ready = True
            self.api.update("pods", pod.name, lambda own: own["status"].update(_pod_status(pod, False)))
            newest = self.newest(pod.service)
            if not self.knative and all(own.ready for own in newest):
                self._take_down(
                    [own for own in self.pods if own.service == pod.service and own not in newest]
                )
            self._write(pod.service)

    def newest(self, service: str) -> list[Pod]:
        """The pods of the newest template."""
        own = [pod for pod in self.pods if pod.service == service]
        return [pod for pod in own if pod.revision == own[-1].revision]

    def _take_down(self, pods: list[Pod]) -> None:
        for pod in pods:
            self.pods.remove(pod)
            self.api.remove("pods", pod.name)
            if pod.server:
                threading.Thread(target=pod.server.stop, daemon=True).start()

    def _write(self, name: str) -> None:
        """The InferenceService's status, as KServe writes it."""
        body = self.api.get("inferenceservices", name)
        if body is None:
            return
        newest = self.newest(name)
        ready = bool(newest) and all(pod.ready for pod in newest)
        host = f"{name}-predictor.{DOMAIN}"
        predictor: Object = {"url": f"http://{name}-predictor-{NAMESPACE}.example.com"}
        status: Object = {
            "url": f"http://{name}-{NAMESPACE}.example.com",
            "components": {"predictor": predictor},
        }
        if self.says_mode:
            status["deploymentMode"] = self.mode
        if self.knative:
            predictor |= self._knative(name, body) | {"address": {"url": f"http://{host}"}}
            status["address"] = {"url": f"http://{name}.{DOMAIN}"}
        else:
            status["address"] = {"url": f"http://{host}"}
        why = (
            {}
            if ready
            else {
                "reason": "MinimumReplicasUnavailable",
                "message": "Deployment does not have minimum availability.",
            }
        )
        state = "True" if ready else "False"
        conditions = [
            {"type": kind, "status": state, **why} for kind in ("PredictorReady", "IngressReady", "Ready")
        ]
        status["conditions"] = conditions
        if (body.get("status") or {}) != status:
            self.api.update("inferenceservices", name, lambda own: own.update(status=status))

    def _knative(self, name: str, body: Object) -> Object:
        """Revisions and traffic, by the rules of KServe's Knative reconciler and of its status."""
        own = [pod for pod in self.pods if pod.service == name]
        created = f"{name}-predictor-{self._revisions[name]:05d}"
        ready = next((pod.revision for pod in reversed(own) if pod.ready), "")
        rolled, previous = self._rolled.get(name, ("", ""))
        percent = body["spec"]["predictor"].get("canaryTrafficPercent")
        if percent is None or not rolled:
            traffic = [{"latestRevision": True, "revisionName": ready, "percent": 100, "tag": "latest"}]
        else:
            traffic = [{"latestRevision": True, "revisionName": ready, "percent": percent, "tag": "latest"}]
            traffic += [
                {"latestRevision": False, "revisionName": rolled, "percent": 100 - percent, "tag": "prev"}
            ]
        if ready and rolled != ready and traffic[0]["percent"] == 100:
            rolled, previous = ready, rolled
            self._rolled[name] = (rolled, previous)
        found = {"latestCreatedRevision": created, "latestReadyRevision": ready, "traffic": traffic}
        return found | {"latestRolledoutRevision": rolled, "previousRolledoutRevision": previous}

    def _take_route(self, body: Object) -> None:
        generation = body["metadata"]["generation"]
        accepted = {"status": "True" if self.accepts else "False", "observedGeneration": generation}
        refused = {} if self.accepts else {"reason": "NotAllowedByListeners", "message": "no listener for it"}
        conditions = [{"type": kind, **accepted, **refused} for kind in ("Accepted", "ResolvedRefs")]
        status = {"parents": [{"conditions": conditions}]}
        if body.get("status") != status:
            self.api.update("httproutes", body["metadata"]["name"], lambda own: own.update(status=status))

    # Where names lead ---------------------------------------------------------------------------------------

    def backend(self, host: str) -> Pod | None:
        """A pod that a connection to this name would meet now; None where there is none."""
        with self._lock:
            for route in self.api.all("httproutes"):
                if host in route["spec"]["hostnames"]:
                    return self._by_weight(route["spec"]["rules"][0]["backendRefs"])
            label, _, domain = host.partition(".")
            if domain != DOMAIN or not label.endswith("-predictor"):
                return None
            latest = label.startswith("latest-")
            return self._of_service(label.removeprefix("latest-").removesuffix("-predictor"), latest)

    def _by_weight(self, references: list[Object]) -> Pod | None:
        weights = [own["weight"] for own in references]
        chosen = random.choices(references, weights)[0] if sum(weights) else references[0]
        return self._of_service(chosen["name"].removesuffix("-predictor"), False)

    def _of_service(self, service: str, latest: bool) -> Pod | None:
        own = [pod for pod in self.pods if pod.service == service and pod.ready]
        if self.knative and own:
            predictor = (self.api.get("inferenceservices", service) or {})["status"]["components"][
                "predictor"
            ]
            revisions = predictor["traffic"]
            weights = [target["percent"] for target in revisions]
            chosen = revisions[0] if latest else random.choices(revisions, weights)[0]
            own = [pod for pod in own if pod.revision == chosen["revisionName"]]
        return random.choice(own) if own else None

    def close(self) -> None:
        self._closed = True
        with self._lock:
            for pod in self.pods:
                if pod.server:
                    pod.server.stop()


@contextmanager
def names_of(kserve: KServe, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Within the block, the cluster's names lead to its pods, each connection anew."""
    real = socket.getaddrinfo

    def look_up(host: Any, port: Any, *more: Any, **named: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else str(host)
        if not name.endswith((".cluster.local", ".example.com")):
            return real(host, port, *more, **named)
        pod = None if kserve.outside else kserve.backend(name)
        if pod is None:
            raise socket.gaierror(socket.EAI_NONAME, f"no pod behind {name}")
        # A Service's port 80 is the pods' 8080; a headless one has no ports of its own.
        target = port if kserve.headless and name.endswith(".cluster.local") else 8080
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (pod.address, int(target or 0)))]

    with monkeypatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", look_up)
        yield


def _complaints(body: Object, knative: bool) -> list[str]:
    """What KServe's webhook refuses of an InferenceService, or Knative's of what KServe makes of it."""
    about, predictor = body["metadata"], body["spec"]["predictor"]
    found = []
    if not re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", about["name"]):
        found.append("the name")
    labels = about.get("labels", {}).values()
    if not all(re.fullmatch(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?", value) for value in labels):
        found.append("a label")
    if not 0 <= predictor.get("canaryTrafficPercent", 0) <= 100:
        found.append("canaryTrafficPercent")
    metrics = ("concurrency", "rps") if knative else ("cpu", "memory")
    if predictor.get("scaleMetric", metrics[0]) not in metrics:
        found.append("scaleMetric")
    if knative and "terminationGracePeriodSeconds" in predictor:
        found.append("terminationGracePeriodSeconds")
    if knative and predictor.get("automountServiceAccountToken"):
        found.append("automountServiceAccountToken")
    return found


def _template(body: Object) -> str:
    """What a change of starts new pods: KServe hands labels and annotations down to them."""
    about, spec = body["metadata"], json.loads(json.dumps(body["spec"]))
    spec["predictor"].pop("canaryTrafficPercent", None)
    return json.dumps([spec, about.get("labels"), about.get("annotations")], sort_keys=True)


def _pod_status(pod: Pod, crashes: bool) -> Object:
    state: Object = {"running": {"startedAt": datetime.now(UTC).isoformat()}}
    if crashes:
        state = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off restarting failed container"}}
    container = {
        "name": "kserve-container",
        "restartCount": 3 if crashes else 0,
        "ready": pod.ready,
        "state": state,
    }
    return {
        "podIP": pod.address,
        "containerStatuses": [container],
        "conditions": [{"type": "Ready", "status": "True" if pod.ready else "False"}],
    }
