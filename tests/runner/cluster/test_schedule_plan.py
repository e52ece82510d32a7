"""The plan of a schedule, tried in every order in which calls can meet and break off."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from kfp_lifecycle.runner.cluster.cron import ScheduleError
from kfp_lifecycle.runner.cluster.schedule_plan import Action, Mark, Seen, Step, Wanted, next_step


def _seen(generation: int, digest: str, enabled: bool, on: bool = True, id: str = "") -> Seen:  # noqa: A002
    return Seen(id or f"{generation}{digest}", Mark(generation, digest, "00", on), enabled)


def _wanted(
    digest: str, *, paused: bool = False, ran: bool = False, passed: bool = False, made: str = ""
) -> Wanted:
    return Wanted(digest, paused, lambda id: ran, lambda id: passed, "c0", made)  # noqa: A006


def _act(step: Step) -> tuple[str, str]:
    return step.action.value, step.target.id if step.target else ""


@pytest.mark.parametrize(
    ("seen", "wanted", "expected"),
    [
        ([], _wanted("a"), ("create", "")),
        # As it should be.
        ([_seen(1, "a", True)], _wanted("a"), ("done", "1a")),
        # Changed.
        ([_seen(1, "a", True)], _wanted("b"), ("create", "")),
        ([_seen(1, "a", True), _seen(2, "b", False)], _wanted("b", made="2b"), ("delete", "1a")),
        ([_seen(2, "b", False)], _wanted("b", made="2b"), ("enable", "2b")),
        # Broken off after the creation, and after the deletion.
        ([_seen(1, "a", True), _seen(2, "b", False)], _wanted("b"), ("delete", "1a")),
        ([_seen(2, "b", False)], _wanted("b"), ("enable", "2b")),
        # Broken off so long ago that a time has passed since.
        ([_seen(1, "a", True), _seen(2, "b", False)], _wanted("b", passed=True), ("create", "")),
        ([_seen(2, "b", False)], _wanted("b", passed=True), ("create", "")),
        # Broken off, and now something else is wanted, or the old one again.
        ([_seen(1, "a", True), _seen(2, "b", False)], _wanted("c"), ("create", "")),
        ([_seen(1, "a", True), _seen(2, "b", False)], _wanted("a"), ("create", "")),
        # Paused by somebody: it has run.
        ([_seen(1, "a", False)], _wanted("a", ran=True), ("done", "1a")),
        # Paused when it was asked for, or when it was replaced.
        ([_seen(1, "a", False, on=False)], _wanted("a"), ("done", "1a")),
        ([_seen(1, "a", True)], _wanted("a", paused=True), ("disable", "1a")),
        # … and before its first run, when only a mark can say so.
        ([_seen(1, "a", False)], _wanted("a", paused=True), ("create", "")),
        ([_seen(1, "a", False)], _wanted("a", paused=True, ran=True), ("done", "1a")),
        ([_seen(1, "a", False), _seen(2, "a", False, on=False)], _wanted("a", paused=True), ("delete", "1a")),
        ([_seen(1, "a", False, on=False), _seen(2, "b", False, on=False)], _wanted("b"), ("delete", "1a")),
        # What is left of others goes before what still fires.
        (
            [_seen(1, "a", True), _seen(2, "b", False), _seen(3, "c", False)],
            _wanted("c", made="3c"),
            ("delete", "2b"),
        ),
        # Another call was later: mine goes.
        ([_seen(2, "b", False), _seen(3, "c", False)], _wanted("b", made="2b"), ("delete", "2b")),
        # Another call made the same: mine goes, its becomes the schedule.
        (
            [_seen(1, "b", False, id="x"), _seen(1, "b", False, id="y")],
            _wanted("b", made="x"),
            ("delete", "x"),
        ),
        ([_seen(1, "b", False, id="y")], _wanted("b", made="x"), ("enable", "y")),
    ],
)
def test_the_next_step(seen: list[Seen], wanted: Wanted, expected: tuple[str, str]) -> None:
    assert _act(next_step(seen, wanted)) == expected
    assert _act(next_step(seen[::-1], wanted)) == expected


def test_a_new_one_counts_on_and_stays_as_it_was() -> None:
    created = next_step([_seen(4, "a", True)], _wanted("b")).mark
    assert created == Mark(5, "b", "c0", True)
    paused = next_step([_seen(4, "a", False)], _wanted("b", ran=True)).mark
    assert paused == Mark(5, "b", "c0", False)
    asked = next_step([_seen(4, "a", True)], _wanted("b", paused=True)).mark
    assert asked == Mark(5, "b", "c0", False)


@pytest.mark.parametrize(
    "seen", [[], [_seen(3, "c", True)]], ids=["deleted meanwhile", "changed by another call"]
)
def test_a_call_that_lost_says_so(seen: list[Seen]) -> None:
    with pytest.raises(ScheduleError):
        next_step(seen, _wanted("b", made="2b"))


def test_marks_are_read_as_they_are_written() -> None:
    mark = Mark(12, "0123456789abcdef", "deadbeef", True)
    text = mark.describe("training 1.0.0, täglich um zwei " + "x" * 400)
    assert Mark.read(text) == mark
    assert len(text) <= 255
    assert text.isascii()
    assert text.startswith("training 1.0.0, t?glich um zwei x")
    assert Mark.read("") is None
    assert Mark.read(None) is None
    assert Mark.read("somebody's own [kfp-lifecycle]") is None
    assert Mark.read(f"{mark.describe('a')} and more") is None


# Every order in which two calls can meet: each may stop before any of its requests, and never come back.


@dataclass(frozen=True)
class _Call:
    """A call at some point: what it has last seen, the step it is about to take, what it has made."""

    wanted: str
    made: str = ""
    step: Step | None = None
    ended: str = ""


@dataclass(frozen=True)
class _World:
    server: frozenset[Seen]
    calls: tuple[_Call, ...]
    crashes: int


def _plan(server: frozenset[Seen], wanted: str, made: str) -> Step:
    return next_step(list(server), _wanted(wanted, made=made))


def _do(server: frozenset[Seen], step: Step, id: str) -> tuple[frozenset[Seen], bool]:  # noqa: A002
    """The server after a step, and whether what the step was meant for was there."""
    if step.action is Action.CREATE:
        assert step.mark is not None
        return server | {Seen(id, step.mark, False)}, True
    there = next((one for one in server if step.target and one.id == step.target.id), None)
    if there is None:
        return server, False
    rest = server - {there}
    if step.action is Action.DELETE:
        return rest, True
    return rest | {replace(there, enabled=step.action is Action.ENABLE)}, True


def _moves(world: _World) -> Iterator[_World]:
    for index, call in enumerate(world.calls):
        if call.ended:
            continue

        def put(new: _Call, server: frozenset[Seen], crashes: int, at: int = index) -> _World:
            calls = (*world.calls[:at], new, *world.calls[at + 1 :])
            return _World(server, calls, crashes)

        if world.crashes:
            yield put(replace(call, ended="crashed"), world.server, world.crashes - 1)
        if call.step is None:
            try:
                step = _plan(world.server, call.wanted, call.made)
            except ScheduleError:
                yield put(replace(call, ended="lost"), world.server, world.crashes)
                continue
            if step.action is Action.DONE:
                yield put(replace(call, ended="done"), world.server, world.crashes)
            else:
                yield put(replace(call, step=step), world.server, world.crashes)
            continue
        # Ids are not in the order of creation on a real server.
        made = f"{'zy'[index]}{call.wanted}"
        server, _ = _do(world.server, call.step, made)
        kept = made if call.step.action is Action.CREATE else call.made
        yield put(replace(call, step=None, made=kept), server, world.crashes)


def _worlds(first: frozenset[Seen], wanted: tuple[str, str], crashes: int) -> Iterator[_World]:
    start = _World(first, tuple(_Call(one) for one in wanted), crashes)
    waiting, known = [start], {start}
    while waiting:
        world = waiting.pop()
        yield world
        for following in _moves(world):
            if following not in known:
                known.add(following)
                waiting.append(following)


_STARTS = {
    "none": frozenset[Seen](),
    "one": frozenset({_seen(1, "a", True)}),
    "broken off": frozenset({_seen(1, "a", True), _seen(2, "b", False)}),
    "deleted, not enabled": frozenset({_seen(2, "b", False)}),
}


@pytest.mark.parametrize("start", _STARTS)
@pytest.mark.parametrize("wanted", [("a", "a"), ("b", "b"), ("a", "b"), ("b", "c")], ids="".join)
def test_calls_that_meet(start: str, wanted: tuple[str, str]) -> None:
    count = 0
    for world in _worlds(_STARTS[start], wanted, crashes=2):
        count += 1
        assert sum(one.enabled for one in world.server) <= 1, world
        assert world.server or not _STARTS[start], world
        if all(call.ended for call in world.calls):
            _check_end(world)
    assert count > 5


def _check_end(world: _World) -> None:
    ends = [call.ended for call in world.calls]
    assert ends != ["lost", "lost"], world
    if "crashed" not in ends:
        (left,) = world.server
        assert left.enabled
        assert left.mark.digest in {call.wanted for call in world.calls if call.ended == "done"}
    # Whatever a crash has left: one more call puts it right.
    server = world.server
    made = ""
    for turn in range(12):
        step = _plan(server, "c", made)
        if step.action is Action.DONE:
            break
        server, there = _do(server, step, f"m{turn}")
        assert there
        assert sum(one.enabled for one in server) <= 1
        made = f"m{turn}" if step.action is Action.CREATE else made
    (left,) = server
    assert (left.enabled, left.mark.digest) == (True, "c")
