"""Rollouts on this machine: a real server, real models, and each fault that a new version can have."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
import requests

from kfp_lifecycle.components.serve.rollout import local_process
from kfp_lifecycle.components.serve.rollout.guard import Limits
from kfp_lifecycle.components.shared.errors import RolloutError
from tests.components.serve.rollout.conftest import LIMITS, Shop
from tests.components.serve.rollout.sums import DEADLY, FAILING, GOOD, ROWS, SLOW, WORST, WRONG
from tests.conftest import ROOT

#: A rollout as a process of its own, which is killed in the middle.
_ROLLOUT = """
from kfp_lifecycle.components.serve.rollout.guard import Limits
from kfp_lifecycle.components.serve.rollout.run import Course
from kfp_lifecycle.components.serve.rollout.targets import Place
from kfp_lifecycle.components.serve.serving import Request, serve_model
course = Course((10, 100), step_s=300, limits=Limits(min_requests=10))
serve_model(Request("models:/sums/2", place=Place("local"), course=course, run_id="the first"))
"""


def _wait(check: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_good_version_gets_all_traffic_and_the_alias_and_no_request_fails(shop: Shop) -> None:
    url = shop.running().url
    with shop.traffic(ROWS[0]) as codes:
        served = shop.serve(GOOD)
    assert served.outcome.url == url, "clients need not learn a new address"
    assert (served.outcome.version, served.outcome.previous) == (GOOD, "1")
    assert [step.percent for step in served.outcome.steps] == [10, 50, 100]
    assert all(step.candidate.requests >= LIMITS.min_requests for step in served.outcome.steps)
    assert set(codes) == {200}
    assert shop.served() == [GOOD]
    assert shop.alias() == GOOD
    answer = requests.post(f"{url}/v1/models/sums:predict", json={"instances": ROWS[:1]}).json()
    assert answer["predictions"][0] in (4.0, {"prediction": 4.0})

    again = shop.serve(GOOD)
    assert again.outcome.steps == (), "a retry finds that all is done"
    assert (shop.served(), shop.alias()) == ([GOOD], GOOD)


@pytest.mark.parametrize(
    ("version", "changes", "reason"),
    [
        (WRONG, {}, r"Example row 0 gave prediction = 5\.0 where 102\.0 is recorded"),
        (SLOW, {"ready_timeout_s": 1.0}, "not loaded within 1 s"),
        (GOOD, {"limits": Limits(min_requests=10, max_latency_ms=1e-6)}, "the limit is 1e-06 ms"),
    ],
    ids=["wrong outputs", "never ready", "too slow"],
)
def test_a_bad_version_leaves_traffic_and_alias_where_they_were(
    shop: Shop, version: str, changes: dict[str, object], reason: str
) -> None:
    with shop.traffic(ROWS[0]) as codes, pytest.raises(RolloutError, match=reason) as caught:
        shop.serve(version, **changes)
    assert "Version 1 has all traffic again." in str(caught.value)
    assert (shop.served(), shop.alias()) == (["1"], "1")
    assert set(codes) <= {200}


def test_a_version_that_fails_with_real_requests_is_rolled_back_with_the_reason_and_the_log(
    shop: Shop,
) -> None:
    with shop.traffic(WORST) as codes, pytest.raises(RolloutError) as caught:
        shop.serve(FAILING, step_s=60.0, limits=Limits(min_requests=10, max_error_rate=0.1))
    said = str(caught.value)
    assert "requests failed" in said
    assert "the limit is 10.0%" in said
    assert "Version 1 has all traffic again." in said
    assert "Last lines of its server:" in said
    assert "unlucky" in said
    assert 500 in codes
    assert (shop.served(), shop.alias()) == (["1"], "1")


def test_a_version_that_takes_the_server_down_is_gone_and_the_one_before_answers_at_the_same_address(
    shop: Shop,
) -> None:
    before = shop.running()
    with shop.traffic(WORST), pytest.raises(RolloutError, match="does not answer any more"):
        shop.serve(DEADLY, step_s=60.0)
    after = shop.running()
    assert after.pid != before.pid
    assert after.url == before.url
    assert (shop.served(), shop.alias()) == (["1"], "1")


def test_a_second_rollout_is_refused_and_a_killed_one_is_taken_up_again(shop: Shop) -> None:
    first = subprocess.Popen([sys.executable, "-c", _ROLLOUT], cwd=ROOT, env=os.environ.copy())
    try:
        _wait(lambda: [one["share"] for one in shop.index()][1:] == [10.0])
        with pytest.raises(RolloutError, match=r"version 2 of sums, run the first \(process \d+, since 2"):
            shop.serve(GOOD, wait_s=0)
        assert first.poll() is None
    finally:
        first.kill()
        first.wait()
    assert shop.served() == ["1", GOOD], "the half-done rollout is there still"
    assert shop.alias() == "1"

    served = shop.serve(GOOD)
    assert [step.percent for step in served.outcome.steps] == [10, 50, 100]
    assert (shop.served(), shop.alias()) == ([GOOD], GOOD)


def test_a_cancelled_rollout_puts_everything_back(shop: Shop) -> None:
    first = subprocess.Popen([sys.executable, "-c", _ROLLOUT], cwd=ROOT, env=os.environ.copy())
    try:
        _wait(lambda: [one["share"] for one in shop.index()][1:] == [10.0])
    finally:
        first.terminate()
        assert first.wait(60) != 0
    assert (shop.served(), shop.alias()) == (["1"], "1")


def test_a_dead_server_in_the_state_is_replaced_at_the_same_port(shop: Shop) -> None:
    dead = shop.running()
    os.kill(dead.pid, signal.SIGKILL)
    _wait(lambda: not local_process.is_alive(dead))
    served = shop.serve(GOOD)
    assert served.outcome.previous is None
    assert served.outcome.url == dead.url
    assert [step.percent for step in served.outcome.steps] == [100], "nothing is there to share with"
    assert (shop.served(), shop.alias()) == ([GOOD], GOOD)


def test_a_state_whose_process_number_another_has_now_harms_nobody(shop: Shop) -> None:
    other = subprocess.Popen(["sleep", "60"])
    running = shop.running()
    try:
        shop.state.write(type(running)(**{**running.__dict__, "pid": other.pid, "token": "another"}))
        assert shop.state.read() is not None
        served = shop.serve(GOOD)
        assert served.outcome.previous is None
        assert served.outcome.url != running.url
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()
        shop.end()
        shop.state.write(running)


def test_the_state_is_for_its_owner_alone_and_the_objects_hold_no_token(shop: Shop) -> None:
    assert shop.state.path.stat().st_mode & 0o077 == 0
    served = shop.serve("1")
    assert shop.running().token not in str(served.objects)
    (process,) = served.objects
    assert (process["kind"], process["url"]) == ("Process", shop.running().url)


def test_the_first_version_that_fails_leaves_nothing_behind_and_a_server_can_be_only_for_the_test(
    shop: Shop, tmp_path: os.PathLike[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KFP_LIFECYCLE_STATE", str(tmp_path))
    before = shop.alias()
    with pytest.raises(RolloutError, match="Nothing is served, as before") as caught:
        shop.serve(WRONG)
    assert "102.0 is recorded" in str(caught.value)
    assert shop.state.read() is None

    served = shop.serve(GOOD, keep_running=False, alias="")
    assert not served.is_running
    assert shop.state.read() is None
    assert shop.alias() == before
