"""The server's own log: one line an event, for people or as JSON, with the request that it is about."""

import logging
import sys
from datetime import UTC, datetime
from typing import Any

import orjson

from kfp_lifecycle.components.serve.server.failures import RequestError
from kfp_lifecycle.components.serve.server.inference import Answer, Call

log = logging.getLogger(__name__)


def configure(log_format: str) -> None:
    """Sends the log lines of the whole process to stderr.

    Args:
        log_format: ``text``, or ``json`` with the keys ``time``, ``level``, ``logger``, ``message``, what is
            known of the request (``request_id``, ``model``, ``version``, ``protocol``, ``rows``,
            ``seconds``), and of an error ``status``, ``kind`` and ``column``.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if log_format == "json" else _Text())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("kfp_lifecycle").setLevel(logging.INFO)


def about(call: Call, **more: Any) -> dict[str, Any]:
    """What a log line says of a call: ``log.info("…", extra=about(call))``."""
    known = {
        "request_id": call.id,
        "model": call.served.name,
        "version": call.served.version,
        "protocol": call.protocol,
        "rows": call.rows,
    }
    return {"fields": {**known, **more}}


class AccessLog:
    """Writes a line for each call that fails, and if asked for each that is answered; an observer.

    Args:
        answers: Whether calls that are answered have a line too.
    """

    def __init__(self, *, answers: bool) -> None:
        self._answers = answers

    def started(self, call: Call) -> None:
        """Writes nothing: the line comes with the end."""

    def answered(self, answer: Answer) -> None:
        """Writes a line if asked to."""
        if self._answers:
            log.info("answered", extra=about(answer.call, seconds=round(answer.seconds, 6)))

    def failed(self, call: Call, error: RequestError) -> None:
        """Writes why; at level error where the fault is the server's."""
        level = logging.INFO if error.kind == "bad_request" else logging.ERROR
        fields: dict[str, Any] = {"status": error.status, "kind": error.kind}
        if error.column:
            fields["column"] = error.column
        log.log(level, error.reason, extra=about(call, **fields))


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


class _Text(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's own name
        fields = getattr(record, "fields", {})
        # One line an event, whatever a client put into its request.
        said = " ".join([record.getMessage(), *(f"{name}={value}" for name, value in fields.items())])
        record.message = said.replace("\r", "\\r").replace("\n", "\\n")
        return super().formatMessage(record)
