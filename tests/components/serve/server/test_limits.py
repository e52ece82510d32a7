"""Limits on what clients may do: sizes, rows, time, connections."""

import json
import socket
import time
from collections.abc import Iterator

import httpx
import pytest

from tests.components.serve.serving import Models, Server, serving

PREDICT = "/v1/models/churn:predict"

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def strict(models: Models, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    flags = ["--max-body-mb", "0.1", "--max-rows", "50", "--read-timeout-s", "0.5", "--keep-alive-s", "1"]
    with serving(models.binary, tmp_path_factory.mktemp("strict"), *flags) as server:
        yield server


def connected(server: Server) -> socket.socket:
    url = httpx.URL(server.url)
    return socket.create_connection((url.host, url.port or 80), timeout=10)


def test_a_body_of_a_hundred_megabytes_is_refused_and_its_sender_reads_why(
    churn_server: Server, models: Models
) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(100):
            yield b" " * 1_000_000

    whole = churn_server.client.post(PREDICT, content=b" " * 100_000_000)
    assert whole.status_code == 413
    assert "larger than 32 MB" in whole.json()["error"]
    assert churn_server.client.post(PREDICT, content=chunks()).status_code == 413
    assert churn_server.post(PREDICT, {"instances": models.rows[:1]}).status_code == 200


def test_a_body_beyond_the_limit_is_refused(strict: Server, models: Models) -> None:
    assert strict.client.post(PREDICT, content=b" " * 100_001).status_code == 413
    answer = strict.post(PREDICT, {"instances": models.rows[:50]})
    assert answer.status_code == 200


def test_too_many_rows_are_refused(strict: Server, models: Models) -> None:
    answer = strict.post(PREDICT, {"instances": models.rows[:51]})
    assert answer.status_code == 413
    assert answer.json()["error"] == "The request has 51 rows; this server takes 50 at once."


def test_a_client_that_stops_within_its_body_is_told(strict: Server) -> None:
    with connected(strict) as client:
        client.sendall(f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{{".encode())
        answer = client.recv(10_000)
        assert b"408" in answer
        assert b"did not come within 0.5 s" in answer
        assert client.recv(10) == b""


@pytest.mark.parametrize("sent", [b"", b"POST /v1/mod", b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: "])
def test_a_client_that_does_not_send_its_headers_is_dropped(strict: Server, sent: bytes) -> None:
    with connected(strict) as client:
        client.sendall(sent)
        assert client.recv(10) == b""


def test_a_client_that_dribbles_its_headers_is_dropped(strict: Server) -> None:
    with connected(strict) as client:
        client.sendall(b"GET / HTTP/1.1\r\n")
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            dribble(client)


def dribble(client: socket.socket) -> None:
    for number in range(200):
        client.sendall(f"X-{number}: 1\r\n".encode())
        time.sleep(0.05)


def test_an_idle_connection_is_closed(strict: Server) -> None:
    with connected(strict) as client:
        client.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = b""
        while part := client.recv(10_000):  # until the server closes it
            answer += part
        assert b'{"live":true}' in answer


def test_a_slow_client_keeps_no_other_one_waiting(strict: Server, models: Models) -> None:
    slow = [connected(strict) for _ in range(20)]
    for client in slow:
        client.sendall(f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n\r\n{{".encode())
    assert strict.post(PREDICT, {"instances": models.rows[:1]}).status_code == 200
    for client in slow:
        client.close()
    assert strict.post(PREDICT, {"instances": models.rows[:1]}).status_code == 200


def test_a_client_that_goes_within_its_body_leaves_nothing_behind(strict: Server, models: Models) -> None:
    for _ in range(10):
        with connected(strict) as client:
            client.sendall(f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n\r\n{{".encode())
    assert strict.post(PREDICT, {"instances": models.rows[:1]}).status_code == 200
    assert "Traceback" not in strict.log.read_text()


def test_a_thousand_open_connections(churn_server: Server, models: Models) -> None:
    body = json.dumps({"instances": models.rows[:1]}).encode()
    head = f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    clients = [connected(churn_server) for _ in range(1000)]
    try:
        for client in clients:
            client.sendall(head + body)
        answers = [client.recv(10_000) for client in clients]
    finally:
        for client in clients:
            client.close()
    assert sum(answer.startswith(b"HTTP/1.1 200 ") for answer in answers) == 1000


def test_requests_one_after_the_other_on_one_connection_unasked(churn_server: Server, models: Models) -> None:
    body = json.dumps({"instances": models.rows[:1]}).encode()
    one = f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    with connected(churn_server) as client:
        client.sendall(one * 5)
        got = b""
        while got.count(b"predictions") < 5:
            got += client.recv(100_000)
    assert got.count(b"HTTP/1.1 200 ") == 5


def test_a_request_that_is_no_http(churn_server: Server) -> None:
    with connected(churn_server) as client:
        client.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 400 ")
