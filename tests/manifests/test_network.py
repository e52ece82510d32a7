"""Who reaches whom, by the NetworkPolicies: what is needed, and nothing else."""

import ipaddress
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.manifests.built import OVERLAYS, Object, objects, pod_templates

PLATFORM = "ml-platform"


@dataclass
class End:
    """One end of a connection: a pod with labels in a namespace, or an address outside."""

    namespace: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    namespace_labels: dict[str, str] = field(default_factory=dict)
    address: str = ""

    def __post_init__(self) -> None:
        if self.namespace:
            self.namespace_labels = {
                "kubernetes.io/metadata.name": self.namespace,
                **self.namespace_labels,
            }


def reaches(policies: list[Object], source: End, target: End, port: int) -> bool:
    """Whether Kubernetes lets a connection through: out of the source, and into the target."""
    return _allows(policies, "Egress", source, target, port) and _allows(
        policies, "Ingress", target, source, port
    )


def _allows(policies: list[Object], direction: str, pod: End, other: End, port: int) -> bool:
    if not pod.namespace:
        return True  # outside, no policy holds
    about = [
        p["spec"]
        for p in policies
        if p["metadata"]["namespace"] == pod.namespace
        and direction in p["spec"]["policyTypes"]
        and _matches(p["spec"]["podSelector"], pod.labels)
    ]
    if not about:
        return True
    word, peers = ("ingress", "from") if direction == "Ingress" else ("egress", "to")
    return any(
        (not rule.get(peers) or any(_peer(p, pod, other) for p in rule[peers]))
        and (not rule.get("ports") or any(p["port"] == port for p in rule["ports"]))
        for spec in about
        for rule in spec.get(word, [])
    )


def _peer(peer: Object, pod: End, other: End) -> bool:
    if block := peer.get("ipBlock"):
        if not other.address:
            return False
        address = ipaddress.ip_address(other.address)
        inside = address in ipaddress.ip_network(block["cidr"])
        return inside and not any(address in ipaddress.ip_network(e) for e in block.get("except", []))
    if not other.namespace:
        return False
    if "namespaceSelector" in peer:
        if not _matches(peer["namespaceSelector"], other.namespace_labels):
            return False
    elif other.namespace != pod.namespace:
        return False
    return _matches(peer.get("podSelector", {}), other.labels)


def _matches(selector: Object, labels: dict[str, str]) -> bool:
    exact: dict[str, Any] = selector.get("matchLabels", {})
    one_of = all(labels.get(e["key"]) in e["values"] for e in selector.get("matchExpressions", []))
    return exact.items() <= labels.items() and one_of


def _ends(overlay: str) -> tuple[list[Object], dict[str, End]]:
    found = objects(f"overlays/{overlay}")
    runs = "ml-team" if overlay == "production" else "kubeflow"
    ends = {
        o["metadata"]["name"]: End(o["metadata"]["namespace"], pod["metadata"]["labels"])
        for o in found
        for pod in pod_templates(o)
    }
    ends |= {
        "step": End(runs),
        "dns": End("kube-system"),
        "prometheus": End("monitoring"),
        "stranger": End("elsewhere"),
        "neighbour": End(PLATFORM, {"app": "unknown"}),
        "client": End("shop", {}, {"kfp-lifecycle/model-client": "true"}),
        "object-store": End("kubeflow", {"app": "minio"}),
        "kubeflow-database": End("kubeflow", {"app": "mysql"}),
        "bucket": End(address="142.250.0.1"),
        "managed-database": End(address="10.20.0.5"),
        "node-metadata": End(address="169.254.169.254"),
        "node-dns": End(address="169.254.20.10"),
    }
    return [o for o in found if o["kind"] == "NetworkPolicy"], ends


