"""The objects that a rollout on KServe applies, field by field."""

from pathlib import Path
from typing import Any

import pytest

from kfp_lifecycle.components.serve.rollout.kserve_objects import (
    DIGEST,
    Predictor,
    http_route,
    inference_service,
    is_same,
    service_name,
)
from kfp_lifecycle.components.serve.rollout.target import Release
from kfp_lifecycle.components.serve.server.options import parse
from kfp_lifecycle.components.shared.errors import ParameterError

PROFILE: dict[str, Any] = {
    "node_selector": {"pool": "serving"},
    "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule", "seconds": 30}],
    "resources": {"requests": {"cpu": "250m", "memory": "1Gi"}, "limits": {"cpu": 1, "memory": "2Gi"}},
    "secrets": [{"name": "logs", "env": {"salt": "KFP_LIFECYCLE_LOG_SALT"}, "optional": False}],
    "env": {"TZ": "UTC"},
    "labels": {"team": "churn"},
    "annotations": {"example.com/owner": "churn"},
    "pull_policy": "Always",
    "pull_secrets": ["registry-login"],
}


def release(uri: str = "models:/churn/4") -> Release:
    return Release("churn", "4", uri, Path("/nowhere"))


def built(predictor: Predictor | None = None, uri: str = "models:/churn/4", *, hidden: bool = False) -> Any:
    return inference_service(
        "churn", "team", release(uri), predictor or Predictor(settings={}), hidden=hidden
    )


def secret(variable: str, name: str, key: str, *, optional: bool = True) -> dict[str, Any]:
    reference = {"name": name, "key": key, "optional": optional}
    return {"name": variable, "valueFrom": {"secretKeyRef": reference}}


MLFLOW = [
    secret("MLFLOW_TRACKING_PASSWORD", "mlflow", "password"),
    secret("MLFLOW_TRACKING_URI", "mlflow", "uri"),
    secret("MLFLOW_TRACKING_USERNAME", "mlflow", "username"),
]


def test_the_whole_of_a_plain_one() -> None:
    body = built()
    assert len(body["metadata"]["annotations"].pop(DIGEST)) == 64
    assert body == {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {
            "name": "churn",
            "namespace": "team",
            "labels": {"app.kubernetes.io/part-of": "kfp-lifecycle", "kfp-lifecycle/version": "4"},
            "annotations": {
                "serving.kserve.io/enable-tag-routing": "true",
                "kfp-lifecycle/model-uri": "models:/churn/4",
            },
        },
        "spec": {
            "predictor": {
                "minReplicas": 1,
                "maxReplicas": 3,
                "timeout": 60,
                "automountServiceAccountToken": False,
                "model": {
                    "name": "kserve-container",
                    "modelFormat": {"name": "kfp-lifecycle"},
                    "runtime": "kfp-lifecycle",
                    "args": ["--model=models:/churn/4", "--name=churn", "--timeout-s=60"],
                    "env": MLFLOW,
                },
            }
        },
    }


