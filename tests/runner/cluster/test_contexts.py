"""The file of contexts, and which one is used."""

import re
import shlex
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from kfp_lifecycle.runner.cluster import auth, choose
from kfp_lifecycle.runner.cluster.choose import choose as choose_context
from kfp_lifecycle.runner.cluster.contexts import Context, config_path, load
from kfp_lifecycle.runner.cluster.errors import ContextError
from kfp_lifecycle.scripts.app import app
from tests.conftest import ROOT

TEAM = {"host": "https://kubeflow.test/pipeline", "namespace": "team-a", "token_env": "TEAM_TOKEN"}


def write(config: Path, current: str = "", **contexts: Any) -> None:
    config.write_text(yaml.safe_dump({"current": current, "contexts": contexts}))


def test_what_is_saved_is_read_again(config: Path) -> None:
    found = load()
    assert (found.named, found.current) == ({}, "")
    found.named["team"] = Context(**TEAM)
    found.named["kind"] = Context(kube_context="kind-kind", patience_s=5)
    found.current = "team"
    found.save()

    again = load()
    assert (again.named, again.current) == (found.named, "team")
    assert yaml.safe_load(config.read_text())["contexts"]["kind"] == {
        "kube_context": "kind-kind", "patience_s": 5,
    }  # fmt: skip
    assert stat.S_IMODE(config.stat().st_mode) == 0o600


def test_where_the_file_is() -> None:
    assert config_path({}) == Path.home() / ".config/kfp-lifecycle/config.yaml"
    assert config_path({"XDG_CONFIG_HOME": "/x"}) == Path("/x/kfp-lifecycle/config.yaml")
    assert config_path({"XDG_CONFIG_HOME": "/x", "KFP_LIFECYCLE_CONFIG": "/y.yaml"}) == Path("/y.yaml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("contexts: [", "cannot be read"),
        ("[]", "is no file of contexts"),
        ("- 1", "is no file of contexts"),
        ("contexts: [a]", "is no file of contexts"),
        ("contextz: {}", "unknown entry 'contextz'. Did you mean 'contexts'?"),
        ("current: prod", "has no context 'prod'"),
        ("{current: prd, contexts: {prod: {}}}", "has no context 'prd'. Did you mean 'prod'?"),
        ("contexts: {a: 1}", "is no mapping"),
        ("contexts: {a: {hots: x}}", "unknown setting 'hots'. Did you mean 'host'?"),
        ("contexts: {a: {host: 1}}", "host is to be a text"),
        ("contexts: {a: {patience_s: soon}}", "patience_s is to be a number"),
        ("contexts: {a: {patience_s: true}}", "patience_s is to be a number"),
        ("contexts: {a: {patience_s: 0}}", "patience_s is to be above 0"),
        ("contexts: {a: {host: kubeflow.test}}", "host is no address. It begins with https://"),
        ("contexts: {a: {host: 'https://x:y'}}", "host is no address"),
        ("contexts: {a: {host: 'https://me:pw1234@x'}}", "host holds a credential"),
        ("contexts: {a: {token: pw1234}}", "unknown setting 'token'. Credentials are not kept here"),
        ("contexts: {a: {token_env: A, token_file: b}}", "has token_env and token_file. Keep one"),
        ("contexts: {a: {token_command: 'a \"b'}}", "token_command is no command"),
        ("contexts: {a: {oidc_url: 'https://dex'}}", "oidc_url without oidc_client_id"),
        (
            "contexts: {a: {oidc_url: 'https://dex', oidc_client_id: c}}",
            "oidc_secret_env or oidc_secret_file",
        ),
        ("contexts: {a: {ca_cert: /none.pem}}", "there is no file /none.pem"),
    ],
)
def test_a_damaged_file_is_told_where(config: Path, text: str, said: str) -> None:
    config.write_text(text)
    with pytest.raises(ContextError) as raised:
        load()
    assert said in str(raised.value)
    assert str(config) in str(raised.value)
    assert "pw1234" not in str(raised.value)


def test_options_win_over_the_environment_and_that_over_the_context(config: Path) -> None:
    write(config, "team", team=TEAM, other={"host": "http://other.test"})
    environment = {"TEAM_TOKEN": "t"}
    assert choose_context(environment=environment).context == Context(**TEAM)
    assert choose_context("other", environment=environment).host == "http://other.test"
    assert choose_context(environment={"KFP_CONTEXT": "other"}).host == "http://other.test"
    assert choose_context("team", environment={"KFP_CONTEXT": "other", **environment}).name == "team"
    named = choose_context(environment={"KFP_NAMESPACE": "b", **environment})
    assert (named.context.namespace, named.name) == ("b", "team")
    assert choose_context(namespace="c", environment={"KFP_NAMESPACE": "b"}).context.namespace == "c"
    for name in ("KFP_HOST", "KFP_ENDPOINT", "KF_PIPELINES_ENDPOINT"):
        assert choose_context(environment={name: "http://env.test/"}).host == "http://env.test"
        assert (
            choose_context(host="http://o.test", environment={name: "http://env.test"}).host
            == "http://o.test"
        )
    ui = choose_context(environment={"KF_PIPELINES_UI_ENDPOINT": "https://ui.test", **environment})
    assert ui.context.ui_host == "https://ui.test"
    with pytest.raises(ContextError, match=r"no context 'taem'. Did you mean 'team'"):
        choose_context("taem")


