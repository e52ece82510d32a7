"""Sending a message every way that is asked for; what fails is said and stops nothing."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from kfp_lifecycle.components.notify.channels import SECURITY, Smtp, send_email, send_json, send_slack
from kfp_lifecycle.components.notify.message import Message
from kfp_lifecycle.components.notify.secret import secret
from kfp_lifecycle.components.shared.errors import LifecycleError, NotifyError
from kfp_lifecycle.components.shared.parameters import one_of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Channels:
    """Where messages go; secrets are references, as the components' faces say."""

    slack: str = ""
    webhook: str = ""
    webhook_token: str = ""
    email_to: list[str] = field(default_factory=list)
    email_from: str = ""
    smtp: str = ""
    smtp_security: str = "starttls"
    smtp_user: str = ""
    smtp_password: str = ""


def send(message: Message, channels: Channels) -> list[str]:
    """Sends a message every way that the channels name.

    Returns:
        What went wrong, a sentence each; empty where nothing did, or nobody is to be told.
    """
    ways: dict[str, Callable[[], None]] = {}
    if channels.slack.strip():
        ways["Slack"] = lambda: send_slack(secret(channels.slack, "slack"), message)
    if channels.webhook.strip():
        ways["webhook"] = lambda: _webhook(channels, message)
    if channels.email_to:
        ways["email"] = lambda: _email(channels, message)
    problems = [said for way, go in ways.items() if (said := _tried(way, go))]
    if not ways:
        log.info("nobody is to be told: neither slack, webhook nor email_to is given\n%s", message.text)
    return problems


def _tried(way: str, go: Callable[[], None]) -> str:
    try:
        go()
    except LifecycleError as error:
        log.warning("not told by %s: %s", way, error)
        return str(error)
    log.info("told by %s", way)
    return ""


def _webhook(channels: Channels, message: Message) -> None:
    url, token = secret(channels.webhook, "webhook"), secret(channels.webhook_token, "webhook_token")
    send_json(url, message, token)


def _email(channels: Channels, message: Message) -> None:
    if not channels.smtp.strip():
        raise NotifyError("Parameter 'email_to' is given, but no mail server.", "Name one in 'smtp'.")
    server = Smtp(
        channels.smtp.strip(),
        one_of(channels.smtp_security, SECURITY, "smtp_security"),
        channels.smtp_user,
        secret(channels.smtp_password, "smtp_password"),
    )
    own = channels.smtp_user if "@" in channels.smtp_user else channels.email_to[0]
    sender = channels.email_from or own
    send_email(server, sender, channels.email_to, message)
