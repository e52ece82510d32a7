"""The objects of a rollout on KServe: InferenceService, HTTPRoute, and the parts they share.

KServe's storage initializer knows no MLflow URI, so the model is an argument of our own runtime, which gets
it from the registry itself. A model that lies in a bucket by a plain URI is brought by KServe, with the
service account's rights. What KServe's typed models do not have as a field cannot be built here.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kserve.models import (
    V1beta1InferenceService,
    V1beta1InferenceServiceSpec,
    V1beta1LoggerSpec,
    V1beta1ModelFormat,
    V1beta1ModelSpec,
    V1beta1PredictorSpec,
)
from kubernetes.client import (
    ApiClient,
    V1EnvVar,
    V1EnvVarSource,
    V1LocalObjectReference,
    V1ObjectMeta,
    V1ResourceRequirements,
    V1SecretKeySelector,
    V1Toleration,
)

from kfp_lifecycle.components.serve.rollout.target import Release
from kfp_lifecycle.components.shared.cluster import Kind
from kfp_lifecycle.components.shared.errors import ParameterError, redact
from kfp_lifecycle.components.shared.pod_settings import (
    PREDICTOR_PODS,
    from_secret,
    resources,
    said,
    secret_variables,
    tolerations,
)
from kfp_lifecycle.components.shared.storage import MINIO

Object = dict[str, Any]

ISVC = Kind("InferenceService", "serving.kserve.io", "v1beta1", "inferenceservices", "KServe")
HTTP_ROUTE = Kind("HTTPRoute", "gateway.networking.k8s.io", "v1", "httproutes", "the Gateway API")

#: The runtime in manifests/, and the name of the models' format that it serves.
RUNTIME = "kfp-lifecycle"
PART_OF = {"app.kubernetes.io/part-of": "kfp-lifecycle"}
VERSION, DIGEST, MODEL_URI = "kfp-lifecycle/version", "kfp-lifecycle/digest", "kfp-lifecycle/model-uri"
#: Knative then gives each version an address of its own.
TAGS = "serving.kserve.io/enable-tag-routing"
MODE = "serving.kserve.io/deploymentMode"
VISIBILITY = {"networking.kserve.io/visibility": "cluster-local"}
#: KServe's label of a predictor's pods, and the name of the container that serves.
OF_SERVICE, CONTAINER = "serving.kserve.io/inferenceservice", "kserve-container"
#: Where KServe's storage initializer puts a model.
MOUNTED = "/mnt/models"
#: What KServe fetches itself.
_FETCHED = ("gs://", "s3://", "https://", "pvc://")
_LONGEST = 40
_GPU = "nvidia.com/gpu"


@dataclass(frozen=True)
class Predictor:
    """The pods that serve, the same for every version.

    Args:
        cpu: Cores that a pod is promised, such as ``500m``; empty is what the profile says.
        memory: Memory that a pod gets, such as ``2Gi``; empty likewise.
        gpus: GPUs of a pod; 0 is what the profile says.
        min_replicas: Fewest pods; 0 lets Knative take all down while nobody asks.
        max_replicas: Most pods.
        scale_metric: What KServe scales by: ``concurrency`` or ``rps`` with Knative, ``cpu`` or ``memory``
            without; empty is KServe's own choice.
        scale_target: The value that it holds; 0 is KServe's own.
        service_account: The pods' account, for a bucket's credentials; empty is the namespace's default.
        timeout_s: Seconds that a request may take.
        arguments: More arguments of the server, such as ``--log=s3://logs/churn``.
        payload_logger: URL that KServe's own logger sends requests and answers to; empty is none.
        runtime: Name of the ServingRuntime or ClusterServingRuntime.
        mode: ``Standard`` or ``Knative``; empty is the cluster's default.
        settings: What the profile says of them; see :mod:`kfp_lifecycle.components.shared.pod_settings`.
    """

    cpu: str = ""
    memory: str = ""
    gpus: int = 0
    min_replicas: int = 1
    max_replicas: int = 3
    scale_metric: str = ""
    scale_target: int = 0
    service_account: str = ""
    timeout_s: int = 60
    arguments: tuple[str, ...] = ()
    payload_logger: str = ""
    runtime: str = RUNTIME
    mode: str = ""
    settings: Mapping[str, Any] = field(
        default_factory=lambda: json.loads(os.environ.get(PREDICTOR_PODS) or "{}")
    )

    def __post_init__(self) -> None:
        if not 0 <= self.min_replicas <= self.max_replicas or self.max_replicas < 1:
            raise ParameterError(
                f"Parameter 'min_replicas' is {self.min_replicas}, 'max_replicas' {self.max_replicas}.",
                "Give 0 or more, and at least as many as most.",
            )
        if self.mode not in ("", "Standard", "Knative"):
            raise ParameterError(
                f"Parameter 'kserve_mode' is {self.mode!r}.", "Give Standard, Knative or nothing."
            )


def service_name(model: str) -> str:
    """The InferenceService's name for a model: lower-case letters, digits and hyphens, at most 40."""
    plain = re.sub(r"[^a-z0-9]+", "-", model.lower()).strip("-")
    plain = plain if plain[:1].isalpha() else f"model-{plain}".rstrip("-")
    if len(plain) <= _LONGEST:
        return plain
    return f"{plain[: _LONGEST - 9].rstrip('-')}-{hashlib.sha256(model.encode()).hexdigest()[:8]}"


