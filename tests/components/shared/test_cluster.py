"""Kubernetes for steps: the real client against the double of the API server."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from kubernetes import client, config, watch

from kfp_lifecycle.components.shared import cluster as module
from kfp_lifecycle.components.shared.cluster import (
    AlreadyThere,
    Cancelled,
    Cluster,
    Kind,
    NotInstalled,
    cancellable,
    connect,
)
from kfp_lifecycle.components.shared.errors import ClusterError
from tests.kubernetes_api import USER, KubernetesApi

EXPERIMENT = Kind("Experiment", "kubeflow.org", "v1beta1", "experiments", "Katib")


def thing(name: str, **spec: object) -> dict[str, object]:
    return {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Experiment",
        "metadata": {"name": name, "labels": {"of": "test"}},
        "spec": spec,
    }


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KubernetesApi]:
    monkeypatch.setattr("kfp_lifecycle.components.shared.cluster_errors.FIRST_WAIT_S", 0.01)
    with KubernetesApi([EXPERIMENT], {"team": {"a": "b"}, "other": {}}) as api:
        monkeypatch.setenv("KUBECONFIG", str(api.kube_config(tmp_path)))
        yield api


@pytest.fixture
def cluster(api: KubernetesApi) -> Cluster:
    return connect()


def test_objects_are_made_read_changed_listed_and_deleted(cluster: Cluster) -> None:
    objects = cluster.objects(EXPERIMENT)
    made = objects.create(thing("one", n=1))
    assert made["metadata"]["namespace"] == "team"
    assert made["metadata"]["uid"]
    assert objects.get("one") == made
    assert objects.get("two") is None
    objects.create({**thing("two"), "metadata": {"name": "two", "labels": {"of": "another"}}})
    assert [o["metadata"]["name"] for o in objects.list("of=test")] == ["one"]
    assert len(objects.list()) == 2
    assert objects.delete("one") is True
    assert objects.delete("one") is False


def test_a_list_longer_than_a_page(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PAGE", 3)
    objects = cluster.objects(EXPERIMENT)
    for number in range(8):
        objects.create(thing(f"n-{number}"))
    assert [o["metadata"]["name"] for o in objects.list()] == [f"n-{number}" for number in range(8)]


def test_one_that_is_there_already_can_be_adopted(cluster: Cluster) -> None:
    objects = cluster.objects(EXPERIMENT)
    objects.create(thing("one"))
    with pytest.raises(AlreadyThere, match=r"already experiments.kubeflow.org 'one' in namespace 'team'"):
        objects.create(thing("one"))


def test_an_answer_that_is_lost_makes_no_second_object(cluster: Cluster, api: KubernetesApi) -> None:
    api.fail(0, verb="create", after=True)
    with pytest.raises(AlreadyThere):
        cluster.objects(EXPERIMENT).create(thing("one"))
    assert len(api.all("experiments")) == 1


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 0])
def test_what_fails_for_a_moment_is_tried_again(cluster: Cluster, api: KubernetesApi, status: int) -> None:
    api.fail(status, times=2, plural="experiments")
    assert cluster.objects(EXPERIMENT).list() == []
    assert api.verbs("experiments") == ["list"] * 3


def test_the_wait_that_the_server_asks_for_is_kept(
    cluster: Cluster, api: KubernetesApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    here, sleep = threading.get_ident(), time.sleep
    # Other threads of this process, which tests before may have left, go on sleeping.
    wait = lambda seconds: waits.append(seconds) if threading.get_ident() == here else sleep(seconds)  # noqa: E731
    monkeypatch.setattr(module.time, "sleep", wait)
    api.fail(429, retry_after=7)
    cluster.objects(EXPERIMENT).list()
    assert [wait for wait in waits if wait] == [7.0]


def test_what_goes_on_failing_is_said(
    cluster: Cluster, api: KubernetesApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DEADLINE_S", 0.05)
    api.fail(500, times=99, message="failed calling webhook validator.experiment")
    with pytest.raises(ClusterError, match=r"failed calling webhook.*HTTP 500"):
        cluster.objects(EXPERIMENT).list()


def test_a_right_that_is_missing_is_named(cluster: Cluster, api: KubernetesApi) -> None:
    api.deny("create", "experiments")
    with pytest.raises(ClusterError) as caught:
        cluster.objects(EXPERIMENT).create(thing("one"))
    assert f"{USER} may not create experiments.kubeflow.org 'one' in namespace 'team'." in str(caught.value)
    assert "manifests/" in caught.value.fix
    with pytest.raises(ClusterError, match=f"{USER} may not create experiments.kubeflow.org"):
        cluster.require(EXPERIMENT, "get", "create")
    cluster.require(EXPERIMENT, "get", "list")


def test_rights_are_asked_for_only_where_the_cluster_answers(cluster: Cluster, api: KubernetesApi) -> None:
    def no_reviews(*_: object, **__: object) -> None:
        raise ClusterError("There are none.")

    cluster.call = no_reviews  # type: ignore[method-assign, assignment]
    cluster.require(EXPERIMENT, "get")
    assert cluster.account() == "this account"


def test_a_kind_that_is_not_installed(cluster: Cluster) -> None:
    jobs = cluster.objects(Kind("TrainJob", "trainer.kubeflow.org", "v1alpha1", "trainjobs", "the Trainer"))
    for call in (jobs.list, lambda: jobs.get("x"), lambda: jobs.create(thing("x"))):
        with pytest.raises(NotInstalled, match=r"trainjobs\.trainer\.kubeflow\.org\. Install the Trainer"):
            call()


def test_a_webhook_that_refuses_and_an_object_that_is_wrong(cluster: Cluster, api: KubernetesApi) -> None:
    api.fail(400, message='admission webhook "validator" denied the request: name is too long')
    with pytest.raises(ClusterError, match=r"refuses to create .*name is too long"):
        cluster.objects(EXPERIMENT).create(thing("one"))
    with pytest.raises(ClusterError, match="HTTP 422"):
        cluster.objects(EXPERIMENT).create(thing("Not A Name"))


def test_a_namespace_that_is_not_there(api: KubernetesApi) -> None:
    with pytest.raises(ClusterError, match='Namespaces "nowhere" not found'):
        connect("nowhere").objects(EXPERIMENT).create(thing("one"))


def test_an_account_that_is_unknown(tmp_path: Path, api: KubernetesApi) -> None:
    path = tmp_path / "kube-config.yaml"
    path.write_text(path.read_text().replace("token-of-the-test", "expired"))
    with pytest.raises(ClusterError, match="does not know this account"):
        connect().objects(EXPERIMENT).list()


def test_no_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(ClusterError, match="no way to a Kubernetes cluster"):
        connect()
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    with pytest.raises(ClusterError, match="no way to a Kubernetes cluster"):
        connect()


def test_a_pod_acts_as_its_service_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kubernetes.config import incluster_config

    for name, text in (("token", "secret-token"), ("ca.crt", "a certificate"), ("namespace", "team-a\n")):
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(tmp_path / "ca.crt"))
    monkeypatch.setattr(module, "_ACCOUNT", tmp_path)
    monkeypatch.setattr(module, "ApiClient", lambda own: SimpleNamespace(configuration=own))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    found = connect()
    assert (found.namespace, found.host) == ("team-a", "https://10.0.0.1:443")
    assert found.client.configuration.api_key == {"authorization": "bearer secret-token"}
    assert connect("other").namespace == "other"


def test_a_cluster_that_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, api: KubernetesApi
) -> None:
    path = tmp_path / "kube-config.yaml"
    path.write_text(path.read_text().replace(api.url, "http://127.0.0.1:9"))
    monkeypatch.setattr(module, "DEADLINE_S", 0.05)
    with pytest.raises(ClusterError, match=r"http://127.0.0.1:9 cannot be reached"):
        connect().objects(EXPERIMENT).list()


def test_deletion_waits_for_finalizers(cluster: Cluster, api: KubernetesApi) -> None:
    objects = cluster.objects(EXPERIMENT)
    body = thing("one")
    body["metadata"]["finalizers"] = ["katib"]  # type: ignore[index]
    objects.create(body)
    objects.delete("one")
    assert objects.get("one")["metadata"]["deletionTimestamp"]  # type: ignore[index]
    assert objects.gone("one", 0.05) is False
    threading.Timer(0.2, lambda: api.remove("experiments", "one")).start()
    assert objects.gone("one", 20) is True


def test_logs_of_pods(cluster: Cluster, api: KubernetesApi) -> None:
    api.add_pod("p", {"main": "a\nb\nc\n", "side": "x\n"}, labels={"job": "j"})
    api.add_pod("waiting", {"main": ""}, phase="Pending")
    assert [pod["metadata"]["name"] for pod in cluster.pods("job=j")] == ["p"]
    assert cluster.pod_logs("p", "main", tail=2) == "b\nc\n"
    assert cluster.pod_logs("p", "side") == "x\n"
    assert cluster.pod_logs("waiting") == ""
    assert cluster.pod_logs("none") == ""


def test_the_namespace_and_who_this_is(cluster: Cluster, api: KubernetesApi) -> None:
    assert (cluster.namespace_labels() or {})["a"] == "b"
    assert cluster.account() == USER
    api.deny("get", "namespaces")
    assert cluster.namespace_labels() is None


@pytest.fixture
def official(api: KubernetesApi, tmp_path: Path) -> client.ApiClient:
    """The official client, for the double's own tests."""
    return config.new_client_from_config(str(tmp_path / "kube-config.yaml"))


