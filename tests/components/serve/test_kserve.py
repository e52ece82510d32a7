"""Rollouts on KServe, with Knative and without, on doubles of the cluster; requests are real ones."""

import json
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import requests

from kfp_lifecycle.components.serve.rollout.guard import Limits
from kfp_lifecycle.components.serve.rollout.kserve import KServe as Target
from kfp_lifecycle.components.serve.rollout.kserve_objects import HTTP_ROUTE, ISVC, VERSION, Predictor
from kfp_lifecycle.components.serve.rollout.kserve_watch import Patience
from kfp_lifecycle.components.serve.rollout.lease import BEFORE, LEASE
from kfp_lifecycle.components.serve.rollout.run import Course, Outcome, roll_out
from kfp_lifecycle.components.serve.rollout.target import Release
from kfp_lifecycle.components.shared.cancel import Cancelled
from kfp_lifecycle.components.shared.cluster import connect
from kfp_lifecycle.components.shared.errors import ClusterError, LifecycleError, ParameterError, RolloutError
from kfp_lifecycle.components.shared.model_example import Example
from tests.components.serve.kserve_double import KServe, Model, names_of
from tests.kubernetes_api import KubernetesApi, Object

HOST = "churn.example.com"
EXAMPLE = Example([{"x": 1.0}, {"x": 2.5}], [{"prediction": 2.0}, {"prediction": 5.0}])
QUICK = Patience(poll=0.03, lock=4, lease=1, shift=3, gone=3, drain=0.05, back=2)
COURSE = Course(steps=(50, 100), step_s=0.05, limits=Limits(min_requests=10), ready_timeout_s=5)
#: How KServe calls its two modes; before 0.16 RawDeployment and Serverless.
MODES = ["Standard", "Knative"]


@dataclass
class Alias:
    """The registry's alias, as a rollout moves it."""

    moves: list[str] = field(default_factory=list)

    def do(self) -> None:
        self.moves.append("do")

    def undo(self) -> None:
        self.moves.append("undo")

    def failed(self, reason: str) -> None:
        assert reason


@dataclass
class Cluster:
    """The cluster of a test, and rollouts on it."""

    api: KubernetesApi
    kserve: KServe
    folder: Path
    alias: Alias = field(default_factory=Alias)

    def target(self, **more: Any) -> Target:
        gateway = {} if self.kserve.knative else {"gateway": "kserve/gate", "host": HOST}
        given = {"predictor": Predictor(settings={}), "patience": QUICK, **gateway, **more}
        return Target(connect(), "churn", **given)

    def release(self, version: str) -> Release:
        return Release("churn", version, f"models:/churn/{version}", self.folder)

    def roll_out(self, version: str, course: Course = COURSE, **more: Any) -> Outcome:
        target = self.target(**more)
        holder = f"rollout of version {version}"
        return roll_out(target, self.release(version), EXAMPLE, course, self.alias, holder)

    def traffic(self, requests_: int = 40) -> set[str]:
        """The versions that clients meet at the address they use."""
        url = f"http://{HOST}" if not self.kserve.knative else "http://churn-predictor.team.svc.cluster.local"
        return {str(ask(url).json()["model_version"]) for _ in range(requests_)}

    def services(self) -> dict[str, str]:
        """The InferenceServices that there are, with their versions."""
        found = self.api.all("inferenceservices")
        return {own["metadata"]["name"]: own["metadata"]["labels"][VERSION] for own in found}

    def isvc(self, name: str = "churn") -> Object:
        found = self.api.get("inferenceservices", name)
        assert found is not None
        return found

    def lease(self) -> Object:
        found = self.api.get("leases", "churn-rollout")
        assert found is not None
        return found

    def assert_serves(self, version: str) -> None:
        """This version has everything, and nothing of a rollout is left."""
        assert self.services() == {"churn": version}
        assert "canaryTrafficPercent" not in self.isvc()["spec"]["predictor"]
        assert self.traffic() == {version}
        assert self.lease()["spec"]["holderIdentity"] == ""
        assert BEFORE not in self.lease()["metadata"].get("annotations", {})