def canary_name(service: str) -> str:
    """The name of the second InferenceService, beside ``service`` while a version is rolled out."""
    return f"{service}-canary"


def inference_service(
    name: str, namespace: str, release: Release, predictor: Predictor, *, hidden: bool
) -> Object:
    """The InferenceService of a version, as Kubernetes takes it.

    Args:
        name: Its name.
        namespace: Its namespace.
        release: The version.
        predictor: Its pods.
        hidden: Whether KServe makes no address outside the cluster for it.

    Raises:
        ParameterError: The model is where no pod can get it.
    """
    spec = _predictor(release, predictor)
    settings = predictor.settings
    annotations = {TAGS: "true", MODEL_URI: redact(release.uri), **(settings.get("annotations") or {})}
    if predictor.mode:
        annotations[MODE] = predictor.mode
    labels = {**(settings.get("labels") or {}), **PART_OF, VERSION: release.version}
    made = V1beta1InferenceService(
        api_version=ISVC.api_version,
        kind=ISVC.name,
        metadata=V1ObjectMeta(
            name=name,
            namespace=namespace,
            labels={**labels, **VISIBILITY} if hidden else labels,
            annotations=annotations,
        ),
        spec=V1beta1InferenceServiceSpec(predictor=spec),
    )
    body: Object = ApiClient().sanitize_for_serialization(made)
    # KServe's webhook fills in defaults: by its digest, not by its spec, a step knows its own again.
    about = {key: body[key] for key in ("spec",)} | {"labels": labels, "annotations": annotations}
    body["metadata"]["annotations"][DIGEST] = digest(about)
    return body


