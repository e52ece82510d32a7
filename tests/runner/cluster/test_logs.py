"""Logs of a run's tasks, from a Kubernetes API that tells the time of each line."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kfp_lifecycle.components.shared.cluster import Cluster, connect
from kfp_lifecycle.components.shared.errors import ClusterError
from kfp_lifecycle.runner.cluster.logs import Moment, chosen, follow, gone, pods_of, read
from kfp_lifecycle.runner.cluster.runs import RunError
from tests.kubernetes_api import KubernetesApi

RUN = "8b2f6a0c-3d1e-4f57-9c1b-2a7d9e4c6f10"


class TimedLogs(KubernetesApi):
    """The double, with the times of lines: as the kubelet gives them, and filtered by them."""

    def _log(self, namespace: str, name: str, query: dict[str, str]) -> str:
        assert query["timestamps"] == "true"
        lines = super()._log(namespace, name, {"container": query["container"]}).splitlines(keepends=True)
        lines = [line for line in lines if line[:19] >= query.get("sinceTime", "")[:19]]
        return "".join(lines[-int(query.get("tailLines", "0")) :])


@pytest.fixture
def api() -> Iterator[TimedLogs]:
    with TimedLogs() as double:
        yield double


@pytest.fixture
def cluster(api: TimedLogs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    monkeypatch.setenv("KUBECONFIG", str(api.kube_config(tmp_path)))
    return connect("team")


def _add(
    api: TimedLogs, node: str, *texts: str, phase: str = "Succeeded", run: str = RUN, **status: Any
) -> str:
    path = node.replace("/", ".")
    name = "pod-" + "".join(c if c.isalnum() else "-" for c in node).strip("-")
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "labels": {"pipeline/runid": run},
            "annotations": {"workflows.argoproj.io/node-name": f"training-x7k2p.root.{path}"},
        },
        "spec": {"containers": [{"name": "main", "image": "none"}, {"name": "wait", "image": "none"}]},
        "status": {"phase": phase, **status},
    }
    api.put(pod)
    lines = "".join(f"2026-11-22T02:00:0{i}.{i:09d}Z {text}\n" for i, text in enumerate(texts))
    api._logs["team", name, "main"] = lines
    return name


def _more(api: TimedLogs, name: str, *lines: str) -> None:
    api._logs["team", name, "main"] += "".join(f"{line}\n" for line in lines)


def test_pods_say_what_they_run(api: TimedLogs, cluster: Cluster) -> None:
    _add(api, "train-driver")
    _add(api, "train/executor", phase="Failed")
    _add(api, "evaluate/executor(1)", phase="Running")
    _add(api, "for-loop-1/iteration(0:a)/fit/executor")
    _add(api, "other/executor", run="another-run")
    pods = {pod.task: pod for pod in pods_of(cluster, RUN) if not pod.driver}
    assert set(pods) == {"train", "evaluate", "for-loop-1/iteration(0:a)/fit"}
    assert pods["evaluate"].title == "evaluate (attempt 2)"
    assert (pods["train"].ended, pods["evaluate"].ended) == (True, False)
    assert [pod.task for pod in pods_of(cluster, RUN) if pod.driver] == ["train"]


def test_why_a_pod_does_not_start(api: TimedLogs, cluster: Cluster) -> None:
    pulling = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
    _add(api, "a/executor", phase="Pending", containerStatuses=[{"name": "main", "state": pulling}])
    creating = {"waiting": {"reason": "PodInitializing"}}
    _add(api, "b/executor", phase="Pending", containerStatuses=[{"name": "main", "state": creating}])
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no GPU"}
    _add(api, "c/executor", phase="Pending", conditions=[condition])
    killed = {"terminated": {"reason": "OOMKilled", "exitCode": 137}}
    _add(api, "d/executor", phase="Failed", containerStatuses=[{"name": "main", "state": killed}])
    found = {pod.task: (pod.waits, pod.message) for pod in pods_of(cluster, RUN)}
    assert found == {
        "a": ("ImagePullBackOff", "no such image"),
        "b": ("", ""),
        "c": ("Unschedulable", "no GPU"),
        "d": ("", "It was killed: out of memory."),
    }


def test_a_task_by_name_or_path(api: TimedLogs, cluster: Cluster) -> None:
    _add(api, "train-driver")
    _add(api, "loop/train/executor")
    _add(api, "train/executor")
    pods = pods_of(cluster, RUN)
    assert len(chosen(pods)) == 2
    assert len(chosen(pods, drivers=True)) == 3
    assert len(chosen(pods, "train")) == 2
    assert len(chosen(pods, "loop/train")) == 1
    with pytest.raises(RunError, match="Did you mean 'train'"):
        chosen(pods, "trein")
    assert chosen([], "train") == []


def test_all_that_was_printed(api: TimedLogs, cluster: Cluster) -> None:
    _add(api, "prepare/executor", "one", "", "three  with spaces")
    _add(api, "train/executor", "four\r", "plus\tmore é")
    _add(api, "later/executor", phase="Pending")
    lines = [(line.pod.task, line.text) for line in read(cluster, pods_of(cluster, RUN))]
    assert lines == [
        ("prepare", "one"),
        ("prepare", ""),
        ("prepare", "three  with spaces"),
        ("train", "four"),
        ("train", "plus\tmore é"),
    ]
    assert [line.text for line in read(cluster, pods_of(cluster, RUN), tail=1)] == [
        "three  with spaces",
        "plus\tmore é",
    ]


def test_a_log_that_is_not_utf8_or_has_no_end(api: TimedLogs, cluster: Cluster) -> None:
    name = _add(api, "train/executor")
    _more(api, name, "2026-11-22T02:00:01.5Z " + "x" * 300_000, "no time at all")
    lines = [line.text for line in read(cluster, pods_of(cluster, RUN))]
    assert [len(line) for line in lines] == [300_000, 14]


def test_following_until_the_run_ends(api: TimedLogs, cluster: Cluster) -> None:
    first = _add(api, "train/executor", "one", phase="Running")
    moves: list[Any] = [
        lambda: None,
        lambda: _more(api, first, "2026-11-22T02:00:05.1Z two", "2026-11-22T02:00:05.12Z three"),
        # Within the same second as the last line that was read.
        lambda: _more(api, first, "2026-11-22T03:00:05.2+01:00 four"),
        lambda: (api.fail(0, verb="get", plural="pods"), _add(api, "evaluate/executor", "five")),
        lambda: None,
    ]

    def state() -> str:
        moves.pop(0)()
        return "RUNNING" if moves else "SUCCEEDED"

    waits: list[float] = []
    lines = [line.text for line in follow(cluster, RUN, state, sleep=waits.append)]
    assert lines == ["one", "two", "three", "four", "five"]
    assert len(waits) == 4


def test_following_one_task_ends_with_it(api: TimedLogs, cluster: Cluster) -> None:
    states = iter(["PENDING", "RUNNING", "RUNNING", "RUNNING"])

    def sleep(_: float) -> None:
        if not api.all("pods"):
            _add(api, "train/executor", "one")
            _add(api, "evaluate/executor", "not this", phase="Running")

    lines = [line.text for line in follow(cluster, RUN, lambda: next(states), "train", sleep=sleep)]
    assert lines == ["one"]
    assert next(states) == "RUNNING"


def test_following_a_failed_task_waits_for_its_retry(api: TimedLogs, cluster: Cluster) -> None:
    _add(api, "train/executor(0)", "one", phase="Failed")
    states = iter(["RUNNING", "RUNNING", "FAILED"])

    def sleep(_: float) -> None:
        if len(api.all("pods")) == 1:
            _add(api, "train/executor(1)", "two", phase="Failed")

    lines = [line.pod.title for line in follow(cluster, RUN, lambda: next(states), "train", sleep=sleep)]
    assert lines == ["train", "train (attempt 2)"]


def test_following_says_why_a_pod_does_not_start(api: TimedLogs, cluster: Cluster) -> None:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no GPU"}
    _add(api, "train/executor", phase="Pending", conditions=[condition])
    states, told = iter(["RUNNING", "RUNNING", "CANCELED"]), []
    lines = follow(cluster, RUN, lambda: next(states), trouble=told.append, sleep=lambda _: None)
    assert list(lines) == []
    assert [(pod.task, pod.waits, pod.message) for pod in told] == [("train", "Unschedulable", "no GPU")]


def test_a_task_that_never_was(api: TimedLogs, cluster: Cluster) -> None:
    _add(api, "train/executor", "one")
    states = iter(["RUNNING", "SUCCEEDED"])
    with pytest.raises(RunError, match="no pod of a task 'tune'"):
        list(follow(cluster, RUN, lambda: next(states), "tune", sleep=lambda _: None))


def test_a_pod_that_goes_away_meanwhile(api: TimedLogs, cluster: Cluster) -> None:
    name = _add(api, "train/executor", "one")
    pods = pods_of(cluster, RUN)
    api.remove("pods", name)
    assert list(read(cluster, pods)) == []
    assert pods_of(cluster, RUN) == []


def test_a_log_that_breaks_off_is_taken_up(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    from urllib3.exceptions import ProtocolError

    asked = []

    class Breaking:
        def __init__(self, lines: bytes, breaks: bool) -> None:
            self.lines, self.breaks = lines, breaks

        def stream(self, size: int) -> Iterator[bytes]:
            yield self.lines
            if self.breaks:
                raise ProtocolError("gone")

        def release_conn(self) -> None:
            """Nothing to release."""

    one, two = b"2026-11-22T02:00:01.1Z one\n", b"2026-11-22T02:00:01.2Z two\n"
    answers = iter([Breaking(one + two[:30], True), Breaking(one + two, False)])

    def log_stream(pod: str, container: str, *, since: str = "", tail: int = 0) -> Breaking:
        asked.append((since, tail))
        return next(answers)

    monkeypatch.setattr(cluster, "log_stream", log_stream)
    pod = SimpleNamespace(name="p", task="train")
    assert [line.text for line in read(cluster, [pod], tail=5)] == ["one", "two"]  # type: ignore[list-item]
    assert asked == [("", 5), ("2026-11-22T02:00:01Z", 0)]
    answers = iter([Breaking(b"", True)] * 20)
    with pytest.raises(ClusterError, match="keeps breaking off"):
        list(read(cluster, [pod]))  # type: ignore[list-item]


def test_a_right_that_is_missing_is_named(api: TimedLogs, cluster: Cluster) -> None:
    api.deny("list", "pods")
    with pytest.raises(ClusterError, match="list"):
        pods_of(cluster, RUN)


@pytest.mark.parametrize(
    ("text", "nanos"),
    [
        ("2026-11-22T02:00:01Z", 0),
        ("2026-11-22T02:00:01.1Z", 10**8),
        ("2026-11-22T03:00:01.000000007+01:00", 7),
    ],
)
def test_times_of_lines(text: str, nanos: int) -> None:
    found = Moment.read(text)
    assert found is not None
    assert (found.second.hour, found.second.second, found.nanos) == (2, 1, nanos)
    assert Moment.read("INFO") is None


def test_where_a_log_is_kept_when_the_pods_are_gone() -> None:
    config = SimpleNamespace(pipeline_root="gs://b/root/")
    run = SimpleNamespace(
        run_id=RUN, runtime_config=config, pipeline_spec={"pipelineInfo": {"name": "training"}}
    )
    text = gone(run, "train")
    assert f"gs://b/root/training/{RUN}/train/…/executor-logs" in text
    run = SimpleNamespace(run_id=RUN, runtime_config=None, pipeline_spec=None)
    assert "PIPELINE_ROOT is minio://mlpipeline/v2/artifacts unless" in gone(run)
