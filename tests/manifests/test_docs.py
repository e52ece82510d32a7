"""docs/cluster.md says what is there, and no secret is anywhere."""

import inspect
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from kfp_lifecycle.compiler.secrets import is_literal, names_secret, secret_in
from kfp_lifecycle.components.katib_tune.katib import INJECTION
from kfp_lifecycle.components.serve.component import serve
from kfp_lifecycle.components.serve.server.options import parser
from kfp_lifecycle.scripts.app import app
from tests.kfp_server import KfpServer
from tests.manifests.built import APPLIED, MANIFESTS, ROOT, distinct, label, objects, the

DOCS = (ROOT / "docs/cluster.md").read_text()
SERVING = (ROOT / "docs/serving.md").read_text()
README = (MANIFESTS / "README.md").read_text()
COMPILED = sorted((ROOT / "compiled/pipelines").rglob("*.yaml"))
FILES = sorted(path for path in MANIFESTS.rglob("*") if path.is_file())


def mappings(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, dict):
        return [value, *(m for child in value.values() for m in mappings(child))]
    return [m for child in value for m in mappings(child)] if isinstance(value, list) else []


def test_paths_in_the_pages_are_there() -> None:
    for page, base in ((DOCS, ROOT / "docs"), (SERVING, ROOT / "docs"), (README, MANIFESTS)):
        for link in re.findall(r"\]\(([^)#]+)\)", page):
            assert (base / link).exists(), link
        for path in re.findall(r"`((?:manifests|compiled|components|overlays|base|jobs)/[\w./-]*)`", page):
            assert (ROOT / path).exists() or (MANIFESTS / path).exists(), path
        for path in re.findall(r"apply -[kf] (manifests/[\w./-]+)", page):
            assert (ROOT / path).exists(), path
            assert path.endswith(".yaml") or path.removeprefix("manifests/") in {
                *APPLIED,
                *(f"overlays/production/{half}" for half in ("platform", "runs")),
            }


def test_shell_in_the_pages_is_shell() -> None:
    for block in re.findall(r"```bash\n(.*?)```", DOCS + SERVING, re.DOTALL):
        subprocess.run(["bash", "-n"], input=block, text=True, check=True)


def test_commands_of_ours_exist() -> None:
    known = typer.main.get_command(app)
    for verb in set(re.findall(r"kfp-lifecycle ([a-z]+)", DOCS + SERVING)):
        assert verb in known.commands, verb  # type: ignore[attr-defined]


