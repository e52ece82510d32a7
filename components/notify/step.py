"""What the ``notify`` component's body calls."""

import logging
from typing import Any

from kfp_lifecycle.components.monitor.message import read_summary
from kfp_lifecycle.components.notify.message import Retrained, run_link, window_message
from kfp_lifecycle.components.notify.sending import Channels, send
from kfp_lifecycle.components.shared.parameters import one_of
from kfp_lifecycle.components.shared.step import step

log = logging.getLogger(__name__)

EVENTS = ("retraining", "drift", "broken", "unjudged", "steady")


@step(outputs=())
def notify_step(
    *,
    summary: str,
    retraining: str,
    retraining_link: str,
    started: bool,
    events: list[str],
    ui_host: str,
    run_id: str,
    **channels: Any,
) -> str:
    """Tells what was found, where it is one of ``events``; see the component's face for the rest."""
    wanted = [one_of(event, EVENTS, "events") for event in events]
    retrained = Retrained(retraining, retraining_link, started)
    message = window_message(read_summary(summary), retrained, run_link(ui_host, run_id))
    if message.event not in wanted:
        log.info("nobody is told of the event %r, which is none of %s", message.event, ", ".join(wanted))
        return ""
    return "\n".join(send(message, Channels(**channels)))