WHERE = ("kubeflow.org", "v1beta1", "team", "experiments")


def test_the_double_gives_what_the_clients_own_classes_read(
    api: KubernetesApi, official: client.ApiClient
) -> None:
    real, custom = client.CoreV1Api(official), client.CustomObjectsApi(official)
    api.add_pod("p", {"main": "hello\n"}, labels={"job": "j"})
    pods = real.list_namespaced_pod("team", label_selector="job=j").items
    assert [(pod.metadata.name, pod.status.phase) for pod in pods] == [("p", "Running")]
    assert real.read_namespaced_pod_log("p", "team") == "hello\n"
    made = custom.create_namespaced_custom_object(
        *WHERE, {**thing("x", n=1), "metadata": {"generateName": "tune-"}}
    )
    name = made["metadata"]["name"]
    assert name.startswith("tune-")
    stale = {**made, "spec": {"n": 2, "m": {"k": 1}}}
    changed = custom.replace_namespaced_custom_object(*WHERE, name, stale)
    assert int(changed["metadata"]["resourceVersion"]) > int(made["metadata"]["resourceVersion"])
    with pytest.raises(client.ApiException) as caught:
        custom.replace_namespaced_custom_object(*WHERE, name, stale)
    assert caught.value.status == 409
    official.set_default_header("Content-Type", "application/merge-patch+json")
    patched = custom.patch_namespaced_custom_object(*WHERE, name, {"spec": {"n": None, "m": {"j": 2}}})
    assert patched["spec"] == {"m": {"k": 1, "j": 2}}


