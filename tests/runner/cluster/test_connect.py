"""Connections: what each thing that can be wrong is called, what is tried again, and what is never shown."""

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from kfp_lifecycle.runner.cluster import transport
from kfp_lifecycle.runner.cluster.answers import Answer, wait_seconds
from kfp_lifecycle.runner.cluster.connect import Server, connect
from kfp_lifecycle.runner.cluster.errors import (
    ContextError,
    ForbiddenError,
    NotFoundError,
    OldServerError,
    RefusedError,
    ServerError,
    TlsError,
    UnauthorizedError,
    UnreachableError,
)
from kfp_lifecycle.runner.cluster.retry import Patience
from tests.kfp_server import KfpServer
from tests.kfp_server.certificates import make_certificates
from tests.kfp_server.provider import Provider
from tests.servers import free_port

QUICK = Patience(seconds=5.0, first_s=0.01, most_s=0.05, settle_s=0.01)


class Clock:
    """Time that passes only by waiting."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waits: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds

    def patience(self, seconds: float = 60.0) -> Patience:
        return Patience(seconds, sleep=self.sleep, clock=lambda: self.now)


def to(double: KfpServer, patience: Patience = QUICK, **options: Any) -> Server:
    return connect(host=double.url, patience=patience, **options)


def experiments(server: Server) -> Any:
    return server.call(server.client.list_experiments, namespace=server.namespace, what="list experiments")


def test_what_is_known_of_a_server(double: KfpServer) -> None:
    server = to(double)
    assert (server.host, server.namespace, server.multi_user) == (double.url, "", False)
    assert server.pipeline_store == "database"
    assert server.link("r1") == f"{double.url}/#/runs/details/r1"
    assert connect(host=double.url, namespace="team-a", patience=QUICK).namespace == ""
    server = connect(host=double.url, namespace="a b", patience=QUICK)
    assert server.client.get_user_namespace() == ""
    assert server.options == f" --host {double.url} --namespace 'a b'"
    with KfpServer(prefix="/pipeline") as behind:
        assert to(behind).host.endswith("/pipeline")


def test_connecting_asks_once_and_writes_nothing(
    double: KfpServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    to(double)
    assert [seen.path for seen in double.requests()] == ["/apis/v2beta1/healthz"]
    assert not (tmp_path / ".config").exists()
    assert capfd.readouterr() == ("", "")


# Each thing that can be wrong


def test_unreachable() -> None:
    with pytest.raises(UnreachableError, match=r"does not answer: .*Connection refused") as raised:
        connect(host=f"http://127.0.0.1:{free_port()}", patience=Patience(0.1, 0.01, 0.02))
    assert "object at 0x" not in str(raised.value)
    with pytest.raises(UnreachableError, match=r"resolve"):
        connect(host="http://no-such-host.invalid", patience=Patience(0.1, 0.01, 0.02))


def test_no_server_at_all_is_named() -> None:
    with pytest.raises(ContextError, match=r"no kube config leads to one: .* Name it: --host URL, KFP_HOST"):
        connect(patience=QUICK)


def test_no_answer_in_time(double: KfpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport.Transport.__init__, "__defaults__", (None, (1, 0.2)))
    server = to(double, Patience(0.1, 0.01, 0.02))
    double.faults.delay(0.6, times=-1)
    began = time.monotonic()
    with pytest.raises(UnreachableError, match=r"no answer in time"):
        experiments(server)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("style", ["proxy", "page"])
def test_unauthorized(shared: KfpServer, style: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KFP_TOKEN", "stolen-token")
    shared.gate.everywhere, shared.gate.login_page = style == "proxy", style == "page"
    with pytest.raises(UnauthorizedError, match=r"does not know who you are") as raised:
        to(shared, namespace="team-a")
    assert "KFP_TOKEN" in str(raised.value)
    assert "stolen-token" not in str(raised.value)
    assert len(shared.requests()) == 1


def test_unauthorized_where_the_server_answers_400_or_500(double: KfpServer) -> None:
    # As uploads do, and servers before 2.0 did for everything.
    server = to(double)
    said = (
        '{"error":"Internal error: Unauthenticated: Request header error: there is no user identity header."}'
    )
    for status in (400, 500):
        double.faults.answer(status, body=said)
        with pytest.raises(UnauthorizedError):
            experiments(server)


def test_forbidden_names_the_right(shared: KfpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KFP_TOKEN", "token-of-ann")
    server = to(shared, namespace="team-b")
    with pytest.raises(ForbiddenError) as raised:
        experiments(server)
    assert "user 'ann' may not list experiments in namespace 'team-b'" in str(raised.value)
    assert "right to list experiments.pipelines.kubeflow.org" in str(raised.value)
    assert len(shared.requests("experiments")) == 1

    newer = (
        '{"error_message": "pipeline upload denied: permission to create pipelines.pipelines.kubeflow.org in '
        'namespace \\"team-b\\" is required."}'
    )
    shared.faults.answer(400, body=newer)
    with pytest.raises(ForbiddenError, match=r"you may not create pipelines in namespace 'team-b'"):
        experiments(server)
    shared.faults.answer(403, body="RBAC: access denied")
    with pytest.raises(ForbiddenError, match=r"RBAC: access denied"):
        experiments(server)


def test_not_found_and_refused(double: KfpServer) -> None:
    server = to(double)
    with pytest.raises(NotFoundError, match=r"Cannot look at run x: .*Run x not found"):
        server.call(server.client.get_run, "x", what="look at run x")
    with pytest.raises(RefusedError, match=r"Invalid sorting field"):
        server.call(server.client.list_runs, sort_by="colour", what="list runs")


def test_another_address_is_told_from_an_older_server(double: KfpServer) -> None:
    with pytest.raises(NotFoundError, match=r"no pipelines API at .* ends with /pipeline"):
        connect(host=f"{double.url}/elsewhere", patience=QUICK)
    with KfpServer(version="1.8") as old, pytest.raises(OldServerError, match=r"serves Kubeflow Pipelines 1"):
        to(old)
    double.faults.answer(501, body='{"code":12,"message":"Method Not Allowed"}')
    with pytest.raises(OldServerError, match=r"does not offer that"):
        experiments(to_after(double))


def to_after(double: KfpServer) -> Server:
    """A connection whose health check does not take the fault."""
    held, double.faults._pending = double.faults._pending, []
    server = to(double)
    double.faults._pending = held
    return server


def test_a_web_page_is_no_answer(double: KfpServer) -> None:
    server = to(double)
    double.faults.answer(200, body="<!doctype html><title>Kubeflow</title>")
    with pytest.raises(ServerError, match=r"answers with a web page"):
        experiments(server)


def test_a_certificate_of_ones_home(tmp_path: Path, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = make_certificates(tmp_path)
    monkeypatch.setenv("HOME", str(Path(files.authority).parent))
    (tmp_path / "none.pem").write_text("no certificate")
    with KfpServer(tls=files.server) as server:
        held = {"host": server.url, "ca_cert": f"~/{Path(files.authority).name}"}
        config.write_text(yaml.safe_dump({"contexts": {"tls": held}}))
        assert experiments(connect("tls", patience=QUICK)).total_size == 1
        with pytest.raises((TlsError, ContextError), match="certificate"):
            connect(host=server.url, ca_cert=str(tmp_path / "none.pem"), patience=QUICK)


def test_tls_needs_the_authority(tmp_path: Path, config: Path) -> None:
    files = make_certificates(tmp_path)
    with KfpServer(tls=files.server) as server:
        with pytest.raises(TlsError, match=r"no trusted connection .*certificate.*--ca-cert FILE"):
            to(server)
        assert to(server, ca_cert=files.authority).host.startswith("https://")
        config.write_text(
            yaml.safe_dump({"contexts": {"tls": {"host": server.url, "ca_cert": files.authority}}})
        )
        assert experiments(connect("tls", patience=QUICK)).total_size == 1
        with pytest.raises(TlsError, match=r"an address that the certificate is for"):
            connect(
                host=server.url.replace("127.0.0.1", "localhost"), ca_cert=files.authority, patience=QUICK
            )
        plain = server.url.replace("https", "http")
        with pytest.raises(UnreachableError):
            connect(host=plain, patience=Patience(0.2, 0.01, 0.02))
    with KfpServer() as server, pytest.raises(TlsError, match=r"plain HTTP there: write http://"):
        connect(host=server.url.replace("http", "https"), patience=QUICK)
    with pytest.raises(ContextError, match=r"no file /none\.pem"):
        connect(host="https://x", ca_cert="/none.pem")


@pytest.mark.parametrize(
    ("said", "fix"),
    [
        ("certificate verify failed: certificate has expired", "renewed"),
        ("certificate verify failed: self-signed certificate in certificate chain", "--ca-cert FILE"),
    ],
)
def test_tls_says_what_helps(said: str, fix: str) -> None:
    assert fix in str(Answer(0, said, tls=True, sent=False).error("connect", "https://x"))


def test_many_users_need_a_namespace(shared: KfpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KFP_TOKEN", "token-of-ann")
    with pytest.raises(ContextError, match=r"serves many users.*--namespace"):
        to(shared)
    server = to(shared, namespace="team-a")
    assert (server.namespace, server.client.get_user_namespace()) == ("team-a", "team-a")


# What is tried again


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_what_passes_is_tried_again(double: KfpServer, status: int) -> None:
    told: list[str] = []
    server = to(double, notify=lambda what, why: told.append(why))
    double.faults.answer(status, "experiments", times=3)
    assert experiments(server).total_size == 1
    assert len(double.requests("experiments")) == 4
    assert len(told) == 3
    assert all("Cannot list experiments" in why for why in told)


def test_dropped_connections_are_made_again(double: KfpServer) -> None:
    server = to(double)
    double.faults.drop_before(times=2)
    double.faults.drop_after()
    assert experiments(server).total_size == 1


def test_waits_grow_with_jitter_and_come_to_an_end(double: KfpServer) -> None:
    clock = Clock()
    server = to(double, clock.patience(100))
    double.faults.answer(503, times=-1)
    with pytest.raises(UnreachableError, match=r"is not well"):
        experiments(server)
    longest = [min(10.0, 0.5 * 2**n) for n in range(len(clock.waits))]
    assert all(most / 2 <= wait <= most for wait, most in zip(clock.waits, longest, strict=True))
    assert len({round(wait / most, 3) for wait, most in zip(clock.waits, longest, strict=True)}) > 3
    assert 90 <= sum(clock.waits) <= 100


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_kept(double: KfpServer, status: int) -> None:
    clock = Clock()
    server = to(double, clock.patience(60))
    double.faults.answer(status, retry_after="7")
    double.faults.answer(
        status, retry_after=format_datetime(datetime.now(UTC) + timedelta(seconds=20), usegmt=True)
    )
    assert experiments(server).total_size == 1
    first, second = clock.waits
    assert 7 <= first <= 8
    assert 15 <= second <= 22

    double.faults.answer(status, retry_after="3600")
    with pytest.raises(UnreachableError, match=r"asks to wait 3600 s"):
        experiments(server)
    assert len(clock.waits) == 2


def test_a_server_that_asks_for_no_wait_is_not_stormed(double: KfpServer) -> None:
    clock = Clock()
    double.faults.answer(503, retry_after="0", times=-1)
    with pytest.raises(UnreachableError):
        to(double, clock.patience(100))
    assert len(clock.waits) < 25


@pytest.mark.parametrize("text", ["", "soon", "-1", "Sun, 99 Nov"])
def test_a_retry_after_that_says_nothing(text: str) -> None:
    assert wait_seconds(text) is None


def test_what_may_not_be_done_twice_is_tried_again_only_if_it_was_not_done(double: KfpServer) -> None:
    server = to(double)

    def create(name: str) -> None:
        body = {"display_name": name}
        server.call(
            server.client.experiments.experiment_service_create_experiment,
            body,
            idempotent=False,
            what="make",
        )

    double.faults.answer(429, "POST")
    create("a")
    for fault in (double.faults.drop_after, double.faults.drop_before):
        fault("POST")
        before = len(double.requests("POST"))
        with pytest.raises(UnreachableError):
            create("b")
        assert len(double.requests("POST")) == before + 1
    double.stop()
    with pytest.raises(UnreachableError):
        server.call(
            server.client.experiments.experiment_service_create_experiment,
            {"display_name": "c"},
            idempotent=False,
            patience=Patience(0.1, 0.01, 0.02),
        )


@pytest.mark.parametrize(
    ("fault", "requests", "lookups"),
    [
        (lambda faults: faults.drop_before("POST"), 2, 1),
        (lambda faults: faults.drop_after("POST"), 1, 1),
        (lambda faults: faults.drop_before("POST", 3), 4, 3),
        (lambda faults: faults.answer(503, "POST"), 2, 1),
        (lambda faults: faults.answer(429, "POST"), 2, 0),
        (lambda faults: faults.answer(500, "POST"), 2, 1),
    ],
)
def test_a_creation_looks_before_it_tries_again(
    double: KfpServer, fault: Callable[[Any], None], requests: int, lookups: int
) -> None:
    server = to(double)
    looked: list[Any] = []

    def look_up() -> Any:
        with double.state.lock:
            found = [e for e in double.state.experiments.values() if e["display_name"] == "new"]
        looked.append(found)
        return found[0] if found else None

    fault(double.faults)
    made = server.create(
        look_up,
        lambda: server.client.experiments.experiment_service_create_experiment({"display_name": "new"}),
        what="make it",
    )
    assert made is not None
    assert len(double.requests("POST")) == requests
    assert len(looked) == lookups
    assert sum(e["display_name"] == "new" for e in double.state.experiments.values()) == 1


def test_a_request_still_under_way_is_given_time(double: KfpServer) -> None:
    clock = Clock()
    server = to(double, clock.patience())
    double.faults.drop_before("POST")
    double.faults.answer(429, "POST")
    server.create(
        lambda: None,
        lambda: server.client.experiments.experiment_service_create_experiment({"display_name": "x"}),
    )
    assert len(clock.waits) == 2
    assert max(clock.waits) >= 2.0  # after the drop
    assert min(clock.waits) <= 1.0  # after the 429, which did nothing


# Credentials


def test_a_token_that_ends_is_asked_for_again(shared: KfpServer, tmp_path: Path, config: Path) -> None:
    program = tmp_path / "token.sh"
    program.write_text("#!/bin/sh\ncat " + str(tmp_path / "token"))
    program.chmod(0o755)
    (tmp_path / "token").write_text("first-token")
    shared.gate.admit("ann", token="first-token")
    held = {"host": shared.url, "namespace": "team-a", "token_command": str(program)}
    config.write_text(yaml.safe_dump({"contexts": {"team": held}}))
    server = connect("team", patience=QUICK)
    experiments(server)

    shared.gate.expire("first-token")
    (tmp_path / "token").write_text("second-token")
    shared.gate.admit("ann", token="second-token")
    experiments(server)
    assert [seen.status for seen in shared.requests("experiments")] == [200, 401, 200]

    shared.gate.expire("second-token")
    with pytest.raises(UnauthorizedError):
        experiments(server)
    assert [seen.status for seen in shared.requests("experiments")][3:] == [401]


def test_cookies(shared: KfpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    shared.gate.admit("ann", cookie="authservice_session=c00kie")
    monkeypatch.setenv("KFP_COOKIES", "theme=dark; authservice_session=c00kie")
    server = to(shared, namespace="team-a")
    experiments(server)
    assert server.hide("it was c00kie, or theme=dark; authservice_session=c00kie") == "it was ***, or ***"


def test_client_credentials_of_a_provider(
    shared: KfpServer, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shared.gate.rights is not None
    shared.gate.rights[("ci", "team-a")] = {"list"}
    monkeypatch.setenv("CI_SECRET", "s3cr3t-of-ci")
    with Provider(shared.gate, "s3cr3t-of-ci") as provider:
        held = {
            "host": shared.url, "namespace": "team-a", "oidc_url": provider.url, "oidc_client_id": "ci",
            "oidc_secret_env": "CI_SECRET", "oidc_audience": "kubeflow",
        }  # fmt: skip
        config.write_text(yaml.safe_dump({"contexts": {"ci": held}}))
        server = connect("ci", patience=QUICK)
        experiments(server)
        experiments(server)
        assert provider.given == ["token-number-1"]
        assert provider.asked[0]["audience"] == ["kubeflow"]
        assert provider.asked[0]["scope"] == ["openid"]
        shared.gate.expire("token-number-1")
        experiments(server)
        assert provider.given == ["token-number-1", "token-number-2"]

        held["oidc_url"] = f"{provider.url}/token"
        monkeypatch.setenv("CI_SECRET", "wrong-secret")
        config.write_text(yaml.safe_dump({"contexts": {"ci": held}}))
        with pytest.raises(UnauthorizedError, match=r"gives no token: 401 invalid_client") as raised:
            connect("ci", patience=QUICK)
        assert "wrong-secret" not in str(raised.value)
    with pytest.raises(UnauthorizedError, match=r"does not answer"):
        connect("ci", patience=QUICK)


def test_a_short_lived_token_is_renewed_before_its_end(shared: KfpServer) -> None:
    from kfp_lifecycle.runner.cluster.auth import ClientCredentials

    clock = Clock()
    with Provider(shared.gate, "s", lifetime_s=100) as provider:
        held = ClientCredentials(f"{provider.url}/token", "ci", lambda: "s", clock=lambda: clock.now)
        held.headers()
        clock.now = 69
        held.headers()
        assert len(provider.given) == 1
        clock.now = 71
        held.headers()
        assert len(provider.given) == 2


@contextlib.contextmanager
def everything_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """All that any library would log."""
    with caplog.at_level(logging.DEBUG):
        for name in ("urllib3", "kfp_server_api", "kfp", "root", "websocket"):
            caplog.set_level(logging.DEBUG, logger=name)
        yield


@pytest.mark.parametrize("fault", ["none", "401", "500", "echo", "dropped", "page", "gone"])
def test_no_credential_is_ever_shown(
    shared: KfpServer,
    fault: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    secrets = ("t0ken-of-ann", "c00kie-of-ann")
    shared.gate.admit("ann", token=secrets[0])
    monkeypatch.setenv("KFP_TOKEN", secrets[0])
    told: list[str] = []
    with everything_logged(caplog):
        server = to(shared, Patience(0.2, 0.01, 0.02), namespace="team-a", notify=lambda *t: told.extend(t))
        if fault == "401":
            shared.gate.expire(secrets[0])
        elif fault == "500":
            shared.faults.answer(500, times=-1, body="boom")
        elif fault == "echo":
            # Some proxies repeat what they were sent.
            shared.faults.answer(400, body=f"bad request: authorization: Bearer {secrets[0]}")
        elif fault == "dropped":
            shared.faults.drop_before(times=-1)
        elif fault == "page":
            shared.faults.answer(200, body=f"<html>{secrets[0]}")
        elif fault == "gone":
            shared.stop()
        try:
            experiments(server)
            shown = ""
        except ServerError as error:
            shown = f"{error} {error!r}"
    assert bool(shown) is (fault != "none")
    printed = capfd.readouterr()
    everything = "\n".join([shown, *told, printed.out, printed.err, repr(server._credentials)])
    # The library's debug log of bodies is kfp's own, and off; ours never say more than this.
    everything += "\n".join(r.getMessage() for r in caplog.records if r.levelno > logging.DEBUG)
    for secret in secrets:
        assert secret not in everything
