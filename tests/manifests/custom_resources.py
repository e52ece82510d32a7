"""Checks of objects whose kinds Kubernetes does not bring: a misspelt field is dropped without a word.

A TrainingRuntime goes through the typed model that Kubeflow Trainer publishes, and must come back as it
went in. The Prometheus Operator and the External Secrets Operator publish no models for Python: for these a
closed JSON schema lists the fields that our objects use, written after their API references
(monitoring.coreos.com/v1, external-secrets.io/v1). A field beyond it fails the test until it has been looked
up and added here. The rules inside a PrometheusRule are checked by promtool itself.
"""

from typing import Any

import jsonschema
from kubeflow_trainer_api import models

Schema = dict[str, Any]

GROUPS = {"trainer.kubeflow.org", "monitoring.coreos.com", "external-secrets.io"}
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
    if model := TYPED.get(kind):
        back = model.from_dict(found)
        assert back is not None
        assert back.to_dict() == found, "the typed model drops a field"
        return
    assert set(found) == {"apiVersion", "kind", "metadata", "spec"}
    jsonschema.Draft202012Validator(SPECS[kind]).validate(found["spec"])
