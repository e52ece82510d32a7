"""What the pods of a TrainJob say, shown as it comes, and searched for the reason when the job fails."""

import logging
import re
from typing import Any

from kfp_lifecycle.components.shared import errors
from kfp_lifecycle.components.shared.cluster import Cluster
from kfp_lifecycle.components.shared.errors import ClusterError, LifecycleError, redact

log = logging.getLogger(__name__)

#: The labels by which a JobSet's and a Job's pods are known, and the container of the runtime in manifests/;
#: the pod with index 0 has the first process.
_JOB, _INDEX = "jobset.sigs.k8s.io/jobset-name", "batch.kubernetes.io/job-completion-index"
_CONTAINER = "node"
_ERROR = re.compile(r"^ERROR (\w+): (.+)$", re.MULTILINE)


class JobLog:
    """The log of a job's first pod, and why pods wait.

    Args:
        cluster: The cluster.
        job: Name of the TrainJob.
    """

    def __init__(self, cluster: Cluster, job: str) -> None:
        self._cluster, self._selector = cluster, f"{_JOB}={job}"
        self._shown: dict[str, int] = {}
        self._waiting: dict[str, str] = {}

    def show(self) -> None:
        """Prints the lines that have come since, and why pods wait. What cannot be read now comes later."""
        try:
            for pod in self._pods():
                self._show_waiting(pod)
                if pod["metadata"].get("labels", {}).get(_INDEX, "0") == "0":
                    self._show_lines(pod["metadata"]["name"])
        except ClusterError as error:
            log.info("the job's pods cannot be seen just now: %s", error.problem)

    def error(self) -> LifecycleError | None:
        """The first error that a process of the job has declared; None where none can be read."""
        try:
            texts = [self._log(pod["metadata"]["name"]) for pod in self._pods()]
        except ClusterError as error:
            log.info("the job's pods cannot be seen just now: %s", error.problem)
            return None
        for kind, said in (match for text in texts for match in _ERROR.findall(text)):
            found = getattr(errors, kind, None)
            if isinstance(found, type) and issubclass(found, LifecycleError):
                return found(said)
        return None

    def _log(self, pod: str) -> str:
        return self._cluster.pod_logs(pod, _CONTAINER)

    def _pods(self) -> list[dict[str, Any]]:
        return self._cluster.pods(self._selector)

    def _show_lines(self, pod: str) -> None:
        lines = self._log(pod).splitlines()
        for line in lines[self._shown.get(pod, 0) :]:
            log.info("%s: %s", pod, redact(line))
        self._shown[pod] = len(lines)

    def _show_waiting(self, pod: dict[str, Any]) -> None:
        name, why = pod["metadata"]["name"], _why_waiting(pod.get("status") or {})
        if why and why != self._waiting.get(name):
            log.warning("%s waits: %s", name, redact(why))
        self._waiting[name] = why


def _why_waiting(status: dict[str, Any]) -> str:
    """Why a pod does not run, such as no node with a GPU, or an image that is not there; else empty."""
    for condition in status.get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return str(condition.get("message") or condition.get("reason", ""))
    for container in status.get("containerStatuses") or []:
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
            return f"{waiting['reason']}: {waiting.get('message', '')}".rstrip(": ")
    return ""
