"""What the tasks of a run print: their pods, found by what KFP's backend writes on them.

Every pod of a run has the label ``pipeline/runid``. Argo Workflows notes on each the name of its node, which
is the path through the pipeline: ``training-x7k2p.root.train.executor``; a retried one ends with its number.
"""

import logging
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

from urllib3.exceptions import HTTPError

from kfp_lifecycle.components.shared.cluster import Cluster
from kfp_lifecycle.components.shared.errors import ClusterError, did_you_mean
from kfp_lifecycle.runner.cluster.runs import FINISHED, RunError

log = logging.getLogger(__name__)

RUN_LABEL = "pipeline/runid"
NODE_NAME = "workflows.argoproj.io/node-name"
#: The container that runs the task; beside it are KFP's launcher and Argo's own.
MAIN = "main"
#: Seconds between two looks at what goes on.
INTERVAL_S = 2.0
_ENDED = ("Succeeded", "Failed")
#: How often one log may break off before that is given up.
_MOST_BREAKS = 10
_STAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)")
_NUMBER = re.compile(r"\((\d+)\)$")


@dataclass(frozen=True)
class TaskPod:
    """A pod that runs a task, or decides whether it is run (a driver).

    Args:
        name: Its name.
        task: The task, with the nested pipelines and loops that it is in: ``for-loop-1/train``.
        attempt: Which attempt, from 1.
        driver: Whether it is a driver.
        phase: As Kubernetes names it.
        waits: Why its container does not start, as Kubernetes names it; empty where it has.
        message: What Kubernetes says about that, or about how it ended.
    """

    name: str
    task: str
    attempt: int
    driver: bool
    phase: str
    waits: str = ""
    message: str = ""

    @property
    def ended(self) -> bool:
        """Whether nothing more comes from it."""
        return self.phase in _ENDED

    @property
    def title(self) -> str:
        """The task, and the attempt where it is not the first."""
        return self.task if self.attempt == 1 else f"{self.task} (attempt {self.attempt})"


@dataclass(frozen=True)
class Line:
    """A line of a log.

    Args:
        pod: What printed it.
        text: The line, without its end.
    """

    pod: TaskPod
    text: str


def pods_of(cluster: Cluster, run_id: str) -> list[TaskPod]:
    """The pods of a run that are still there, the earliest first.

    Raises:
        ClusterError: Kubernetes refuses, or does not answer.
    """
    return [_task_pod(pod) for pod in cluster.pods(f"{RUN_LABEL}={run_id}")]


def chosen(pods: Sequence[TaskPod], task: str = "", drivers: bool = False) -> list[TaskPod]:
    """Those of a task, by its name or its path; with no task, those of all.

    Raises:
        RunError: The run has pods, and none of such a task.
    """
    wanted = [pod for pod in pods if drivers or not pod.driver]
    if not task:
        return wanted
    found = [pod for pod in wanted if task in (pod.task, pod.task.rpartition("/")[2])]
    if pods and not found:
        known = {pod.task for pod in pods if not pod.driver}
        raise RunError(f"The run has no pod of a task {task!r}.", did_you_mean(task, known))
    return found


def read(cluster: Cluster, pods: Sequence[TaskPod], tail: int = 0) -> Iterator[Line]:
    """What these pods have printed until now, one after the other.

    Args:
        cluster: Where they are.
        pods: Which.
        tail: How many of the last lines of each; 0 is all.

    Raises:
        ClusterError: Kubernetes refuses, or does not answer.
    """
    for pod in pods:
        for _, text in _lines(cluster, pod, None, tail):
            yield Line(pod, text)


def follow(
    cluster: Cluster,
    run_id: str,
    state: Callable[[], str],
    task: str = "",
    drivers: bool = False,
    tail: int = 0,
    trouble: Callable[[TaskPod], None] = lambda pod: None,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Line]:
    """What the pods print from now on until the run ends, pods that come later included.

    Each look asks for what is new since the last one, so that a connection that goes down loses nothing and
    repeats nothing.

    Args:
        cluster: Where they are.
        run_id: The run.
        state: Gives the run's state, as the API names it.
        task: Only of this task; empty for all.
        drivers: Whether also of drivers.
        tail: How many of the last lines of each to begin with; 0 is all.
        trouble: Told once of a pod that does not start, and why.
        sleep: Waits.

    Raises:
        ClusterError: Kubernetes refuses, or does not answer for too long.
        ServerError: The pipelines server refuses, or does not answer for too long.
    """
    following, told = _Following(cluster, tail), set[tuple[str, str]]()
    while True:
        over = state() in FINISHED
        pods = pods_of(cluster, run_id)
        try:
            wanted = chosen(pods, task, drivers)
        except RunError:
            if over:
                raise
            wanted = []  # it has not started yet
        for pod in wanted:
            if pod.waits and (pod.name, pod.waits) not in told:
                told.add((pod.name, pod.waits))
                trouble(pod)
            yield from following.new(pod)
        if over or (task and wanted and all(pod.ended for pod in wanted) and not _may_retry(wanted)):
            return
        sleep(INTERVAL_S)