def ask(url: str, x: float = 1.0) -> requests.Response:
    body = {"inputs": [{"name": "x", "datatype": "FP64", "shape": [1, 1], "data": [x]}]}
    return requests.post(f"{url}/v2/models/churn/infer", json=body, timeout=10)


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Cluster]]:
    """Makes the test's cluster: ``cluster("Knative", models={…})``."""
    with ExitStack() as stack:

        def make(mode: str = "Standard", *, kinds: Any = (ISVC, HTTP_ROUTE, LEASE), **more: Any) -> Cluster:
            api = stack.enter_context(KubernetesApi(kinds=kinds))
            monkeypatch.setenv("KUBECONFIG", str(api.kube_config(tmp_path)))
            kserve = KServe(api, mode, **more)
            stack.callback(kserve.close)
            stack.enter_context(names_of(kserve, monkeypatch))
            return Cluster(api, kserve, tmp_path)

        yield make


def good(*versions: str, **more: Any) -> dict[str, Model]:
    return {f"models:/churn/{version}": Model(**more) for version in versions}


@pytest.mark.parametrize("mode", MODES)
def test_one_version_after_another(
    mode: str, cluster: Callable[..., Cluster], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    there = cluster(mode, models=good("3", "4", ready_after_s=0.2))
    first = there.roll_out("3")
    assert (first.version, first.previous) == ("3", None)
    there.assert_serves("3")
    second = there.roll_out("4", replace(COURSE, steps=(10, 50, 100)))
    assert (second.version, second.previous) == ("4", "3")
    assert [step.percent for step in second.steps] == [10, 50, 100]
    assert all(step.candidate.requests >= 10 for step in second.steps)
    there.assert_serves("4")
    assert there.alias.moves == ["do", "do"]
    assert second.url == ("http://churn-team.example.com" if there.kserve.knative else f"http://{HOST}")
    # The conditions as they change.
    assert "churn: PredictorReady False MinimumReplicasUnavailable" in caplog.text
    assert "churn: Ready True" in caplog.text


@pytest.mark.parametrize("mode", MODES)
def test_traffic_is_split_while_it_goes_on(mode: str, cluster: Callable[..., Cluster]) -> None:
    """Every request of a client that never stops is answered, and both versions meet some of them."""
    there = cluster(mode, replicas=2)
    there.roll_out("3")
    met, failed, done = [], [], threading.Event()

    def client() -> None:
        url = f"http://{HOST}" if mode == "Standard" else "http://churn-predictor.team.svc.cluster.local"
        while not done.is_set():
            try:
                met.append(ask(url).json()["model_version"])
            except (requests.RequestException, ValueError) as error:
                failed.append(error)

    thread = threading.Thread(target=client)
    thread.start()
    try:
        outcome = there.roll_out("4", replace(COURSE, step_s=0.5))
    finally:
        done.set()
        thread.join()
    assert failed == []
    assert met[0] == "3"
    assert {"3", "4"} == set(met)
    # Two pods of each version: the sums are over both.
    half = next(step for step in outcome.steps if step.percent == 50)
    assert half.candidate.requests >= 10
    assert half.stable is not None
    assert half.stable.requests > 0
    there.assert_serves("4")


#: By what is bad: how the server behaves, what is said, and the modes that it is tried in.
BAD = {
    "wrong": (Model(factor=3.0), "gave prediction = 3.0 where 2.0 is recorded", MODES),
    "errors": (Model(error_rate=0.5, log="INFO x\nERROR boom\n"), "requests failed", ["Knative"]),
    "slow": (Model(latency_s=0.05), "the limit is 10 ms", ["Standard"]),
    "never ready": (Model(ready_after_s=None, log="INFO loading\n"), "not ready after 1 s", MODES),
    "crashes": (
        Model(crashes=True, log="ERROR RegistryError: no such model\n"),
        "has ended 3 times",
        ["Standard"],
    ),
}


@pytest.mark.parametrize(("kind", "mode"), [(kind, mode) for kind in BAD for mode in BAD[kind][2]])
def test_a_bad_version_is_rolled_back(kind: str, mode: str, cluster: Callable[..., Cluster]) -> None:
    bad, said, _ = BAD[kind]
    there = cluster(mode, models={"models:/churn/4": bad})
    there.roll_out("3")
    course = replace(COURSE, ready_timeout_s=1.0, limits=Limits(min_requests=10, max_latency_ms=10))
    with pytest.raises(RolloutError, match=said) as caught:
        there.roll_out("4", course)
    assert "Version 3 has all traffic again" in str(caught.value)
    # The last lines of the predictor's log are in the error.
    assert bad.log.splitlines()[-1] in str(caught.value)
    there.assert_serves("3")
    assert there.alias.moves == ["do", "undo"]
    # And the next version is rolled out as if nothing had been.
    assert there.roll_out("5").previous == "3"
    there.assert_serves("5")


@pytest.mark.parametrize("mode", MODES)
def test_a_bad_first_version_leaves_nothing(mode: str, cluster: Callable[..., Cluster]) -> None:
    there = cluster(mode, models=good("3", factor=7.0))
    with pytest.raises(RolloutError, match="Nothing is served, as before"):
        there.roll_out("3")
    assert there.services() == {}
    assert there.api.all("httproutes") == []


@pytest.mark.parametrize("mode", MODES)
def test_a_step_that_is_run_again_changes_nothing(mode: str, cluster: Callable[..., Cluster]) -> None:
    there = cluster(mode)
    there.roll_out("3")
    before = there.isvc()["metadata"]["resourceVersion"]
    again = there.roll_out("3")
    assert (again.version, again.previous, again.steps) == ("3", "3", ())
    assert there.isvc()["metadata"]["resourceVersion"] == before
    assert there.api.verbs("inferenceservices").count("create") == 1


class Killed(BaseException):
    """A process that is killed: nothing of it runs any more."""


@pytest.mark.parametrize(
    ("at", "mode"),
    [("start", "Knative"), ("shift", "Standard"), ("promote", "Standard"), ("promote", "Knative")],
)
def test_a_rollout_that_was_killed_goes_on(
    at: str, mode: str, cluster: Callable[..., Cluster], monkeypatch: pytest.MonkeyPatch
) -> None:
    there = cluster(mode)
    there.roll_out("3")
    kill_at(there, "4", at)
    assert there.traffic(5) <= {"3", "4"}
    outcome = there.roll_out("4")
    # Once Knative was told to give all traffic to it, the rollout was over.
    assert outcome.previous == ("4" if (at, mode) == ("promote", "Knative") else "3")
    there.assert_serves("4")
    created = [r for r in there.api.requests if (r.verb, r.plural) == ("create", "inferenceservices")]
    # The one, and the canary once; the attempt after the kill has adopted it, unless it was gone by then.
    assert len(created) <= (1 if there.kserve.knative else 2) + (at == "promote")


def kill_at(there: Cluster, version: str, at: str) -> None:
    """A rollout up to some point; its Lease is left held, as a killed process leaves it."""
    target, release = there.target(), there.release(version)
    lock = target.lock("the one that was killed")
    lock.__enter__()
    target.start(release, 5)
    if at != "start":
        target.shift(50)
    if at == "promote":
        target.shift(100)
        forget = target._lease
        assert forget is not None
        forget.remember = lambda _: (_ for _ in ()).throw(Killed())  # type: ignore[method-assign]
        with pytest.raises(Killed):
            target.promote()
    assert target._lease is not None
    target._lease._done.set()


@pytest.mark.parametrize(
    ("next_version", "mode"), [("3", "Standard"), ("3", "Knative"), ("5", "Standard"), ("5", "Knative")]
)
def test_what_a_killed_rollout_left_is_taken_away(
    next_version: str, mode: str, cluster: Callable[..., Cluster]
) -> None:
    """The stable version again, or another one: the candidate of the killed rollout gets no traffic more."""
    there = cluster(mode)
    there.roll_out("3")
    kill_at(there, "4", "shift")
    assert there.traffic() == {"3", "4"}
    assert there.roll_out(next_version).previous == "3"
    there.assert_serves(next_version)


@pytest.mark.parametrize("mode", MODES)
def test_a_killed_first_rollout_is_not_taken_for_served(mode: str, cluster: Callable[..., Cluster]) -> None:
    there = cluster(mode, models=good("3", factor=9.0))
    kill_at(there, "3", "start")
    with pytest.raises(RolloutError, match="Nothing is served, as before"):
        there.roll_out("3")
    assert there.services() == {}


@pytest.mark.parametrize("mode", MODES)
def test_cancelled_it_is_rolled_back(mode: str, cluster: Callable[..., Cluster]) -> None:
    there = cluster(mode)
    there.roll_out("3")
    threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGTERM)).start()
    with pytest.raises(Cancelled, match="Version 3 has all traffic again"):
        there.roll_out("4", replace(COURSE, step_s=30))
    there.assert_serves("3")


