"""Messages, sent to real servers."""

import json
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kfp_lifecycle.components.monitor.history import Row
from kfp_lifecycle.components.monitor.message import summary_text
from kfp_lifecycle.components.notify import channels
from kfp_lifecycle.components.notify.step import notify_step
from kfp_lifecycle.components.notify_failure.step import notify_failure_step
from kfp_lifecycle.components.shared.errors import ParameterError
from tests.components.monitor.test_history import row
from tests.kfp_server.certificates import Certificates, make_certificates
from tests.receivers import Webhook, mail_server, webhook
from tests.servers import free_port

pytestmark = pytest.mark.server
HUSH = "hush-hush"
#: A drifted window with everything that a message names.
DRIFTED = replace(
    row(alarm=True),
    retrain=True,
    drifted=["month", "dep_time", "<carrier>", "origin", "dest", "distance", "hour"],
    accuracy_reference=0.86,
)


def tell(found: Row = DRIFTED, **asked: Any) -> str:
    """The step, with nothing said but what is asked."""
    given: dict[str, Any] = {
        "summary": summary_text(found, "gs://bucket/run/report.html"),
        "retraining": "",
        "retraining_link": "",
        "started": False,
        "events": ["retraining", "broken"],
        "ui_host": "http://kubeflow.example/",
        "run_id": "run-7",
    }
    return notify_step(**given | asked)


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Webhook]:
    with webhook() as found:
        monkeypatch.setenv("HOOK", found.url)
        yield found


@pytest.fixture(autouse=True)
def _in_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels.time, "sleep", lambda seconds: None)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


NAMED = ["flights late/1, version 3", "2013-06-30 12:00 to 2013-07-01 12:00 UTC", "month, dep_time"]
LINKED = [
    "https://storage.cloud.google.com/bucket/run/report.html",
    "http://kubeflow.example/#/runs/details/run-7",
    "http://kubeflow.example/#/runs/details/run-8",
]


def test_slack_is_told_model_version_window_columns_and_links(hook: Webhook) -> None:
    assert tell(slack="env:HOOK", retraining="run-8", retraining_link=LINKED[2], started=True) == ""
    (told,) = hook.told
    blocks = json.dumps(told["blocks"])
    # What understands no blocks shows the text.
    for shown in (told["text"], blocks):
        assert all(part in shown for part in (*NAMED, *LINKED, "0.800 (at registration 0.860)"))
        assert "&lt;carrier&gt;" in shown
        assert "hour" not in shown
        assert "and 2 more" in shown
    assert told["text"].startswith("flights late/1 version 3 has drifted and is being retrained")
    assert all(len(block["text"]["text"]) <= 3000 for block in told["blocks"] if "text" in block)