def test_what_the_page_on_serving_names_is_there() -> None:
    flags = {option for action in parser()._actions for option in action.option_strings}
    for flag in set(re.findall(r"--[a-z][a-z-]+", SERVING)) - {
        "--registry-only",
        "--detach",
        "--params",
        "--help",
    }:
        assert flag in flags, flag
    parameters = set(inspect.signature(serve.python_func).parameters)
    rows = re.findall(r"^\| (`[^|]+`) \|", SERVING, re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`([a-z_]+)`", row)}
    assert named <= parameters, named - parameters
    roles = {o["metadata"]["name"] for o in objects("base/runs") if o["kind"] == "Role"}
    assert set(re.findall(r"Role `([\w-]+)`", SERVING)) <= roles


def test_every_secret_that_objects_name_is_in_the_table() -> None:
    table = dict(re.findall(r"^\| `([\w-]+)` \| [^|]+ \| ([^|]+) \|", DOCS, re.MULTILINE))
    for found in distinct():
        for mapping in mappings(found):
            if "secretKeyRef" in mapping:
                reference = mapping["secretKeyRef"]
                keys = table[reference["name"]]
                assert f"`{reference['key']}`" in keys or "Kubeflow" in keys, reference
                # What may be missing is in brackets.
                if not reference.get("optional"):
                    assert f"[`{reference['key']}`]" not in keys, reference


@pytest.mark.parametrize("profile", ["cpu", "gpu"])
def test_every_secret_that_profiles_name_is_in_the_table(profile: str) -> None:
    told = yaml.safe_load((ROOT / f"profiles/{profile}.yaml").read_text())
    for secret in told["defaults"]["secrets"]:
        (keys,) = re.findall(rf"^\| `{secret['name']}` \| [^|]+ \| ([^|]+) \|", DOCS, re.MULTILINE)
        assert set(secret["env"]) == set(re.findall(r"`(\w+)`", keys))


def test_external_secrets_fill_what_is_read() -> None:
    (secret,) = [o for o in objects("overlays/production") if o["kind"] == "ExternalSecret"]
    template = secret["spec"]["target"]["template"]["data"]
    deployment = the("overlays/production", "Deployment", "mlflow")
    read = [m["secretKeyRef"] for m in mappings(deployment) if "secretKeyRef" in m]
    assert {r["key"] for r in read if r["name"] == secret["spec"]["target"]["name"]} == set(template)
    used = set(re.findall(r"\{\{ \.(\w+)", template["uri"]))
    assert used == {entry["secretKey"] for entry in secret["spec"]["data"]}


def secrets_in(found: Any) -> list[str]:
    """Values in an object whose form, or whose name, is a secret's."""
    named: list[tuple[str, Any]] = []
    for mapping in mappings(found):
        named += [(str(key), value) for key, value in mapping.items() if key != "secretKey"]
        named += [(str(mapping["name"]), mapping["value"])] if {"name", "value"} <= set(mapping) else []
    by_form = [f"{name} holds {what}" for name, value in named if (what := secret_in(str(value)))]
    return by_form + [name for name, value in named if names_secret(name) and is_literal(value)]


def test_no_secret_is_in_the_repository() -> None:
    assert not [o for o in distinct() if o["kind"] == "Secret"]
    assert {label(o): found for o in distinct() if (found := secrets_in(o))} == {}
    for path in [*FILES, ROOT / "docs/cluster.md"]:
        for number, line in enumerate(path.read_text().splitlines(), 1):
            assert secret_in(line) is None, f"{path}:{number}"


@pytest.mark.parametrize(
    "written",
    [
        {"uri": "postgresql+pg8000://mlflow:hunter2hunter2@db:5432/mlflow"},
        {"env": [{"name": "AWS_SECRET_ACCESS_KEY", "value": "wJalrXUtnFEMIK7MDENGbPxRfiCY"}]},
        {"data": {"password": "hunter2hunter2"}},
        {"data": {"key.pem": "-----BEGIN RSA PRIVATE KEY-----"}},
    ],
)
def test_a_secret_would_be_found(written: dict[str, Any]) -> None:
    assert secrets_in(written)


def test_accounts_and_labels_are_named_as_they_are() -> None:
    accounts = {o["metadata"]["name"] for o in objects("base/runs") if o["kind"] == "ServiceAccount"}
    table = set(re.findall(r"^\| `(kfp-lifecycle-[\w-]+)` \| `", DOCS, re.MULTILINE))
    assert table == accounts
    assert f"kubectl label namespace kubeflow {INJECTION}=enabled" in DOCS
    policy = the("overlays/dev", "NetworkPolicy", "model-server")
    (label,) = policy["spec"]["ingress"][0]["from"][0]["namespaceSelector"]["matchLabels"].items()
    assert f"kubectl label namespace NAME {label[0]}={label[1]}" in DOCS


def test_the_databases_uri_is_the_databases() -> None:
    """The name, user, port and database of the Secret that the page makes are those of the StatefulSet."""
    (uri,) = re.findall(r"^uri=(\S+)$", DOCS, re.MULTILINE)
    service = the("overlays/local-kind", "Service", "mlflow-database")
    (container,) = the("overlays/local-kind", "StatefulSet", "mlflow-database")["spec"]["template"]["spec"][
        "containers"
    ]
    env = {e["name"]: e.get("value") for e in container["env"]}
    place = f"{service['metadata']['name']}:{service['spec']['ports'][0]['port']}"
    assert uri == f"postgresql+pg8000://{env['POSTGRES_USER']}:$password@{place}/{env['POSTGRES_DB']}"


def test_jobs_reach_mlflow_by_its_services_name() -> None:
    service = the("overlays/dev", "Service", "mlflow")
    name, port = service["metadata"]["name"], service["spec"]["ports"][0]["port"]
    uris = {
        m["value"]
        for o in distinct()
        for m in mappings(o)
        if m.get("name") == "MLFLOW_TRACKING_URI" and "value" in m
    }
    assert uris == {f"http://{name}:{port}"}
    assert f"uri=http://{name}.{service['metadata']['namespace']}:{port}" in DOCS


@pytest.mark.parametrize(
    "file", sorted((ROOT / "compiled/pipelines").rglob("*.yaml")), ids=lambda p: p.parent.name
)
def test_compiled_files_are_taken_as_they_are(file: Path) -> None:
    """What the user interface does with a file: it hands it to the server, which checks it."""
    import kfp

    with KfpServer() as server:
        client = kfp.Client(host=server.url)
        made = client.upload_pipeline(str(file), pipeline_name=file.parent.name)
        client.upload_pipeline_version(
            str(file), pipeline_version_name=file.stem, pipeline_id=made.pipeline_id
        )
        spec = yaml.safe_load(file.read_text())
        assert spec["pipelineInfo"]["name"] == file.parent.name
        names = {version["display_name"] for version in server.state.versions.values()}
        # As the page says: the first is called like the pipeline.
        assert names == {file.parent.name, file.stem}
