"""KServe's runtime, the example beside it, and the model server without KServe, held to the server's code."""

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from kfp_lifecycle.components.serve.rollout.kserve_objects import (
    CONTAINER,
    DIGEST,
    RUNTIME,
    Predictor,
    inference_service,
)
from kfp_lifecycle.components.serve.rollout.target import Release
from kfp_lifecycle.components.serve.server.options import parse
from tests.manifests.built import MANIFESTS, Object, the
from tests.manifests.custom_resources import check
from tests.manifests.pod_security import violations
from tests.manifests.test_network import End, reaches
from tests.manifests.test_objects import VERSIONS

MODULE = "kfp_lifecycle.components.serve"
EXAMPLE = MANIFESTS / "serving/example.yaml"


def runtime() -> Object:
    return the("serving", "ClusterServingRuntime", RUNTIME)


def example() -> Object:
    return dict(yaml.safe_load(EXAMPLE.read_text()))


def pod_of(made: Object) -> Object:
    """The pod that KServe makes of an InferenceService and its runtime: arguments one after another."""
    spec, predictor = runtime()["spec"], dict(made["spec"]["predictor"])
    (container,) = spec["containers"]
    model = predictor.pop("model")
    own = {k: v for k, v in model.items() if k not in ("modelFormat", "runtime", "args", "storageUri")}
    args = [*container["args"], *model["args"]]
    of_kserve = ("minReplicas", "maxReplicas", "timeout", "scaleMetric", "scaleTarget", "logger")
    labels = {**spec["labels"], **made["metadata"]["labels"], "component": "predictor"}
    pod = {key: value for key, value in predictor.items() if key not in of_kserve}
    pod |= {"containers": [{**container, **own, "args": args}], "volumes": spec["volumes"]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "churn", "labels": labels}, "spec": pod}


@pytest.mark.parametrize("version", [VERSIONS[0], VERSIONS[-1]])
def test_the_pods_of_an_inference_service_are_pods_and_restricted(version: str) -> None:
    release = Release("churn", "3", "models:/churn/3", Path())
    settings = {"tolerations": [{"key": "gpu", "operator": "Exists"}], "node_selector": {"pool": "serving"}}
    for made in (
        example(),
        inference_service("churn", "team", release, Predictor(settings={}), hidden=False),
        inference_service("churn", "team", release, Predictor(gpus=1, settings=settings), hidden=True),
    ):
        pod = pod_of(made)
        kubernetes_validate.validate(pod, version, strict=True)
        assert violations(pod) == []
        (container,) = pod["spec"]["containers"]
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert pod["spec"]["automountServiceAccountToken"] is False


def test_the_typed_models_know_the_runtime_and_the_example() -> None:
    check(runtime())
    check(example())
    spoiled = example()
    spoiled["spec"]["predictor"]["model"]["argz"] = []
    with pytest.raises(AssertionError, match="drops a field"):
        check(spoiled)


def test_networks_have_a_runtime_of_their_own() -> None:
    torch, plain = the("serving", "ClusterServingRuntime", f"{RUNTIME}-torch"), runtime()
    (own,), (other,) = torch["spec"]["containers"], plain["spec"]["containers"]
    assert "/python-torch:" in own["image"]
    # KServe chooses one by the format only where there is one.
    formats = [r["spec"]["supportedModelFormats"][0]["autoSelect"] for r in (torch, plain)]
    assert formats == [False, True]
    alike = {key: value for key, value in other.items() if key not in ("image", "resources")}
    assert {key: own[key] for key in alike} == alike
    check(torch)


def test_the_example_is_what_serve_applies() -> None:
    release = Release("churn", "3", "models:/churn/3", Path())
    predictor = Predictor(cpu="500m", memory="2Gi", settings={})
    made = inference_service("churn", "kubeflow", release, predictor, hidden=False)
    del made["metadata"]["annotations"][DIGEST], made["metadata"]["namespace"]
    assert made == example()


def test_the_runtime_starts_the_server() -> None:
    (container,) = runtime()["spec"]["containers"]
    assert container["name"] == CONTAINER
    assert container["command"][-2:] == ["-m", MODULE]
    options = parse(pod_of(example())["spec"]["containers"][0]["args"])
    assert (options.model, options.port, options.name) == ("models:/churn/3", 8080, "churn")
    assert container["ports"][0]["containerPort"] == options.port
    _check_probes(container)
    # Kubernetes kills neither a server that still waits for its registry, nor one that still answers.
    assert container["livenessProbe"]["initialDelaySeconds"] > options.start_timeout_s
    # Kubernetes' default, because Knative refuses the field.
    assert "terminationGracePeriodSeconds" not in example()["spec"]["predictor"]
    assert options.drain_delay_s + options.drain_s < 30


@pytest.mark.parametrize("overlay", ["dev", "production"])
def test_the_deployment_starts_the_server(overlay: str) -> None:
    pod = the(f"overlays/{overlay}", "Deployment", "model-server")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["args"][:3] == ["python3", "-m", MODULE]
    model = the(f"overlays/{overlay}", "ConfigMap", "model-server")["data"]["model"]
    options = parse([word.replace("$(MODEL_URI)", model) for word in container["args"][3:]])
    assert options.model == "models:/churn@champion"
    # It follows the alias.
    assert options.watch == 60
    assert container["ports"][0] == {"name": "http", "containerPort": options.port}
    _check_probes(container)
    startup = container["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] > options.start_timeout_s
    assert pod["terminationGracePeriodSeconds"] > options.drain_delay_s + options.drain_s


def _check_probes(container: dict[str, Any]) -> None:
    paths = {name: container[name]["httpGet"]["path"] for name in container if name.endswith("Probe")}
    assert paths.pop("livenessProbe") == "/v2/health/live"
    assert set(paths.values()) == {"/v2/health/ready"}


@pytest.mark.parametrize("overlay", ["local-kind", "dev", "production"])
def test_who_reaches_a_predictor(overlay: str) -> None:
    policy = the(f"overlays/{overlay}", "NetworkPolicy", "predictors")
    where = policy["metadata"]["namespace"]
    predictor = End(where, pod_of(example())["metadata"]["labels"])
    gateway = End("istio-system", {}, {"kfp-lifecycle/model-client": "true"})
    assert reaches([policy], gateway, predictor, 8080)
    assert reaches([policy], gateway, predictor, 8012)  # Knative's proxy
    assert reaches([policy], End(where), predictor, 8080)  # the step that rolls it out
    assert reaches([policy], End("monitoring"), predictor, 8080)
    assert not reaches([policy], End("monitoring"), predictor, 8012)
    assert not reaches([policy], End("elsewhere"), predictor, 8080)