NEEDED = {
    "local-kind": [
        ("mlflow", "mlflow-database", 5432),
        ("mlflow", "object-store", 9000),
        ("step", "mlflow", 5000),
        ("mlflow", "dns", 53),
    ],
    "dev": [
        ("mlflow", "mlflow-database", 5432),
        ("mlflow", "bucket", 443),
        ("step", "mlflow", 5000),
        ("model-server", "mlflow", 5000),
        ("model-server", "bucket", 443),
        ("model-server", "dns", 53),
        ("step", "pushgateway", 9091),
        ("prometheus", "pushgateway", 9091),
        ("client", "model-server", 8080),
        ("prometheus", "model-server", 8080),
    ],
    "production": [
        ("mlflow", "managed-database", 5432),
        ("mlflow", "bucket", 443),
        ("mlflow", "node-metadata", 80),
        ("step", "mlflow", 5000),
        ("step", "pushgateway", 9091),
        ("prometheus", "pushgateway", 9091),
        ("model-server", "mlflow", 5000),
        ("client", "model-server", 8080),
        ("prometheus", "model-server", 8080),
    ],
}


@pytest.mark.parametrize(("overlay", "source", "target", "port"),
                         [(o, *way) for o, ways in NEEDED.items() for way in ways])  # fmt: skip
def test_what_is_needed_is_open(overlay: str, source: str, target: str, port: int) -> None:
    policies, ends = _ends(overlay)
    assert reaches(policies, ends[source], ends[target], port)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_everything_else_is_shut(overlay: str) -> None:
    """Every pair of ends, on every port that anything listens on: one side is a pod of the platform."""
    policies, ends = _ends(overlay)
    open_ways = {
        (source, target, port)
        for source, here in ends.items()
        for target, there in ends.items()
        for port in (53, 80, 443, 5000, 5432, 8080, 9000)
        if source != target
        and PLATFORM in (here.namespace, there.namespace)
        and reaches(policies, here, there, port)
    }
    allowed = set(NEEDED[overlay])
    runs = ends["step"].namespace
    allowed |= {(source, "mlflow", 5000) for source, end in ends.items() if end.namespace == runs}
    # Names are looked up by all, and buckets are on addresses that nobody knows beforehand.
    allowed |= {(source, dns, 53) for source in ends for dns in ("dns", "node-dns")}
    allowed |= {(source, "bucket", 443) for source in ("mlflow", "model-server")}
    allowed |= {(source, "managed-database", 443) for source in ("mlflow", "model-server")}
    if overlay == "production":
        allowed.add(("model-server", "node-metadata", 80))
    assert open_ways <= allowed, sorted(open_ways - allowed)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_new_pod_reaches_nothing(overlay: str) -> None:
    policies, ends = _ends(overlay)
    for other in ends.values():
        assert not reaches(policies, ends["neighbour"], other, 443)
        assert not reaches(policies, other, ends["neighbour"], 443)


def test_the_gpu_job_reaches_mlflow_and_buckets() -> None:
    (template,) = pod_templates(
        next(o for o in objects("jobs/train-gpu") if o["kind"] == "Job")
    )  # fmt: skip
    policies, ends = _ends("production")
    job = End(PLATFORM, template["metadata"]["labels"])
    assert reaches(policies, job, ends["mlflow"], 5000)
    assert reaches(policies, job, ends["bucket"], 443)
    assert not reaches(policies, job, ends["managed-database"], 5432)


def test_the_object_store_opens_to_mlflow_alone() -> None:
    """Kubeflow Pipelines' own policy shuts its namespace to all others."""
    policies, ends = _ends("local-kind")
    policies.append(
        {
            "metadata": {"namespace": "kubeflow"},
            "spec": {
                "podSelector": {},
                "policyTypes": ["Ingress"],
                "ingress": [{"from": [{"podSelector": {}}]}],
            },
        }
    )
    assert reaches(policies, ends["mlflow"], ends["object-store"], 9000)
    assert not reaches(policies, ends["mlflow"], ends["kubeflow-database"], 9000)
    assert not reaches(policies, ends["stranger"], ends["object-store"], 9000)
