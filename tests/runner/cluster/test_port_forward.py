"""Reaching a server by the kube config, over streams of the Kubernetes API."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from kfp_lifecycle.runner.cluster.connect import Server, connect
from kfp_lifecycle.runner.cluster.errors import ContextError, UnreachableError
from kfp_lifecycle.runner.cluster.retry import Patience
from kfp_lifecycle.runner.cluster.submit import submit
from kfp_lifecycle.runner.cluster.watch import watch
from tests.kfp_server import KfpServer
from tests.kfp_server.forwarding import KubernetesForward
from tests.runner.cluster.submitting import QUICK, compiled

SHORT = Patience(0.2, 0.01, 0.02, 0.01)


@pytest.fixture
def cluster(
    double: KfpServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[KubernetesForward]:
    with KubernetesForward(int(double.url.rpartition(":")[2])) as forward:
        path = tmp_path / "kube-config"
        forward.write_config(path)
        monkeypatch.setenv("KUBECONFIG", str(path))
        yield forward


def test_a_run_by_the_kube_config_alone(
    double: KfpServer, cluster: KubernetesForward, tmp_path: Path
) -> None:
    server = connect(patience=QUICK)
    assert server.place == "ml-pipeline:8888 in kubeflow (kube config)"
    assert server.link("x") == ""
    done = submit(server, compiled(tmp_path), {"source": "x" * 90_000}, experiment="churn")
    assert watch(server, done.run_id, interval_s=0).exit_code == 0
    assert "/api/v1/namespaces/kubeflow/pods/ml-pipeline-7d/portforward" in cluster.seen
    assert all(not seen.headers.get("authorization") for seen in double.requests())


def test_a_server_that_is_restarted_is_found_again(
    double: KfpServer, cluster: KubernetesForward, tmp_path: Path
) -> None:
    server = connect(patience=QUICK)
    before = cluster.streams
    double.restart()
    assert server.call(server.client.list_experiments).total_size == 1
    assert cluster.streams > before


def test_a_large_answer_comes_whole(double: KfpServer, cluster: KubernetesForward) -> None:
    for number in range(150):
        double.state.add_experiment({"display_name": f"e{number}", "description": "d" * 1500})
    server = connect(patience=QUICK)
    assert len(server.call(server.client.list_experiments, page_size=200).experiments) == 151


def test_a_stream_that_breaks_off_is_made_again(double: KfpServer, cluster: KubernetesForward) -> None:
    for number in range(20):
        double.state.add_experiment({"display_name": f"e{number}", "description": "d" * 1500})
    told: list[str] = []
    server = connect(patience=QUICK, notify=lambda what, why: told.append(why))
    cluster.break_after = 1000
    assert len(server.call(server.client.list_experiments, page_size=200).experiments) == 21
    assert len(told) == 1


def test_the_context_names_cluster_and_service(
    double: KfpServer, cluster: KubernetesForward, tmp_path: Path, config: Path
) -> None:
    held = {"kube_context": "kind", "ui_host": "http://localhost:8080"}
    config.write_text(yaml.safe_dump({"contexts": {"kind": held, "none": {"kube_context": "nowhere"}}}))
    assert connect("kind", patience=QUICK).link("x") == "http://localhost:8080/#/runs/details/x"
    with pytest.raises(ContextError, match=r"no kube config leads to one: .*nowhere"):
        connect("none", patience=QUICK)


def failing(double: KfpServer, cluster: KubernetesForward, way: str) -> None:
    if way == "not ready":
        cluster.ready = False
    elif way == "token":
        cluster.token = "another"
    elif way == "stopped":
        double.stop()
    else:
        cluster.denied = way


@pytest.mark.parametrize(
    ("way", "said"),
    [
        ("not ready", "no pod of it is ready"),
        ("token", "401: the kube config's user needs the rights"),
        ("endpoints", "403: the kube config's user needs the rights get services and endpoints"),
        ("portforward", "no port-forward to ml-pipeline in kubeflow"),
        ("stopped", "does not answer"),
    ],
)
def test_what_is_wrong_is_said(double: KfpServer, cluster: KubernetesForward, way: str, said: str) -> None:
    failing(double, cluster, way)
    with pytest.raises(UnreachableError, match=said) as raised:
        connect(patience=SHORT)
    assert "kube-token" not in str(raised.value)


def test_a_pod_that_is_ready_again_is_used(double: KfpServer, cluster: KubernetesForward) -> None:
    cluster.ready = False
    told = []

    def notify(what: str, why: str) -> None:
        told.append(why)
        cluster.ready = len(told) > 1

    server: Server = connect(patience=QUICK, notify=notify)
    assert server.pipeline_store == "database"
    assert len(told) == 2


def test_another_service(cluster: KubernetesForward, config: Path) -> None:
    config.write_text(yaml.safe_dump({"current": "c", "contexts": {"c": {"kube_service": "other:80"}}}))
    with pytest.raises(UnreachableError, match="no port-forward to other in kubeflow: 404"):
        connect(patience=SHORT)