def test_two_at_once_the_second_is_refused(cluster: Callable[..., Cluster]) -> None:
    there = cluster()
    there.roll_out("3")
    with there.target().lock("rollout of version 4 by run 17"):
        time.sleep(1.5)  # longer than the Lease's duration: it is renewed
        with pytest.raises(RolloutError, match="rollout of version 4 by run 17"):
            there.roll_out("5", patience=replace(QUICK, lock=0.5))
    assert there.services() == {"churn": "3"}


def test_two_at_once_the_second_waits(cluster: Callable[..., Cluster]) -> None:
    there = cluster()
    there.roll_out("3")
    lock = there.target().lock("rollout of version 4")
    lock.__enter__()
    threading.Timer(0.5, lock.__exit__, (None, None, None)).start()
    assert there.roll_out("5").previous == "3"


def test_one_that_was_overtaken_ends(cluster: Callable[..., Cluster]) -> None:
    """A process that stood still for so long that another has taken its Lease does nothing any more."""
    there = cluster()
    there.roll_out("3")
    target = there.target()
    with target.lock("rollout of version 4"):
        target.start(there.release("4"), 5)
        other = {"holderIdentity": "rollout of version 5"}
        there.api.update("leases", "churn-rollout", lambda own: own["spec"].update(other))
        time.sleep(0.8)
        with pytest.raises(RolloutError, match="overtaken by another: rollout of version 5"):
            target.shift(10)
    assert there.lease()["spec"]["holderIdentity"] == "rollout of version 5"


