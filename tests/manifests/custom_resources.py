"""Checks of objects whose kinds Kubernetes does not bring: a misspelt field is dropped without a word.

A TrainingRuntime goes through the typed model that Kubeflow Trainer publishes, KServe's objects through those
of KServe, and each must come back as it went in. The Prometheus Operator and the External Secrets Operator
publish no models for Python: for these a closed JSON schema lists the fields that our objects use, written
after their API references (monitoring.coreos.com/v1, external-secrets.io/v1). A field beyond it fails the
test until it has been looked up and added here. The rules inside a PrometheusRule are checked by promtool.
"""

from typing import Any

import jsonschema
import kserve.models
import kubernetes.client
from kubeflow_trainer_api import models

Schema = dict[str, Any]

GROUPS = {"trainer.kubeflow.org", "serving.kserve.io", "monitoring.coreos.com", "external-secrets.io"}
TEXT: Schema = {"type": "string", "minLength": 1}
DURATION: Schema = {"type": "string", "pattern": r"^([0-9]+(ms|[smhdwy]))+$"}


def closed(required: str = "", **fields: Schema) -> Schema:
    """An object with these fields and no others."""
    return {
        "type": "object",
        "properties": fields,
        "required": required.split(),
        "additionalProperties": False,
    }


def several(items: Schema) -> Schema:
    return {"type": "array", "items": items, "minItems": 1}


LABELS: Schema = {"type": "object", "additionalProperties": TEXT, "minProperties": 1}
SELECTOR = closed("matchLabels", matchLabels=LABELS)
NAMESPACES = closed(any={"type": "boolean"}, matchNames=several(TEXT))
SCRAPE = {"path": TEXT, "interval": DURATION, "honorLabels": {"type": "boolean"}}
PORT: Schema = {"type": "integer", "minimum": 1, "maximum": 65535}
REMOTE = closed("key", key=TEXT, property=TEXT, version=TEXT)

SPECS: dict[tuple[str, str], Schema] = {
    ("monitoring.coreos.com/v1", "ServiceMonitor"): closed(
        "selector endpoints",
        selector=SELECTOR,
        namespaceSelector=NAMESPACES,
        endpoints=several(closed("port", port=TEXT, **SCRAPE)),
    ),
    ("monitoring.coreos.com/v1", "PodMonitor"): closed(
        "selector podMetricsEndpoints",
        selector=SELECTOR,
        namespaceSelector=NAMESPACES,
        podMetricsEndpoints=several(closed("portNumber", portNumber=PORT, **SCRAPE)),
    ),
    ("monitoring.coreos.com/v1", "PrometheusRule"): closed(
        "groups", groups=several({"type": "object", "required": ["name", "rules"]})
    ),
    ("external-secrets.io/v1", "ExternalSecret"): closed(
        "refreshInterval secretStoreRef target data",
        refreshInterval=DURATION,
        secretStoreRef=closed(
            "kind name", kind={"enum": ["SecretStore", "ClusterSecretStore"]}, name=TEXT
        ),
        target=closed("name", name=TEXT, template=closed("data", data=LABELS)),
        data=several(closed("secretKey remoteRef", secretKey=TEXT, remoteRef=REMOTE)),
    ),
}  # fmt: skip

TYPED = {("trainer.kubeflow.org/v1alpha1", "TrainingRuntime"): models.TrainerV1alpha1TrainingRuntime}


def is_custom(found: dict[str, Any]) -> bool:
    """Whether an object is of a kind that Kubernetes does not bring."""
    return found["apiVersion"].partition("/")[0] in GROUPS


def check(found: dict[str, Any]) -> None:
    """Raises where an object is not one of its kind."""
    kind = (found["apiVersion"], found["kind"])
    if found["apiVersion"].startswith("serving.kserve.io/"):
        assert _through_kserve(found) == found, "the typed model drops a field"
        return
    if model := TYPED.get(kind):
        back = model.from_dict(found)
        assert back is not None
        assert back.to_dict() == found, "the typed model drops a field"
        return
    assert set(found) == {"apiVersion", "kind", "metadata", "spec"}
    jsonschema.Draft202012Validator(SPECS[kind]).validate(found["spec"])


def _through_kserve(found: dict[str, Any]) -> Any:
    """An object as KServe's typed models give it back. They know Kubernetes' own parts by other names."""
    version, name = found["apiVersion"].partition("/")[2], found["kind"]

    def read(value: Any, kind: str) -> Any:
        if kind.startswith("list["):
            return [read(own, kind[5:-1]) for own in value]
        if kind.startswith("dict("):
            inner = kind[5:-1].partition(", ")[2]
            return {key: read(own, inner) for key, own in value.items()}
        model = getattr(kserve.models, kind, None) or getattr(kubernetes.client, kind, None)
        if not hasattr(model, "attribute_map"):
            return value
        names = model.attribute_map
        known = {own: key for own, key in names.items() if key in value}
        made = {own: read(value[key], model.openapi_types[own]) for own, key in known.items()}
        return model(**made)

    typed = read(found, f"{version.capitalize()}{name}")
    return kubernetes.client.ApiClient().sanitize_for_serialization(typed)
