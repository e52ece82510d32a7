"""The ways that a message goes: webhooks that understand Slack's, webhooks that take JSON, and email."""

import smtplib
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from typing import Any

import requests

from kfp_lifecycle.components.notify.message import Message
from kfp_lifecycle.components.shared.errors import NotifyError

#: Seconds that a server has for an answer.
TIMEOUT_S = 10.0
#: How often a webhook is tried that cannot be reached, or says that it will do later.
ATTEMPTS = 3
#: What Slack takes of a header and of a text, in characters.
_HEADER, _SECTION = 150, 3000
SECURITY = ("starttls", "tls", "none")


@dataclass(frozen=True)
class Smtp:
    """A mail server.

    Args:
        host: Its name, or ``name:port``; the port is else 587, 465 for ``tls`` and 25 for ``none``.
        security: ``starttls``, ``tls`` or ``none``.
        user: Who logs in; empty does not.
        password: The password.
    """

    host: str
    security: str = "starttls"
    user: str = ""
    password: str = ""

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        name, _, port = self.host.rpartition(":")
        if name and port.isdigit():
            return name.strip("[]"), int(port)
        return self.host.strip("[]"), {"starttls": 587, "tls": 465, "none": 25}[self.security]


def send_slack(url: str, message: Message) -> None:
    """To a webhook of Slack's, or of another that understands it (Mattermost, Rocket.Chat, Discord's /slack).

    Raises:
        NotifyError: It cannot be reached, or refuses. The URL is a secret, and not shown.
    """
    facts = [f"*{escape(name)}*\n{escape(fact)}" for name, fact in message.facts.items()]
    reasons = "\n".join(f"• {escape(reason)}" for reason in message.reasons)
    links = "   ".join(_slack_link(words, url) for words, url in message.links.items())
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": {"type": "plain_text", "text": message.title[:_HEADER]}}
    ]
    if facts:
        fields = [{"type": "mrkdwn", "text": fact[:2000]} for fact in facts]
        blocks.append({"type": "section", "fields": fields})
    blocks += [
        {"type": "section", "text": {"type": "mrkdwn", "text": text[:_SECTION]}}
        for text in (reasons, links)
        if text
    ]
    _post(url, {"text": escape(message.text), "blocks": blocks}, {}, "Slack")


def send_json(url: str, message: Message, token: str = "") -> None:
    """To any webhook, as one JSON object. Raises as :func:`send_slack` does.

    Args:
        url: The webhook.
        message: The message.
        token: Sent as a bearer token; empty sends none.
    """
    body = {
        "event": message.event,
        "title": message.title,
        **message.data,
        "reasons": message.reasons,
        "links": dict(message.links),
        "text": message.text,
    }
    _post(url, body, {"Authorization": f"Bearer {token}"} if token else {}, "The webhook")


def send_email(server: Smtp, sender: str, recipients: Sequence[str], message: Message) -> None:
    """By email.

    Raises:
        NotifyError: The server cannot be reached or refuses, or a password would be sent in the clear.
    """
    if server.password and server.security == "none":
        raise NotifyError("A password would be sent in the clear.", "Let smtp_security be starttls or tls.")
    mail = EmailMessage()
    mail["Subject"] = " ".join(message.title.split())
    mail["From"], mail["To"] = sender, ", ".join(recipients)
    mail["Date"], mail["Message-ID"] = formatdate(), make_msgid(domain="kfp-lifecycle.invalid")
    mail.set_content(message.text)
    with _declared(server), _connected(server) as connection:
        if server.user:
            connection.login(server.user, server.password)
        refused = connection.send_message(mail)
    if refused:
        raise NotifyError(f"The mail server does not take mail for {', '.join(refused)}.", "Check email_to.")


def escape(text: str) -> str:
    """Text that Slack's markup takes for nothing else."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _slack_link(words: str, url: str) -> str:
    safe = url.replace("|", "%7C").replace(">", "%3E").replace("<", "%3C")
    return f"<{safe}|{words}>" if "://" in url else f"{words}: {escape(url)}"


def _post(url: str, body: Mapping[str, Any], headers: Mapping[str, str], who: str) -> None:
    for attempt in range(1, ATTEMPTS + 1):
        wait = float(attempt)
        try:
            answer = requests.post(url, json=body, headers=dict(headers), timeout=TIMEOUT_S)
        except requests.ConnectionError:
            said = "cannot be reached"
        except requests.Timeout:  # it may have come through: sent again, it would be there twice
            raise NotifyError(f"{who} has not answered in {TIMEOUT_S:g} s.", "Look at it.") from None
        except (requests.RequestException, ValueError):
            raise NotifyError(f"{who} has no URL that can be called.", "Check the secret.") from None
        else:
            if answer.ok:
                return
            said = f"answered {answer.status_code}: {answer.text.strip()[:200] or answer.reason}"
            if answer.status_code not in (429, 500, 502, 503, 504):
                break
            wait = _wait(answer.headers.get("Retry-After", ""), wait)
        if attempt < ATTEMPTS:
            time.sleep(wait)
    # Not the error itself: it has the URL in it, and that is the secret.
    raise NotifyError(f"{who} {said}.", "Check the URL, and that it is reached from here.") from None


def _wait(asked: str, otherwise: float) -> float:
    return min(float(asked), TIMEOUT_S) if asked.isdigit() else otherwise


@contextmanager
def _connected(server: Smtp) -> Iterator[smtplib.SMTP]:
    host, port = server.address
    context = ssl.create_default_context()
    if server.security == "tls":
        connection: smtplib.SMTP = smtplib.SMTP_SSL(host, port, timeout=TIMEOUT_S, context=context)
    else:
        connection = smtplib.SMTP(host, port, timeout=TIMEOUT_S)
    try:
        if server.security == "starttls":
            connection.starttls(context=context)
        yield connection
        connection.quit()
    finally:
        # No farewell after a failure: a server that no longer listens would be waited for.
        connection.close()


@contextmanager
def _declared(server: Smtp) -> Iterator[None]:
    try:
        yield
    except (OSError, smtplib.SMTPException, UnicodeError) as error:
        # A refusal of the log-in repeats nothing of what was sent.
        said = " ".join(str(error).split())[:300] or type(error).__name__
        raise NotifyError(f"The mail server {server.host} failed: {said}.", "Check smtp.") from error
