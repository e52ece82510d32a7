"""The server's own log lines."""

import json
import logging
from datetime import datetime

import pytest

from kfp_lifecycle.components.serve.server.failures import BadRequestError, ModelError
from kfp_lifecycle.components.serve.server.inference import Call
from kfp_lifecycle.components.serve.server.logs import AccessLog, about, configure
from tests.components.serve.server.small import Small, answered, row

OURS = logging.getLogger("kfp_lifecycle")


@pytest.fixture
def lines(capsys):
    """The lines on stderr once a format is chosen."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level

    def begin(log_format):
        configure(log_format)
        return lambda: capsys.readouterr().err.split("\n")[:-1]

    yield begin
    root.handlers[:] = handlers
    root.setLevel(level)
    OURS.setLevel(logging.NOTSET)


def call(request_id="abc"):
    return Call(request_id, "v2", Small("7"))


def test_a_json_line_has_the_request_and_what_failed(lines):
    said = lines("json")
    AccessLog(answers=False).failed(call(), BadRequestError("Column 'fare' is no number.", "fare"))
    (line,) = map(json.loads, said())
    assert datetime.fromisoformat(line.pop("time")).tzinfo is not None
    assert line == {
        "level": "info",
        "logger": OURS.name + ".components.serve.server.logs",
        "message": "Column 'fare' is no number.",
        "request_id": "abc",
        "model": "small",
        "version": "7",
        "protocol": "v2",
        "rows": 0,
        "status": 400,
        "kind": "bad_request",
        "column": "fare",
    }


def test_a_fault_of_the_servers_is_at_level_error(lines):
    said = lines("json")
    AccessLog(answers=False).failed(call(), ModelError("It broke."))
    assert json.loads(said()[0])["level"] == "error"


@pytest.mark.parametrize("answers", [True, False])
def test_answers_have_a_line_if_asked_for(lines, answers):
    said = lines("json")
    AccessLog(answers=answers).answered(answered(Small("7"), row(), "abc"))
    found = [json.loads(line) for line in said()]
    assert [(line["request_id"], line["rows"], line["message"]) for line in found] == (
        [("abc", 1, "answered")] if answers else []
    )


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_an_event_is_one_line_whatever_the_client_sends(lines, log_format):
    said = lines(log_format)
    forged = 'a"\r\n2026-11-22 ERROR forged \x00'
    OURS.info("odd %s", forged, extra=about(call(forged)))
    (line,) = said()
    if log_format == "json":
        assert json.loads(line)["request_id"] == forged


def test_a_text_line_ends_with_the_request(lines):
    said = lines("text")
    OURS.info("hello", extra=about(call()))
    assert said()[0].endswith("INFO hello request_id=abc model=small version=7 protocol=v2 rows=0")


def test_lines_of_other_libraries_and_tracebacks_have_the_same_form(lines):
    said = lines("json")
    logging.getLogger("other").info("not worth a line")
    try:
        raise ValueError("no")
    except ValueError:
        logging.getLogger("other").exception("it failed")
    (line,) = map(json.loads, said())
    assert (line["logger"], line["message"], line["level"]) == ("other", "it failed", "error")
    assert "ValueError: no" in line["exception"]
