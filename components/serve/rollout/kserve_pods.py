"""The pods behind an InferenceService: what they count, what they have logged, why they do not run.

Metrics are read from each pod's own address and added up: behind a Service every request would meet another
pod. The API server's pods/proxy would do as well, but the right to it opens every port of every pod.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import requests

from kfp_lifecycle.components.serve.rollout.kserve_objects import CONTAINER, OF_SERVICE, VERSION, label
from kfp_lifecycle.components.serve.rollout.readings import Reading, read_metrics
from kfp_lifecycle.components.shared.cluster import Cluster
from kfp_lifecycle.components.shared.cluster_pods import is_ready, restarts, why_not_running
from kfp_lifecycle.components.shared.errors import ServingError, redact

log = logging.getLogger(__name__)

Pod = Mapping[str, Any]
_TIMEOUT_S, _AT_ONCE, _PORT, _TAIL = 5.0, 8, 8080, 30
#: A server that has ended so often will not come up.
_RESTARTS = 3


def pods_of(cluster: Cluster, services: Iterable[str]) -> list[dict[str, Any]]:
    """The predictors' pods of InferenceServices, the earliest first."""
    return [pod for name in services for pod in cluster.pods(f"{OF_SERVICE}={name}")]


def of_version(pods: Iterable[Pod], version: str) -> list[Pod]:
    """Those of the pods that serve a version."""
    return [pod for pod in pods if label(pod, VERSION) == version]


def url_of(pod: Pod) -> str:
    """Where a pod answers inside the cluster."""
    return f"http://{(pod.get('status') or {}).get('podIP')}:{port_of(pod)}"


def readings(
    pods: Iterable[Pod], model: str, version: str, where: Callable[[Pod], str] = url_of
) -> dict[str, Reading]:
    """What each pod that is ready has counted for a version, by the pod's name.

    Args:
        pods: Pods, of other versions too.
        model: The model's name, as its metrics have it.
        version: The version, likewise.
        where: A pod's address.

    Raises:
        ServingError: None of them lets its metrics be read.
    """
    ready = [pod for pod in of_version(pods, version) if is_ready(pod)]
    names = [pod["metadata"]["name"] for pod in ready]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        texts = dict(zip(names, pool.map(lambda pod: _metrics(pod, where(pod)), ready), strict=True))
    found = {name: text for name, text in texts.items() if isinstance(text, str)}
    if texts and not found:
        name, error = next(iter(texts.items()))
        raise ServingError(
            f"The metrics of pod {name!r} cannot be read: {error}.",
            "Let this step's pod reach the predictors' port 8080 (a NetworkPolicy, a mesh that wants TLS).",
        )
    return {name: read_metrics(text, model, version) for name, text in found.items()}


def _metrics(pod: Pod, url: str) -> str | Exception:
    try:
        answer = requests.get(f"{url}/metrics", timeout=_TIMEOUT_S)
        answer.raise_for_status()
    except requests.RequestException as error:
        log.info("pod %s: no metrics: %s", pod["metadata"]["name"], type(error).__name__)
        return error
    return answer.text


def port_of(pod: Pod) -> int:
    """The port of the server's REST: the first of its container."""
    for container in pod["spec"]["containers"]:
        if container["name"] == CONTAINER and container.get("ports"):
            return int(container["ports"][0]["containerPort"])
    return _PORT


def last_lines(cluster: Cluster, pods: Iterable[Pod]) -> str:
    """The end of what the newest pod's server has logged; just restarted, of the start before."""
    for pod in reversed(list(pods)):
        name = pod["metadata"]["name"]
        for previous in (False, True) if restarts(pod, CONTAINER) else (False,):
            if text := cluster.pod_logs(name, CONTAINER, tail=_TAIL, previous=previous).strip():
                return redact(text)
        if why := why_not_running(pod):
            return redact(f"{name}: {why}")
    return ""


def is_hopeless(pods: Iterable[Pod]) -> str:
    """Why pods will not become ready however long one waits; empty where they still may."""
    for pod in pods:
        if (count := restarts(pod, CONTAINER)) >= _RESTARTS and not is_ready(pod):
            return f"the server of pod {pod['metadata']['name']!r} has ended {count} times"
    return ""
