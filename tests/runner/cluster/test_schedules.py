"""Schedules on a server: made, changed, switched and deleted, whatever goes wrong meanwhile."""

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kfp_lifecycle.runner.cluster.cron import ScheduleError, parse_cron
from kfp_lifecycle.runner.cluster.errors import ServerError
from kfp_lifecycle.runner.cluster.schedule_apply import Applied, Definition, apply
from kfp_lifecycle.runner.cluster.schedule_control import pause, resume
from kfp_lifecycle.runner.cluster.schedule_plan import Action, Mark
from kfp_lifecycle.runner.cluster.schedules import (
    delete,
    find_schedules,
    last_runs,
    list_schedules,
    server_clock,
    switch,
)
from kfp_lifecycle.runner.cluster.trigger import Trigger
from tests.conftest import SOAK
from tests.kfp_server import KfpServer
from tests.runner.cluster.scheduling import KillAt, add_version, daily, enabled, no_wait, now, to

HOUR = timedelta(hours=1)
MAKE, GO, OFF = Action.CREATE, Action.ENABLE, Action.DISABLE
GONE = Action.DELETE


@pytest.fixture
def ids(double: KfpServer) -> tuple[str, str]:
    return add_version(double)


def _apply(double: KfpServer, definition: Definition) -> Applied:
    return apply(to(double), definition, wait=no_wait)


def test_a_new_schedule_fires_only_when_it_is_complete(double: KfpServer, ids: tuple[str, str]) -> None:
    applied = _apply(double, daily(ids, max_concurrency=2))
    assert applied.actions == (MAKE, GO)
    assert applied.schedule.enabled
    (item,) = double.state.recurring.values()
    assert item["status"] == "ENABLED"
    assert item["trigger"] == {"cron_schedule": {"cron": "0 0 2 * * *"}}
    assert item["max_concurrency"] == "2"
    assert item["pipeline_version_reference"] == dict(
        zip(("pipeline_id", "pipeline_version_id"), ids, strict=True)
    )
    assert item["runtime_config"]["parameters"] == {"source": "gs://b/churn.csv"}
    assert item["description"].startswith("training 1.0.0, cron 0 0 2 * * * [kfp-lifecycle generation=1 ")
    (created,) = double.requests("POST /apis/v2beta1/recurringruns")[:1]
    assert created.status == 200


def test_the_same_again_changes_nothing(double: KfpServer, ids: tuple[str, str]) -> None:
    first = _apply(double, daily(ids))
    again = _apply(double, daily(ids))
    assert again.actions == ()
    assert again.schedule == first.schedule
    assert len(double.requests("POST /apis/v2beta1/recurringruns")) == 2  # created and enabled, once


