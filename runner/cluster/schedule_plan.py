"""How a schedule becomes what it should be, in steps that a crash at any point leaves resumable.

The API cannot change a recurring run, so a changed schedule is a new one. Which of several recurring runs of
one name is meant is written into their descriptions, because that is all of theirs that is free text, is
kept by every server, and cannot be altered later. Each has a generation, one higher than any seen when it
was made. From these the next step follows, whoever takes it:

- the one of the highest generation (of equal ones, of the greatest id) is the schedule; it is never deleted,
  so that there is never none;
- every other one is deleted;
- it is switched on only once it is alone, so that there are never two that fire.

Two calls at once therefore agree on what is meant: one of them finds that its own is not the highest.
"""

import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from kfp_lifecycle.runner.cluster.cron import ScheduleError

#: Databases of older servers hold 255 characters of a description, in ASCII only.
_MOST_DESCRIPTION = 255
_MARK = re.compile(
    r"\[kfp-lifecycle generation=(\d+) digest=([0-9a-f]+) call=([0-9a-f]+) then=(on|off)\]\s*\Z"
)


@dataclass(frozen=True)
class Mark:
    """What a recurring run's description says of it.

    Args:
        generation: Counts the recurring runs of one schedule.
        digest: Of everything that was asked for.
        call: Of the call that made it; by it a repeated creation finds its own.
        on: Whether it is to be switched on once it is alone.
    """

    generation: int
    digest: str
    call: str
    on: bool

    def describe(self, text: str) -> str:
        """The description: ``text`` for people, and the mark."""
        mark = f"[kfp-lifecycle generation={self.generation} digest={self.digest} call={self.call} "
        mark += f"then={'on' if self.on else 'off'}]"
        plain = " ".join(text.encode("ascii", "replace").decode().split())
        return f"{plain[: _MOST_DESCRIPTION - len(mark) - 1]} {mark}"

    @classmethod
    def read(cls, description: str | None) -> "Mark | None":
        """The mark in a description; None where there is none."""
        found = _MARK.search(description or "")
        return cls(int(found[1]), found[2], found[3], found[4] == "on") if found else None


@dataclass(frozen=True)
class Seen:
    """A recurring run as the server shows it."""

    id: str
    mark: Mark
    enabled: bool

    @property
    def rank(self) -> tuple[int, str]:
        """Its place among those of its name; the highest is the schedule."""
        return (self.mark.generation, self.id)


class Action(StrEnum):
    """What can be done."""

    CREATE = "create"
    DELETE = "delete"
    ENABLE = "enable"
    DISABLE = "disable"
    DONE = "done"


@dataclass(frozen=True)
class Step:
    """The next step: the action, and what it is done to or made with."""

    action: Action
    target: Seen | None = None
    mark: Mark | None = None


@dataclass(frozen=True)
class Wanted:
    """What a call wants.

    Args:
        digest: Of the schedule asked for.
        paused: Asked for as paused.
        has_run: Tells of a recurring run's id whether it has fired.
        passed: Tells of its id whether one of its times has passed since it was created.
        call: Of this call.
        made: Id of the recurring run that this call has made.
    """

    digest: str
    paused: bool
    has_run: Callable[[str], bool]
    passed: Callable[[str], bool]
    call: str = ""
    made: str = ""

    def with_made(self, made: str) -> "Wanted":
        """The same, after this call has made a recurring run."""
        return replace(self, made=made)


def new_call() -> str:
    """A name for a call."""
    return secrets.token_hex(4)


def next_step(seen: Sequence[Seen], wanted: Wanted) -> Step:
    """The next step from what the server shows.

    Raises:
        ScheduleError: Another call changes the schedule at the same time.
    """
    if not seen:
        if wanted.made:
            raise ScheduleError("The schedule was deleted while it was being set up.", "Call again.")
        return _create(wanted, [])
    ordered = sorted(seen, key=lambda one: one.rank)
    newest, older = ordered[-1], ordered[:-1]
    if newest.mark.digest != wanted.digest:
        if wanted.made:
            return _yield(older, wanted)
        return _create(wanted, ordered)
    if wanted.paused:
        return _pause(ordered, wanted)
    if newest.enabled or not newest.mark.on:
        return _clear(older) or Step(Action.DONE, newest)
    if newest.id != wanted.made:
        if not _unfinished(ordered, wanted):
            return Step(Action.DONE, newest)
        if not wanted.made and wanted.passed(newest.id):
            # Switched on now, it would run again what the one before has run since.
            return _create(wanted, ordered)
    return _clear(older) or Step(Action.ENABLE, newest)


def _pause(ordered: list[Seen], wanted: Wanted) -> Step:
    newest, older = ordered[-1], ordered[:-1]
    if newest.enabled:
        return Step(Action.DISABLE, newest)
    if newest.mark.on and _unfinished(ordered, wanted):
        # It would look as if it had never been on: one whose mark says so takes its place.
        return _create(wanted, ordered)
    return _clear(older) or Step(Action.DONE, newest)


def _create(wanted: Wanted, ordered: list[Seen]) -> Step:
    generation = ordered[-1].mark.generation + 1 if ordered else 1
    on = not wanted.paused and (not ordered or _is_on(ordered, wanted))
    return Step(Action.CREATE, mark=Mark(generation, wanted.digest, wanted.call, on))


def _yield(older: list[Seen], wanted: Wanted) -> Step:
    mine = next((one for one in older if one.id == wanted.made), None)
    if mine is not None:
        return Step(Action.DELETE, mine)
    raise ScheduleError(
        "Another call changed the schedule to something else at the same time, and was first.",
        "Look at it with kfp-lifecycle schedules list, and call again if yours should hold.",
    )


def _clear(older: list[Seen]) -> Step | None:
    """Deletes one of the older ones, first those that do not fire."""
    if not older:
        return None
    return Step(Action.DELETE, min(older, key=lambda one: (one.enabled, one.rank)))


def _is_on(ordered: list[Seen], wanted: Wanted) -> bool:
    """Whether the schedule as it stands is meant to fire, rather than paused by somebody."""
    if any(one.enabled for one in ordered):
        return True
    return ordered[-1].mark.on and _unfinished(ordered, wanted)


def _unfinished(ordered: list[Seen], wanted: Wanted) -> bool:
    """Whether the newest, which is off, was never on: a call broke off before it switched it on.

    Another one beside it, or no run of it yet, tells it from one that was paused.
    """
    return len(ordered) > 1 or not wanted.has_run(ordered[-1].id)
