"""The optional components for feature stores, as an overlay that picks them would build them."""

from pathlib import Path

import pytest
import yaml

from tests.manifests.built import MANIFESTS, Object, _build, builders
from tests.manifests.pod_security import violations


def built(folder: Path, base: str, *components: str) -> list[Object]:
    """What an overlay of one base with these components and the images builds to."""
    up = "../" * len(folder.parts[1:]) + str(MANIFESTS)[1:]
    overlay = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [f"{up}/base/{base}"],
        "components": [f"{up}/components/{name}" for name in (*components, "images")],
    }
    if base == "platform":
        overlay["configMapGenerator"] = [{"name": "mlflow", "literals": ["artifacts=s3://a/b", "region=x"]}]
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
    return list(yaml.safe_load_all(_build([*builders()[0], str(folder)])))


def find(objects: list[Object], kind: str, name: str) -> Object:
    return next(one for one in objects if (one["kind"], one["metadata"]["name"]) == (kind, name))


def test_redis_for_the_online_store(tmp_path: Path) -> None:
    objects = built(tmp_path, "platform", "feature-store-redis")
    pod = find(objects, "Deployment", "redis")["spec"]["template"]
    assert violations(pod) == []
    assert pod["spec"]["containers"][0]["image"] == "redis:8.2"
    service = find(objects, "Service", "redis")["spec"]
    assert service["selector"].items() <= pod["metadata"]["labels"].items()
    assert service["ports"][0]["port"] == 6379


@pytest.mark.parametrize("component", ["feature-store-spark", "feature-store-bigquery"])
def test_what_distributed_stores_need_of_the_account_of_runs(component: str, tmp_path: Path) -> None:
    objects = built(tmp_path, "runs", component)
    account = find(objects, "ServiceAccount", "kfp-lifecycle-training")
    if component.endswith("bigquery"):
        assert "iam.gke.io/gcp-service-account" in account["metadata"]["annotations"]
        return
    binding = find(objects, "RoleBinding", "kfp-lifecycle-spark-driver")
    assert binding["subjects"][0]["name"] == account["metadata"]["name"]
    rules = find(objects, "Role", "kfp-lifecycle-spark-driver")["rules"]
    assert {"create", "watch", "deletecollection"} <= set(rules[0]["verbs"])
