"""What the ``notify-failure`` component's body calls."""

import logging
from typing import Any, Protocol

from kfp_lifecycle.components.notify.message import failure_message, run_link
from kfp_lifecycle.components.notify.sending import Channels, send
from kfp_lifecycle.components.shared.step import step

log = logging.getLogger(__name__)


class Status(Protocol):
    """What is read of KFP's ``PipelineTaskFinalStatus``."""

    state: str
    pipeline_task_name: str
    error_message: str | None


@step(outputs=())
def notify_failure_step(
    *, status: Status, pipeline_name: str, model_name: str, ui_host: str, run_id: str, **channels: Any
) -> str:
    """Tells of a failed run; of one that was cancelled or has succeeded it does not."""
    if status.state != "FAILED":
        log.info("nobody is told: the run is %s", status.state)
        return ""
    task = status.pipeline_task_name or ""
    error = status.error_message or ""
    # Of an exit handler the task is the handler's own group, which says nothing.
    named = "" if task.startswith("exit-handler") else task
    message = failure_message(model_name, pipeline_name, error, run_link(ui_host, run_id), named)
    return "\n".join(send(message, Channels(**channels)))