@pytest.mark.parametrize(
    ("missing", "said"),
    [(ISVC, "inferenceservices.serving.kserve.io"), (HTTP_ROUTE, "httproutes.gateway.networking.k8s.io")],
)
def test_what_is_not_installed_is_said(missing: Any, said: str, cluster: Callable[..., Cluster]) -> None:
    there = cluster(kinds=[kind for kind in (ISVC, HTTP_ROUTE, LEASE) if kind is not missing])
    with pytest.raises(ClusterError, match=rf"does not know {said}.*Install {missing.installs}"):
        there.roll_out("3")


@pytest.mark.parametrize(
    ("verb", "plural"),
    [
        ("create", "inferenceservices"),
        ("update", "inferenceservices"),
        ("get", "inferenceservices"),
        ("create", "leases"),
        ("update", "httproutes"),
    ],
)
def test_a_right_that_is_missing_is_named_before_anything_is_made(
    verb: str, plural: str, cluster: Callable[..., Cluster]
) -> None:
    there = cluster()
    there.api.deny(verb, plural)
    with pytest.raises(ClusterError, match=rf"default-editor may not {verb} {plural}\."):
        there.roll_out("3")
    assert "create" not in there.api.verbs("inferenceservices")


def test_an_inference_service_of_others_is_left_alone(cluster: Callable[..., Cluster]) -> None:
    there = cluster()
    spec = {"predictor": {"model": {"args": ["--model=x", "--name=churn"]}}}
    about = {"name": "churn", "labels": {VERSION: "1"}}
    there.api.put(
        {"apiVersion": ISVC.api_version, "kind": "InferenceService", "metadata": about, "spec": spec}
    )
    with pytest.raises(ClusterError, match="serve has not made it"):
        there.roll_out("3")
    assert there.isvc()["spec"] == spec


def test_without_a_host_traffic_cannot_be_split(cluster: Callable[..., Cluster]) -> None:
    there = cluster()
    plain = {"gateway": "", "host": ""}
    there.roll_out("3", **plain)
    with pytest.raises(LifecycleError, match=r"'host' is empty.*Version 3 has all traffic again"):
        there.roll_out("4", **plain)
    # In one step it needs none: the version is tested apart, and then takes the other's place.
    outcome = there.roll_out("4", replace(COURSE, steps=(100,)), splits=False, **plain)
    assert outcome.url == "http://churn-team.example.com"
    assert there.services() == {"churn": "4"}
    assert there.api.all("httproutes") == []