def test_a_context_gives_its_credentials_to_its_own_host_alone(config: Path) -> None:
    write(config, "team", team=TEAM)
    environment = {"TEAM_TOKEN": "hidden"}
    ours = choose_context(environment=environment)
    assert ours.credentials.headers() == {"Authorization": "Bearer hidden"}
    same = choose_context("team", host=TEAM["host"] + "/", environment=environment)
    assert same.credentials.headers() == {"Authorization": "Bearer hidden"}
    for other in (
        choose_context("team", host="https://evil.test", environment=environment),
        choose_context(environment={"KFP_HOST": "https://evil.test", **environment}),
        choose_context(host="https://evil.test", environment=environment),
    ):
        assert other.credentials.headers() == {}
        assert other.host == "https://evil.test"


def test_a_host_without_a_scheme_is_https() -> None:
    assert choose_context(host="kubeflow.test").host == "https://kubeflow.test"


@pytest.mark.parametrize(
    ("environment", "header"),
    [
        ({"KFP_TOKEN": "a"}, {"Authorization": "Bearer a"}),
        ({"KFP_EXISTING_TOKEN": "a"}, {"Authorization": "Bearer a"}),
        ({"KFP_COOKIES": "authservice_session=a"}, {"Cookie": "authservice_session=a"}),
        ({}, {}),
    ],
)
def test_credentials_of_the_environment(environment: dict[str, str], header: dict[str, str]) -> None:
    assert choose_context(host="http://x", environment=environment).credentials.headers() == header


def test_a_pod_speaks_to_its_own_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token, namespace = tmp_path / "token", tmp_path / "namespace"
    token.write_text("first\n")
    namespace.write_text("team-a")
    monkeypatch.setattr(choose, "NAMESPACE_PATH", namespace)
    inside = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KF_PIPELINES_SA_TOKEN_PATH": str(token)}

    found = choose_context(environment=inside)
    assert found.host == "http://ml-pipeline.kubeflow.svc.cluster.local:8888"
    assert found.context.namespace == "team-a"
    assert found.credentials.headers() == {"Authorization": "Bearer first"}
    token.write_text("second")  # as the kubelet does
    assert found.credentials.headers() == {"Authorization": "Bearer second"}

    for host, mine in (
        ("http://ml-pipeline-ui.kubeflow.svc", True),
        ("http://ml-pipeline.kubeflow.svc.cluster.local:8888", True),
        ("http://ml-pipeline:8888", True),
        ("https://kubeflow.svc.evil.test", False),
        ("https://evil.test/.svc", False),
        ("https://kubeflow.example.com/pipeline", False),
    ):
        assert bool(choose_context(host=host, environment=inside).credentials.headers()) is mine, host
    with pytest.raises(ContextError, match=r"no token at"):
        choose_context(environment={**inside, "KF_PIPELINES_SA_TOKEN_PATH": "/none"})
    monkeypatch.setattr(choose, "TOKEN_PATH", token)
    inside.pop("KF_PIPELINES_SA_TOKEN_PATH")
    assert choose_context(environment=inside).credentials.headers() == {"Authorization": "Bearer second"}


def test_sources_of_credentials_say_what_is_wrong(tmp_path: Path) -> None:
    empty, binary = tmp_path / "empty", tmp_path / "binary"
    empty.write_text(" \n")
    binary.write_bytes(b"\xff\xfe\x00")
    for source, said in (
        (auth.from_variable("NONE", {}), "The variable NONE"),
        (
            auth.from_file("/none/token"),
            "/none/token, which is to hold a credential, cannot be read: No such",
        ),
        (auth.from_file(str(empty)), "is empty"),
        (auth.from_file(str(binary)), "it is no text"),
        (auth.from_command("no-such-program --token"), "no-such-program, which is to print"),
        (auth.from_command("sh -c 'echo pw1234; echo gone >&2; exit 3'"), "ends with 3: gone"),
        (auth.from_command("true"), "it prints nothing"),
    ):
        with pytest.raises(ContextError) as raised:
            source()
        assert said in str(raised.value)
        assert "pw1234" not in str(raised.value)
    assert auth.from_command("echo a b")() == "a b"


def test_the_documented_file_and_commands_are_taken(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (ROOT / "docs/cluster.md").read_text()
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "company-ca.pem").touch()
    (held,) = re.findall(r"```yaml\n(current: .*?)```", page, re.DOTALL)
    config.write_text(held)
    assert set(load().named) == {"kind", "team"}
    config.unlink()
    commands = re.findall(r"^kfp-lifecycle (context set (?:.*\\\n)*.*)", page, re.MULTILINE)
    assert len(commands) >= 4
    for command in commands:
        config.unlink(missing_ok=True)
        done = CliRunner().invoke(app, shlex.split(command.replace("\\\n", "")))
        assert done.exit_code == 0, done.output
        assert len(load().named) == 1
