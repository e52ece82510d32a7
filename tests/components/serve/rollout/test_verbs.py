"""``kfp-lifecycle serve`` and ``kfp-lifecycle rollback``, with real servers."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from typer.testing import CliRunner

from kfp_lifecycle.components.serve.laptop import as_uri
from kfp_lifecycle.components.serve.rollout import local_process
from kfp_lifecycle.components.serve.rollout.guard import Limits
from kfp_lifecycle.components.shared.errors import RolloutError
from kfp_lifecycle.scripts.app import app
from tests.components.serve.rollout.conftest import Shop
from tests.components.serve.rollout.sums import GOOD, VERSIONS, WRONG
from tests.servers import free_port


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model that no registry knows."""
    return VERSIONS[0].write(tmp_path / "plus")


@pytest.fixture
def started(folder: Path, tmp_path: Path) -> Iterator[tuple["subprocess.Popen[str]", int]]:
    """``kfp-lifecycle serve FOLDER --port PORT`` in the foreground."""
    port = free_port()
    command = [Path(sys.executable).with_name("kfp-lifecycle"), "serve", str(folder), "--port", str(port)]
    env = {**os.environ, "KFP_LIFECYCLE_STATE": str(tmp_path / "state")}
    flags = ["--flag", "--drain-delay-s=0"]
    with subprocess.Popen([*command, *flags], env=env, stdout=subprocess.PIPE, text=True) as process:
        yield process, port
        process.kill()


def test_the_printed_curl_line_works_and_a_signal_ends_the_server(
    started: tuple["subprocess.Popen[str]", int],
) -> None:
    process, port = started
    assert process.stdout is not None
    lines: list[str] = []
    while not lines or not lines[-1].startswith("curl "):
        line = process.stdout.readline()
        assert line, lines
        lines.append(line)
    assert lines[0].startswith("plus version ")
    assert f"http://127.0.0.1:{port}/\n" in "".join(lines)
    assert "Ctrl-C" in "".join(lines)

    done = subprocess.run(lines[-1], shell=True, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["predictions"][0] in (3.0, {"prediction": 3.0})

    process.terminate()
    assert process.wait(60) == 0
    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://127.0.0.1:{port}/v2/health/live", timeout=5)


@pytest.mark.parametrize(
    ("model", "uri"),
    [
        ("churn", "models:/churn@champion"),
        ("churn@challenger", "models:/churn@challenger"),
        ("churn/3", "models:/churn/3"),
        ("models:/churn/3", "models:/churn/3"),
        ("s3://bucket/model", "s3://bucket/model"),
    ],
)
def test_a_model_is_named_in_short(
    model: str, uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert as_uri(model) == uri
    (tmp_path / "churn").mkdir()
    if model == "churn":
        assert as_uri(model) == str(tmp_path / "churn"), "a folder that is there wins"


def test_a_server_that_runs_is_found_by_its_model_and_stopped_by_the_verb(shop: Shop) -> None:
    running = shop.running()
    found = CliRunner().invoke(app, ["serve", "sums"])
    assert found.exit_code == 0, found.output
    assert f"sums version 1 is served at {running.url}" in found.output
    assert "kfp-lifecycle serve sums --stop" in found.output

    elsewhere = CliRunner().invoke(app, ["serve", "sums", "--port", str(free_port())])
    assert elsewhere.exit_code == 1
    assert "Stop it first: kfp-lifecycle serve sums --stop" in elsewhere.output

    stopped = CliRunner().invoke(app, ["serve", "sums", "--stop"])
    assert stopped.output == f"Stopped sums at {running.url}.\n"
    assert not local_process.is_alive(running)
    assert "is not served" in CliRunner().invoke(app, ["serve", "sums", "--stop"]).output


def test_a_detached_server_follows_the_alias_and_is_rolled_out_into(shop: Shop) -> None:
    shop.end()
    port = free_port()
    words = ["serve", "sums", "--detach", "--port", str(port), "--flag", "--watch=0.2"]
    done = CliRunner().invoke(app, [*words, "--flag", "--drain-delay-s=0"])
    assert done.exit_code == 0, done.output
    assert shop.running().port == port

    shop.serve(GOOD)
    assert (shop.served(), shop.alias(), shop.running().port) == ([GOOD], GOOD, port)


def test_rollback_brings_the_version_before_back_in_registry_and_serving(shop: Shop) -> None:
    shop.serve(GOOD)
    url = shop.running().url
    with shop.traffic({"a": 1.0, "b": 1.0}) as codes:
        done = CliRunner().invoke(app, ["rollback", "sums"])
    assert done.exit_code == 0, done.output
    assert "champion version 2 → version 1" in done.output
    assert f"Version 1 is served at {url}." in done.output
    assert (shop.served(), shop.alias()) == (["1"], "1")
    assert set(codes) == {200}
    assert shop.client.get_model_version("sums", GOOD).tags["rolled_back"] == "true"


def test_rollback_of_the_registry_alone_leaves_what_is_served(shop: Shop) -> None:
    shop.serve(GOOD)
    done = CliRunner().invoke(app, ["rollback", "sums", "--registry-only"])
    assert done.exit_code == 0, done.output
    assert (shop.served(), shop.alias()) == ([GOOD], "1")


def test_a_rollback_that_cannot_be_served_leaves_the_registry_as_it_was(shop: Shop) -> None:
    from kfp_lifecycle.components.register.registry import make_champion

    make_champion(shop.client, "sums", WRONG)
    shop.serve(GOOD, alias="champion")
    done = CliRunner().invoke(app, ["rollback", "sums"])
    assert done.exit_code == 1
    assert "102.0 is recorded" in done.output
    assert (shop.served(), shop.alias()) == ([GOOD], GOOD)


def test_rollback_of_a_model_that_is_not_served_says_so(shop: Shop) -> None:
    shop.serve(GOOD)
    shop.end()
    done = CliRunner().invoke(app, ["rollback", "sums"])
    assert "It is served nowhere that is known here." in done.output
    assert shop.alias() == "1"


def test_a_version_whose_rollout_failed_says_why_and_is_no_champion_later(shop: Shop) -> None:
    shop.client.set_model_version_tag("sums", GOOD, "rollout", "awaited")
    with pytest.raises(RolloutError):
        shop.serve(GOOD, limits=Limits(min_requests=10, max_latency_ms=1e-6))
    said = shop.client.get_model_version("sums", GOOD).tags["rollout"]
    assert said.startswith("failed: At 10% of the traffic, 99 of 100 requests took up to")
    shop.serve(GOOD)
    assert shop.client.get_model_version("sums", GOOD).tags["rollout"] == "done"