def test_any_webhook_is_told_in_json(hook: Webhook, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(f"{HUSH}\n")
    assert tell(webhook="env:HOOK", webhook_token=f"file:{token}", retraining="run-8") == ""
    (told,), (headers,) = hook.told, hook.headers
    assert headers["Authorization"] == f"Bearer {HUSH}"
    assert (told["event"], told["model"], told["version"]) == ("retraining", "flights late/1", "3")
    assert told["window"] == {"start": "2013-06-30T12:00:00+00:00", "end": "2013-07-01T12:00:00+00:00"}
    assert told["drifted"] == DRIFTED.drifted
    assert told["links"]["Report"] == LINKED[0]
    assert told["retraining"] == {"run_id": "run-8", "link": "", "started": False}
    assert "under way already" in told["title"]


@pytest.mark.parametrize("security", ["none", "starttls", "tls"])
def test_email_is_sent(security: str, certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
    secure = security != "none"
    monkeypatch.setenv("SSL_CERT_FILE", certificates.authority)
    monkeypatch.setenv("MAIL_PASSWORD", HUSH)
    with mail_server(
        Path(certificates.server) if secure else None, security=security, user="me@team" if secure else ""
    ) as box:
        log_in = {"smtp_user": "me@team", "smtp_password": "env:MAIL_PASSWORD"} if secure else {}
        to = ["a@team", "b@team"]
        assert tell(email_to=to, smtp=box.host, smtp_security=security, **log_in) == ""
    (mail,) = box.mails
    assert mail["Subject"] == "flights late/1 version 3 has drifted and is being retrained"
    assert (mail["From"], mail["To"]) == ("me@team" if secure else "a@team", "a@team, b@team")
    text = mail.get_content()
    assert all(part in text for part in (*NAMED, LINKED[0], "<carrier>", "- month: psi 0.9 > 0.1"))


def test_each_way_is_tried_whatever_became_of_the_others(hook: Webhook) -> None:
    with mail_server() as box:
        said = tell(
            slack="env:HOOK",
            webhook="env:NOT_THERE",
            email_to=["nobody@team", "a@team"],
            smtp=box.host,
            smtp_security="none",
        )
    assert len(hook.told) == len(box.mails) == 1
    assert box.recipients == [["a@team"]]
    not_there, not_taken = said.splitlines()
    assert "NOT_THERE" in not_there
    assert "nobody@team" in not_taken


@pytest.mark.parametrize(
    ("answers", "calls", "said"),
    [([503, 429], 3, ""), ([500] * 9, 3, "answered 500"), ([404], 1, "answered 404: invalid_payload")],
)
def test_a_webhook_that_refuses_is_said(
    hook: Webhook, answers: list[int], calls: int, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    hook.answers = answers
    found = tell(slack="env:HOOK")
    assert len(hook.told) == calls
    assert said in found
    assert bool(found) == bool(said)
    assert HUSH not in found + caplog.text


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"slack": f"https://hooks.example/{HUSH}"}, "'slack' does not say where the secret is"),
        ({"webhook": f"file:/no/{'such'}/file"}, "no text in the file /no/such/file"),
        ({"slack": "env:DOWN"}, "cannot be reached"),
        ({"slack": "env:NO_URL"}, "no URL that can be called"),
        ({"email_to": ["a@team"]}, "no mail server"),
        ({"email_to": ["a@team"], "smtp": "127.0.0.1:9"}, "127.0.0.1:9 failed"),
        ({"email_to": ["a@team"], "smtp": "no such host"}, "no such host failed"),
        ({"email_to": ["a@team"], "smtp": "h", "smtp_security": "ssl"}, "starttls, tls, none"),
        (
            {"email_to": ["a@team"], "smtp": "h", "smtp_security": "none", "smtp_password": "env:NO_URL"},
            "in the clear",
        ),
    ],
)
def test_what_cannot_be_sent_fails_no_run_and_shows_no_secret(
    asked: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("DOWN", f"http://127.0.0.1:{free_port()}/{HUSH}")
    monkeypatch.setenv("NO_URL", HUSH)
    found = tell(**asked)
    assert said in found
    assert found in caplog.text
    assert HUSH not in found + caplog.text


def test_a_server_that_never_answers_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("HOOK", f"http://127.0.0.1:{silent.getsockname()[1]}/{HUSH}")
        assert "has not answered in 0.2 s" in tell(slack="env:HOOK")
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        assert "timed out" in tell(email_to=["a@team"], smtp=address)


def test_a_wrong_password_and_a_certificate_of_nobody_are_said(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAIL_PASSWORD", "guess-work")
    asked = {"email_to": ["a@team"], "smtp_user": "me@team", "smtp_password": "env:MAIL_PASSWORD"}
    with mail_server(Path(certificates.server), security="starttls", user="me@team") as box:
        assert "CERTIFICATE_VERIFY_FAILED" in tell(smtp=box.host, **asked)
        monkeypatch.setenv("SSL_CERT_FILE", certificates.authority)
        said = tell(smtp=box.host, **asked)
    assert "535" in said
    assert "guess" not in said
    assert not box.mails


@pytest.mark.parametrize(
    ("found", "events", "title"),
    [
        (replace(DRIFTED, retrain=False), ["retraining"], ""),
        (replace(DRIFTED, retrain=False), ["drift"], "has drifted; it is not retrained yet"),
        (
            replace(DRIFTED, retrain=False, verdict="broken"),
            ["retraining", "broken"],
            "is broken",
        ),
        (replace(DRIFTED, retrain=False, verdict="steady"), ["steady"], "is steady"),
        (
            replace(DRIFTED, retrain=False, verdict="unjudged", drift_share=None),
            ["unjudged"],
            "too little",
        ),
    ],
)
def test_only_what_is_asked_for_is_told(hook: Webhook, found: Row, events: list[str], title: str) -> None:
    assert tell(found, events=events, slack="env:HOOK") == ""
    assert len(hook.told) == bool(title)
    assert all(title in told["text"] for told in hook.told)


def test_an_unknown_event_and_a_summary_of_nobody_are_refused() -> None:
    with pytest.raises(ParameterError, match="retraining, drift, broken"):
        tell(events=["retrain"])
    with pytest.raises(ParameterError, match="'summary'"):
        tell(summary="")


@pytest.mark.parametrize("state", ["FAILED", "SUCCEEDED", "CANCELLED"])
def test_only_a_failed_run_is_told_of(hook: Webhook, state: str) -> None:
    status = SimpleNamespace(
        state=state,
        pipeline_task_name="exit-handler-1",
        error_message="SourceError: s3://x/y?token=hush-hush cannot be read",
    )
    said = notify_failure_step(
        status=status,
        pipeline_name="monitoring",
        model_name="flights-late",
        ui_host="http://kubeflow.example",
        run_id="run-7",
        slack="env:HOOK",
    )
    assert said == ""
    assert len(hook.told) == (state == "FAILED")
    for told in hook.told:
        assert told["text"].startswith("monitoring of flights-late has failed")
        assert "SourceError" in told["text"]
        assert LINKED[1] in told["text"]
        assert HUSH not in json.dumps(told)