def test_the_doubles_watch_begins_where_it_is_told_and_ends_in_time(
    api: KubernetesApi, official: client.ApiClient
) -> None:
    custom = client.CustomObjectsApi(official)
    custom.create_namespaced_custom_object(*WHERE, thing("one"))
    since = custom.list_namespaced_custom_object(*WHERE)["metadata"]["resourceVersion"]
    api.update("experiments", "one", lambda o: o.update(status={"n": 1}))
    api.put({**thing("two"), "metadata": {"name": "two"}})
    api.remove("experiments", "one")
    look = {"resource_version": since, "timeout_seconds": 1}
    events = watch.Watch().stream(custom.list_namespaced_custom_object, *WHERE, **look)
    found = [(event["type"], event["object"]["metadata"]["name"]) for event in events]
    assert found == [("MODIFIED", "one"), ("ADDED", "two"), ("DELETED", "one")]
    api.forget_history()
    with pytest.raises(client.ApiException) as caught:
        list(watch.Watch().stream(custom.list_namespaced_custom_object, *WHERE, **look))
    assert caught.value.status == 410


def test_a_controller_plays_on_the_double(cluster: Cluster, api: KubernetesApi) -> None:
    def act(api: KubernetesApi, change: str, body: dict[str, object]) -> None:
        if change == "ADDED":
            api.update("experiments", "one", lambda o: o.update(status={"seen": True}))

    api.controller(act)
    cluster.objects(EXPERIMENT).create(thing("one"))
    deadline = time.monotonic() + 20
    while not (cluster.objects(EXPERIMENT).get("one") or {}).get("status"):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_owned_objects_go_with_their_owner(cluster: Cluster, api: KubernetesApi) -> None:
    owner = cluster.objects(EXPERIMENT).create(thing("owner"))
    child = thing("child")
    child["metadata"]["ownerReferences"] = [{"uid": owner["metadata"]["uid"]}]  # type: ignore[index]
    cluster.objects(EXPERIMENT).create(child)
    cluster.objects(EXPERIMENT).delete("owner")
    assert api.all("experiments") == []


CANCELLED = """
import sys, time
from kfp_lifecycle.components.shared.cluster import Cancelled, cancellable
try:
    with cancellable():
        try:
            print("ready", flush=True)
            time.sleep(60)
        except Cancelled as error:
            print("cleaning up:", error, flush=True)
            time.sleep(0.5)
            print("clean", flush=True)
            raise
except Cancelled:
    sys.exit(3)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_being_cancelled_is_heard_once_and_the_cleaning_up_goes_on(number: int) -> None:
    process = subprocess.Popen([sys.executable, "-c", CANCELLED], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    said = f"cleaning up: The step was cancelled ({signal.Signals(number).name}).\n"
    assert process.stdout.readline() == said
    process.send_signal(number)
    assert process.stdout.readline() == "clean\n"
    assert process.wait(20) == 3


def test_signals_are_as_before_after_the_block() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Cancelled), cancellable():  # noqa: PT012
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
    assert signal.getsignal(signal.SIGTERM) is before
    ran: list[bool] = []

    def elsewhere() -> None:
        with cancellable():
            ran.append(True)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert ran