def digest(value: Any) -> str:
    """SHA-256 of a value that JSON can hold."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def is_same(there: Mapping[str, Any], body: Mapping[str, Any]) -> bool:
    """Whether an InferenceService was made as ``body`` is."""
    return annotation(there, DIGEST) == annotation(body, DIGEST)


def annotation(found: Mapping[str, Any], name: str) -> str:
    """An annotation of an object; empty where it has none."""
    return str((found["metadata"].get("annotations") or {}).get(name, ""))


def label(found: Mapping[str, Any], name: str) -> str:
    """A label of an object; empty where it has none."""
    return str((found["metadata"].get("labels") or {}).get(name, ""))


def http_route(name: str, namespace: str, gateway: str, host: str, weights: Mapping[str, int]) -> Object:
    """The HTTPRoute that splits the traffic.

    Args:
        name: Its name.
        namespace: Its namespace, and that of the Services.
        gateway: The Gateway, as ``namespace/name``.
        host: The host name that clients ask for.
        weights: By InferenceService, its share of the traffic in percent.
    """
    where, _, gate = gateway.rpartition("/")
    parent = {
        "group": HTTP_ROUTE.group,
        "kind": "Gateway",
        "name": gate,
        **({"namespace": where} if where else {}),
    }
    rule = {"matches": [{"path": {"type": "PathPrefix", "value": "/"}}], "backendRefs": backends(weights)}
    return {
        "apiVersion": HTTP_ROUTE.api_version,
        "kind": HTTP_ROUTE.name,
        "metadata": {"name": name, "namespace": namespace, "labels": dict(PART_OF)},
        "spec": {"parentRefs": [parent], "hostnames": [host], "rules": [rule]},
    }


def backends(weights: Mapping[str, int]) -> list[Object]:
    """The route's references to predictors' Services, each with its weight."""
    return [
        {"group": "", "kind": "Service", "name": f"{service}-predictor", "port": 80, "weight": weight}
        for service, weight in weights.items()
    ]


def _predictor(release: Release, given: Predictor) -> V1beta1PredictorSpec:
    settings = given.settings
    logger = V1beta1LoggerSpec(mode="all", url=given.payload_logger) if given.payload_logger else None
    selector = settings.get("node_selector")
    return V1beta1PredictorSpec(
        min_replicas=given.min_replicas,
        max_replicas=given.max_replicas,
        scale_metric=given.scale_metric or None,
        scale_target=given.scale_target or None,
        timeout=given.timeout_s,
        service_account_name=given.service_account or None,
        # The server asks nothing of Kubernetes.
        automount_service_account_token=False,
        node_selector=dict(selector) if selector else None,
        tolerations=[_toleration(own) for own in tolerations(settings)] or None,
        image_pull_secrets=[V1LocalObjectReference(name=own) for own in settings.get("pull_secrets") or ()]
        or None,
        logger=logger,
        model=_model(release, given),
    )


def _model(release: Release, given: Predictor) -> V1beta1ModelSpec:
    fetched = release.uri.startswith(_FETCHED)
    model = MOUNTED if fetched else release.uri
    needs = _resources(given)
    return V1beta1ModelSpec(
        name=CONTAINER,
        model_format=V1beta1ModelFormat(name=RUNTIME),
        runtime=given.runtime,
        storage_uri=release.uri if fetched else None,
        args=[
            f"--model={model}",
            f"--name={release.name}",
            f"--timeout-s={given.timeout_s}",
            *given.arguments,
        ],
        env=_environment(release, given.settings, given.arguments),
        image_pull_policy=given.settings.get("pull_policy"),
        resources=V1ResourceRequirements(**needs) if needs else None,
    )


def _resources(given: Predictor) -> dict[str, Any]:
    found = resources(given.settings)
    requests, limits = dict(found.get("requests") or {}), dict(found.get("limits") or {})
    if given.cpu:
        requests["cpu"] = given.cpu
        limits.pop("cpu", None)
    if given.memory:
        requests["memory"] = limits["memory"] = given.memory
    if "memory" in requests:  # the runtime's own limit may be less
        limits.setdefault("memory", requests["memory"])
    if given.gpus:
        requests[_GPU] = limits[_GPU] = str(given.gpus)
    return said({"requests": requests, "limits": limits})


def _environment(release: Release, settings: Mapping[str, Any], arguments: Iterable[str]) -> list[V1EnvVar]:
    """The server's variables: its registry is this step's, credentials are in the namespace's Secrets."""
    secrets = [from_secret(variable, "mlflow", key, optional=True) for key, variable in _MLFLOW.items()]
    plain = {**_registry(release), **(settings.get("env") or {})}
    if any("minio://" in uri for uri in (release.uri, *arguments)):
        secrets += [
            from_secret(variable, "mlpipeline-minio-artifact", key, True) for key, variable in _MINIO.items()
        ]
        plain.setdefault("AWS_ENDPOINT_URL_S3", os.environ.get("AWS_ENDPOINT_URL_S3") or MINIO)
    told = [{"name": name, "value": value} for name, value in plain.items()]
    # The later one of a name wins.
    variables = {own["name"]: own for own in [*secrets, *secret_variables(settings), *told]}
    return [_variable(own) for _, own in sorted(variables.items())]


#: Keys of the Secrets that runs have in their namespace (docs/cluster.md): MLflow's, and Kubeflow's store's.
_MLFLOW = {
    "uri": "MLFLOW_TRACKING_URI",
    "username": "MLFLOW_TRACKING_USERNAME",
    "password": "MLFLOW_TRACKING_PASSWORD",
}
_MINIO = {"accesskey": "AWS_ACCESS_KEY_ID", "secretkey": "AWS_SECRET_ACCESS_KEY"}


def _registry(release: Release) -> dict[str, str]:
    """The tracking server that the step itself asks. One with credentials in its URI is in the Secret."""
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if release.uri.startswith("models:/") and (uri.startswith(("sqlite:", "file:", "/")) or uri == "mlruns"):
        raise ParameterError(
            f"The registry is at {redact(uri)!r}, where no other pod reaches it.",
            "Use an MLflow server, or target: local.",
        )
    if not release.uri.startswith("models:/") and not release.uri.startswith((*_FETCHED, "minio://")):
        raise ParameterError(
            f"The model is at {redact(release.uri)!r}, where no other pod reaches it.",
            "Give a registered model (models:/NAME/VERSION), or one in gs://, s3:// or minio://.",
        )
    return {"MLFLOW_TRACKING_URI": uri} if uri and redact(uri) == uri else {}


def _variable(given: Mapping[str, Any]) -> V1EnvVar:
    if "value" in given:
        return V1EnvVar(name=given["name"], value=given["value"])
    reference = V1SecretKeySelector(**given["valueFrom"]["secretKeyRef"])
    return V1EnvVar(name=given["name"], value_from=V1EnvVarSource(secret_key_ref=reference))


def _toleration(given: Mapping[str, Any]) -> V1Toleration:
    seconds = given.get("tolerationSeconds")
    plain = {key: value for key, value in given.items() if key != "tolerationSeconds"}
    return V1Toleration(**plain, toleration_seconds=seconds)