@pytest.mark.parametrize(
    "change",
    [
        {"cron": "0 0 3 * * *"},
        {"parameters": {"source": "gs://b/churn.csv", "folds": 3}},
        {"max_concurrency": 2},
        {"trigger": Trigger(every=3600)},
        {"trigger": Trigger(parse_cron("0 0 2 * * *"), catchup=False)},
        {"trigger": Trigger(parse_cron("0 0 2 * * *"), end=now() + timedelta(days=90))},
        {"service_account": "trainer"},
        {"pipeline_root": "gs://b/root"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_change_replaces(double: KfpServer, ids: tuple[str, str], change: dict[str, Any]) -> None:
    first = _apply(double, daily(ids))
    applied = _apply(double, daily(ids, **change))
    assert applied.actions == (MAKE, GONE, GO)
    assert applied.replaced
    assert list(double.state.recurring) == enabled(double) == [applied.schedule.id]
    assert first.schedule.id != applied.schedule.id
    # What is running just now goes on: Kubernetes is not to collect it with its owner.
    (request,) = double.requests("DELETE /apis")
    assert "propagation_policy=ORPHAN" in request.path


def test_a_new_version_replaces(double: KfpServer, ids: tuple[str, str]) -> None:
    _apply(double, daily(ids))
    later = add_version(double, "1.1.0")
    applied = _apply(double, daily(later))
    assert applied.replaced
    assert applied.schedule.version_id == later[1] != ids[1]


def test_paused_stays_paused(double: KfpServer, ids: tuple[str, str]) -> None:
    made = _apply(double, daily(ids)).schedule
    double.state.fire(made.id)
    assert switch(to(double), made, on=False)
    assert _apply(double, daily(ids)).actions == ()
    assert enabled(double) == []
    changed = _apply(double, daily(ids, cron="0 0 4 * * *"))
    assert changed.actions == (MAKE, GONE)
    assert enabled(double) == []
    # It never ran, and is paused all the same: it was made so.
    assert _apply(double, daily(ids, cron="0 0 4 * * *")).actions == ()
    assert enabled(double) == []


def test_asked_for_as_paused(double: KfpServer, ids: tuple[str, str]) -> None:
    assert _apply(double, daily(ids, paused=True)).actions == (MAKE,)
    assert enabled(double) == []
    assert switch(to(double), find_schedules(to(double), "nightly")[0], on=True)
    assert _apply(double, daily(ids)).actions == ()
    assert _apply(double, daily(ids, paused=True)).actions == (OFF,)
    assert enabled(double) == []


def test_paused_before_its_first_run_stays_paused(double: KfpServer, ids: tuple[str, str]) -> None:
    server = to(double)
    made = _apply(double, daily(ids, trigger=Trigger(None, 6 * 3600))).schedule
    before = made.next_times(now())
    assert pause(server, "nightly")
    assert not pause(server, "nightly")
    (kept,) = list_schedules(server)
    assert not kept.enabled
    assert (kept.parameters, kept.max_concurrency, kept.version_id) == (
        made.parameters, made.max_concurrency, made.version_id,
    )  # fmt: skip
    assert kept.next_times(now()) == before
    assert _apply(double, daily(ids, trigger=Trigger(None, 6 * 3600))).actions == ()
    assert _apply(double, daily(ids)).actions == (MAKE, GONE)
    assert enabled(double) == []
    assert resume(server, "nightly")
    assert _apply(double, daily(ids)).actions == ()
    assert len(enabled(double)) == 1


def test_asked_for_as_paused_before_its_first_run(double: KfpServer, ids: tuple[str, str]) -> None:
    _apply(double, daily(ids))
    assert _apply(double, daily(ids, paused=True)).actions == (OFF, MAKE, GONE)
    assert _apply(double, daily(ids)).actions == ()
    assert enabled(double) == []


@pytest.mark.parametrize("fault", ["drop_before", "drop_after"])
@pytest.mark.parametrize("match", [":disable", "POST /apis/v2beta1/recurringruns", "DELETE", "GET"])
def test_pausing_over_a_bad_line(double: KfpServer, ids: tuple[str, str], match: str, fault: str) -> None:
    _apply(double, daily(ids))
    getattr(double.faults, fault)(match)
    assert pause(to(double), "nightly")
    (kept,) = list_schedules(to(double))
    assert not kept.enabled
    assert _apply(double, daily(ids)).actions == ()


@pytest.mark.parametrize("name", ["nightly", "newest", "older"])
def test_a_change_that_broke_off_is_paused(double: KfpServer, ids: tuple[str, str], name: str) -> None:
    older = _apply(double, daily(ids)).schedule
    double.faults.answer(403, "DELETE")
    with pytest.raises(ServerError):
        _apply(double, daily(ids, cron="0 0 4 * * *"))
    newest = next(one for one in list_schedules(to(double)) if one.id != older.id)
    named = {"newest": newest.id, "older": older.id}.get(name, name)
    assert pause(to(double), named) is (name != "newest")
    if name == "nightly":
        assert _apply(double, daily(ids, cron="0 0 4 * * *")).actions == ()
        assert enabled(double) == []


def test_a_busy_server_does_not_hide_that_it_has_run(double: KfpServer, ids: tuple[str, str]) -> None:
    made = _apply(double, daily(ids)).schedule
    double.state.fire(made.id)
    for _ in range(450):
        double.state.add_run(
            {
                "display_name": "another",
                "pipeline_version_reference": {"pipeline_id": ids[0], "pipeline_version_id": ids[1]},
                "runtime_config": {"parameters": {"source": "a"}},
            }
        )
    assert switch(to(double), made, on=False)
    assert _apply(double, daily(ids)).actions == ()
    assert enabled(double) == []


def test_somebody_elses_recurring_run_is_left_alone(double: KfpServer, ids: tuple[str, str]) -> None:
    _apply(double, daily(ids))
    (item,) = double.state.recurring.values()
    item["description"] = "made in the user interface"
    with pytest.raises(ScheduleError, match="did not make"):
        _apply(double, daily(ids))
    assert len(double.state.recurring) == 1


def test_names_that_differ_in_case_are_two(double: KfpServer, ids: tuple[str, str]) -> None:
    _apply(double, daily(ids))
    _apply(double, replace(daily(ids), name="Nightly"))
    assert len(double.state.recurring) == 2
    assert [one.name for one in find_schedules(to(double), "Nightly")] == ["Nightly"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"trigger": Trigger(parse_cron("0 0 2 * * *"), end=now() - HOUR)}, "has passed"),
        ({"max_concurrency": 11}, "1 to 10"),
        ({"max_concurrency": 0}, "1 to 10"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_made(
    double: KfpServer, ids: tuple[str, str], change: dict[str, Any], said: str
) -> None:
    with pytest.raises(ScheduleError, match=said):
        _apply(double, daily(ids, **change))
    assert not double.state.recurring


@pytest.mark.parametrize("name", ["", " nightly", "nächtlich", "a\nb", "x" * 129])
def test_names_that_cannot_be(double: KfpServer, ids: tuple[str, str], name: str) -> None:
    with pytest.raises(ScheduleError, match="name"):
        _apply(double, replace(daily(ids), name=name))


# The past, the beat, the clock


def test_what_a_replacement_has_run_is_not_run_again(double: KfpServer, ids: tuple[str, str]) -> None:
    start = now() - timedelta(days=10, hours=1)
    hourly = Trigger(parse_cron("0 30 * * * *"), start=start)
    _apply(double, daily(ids, trigger=hourly))
    (first,) = double.state.recurring.values()
    assert first["trigger"]["cron_schedule"]["start_time"].startswith(f"{start:%Y-%m-%d}")
    applied = _apply(double, daily(ids, trigger=hourly, max_concurrency=3))
    assert applied.schedule.trigger is not None
    assert applied.schedule.trigger.passed(applied.schedule.created, now()) == 0
    assert _apply(double, daily(ids, trigger=hourly, max_concurrency=3)).actions == ()


def test_an_interval_keeps_its_beat(double: KfpServer, ids: tuple[str, str]) -> None:
    double.state.clock_ahead = timedelta(hours=-20)
    first = _apply(double, daily(ids, trigger=Trigger(every=6 * 3600)))
    double.state.clock_ahead = timedelta()
    before = first.schedule.next_times(now())
    second = _apply(double, daily(ids, trigger=Trigger(every=6 * 3600), max_concurrency=2))
    assert second.schedule.next_times(now()) == before
    assert second.schedule.trigger is not None
    assert second.schedule.trigger.passed(second.schedule.created, now()) == 0
    other = _apply(double, daily(ids, trigger=Trigger(every=7 * 3600)))
    assert other.schedule.trigger is not None
    assert other.schedule.trigger.start is None


@pytest.mark.parametrize("ahead", [timedelta(hours=3), timedelta(hours=-3), timedelta(seconds=40)])
def test_the_servers_clock_is_what_counts(double: KfpServer, ids: tuple[str, str], ahead: timedelta) -> None:
    double.state.clock_ahead = ahead
    clock = server_clock(to(double))
    assert abs(clock.ahead_s - ahead.total_seconds()) < 2
    assert abs(clock.now - (datetime.now(UTC) + ahead)) < timedelta(seconds=2)
    assert ("ahead of" if ahead > timedelta() else "behind") in clock.skew
    # By its clock this has passed, or not.
    end = now() + ahead - timedelta(seconds=30)
    with pytest.raises(ScheduleError, match="has passed"):
        _apply(double, daily(ids, trigger=Trigger(every=1, end=end)))
    _apply(double, daily(ids, trigger=Trigger(every=1, end=end + timedelta(minutes=5))))


def test_clocks_that_agree_are_not_mentioned(double: KfpServer) -> None:
    assert server_clock(to(double)).skew == ""


def test_a_time_that_is_near_is_let_pass(double: KfpServer, ids: tuple[str, str]) -> None:
    soon = now() + timedelta(seconds=12)
    near = f"{soon.second} {soon.minute} {soon.hour} * * *"
    _apply(double, daily(ids, cron=near))
    waits: list[tuple[float, datetime]] = []

    def wait(seconds: float, until: datetime) -> None:
        assert len(double.state.recurring) == 1
        waits.append((seconds, until))

    assert apply(to(double), daily(ids, cron="0 0 2 * * *"), wait=wait).replaced
    ((seconds, until),) = waits
    assert until == soon
    assert 20 < seconds < 40


@pytest.mark.parametrize("trigger", [Trigger(every=30), Trigger(parse_cron("*/10 * * * * *"))])
def test_what_fires_all_the_time_is_not_waited_for(
    double: KfpServer, ids: tuple[str, str], trigger: Trigger
) -> None:
    _apply(double, daily(ids, trigger=trigger))
    waits: list[float] = []
    apply(to(double), daily(ids, trigger=trigger, max_concurrency=2), wait=lambda s, _: waits.append(s))
    assert waits == []


# What goes wrong


_STEPS = ["POST /apis/v2beta1/recurringruns", "DELETE ", ":enable", "GET /apis/v2beta1/recurringruns"]


@pytest.mark.parametrize("match", _STEPS)
@pytest.mark.parametrize("fault", ["drop before", "drop after", "503", "429"])
def test_a_fault_at_any_step(double: KfpServer, ids: tuple[str, str], match: str, fault: str) -> None:
    _apply(double, daily(ids))
    changed = daily(ids, cron="0 0 5 * * *")
    if fault.startswith("drop"):
        (double.faults.drop_before if "before" in fault else double.faults.drop_after)(match, times=2)
    else:
        double.faults.answer(int(fault), match, retry_after="0", times=2)
    applied = _apply(double, changed)
    assert list(double.state.recurring) == enabled(double) == [applied.schedule.id]
    assert applied.schedule.mark is not None
    assert applied.schedule.mark.digest == changed.digest
    assert [item["status"] for item in double.state.recurring.values()] == ["ENABLED"]


def test_a_restart_meanwhile(double: KfpServer, ids: tuple[str, str]) -> None:
    server = to(double)
    apply(server, daily(ids), wait=no_wait)
    threading.Timer(0.2, double.start).start()
    double.stop()
    assert apply(server, daily(ids, max_concurrency=2), wait=no_wait).replaced
    assert len(enabled(double)) == 1


def test_a_server_that_stays_away_leaves_it_resumable(double: KfpServer, ids: tuple[str, str]) -> None:
    _apply(double, daily(ids))
    double.faults.answer(503, ":enable", times=-1)
    with pytest.raises(ServerError, match="enable the schedule"):
        apply(to(double), daily(ids, max_concurrency=2), wait=no_wait)
    double.faults.clear()
    assert _apply(double, daily(ids, max_concurrency=2)).actions == (GO,)
    assert len(enabled(double)) == 1


def _killed(double: KfpServer, definition: Definition, number: int, after: bool) -> bool:
    """Runs the call in a process of its own that dies at that request; False where it ended before."""
    pid: list[int] = []
    double.faults = KillAt(number, after, lambda: pid[0])
    child = os.fork()
    if child == 0:
        status = 3
        with suppress(BaseException):
            _apply(double, definition)
            status = 0
        os._exit(status)
    pid.append(child)
    _, status = os.waitpid(child, 0)
    double.faults = type(double.faults).__mro__[1]()
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("there", [False, True], ids=["new", "changed"])
def test_killed_at_every_request(there: bool, after: bool) -> None:
    """Never two that fire, never none once there was one, and a second call puts it right."""
    number, killed = 0, True
    while killed:
        number += 1
        with KfpServer() as double:
            ids = add_version(double)
            if there:
                _apply(double, daily(ids))
            changed = daily(ids, cron="0 0 5 * * *")
            killed = _killed(double, changed, number, after)
            assert len(enabled(double)) <= 1
            assert double.state.recurring or not there
            applied = _apply(double, changed)
            assert list(double.state.recurring) == enabled(double) == [applied.schedule.id]
            assert applied.schedule.mark is not None
            assert applied.schedule.mark.digest == changed.digest
    assert number > (9 if there else 7)


def test_killed_and_something_else_wanted(double: KfpServer, ids: tuple[str, str]) -> None:
    _apply(double, daily(ids))
    made = [r for r in double.seen if r.method == "POST"]
    assert made
    for number in range(2, 10):
        _killed(double, daily(ids, max_concurrency=number), number, after=True)
    applied = _apply(double, daily(ids, cron="0 0 6 * * *"))
    assert list(double.state.recurring) == enabled(double) == [applied.schedule.id]
    assert applied.schedule.trigger_text == "cron 0 0 6 * * *"


def test_what_was_left_long_ago_is_made_anew(double: KfpServer, ids: tuple[str, str]) -> None:
    """Switched on now, it would run again every time that the old one has run meanwhile."""
    _apply(double, daily(ids))
    changed = daily(ids, cron="0 0 * * * *")
    double.state.clock_ahead = timedelta(hours=-5)
    double.faults.answer(400, "DELETE ", times=1)
    with pytest.raises(ServerError):
        _apply(double, changed)
    assert len(double.state.recurring) == 2
    double.state.clock_ahead = timedelta()
    applied = _apply(double, changed)
    assert applied.actions == (MAKE, GONE, GONE, GO)
    assert applied.schedule.trigger is not None
    assert applied.schedule.trigger.passed(applied.schedule.created, now()) == 0


def _at_once(*calls: Callable[[], Any]) -> list[BaseException | None]:
    gate = threading.Barrier(len(calls))
    ends: list[BaseException | None] = [None] * len(calls)

    def run(index: int) -> None:
        gate.wait()
        try:
            calls[index]()
        except BaseException as error:
            ends[index] = error

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return ends


@pytest.mark.parametrize("turn", range(30 if SOAK else 4))
@pytest.mark.parametrize("there", [False, True], ids=["new", "changed"])
def test_two_calls_at_once_for_the_same(there: bool, turn: int) -> None:
    with KfpServer() as double:
        ids = add_version(double)
        if there:
            _apply(double, daily(ids))
        changed = daily(ids, cron="0 0 5 * * *")
        servers = [to(double), to(double)]
        ends = _at_once(*(lambda s=s: apply(s, changed, wait=no_wait) for s in servers))  # type: ignore[misc]
        assert ends == [None, None]
        assert list(double.state.recurring) == enabled(double)
        assert len(enabled(double)) == 1


@pytest.mark.parametrize("turn", range(30 if SOAK else 4))
def test_two_calls_at_once_for_different_ones(turn: int) -> None:
    with KfpServer() as double:
        ids = add_version(double)
        _apply(double, daily(ids))
        wanted = [daily(ids, max_concurrency=2), daily(ids, max_concurrency=3)]
        servers = [to(double), to(double)]
        calls = [lambda s=s, w=w: apply(s, w, wait=no_wait) for s, w in zip(servers, wanted, strict=True)]  # type: ignore[misc]
        ends = _at_once(*calls)
        won = [one.digest for one, end in zip(wanted, ends, strict=True) if end is None]
        assert won
        assert all(isinstance(end, ScheduleError) for end in ends if end is not None)
        (item,) = double.state.recurring.values()
        assert item["status"] == "ENABLED"
        mark = Mark.read(item["description"])
        assert mark is not None
        assert mark.digest in won


# Looking, switching, deleting


def test_schedules_are_listed_by_name_over_pages(double: KfpServer, ids: tuple[str, str]) -> None:
    server = to(double)
    for number in range(7):
        apply(server, replace(daily(ids), name=f"s{number % 4}-{number}"), wait=no_wait)
    import kfp_lifecycle.runner.cluster.schedules as module

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_PAGE", 3)
        names = [one.name for one in list_schedules(server)]
    assert names == sorted(names)
    assert len(names) == 7


@pytest.mark.parametrize(
    ("trigger", "text", "note"),
    [
        (
            {"cron_schedule": {"cron": "0 9 * * 1"}},
            "cron 0 9 * * 1",
            "Five fields are read as seconds first: '0 9 * * 1 *'.",
        ),
        ({"cron_schedule": {"cron": "@daily"}}, "cron @daily", ""),
        (
            {"cron_schedule": {"cron": "@every 6h"}},
            "cron @every 6h",
            "@every 6h is an interval, not a cron expression.",
        ),
        ({"periodic_schedule": {"interval_second": "90"}}, "every 1m30s", ""),
    ],
)
def test_what_others_have_made_is_shown(
    double: KfpServer, ids: tuple[str, str], trigger: dict[str, Any], text: str, note: str
) -> None:
    body = {
        "display_name": "by hand",
        "pipeline_version_reference": dict(zip(("pipeline_id", "pipeline_version_id"), ids, strict=True)),
        "runtime_config": {"parameters": {"source": "a"}},
        "max_concurrency": "10",
        "mode": "ENABLE",
        "trigger": trigger,
    }
    double.state.add_recurring(body)
    (found,) = list_schedules(to(double))
    assert (found.trigger_text, found.note, found.mark) == (text, note, None)
    assert bool(found.next_times(now())) == ("@every" not in text)


def test_found_by_name_or_id(double: KfpServer, ids: tuple[str, str]) -> None:
    made = _apply(double, daily(ids)).schedule
    server = to(double)
    assert find_schedules(server, "nightly") == find_schedules(server, made.id) == [made]
    with pytest.raises(ScheduleError, match="Did you mean 'nightly'"):
        find_schedules(server, "nightley")


def test_gone_meanwhile(double: KfpServer, ids: tuple[str, str]) -> None:
    made = _apply(double, daily(ids)).schedule
    server = to(double)
    assert delete(server, made)
    assert not delete(server, made)
    assert not switch(server, made, on=True)


def test_the_last_run_of_each(double: KfpServer, ids: tuple[str, str]) -> None:
    made = _apply(double, daily(ids)).schedule
    server = to(double)
    assert last_runs(server, [made]) == {}
    double.state.fire(made.id)
    newest = double.state.fire(made.id) or double.state.fire(made.id)
    found = last_runs(server, [made])
    assert found[made.id].recurring_run_id == made.id
    assert newest is None or len(double.state.runs) == 2


def test_in_a_namespace_of_many_users(shared: KfpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KFP_TOKEN", "token-of-ann")
    server = to(shared, namespace="team-a")
    experiment = shared.state.add_experiment({"display_name": "churn", "namespace": "team-a"})[
        "experiment_id"
    ]
    wanted = daily(add_version(shared, namespace="team-a"), experiment_id=experiment)
    made = apply(server, wanted, wait=no_wait)
    assert made.actions == (MAKE, GO)
    assert apply(server, replace(wanted, max_concurrency=2), wait=no_wait).replaced
    assert [one.name for one in list_schedules(server)] == ["nightly"]
    assert last_runs(server, list_schedules(server)) == {}
    assert shared.gate.rights is not None
    shared.gate.rights["ann", "team-a"] -= {"delete"}
    with pytest.raises(ServerError, match="delete"):
        apply(server, replace(wanted, max_concurrency=3), wait=no_wait)
    shared.gate.rights["ann", "team-a"] |= {"delete"}
    assert apply(server, replace(wanted, max_concurrency=3), wait=no_wait).schedule.enabled
    assert len(shared.state.recurring) == 1