def _may_retry(pods: Sequence[TaskPod]) -> bool:
    return pods[-1].phase == "Failed"


class Moment(NamedTuple):
    """When a line was printed; Kubernetes says it to the nanosecond."""

    second: datetime
    nanos: int

    @classmethod
    def read(cls, text: str) -> "Moment | None":
        """From RFC 3339, in any time zone; None for what is none."""
        found = _STAMP.fullmatch(text)
        if found is None:
            return None
        second = datetime.fromisoformat(found[1] + found[3]).astimezone(UTC)
        return cls(second, int((found[2] or "").ljust(9, "0")[:9]))


@dataclass
class _Following:
    """How far each pod has been read."""

    cluster: Cluster
    tail: int
    since: dict[str, Moment | None] = field(default_factory=dict)
    over: set[str] = field(default_factory=set)

    def new(self, pod: TaskPod) -> Iterator[Line]:
        """What a pod has printed since the last look."""
        if pod.name in self.over:
            return
        since = self.since.get(pod.name)
        for moment, text in _lines(self.cluster, pod, since, 0 if since else self.tail):
            self.since[pod.name] = moment or self.since.get(pod.name)
            yield Line(pod, text)
        if pod.ended:
            self.over.add(pod.name)


def _lines(
    cluster: Cluster, pod: TaskPod, since: Moment | None, tail: int
) -> Iterator[tuple[Moment | None, str]]:
    """The lines after ``since``, each with its time; none where the container has not started."""
    for _ in range(_MOST_BREAKS):
        # Whole seconds only: what was read of that second comes again, and is left out by its full time.
        known = since
        begin = f"{known.second:%Y-%m-%dT%H:%M:%SZ}" if known else ""
        response = cluster.log_stream(pod.name, MAIN, since=begin, tail=0 if known else tail)
        if response is None:
            return
        try:
            for raw in _split(response.stream(64 * 1024)):
                stamp, _, text = raw.partition(" ")
                moment = Moment.read(stamp)
                if known and moment and moment <= known:
                    continue
                since = moment or since
                yield moment, text if moment else raw
            return
        except HTTPError as error:
            log.info("the log of %s broke off (%s); it is taken up again", pod.name, type(error).__name__)
        finally:
            response.release_conn()
    raise ClusterError(f"The log of pod {pod.name!r} keeps breaking off.", "Try again later.")


def _split(chunks: Iterator[bytes]) -> Iterator[str]:
    """Lines of a text that comes in pieces."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line.decode("utf-8", "replace").removesuffix("\r")
    if rest:
        yield rest.decode("utf-8", "replace")


def _task_pod(pod: dict[str, Any]) -> TaskPod:
    metadata, status = pod["metadata"], pod.get("status") or {}
    node = (metadata.get("annotations") or {}).get(NODE_NAME, metadata["name"])
    # The workflow and the root graph are of no interest.
    path = [part for part in node.split(".")[1:] if part != "root"] or [node]
    number = _NUMBER.search(path[-1])
    last = _NUMBER.sub("", path[-1])
    if last == "executor" and len(path) > 1:
        path.pop()
        last = path[-1]
    driver = last.endswith("-driver")
    path[-1] = last.removesuffix("-driver")
    waits, message = _trouble(status)
    return TaskPod(
        metadata["name"],
        "/".join(path),
        int(number[1]) + 1 if number else 1,
        driver,
        str(status.get("phase") or "Pending"),
        waits,
        message,
    )


def _trouble(status: dict[str, Any]) -> tuple[str, str]:
    """Why the task's container does not start, or how it ended: reason and message."""
    for container in status.get("containerStatuses") or ():
        if container.get("name") == MAIN:
            state = container.get("state") or {}
            waiting, ended = state.get("waiting") or {}, state.get("terminated") or {}
            if waiting.get("reason") not in (None, "PodInitializing", "ContainerCreating"):
                return str(waiting["reason"]), str(waiting.get("message") or "")
            if ended.get("reason") == "OOMKilled":
                return "", "It was killed: out of memory."
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return str(condition.get("reason") or "Unschedulable"), str(condition.get("message") or "")
    return "", str(status.get("message") or "")


def gone(run: Any, task: str = "") -> str:
    """What to say where a run's pods are no more: that, and where KFP keeps what they printed."""
    spec = run.pipeline_spec.get("pipeline_spec", run.pipeline_spec) if run.pipeline_spec else {}
    root = (run.runtime_config.pipeline_root if run.runtime_config else "") or "PIPELINE_ROOT"
    name = spec.get("pipelineInfo", {}).get("name") or "PIPELINE"
    where = f"{root.rstrip('/')}/{name}/{run.run_id}/{task or 'TASK'}/…/executor-logs"
    default = " (PIPELINE_ROOT is minio://mlpipeline/v2/artifacts unless the server has another)"
    return (
        f"Kubernetes has no pod of {f'the task {task!r} of ' if task else ''}run {run.run_id} any more. "
        f"KFP's launcher keeps what a task printed under {where}"
        f"{default if root == 'PIPELINE_ROOT' else ''}, unless the server has PUBLISH_LOGS off."
    )