def test_a_host_needs_a_gateway(cluster: Callable[..., Cluster]) -> None:
    with pytest.raises(ParameterError, match="'gateway' is not"):
        cluster().target(gateway="")


def test_a_route_that_no_gateway_takes_is_rolled_back(cluster: Callable[..., Cluster]) -> None:
    there = cluster(accepts=False)
    patience = replace(QUICK, shift=0.3)
    with pytest.raises(RolloutError, match="no listener for it"):
        there.roll_out("3", patience=patience)
    assert there.services() == {}


def test_headless_services_are_asked_at_the_pods_port(cluster: Callable[..., Cluster]) -> None:
    there = cluster("RawDeployment", headless=True)
    there.roll_out("3")
    assert there.roll_out("4").previous == "3"


def test_the_mode_is_found_where_kserve_does_not_say_it(cluster: Callable[..., Cluster]) -> None:
    """KServe before 0.13 writes no deploymentMode; its ConfigMap says the default, if one may read it."""
    there = cluster("RawDeployment", says_mode=False)
    with pytest.raises(RolloutError, match="does not say in which mode"):
        there.roll_out("3")
    there.api.namespaces["kserve"] = {}
    there.api.kinds["", "configmaps"] = ("", "v1", "ConfigMap")
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "inferenceservice-config"}}
    deploy = json.dumps({"defaultDeploymentMode": "RawDeployment"})
    there.api.put({**config, "data": {"deploy": deploy}}, "kserve")
    there.roll_out("3")
    there.assert_serves("3")


@pytest.mark.parametrize("mode", ["Standard", "Serverless"])
def test_other_settings_of_the_same_version_are_applied_in_place(
    mode: str, cluster: Callable[..., Cluster]
) -> None:
    there = cluster(mode)
    there.roll_out("3")
    there.roll_out("3", predictor=Predictor(max_replicas=9, settings={}))
    assert there.isvc()["spec"]["predictor"]["maxReplicas"] == 9
    there.assert_serves("3")


def test_lost_answers_make_nothing_twice(cluster: Callable[..., Cluster]) -> None:
    there = cluster()
    there.roll_out("3")
    for plural in ("inferenceservices", "httproutes", "leases"):
        for verb in ("create", "update"):
            there.api.fail(503, verb=verb, plural=plural, after=True, retry_after=0.01)
    there.roll_out("4")
    there.assert_serves("4")


def test_what_others_change_meanwhile_is_kept(cluster: Callable[..., Cluster]) -> None:
    there = cluster("Knative")
    there.roll_out("3")
    there.api.update("inferenceservices", "churn", lambda own: own["metadata"].update(finalizers=["kserve"]))
    there.roll_out("4")
    assert there.isvc()["metadata"]["finalizers"] == ["kserve"]


@pytest.mark.parametrize("mode", MODES)
def test_from_outside_the_cluster_pods_are_asked_through_the_api_server(
    mode: str, cluster: Callable[..., Cluster]
) -> None:
    there = cluster(mode, models=good("5", factor=9.0), outside=True)
    there.roll_out("3")
    outcome = there.roll_out("4")
    assert all(step.candidate.requests >= 10 for step in outcome.steps)
    assert there.services() == {"churn": "4"}
    assert {"get", "create"} == set(there.api.verbs("pods/proxy"))
    with pytest.raises(RolloutError, match=r"gave prediction = 9\.0"):
        there.roll_out("5")
    there.api.deny("create", "pods/proxy")
    with pytest.raises(RolloutError, match=r"cannot create resource .*pods/proxy"):
        there.roll_out("6")


def test_the_objects_are_what_is_there(cluster: Callable[..., Cluster]) -> None:
    there = cluster()
    target = there.target()
    roll_out(target, there.release("3"), EXAMPLE, COURSE, there.alias, "test")
    service, route = target.objects()
    assert there.isvc()["spec"] == service["spec"]
    found = there.api.get("httproutes", "churn-traffic")
    assert found is not None
    assert found["spec"] == route["spec"]
