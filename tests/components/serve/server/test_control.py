"""Rollout commands: a candidate beside the stable version, in a real server under load."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from kfp_lifecycle.components.serve.server.control import _is_loopback
from kfp_lifecycle.components.serve.server.options import parse
from kfp_lifecycle.components.shared.errors import ParameterError
from tests.components.serve.server.clients import Load
from tests.components.serve.serving import Models, Server, plain_model, serving

INFER = "/v2/models/scores/infer"
BODY = {"inputs": [{"name": "x", "datatype": "FP64", "shape": [1, 4], "data": [1, 2, 3, 4]}]}

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("other") / "plain"
    plain_model(folder, seed=1)
    return folder


@pytest.fixture(scope="module")
def controlled(models: Models, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    env = {"KFP_LIFECYCLE_SERVE_TOKEN": "secret"}
    flags = ["--name", "scores", "--control"]
    with serving(models.plain, tmp_path_factory.mktemp("controlled"), *flags, env=env) as server:
        yield server


def command(server: Server, verb: str, body: Any = None, token: str = "secret") -> httpx.Response:
    path = f"/v2/repository/models/scores/{verb}"
    return server.post(path, body or {}, authorization=f"Bearer {token}")


def index(server: Server) -> list[tuple[str, float]]:
    found = server.get("/v2/repository/index", authorization="Bearer secret").json()
    return [(each["role"], each["share"]) for each in found["models"]]


def versions(server: Server, count: int) -> Counter[str]:
    return Counter(server.post(INFER, BODY).json()["model_version"] for _ in range(count))


def test_a_rollout_from_load_to_promote_loses_no_request(controlled: Server, other: Path) -> None:
    load = Load(controlled.url, INFER, BODY, until_refused=False)
    with load.clients(4):
        (first,) = versions(controlled, 5)
        assert index(controlled) == [("stable", 100)]
        loaded = command(controlled, "load", {"parameters": {"uri": str(other)}})
        assert loaded.status_code == 200, loaded.text
        second = loaded.json()["models"][1]["version"]
        assert index(controlled) == [("stable", 100), ("candidate", 0)]
        answer = controlled.post(f"/v2/models/scores/versions/{second}/infer", BODY)
        assert answer.json()["model_version"] == second
        # The same command again, as a retry sends it, changes nothing.
        assert command(controlled, "load", {"parameters": {"uri": str(other)}}).status_code == 200
        assert command(controlled, "traffic", {"share": 50}).status_code == 200
        assert set(versions(controlled, 40)) == {first, second}
        assert command(controlled, "promote").json()["models"][0]["version"] == second
        assert set(versions(controlled, 10)) == {second}
        assert controlled.post(f"/v2/models/scores/versions/{first}/infer", BODY).status_code == 404
    assert set(load.seen) == {"200"}, load.seen
    assert {answer["model_version"] for answer in load.answers} == {first, second}


def test_a_candidate_is_dropped(controlled: Server, models: Models) -> None:
    stable = set(versions(controlled, 3))
    uri = {"parameters": {"uri": str(models.plain)}}
    if controlled.get("/v2/models/scores").json()["versions"] == []:
        pytest.fail("nothing is served")
    loaded = command(controlled, "load", uri)
    if loaded.status_code == 409:  # it is the stable one, where this test runs alone
        assert "is the stable one already" in loaded.json()["error"]
        return
    command(controlled, "traffic", {"share": 100})
    assert not stable & set(versions(controlled, 5))
    assert command(controlled, "unload").status_code == 200
    assert set(versions(controlled, 5)) == stable


def test_a_candidate_that_does_not_load_leaves_the_stable_version(
    controlled: Server, models: Models, tmp_path: Path
) -> None:
    stable = set(versions(controlled, 3))
    (tmp_path / "MLmodel").write_text("nothing")
    for uri, status, reason in [
        (str(tmp_path), 422, "MLmodel is damaged"),
        (str(tmp_path / "none"), 422, "does not exist"),
        ("s3://", 422, "names no bucket"),
        ("", 400, "parameters"),
    ]:
        answer = command(controlled, "load", {"parameters": {"uri": uri}})
        assert (answer.status_code, reason in answer.json()["error"]) == (status, True), answer.text
    late = command(controlled, "load", {"parameters": {"uri": str(models.binary), "timeout_s": 0.001}})
    assert late.status_code == 504
    assert index(controlled) == [("stable", 100)]
    assert set(versions(controlled, 3)) == stable


@pytest.mark.parametrize(
    ("verb", "body", "status"),
    [
        ("traffic", {"share": 10}, 409),
        ("promote", {}, 409),
        ("unload", {}, 200),
        ("traffic", {"share": 101}, 400),
        ("traffic", {"share": "all"}, 400),
        ("traffic", {}, 400),
        ("load", {"parameters": 3}, 400),
        ("load", {"parameters": {"uri": "x", "timeout_s": 0}}, 400),
        ("jump", {}, 404),
    ],
)
def test_commands_that_do_not_fit(controlled: Server, verb: str, body: Any, status: int) -> None:
    assert command(controlled, verb, body).status_code == status


@pytest.mark.parametrize("token", ["x", "Secret", "secret2"])
def test_commands_need_the_token(controlled: Server, token: str) -> None:
    assert command(controlled, "promote", token=token).status_code == 401
    assert controlled.get("/v2/repository/index").status_code == 401


@pytest.mark.parametrize(
    ("address", "ours"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("10.0.0.3", False), ("", False)],
)
def test_commands_are_taken_from_this_machine(address: str, ours: bool) -> None:
    assert _is_loopback(address) is ours


def test_options_say_what_is_wrong() -> None:
    assert parse(["--model", "x", "--log-columns", "a, b,,c"]).log_columns == ("a", "b", "c")
    for words in (["--port", "-1"], ["--max-rows", "0"], ["--max-body-mb", "0"], ["--log-format", "xml"]):
        with pytest.raises(ParameterError, match=words[0]):
            parse(["--model", "x", *words])
    with pytest.raises(ParameterError, match="--model is empty"):
        parse(["--model", ""])