def test_everything_that_can_be_said_is_there() -> None:
    body = built(
        Predictor(
            cpu="500m",
            memory="4Gi",
            gpus=1,
            min_replicas=2,
            max_replicas=8,
            scale_metric="concurrency",
            scale_target=20,
            service_account="churn-server",
            timeout_s=15,
            arguments=("--log=s3://logs/churn",),
            payload_logger="http://message-dumper.team",
            mode="Knative",
            settings=PROFILE,
        )
    )
    about, spec = body["metadata"], body["spec"]["predictor"]
    assert about["labels"].items() >= {"team": "churn", "kfp-lifecycle/version": "4"}.items()
    assert about["annotations"]["serving.kserve.io/deploymentMode"] == "Knative"
    assert about["annotations"]["example.com/owner"] == "churn"
    model = spec.pop("model")
    assert spec == {
        "minReplicas": 2,
        "maxReplicas": 8,
        "scaleMetric": "concurrency",
        "scaleTarget": 20,
        "timeout": 15,
        "automountServiceAccountToken": False,
        "serviceAccountName": "churn-server",
        "nodeSelector": {"pool": "serving"},
        "tolerations": [
            {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule", "tolerationSeconds": 30}
        ],
        "imagePullSecrets": [{"name": "registry-login"}],
        "logger": {"mode": "all", "url": "http://message-dumper.team"},
    }
    assert model["resources"] == {
        "requests": {"cpu": "500m", "memory": "4Gi", "nvidia.com/gpu": "1"},
        "limits": {"memory": "4Gi", "nvidia.com/gpu": "1"},
    }
    assert model["imagePullPolicy"] == "Always"
    assert model["env"] == [
        secret("KFP_LIFECYCLE_LOG_SALT", "logs", "salt", optional=False)
        | {"valueFrom": {"secretKeyRef": {"name": "logs", "key": "salt"}}},
        *MLFLOW,
        {"name": "TZ", "value": "UTC"},
    ]


def test_the_arguments_are_the_servers() -> None:
    args = built(Predictor(timeout_s=15, arguments=("--batch-rows=64",), settings={}))["spec"]["predictor"]
    options = parse(args["model"]["args"])
    assert (options.model, options.name, options.timeout_s) == ("models:/churn/4", "churn", 15)
    assert options.batch_rows == 64


def test_resources_are_the_profiles_where_nothing_else_is_said() -> None:
    found = built(Predictor(settings={**PROFILE, "accelerator": {"type": "amd.com/gpu", "count": 2}}))
    assert found["spec"]["predictor"]["model"]["resources"] == {
        "requests": {"cpu": "250m", "memory": "1Gi"},
        "limits": {"cpu": "1", "memory": "2Gi", "amd.com/gpu": "2"},
    }


def test_memory_that_is_promised_is_never_above_the_runtimes_limit() -> None:
    found = built(Predictor(settings={"resources": {"requests": {"memory": "8Gi"}}}))
    assert found["spec"]["predictor"]["model"]["resources"]["limits"] == {"memory": "8Gi"}


@pytest.mark.parametrize("uri", ["gs://models/churn/4", "s3://models/churn/4"])
def test_a_bucket_is_fetched_by_kserve(uri: str) -> None:
    model = built(uri=uri)["spec"]["predictor"]["model"]
    assert model["storageUri"] == uri
    assert model["args"][0] == "--model=/mnt/models"


def test_a_registered_model_is_not() -> None:
    assert "storageUri" not in built()["spec"]["predictor"]["model"]


def test_kubeflows_own_store_comes_with_its_credentials() -> None:
    env = built(uri="minio://mlpipeline/model")["spec"]["predictor"]["model"]["env"]
    assert secret("AWS_ACCESS_KEY_ID", "mlpipeline-minio-artifact", "accesskey") in env
    assert "AWS_ENDPOINT_URL_S3" in {own["name"] for own in env}
    assert "AWS_ACCESS_KEY_ID" not in {own["name"] for own in built()["spec"]["predictor"]["model"]["env"]}


def test_the_registry_is_the_one_that_the_step_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow.ml-platform:5000")
    env = built()["spec"]["predictor"]["model"]["env"]
    assert {"name": "MLFLOW_TRACKING_URI", "value": "http://mlflow.ml-platform:5000"} in env


def test_credentials_of_the_registry_are_never_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:hunter2@mlflow:5000")
    assert "hunter2" not in str(built())
    assert MLFLOW[1] in built()["spec"]["predictor"]["model"]["env"]


@pytest.mark.parametrize("uri", ["/data/model", "file:///data/model", "runs:/1/model"])
def test_a_model_that_no_pod_reaches_is_refused(uri: str) -> None:
    with pytest.raises(ParameterError, match="no other pod reaches it"):
        built(uri=uri)


def test_a_registry_that_no_pod_reaches_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    with pytest.raises(ParameterError, match=r"sqlite:///mlflow\.db"):
        built()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"min_replicas": 4}, "min_replicas"),
        ({"min_replicas": -1}, "min_replicas"),
        ({"min_replicas": 0, "max_replicas": 0}, "max_replicas"),
        ({"mode": "Serverless"}, "kserve_mode"),
    ],
)
def test_settings_that_cannot_be_are_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ParameterError, match=said):
        Predictor(settings={}, **given)


def test_a_version_is_known_again_and_another_is_not() -> None:
    assert is_same(built(), built())
    assert is_same(built(hidden=True), built())
    assert not is_same(built(), built(uri="models:/churn/5"))
    assert not is_same(built(), built(Predictor(max_replicas=9, settings={})))


def test_settings_come_from_what_the_compiler_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KFP_LIFECYCLE_PREDICTOR_PODS", '{"node_selector": {"pool": "gpu"}}')
    assert built(Predictor())["spec"]["predictor"]["nodeSelector"] == {"pool": "gpu"}


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("churn", "churn"),
        ("Churn_Model.v2", "churn-model-v2"),
        ("2024-churn", "model-2024-churn"),
        ("Ä", "model"),
        ("x" * 60, f"{'x' * 31}-"),
    ],
)
def test_names_are_names_of_kubernetes(model: str, name: str) -> None:
    found = service_name(model)
    assert found.startswith(name)
    assert len(f"{found}-canary-predictor") <= 63


def test_a_route() -> None:
    body = http_route(
        "churn-traffic", "team", "kserve/gate", "churn.example.com", {"churn": 90, "churn-canary": 10}
    )
    assert body["spec"] == {
        "parentRefs": [
            {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "gate", "namespace": "kserve"}
        ],
        "hostnames": ["churn.example.com"],
        "rules": [
            {
                "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
                "backendRefs": [
                    {"group": "", "kind": "Service", "name": "churn-predictor", "port": 80, "weight": 90},
                    {
                        "group": "",
                        "kind": "Service",
                        "name": "churn-canary-predictor",
                        "port": 80,
                        "weight": 10,
                    },
                ],
            }
        ],
    }
