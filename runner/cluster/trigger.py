"""What makes a recurring run fire: a cron expression or an interval, between a start and an end.

The rules are those of KFP's scheduled-workflow controller (``GetNextScheduledEpoch`` of its schedules): a
time counts from the start, or else from the schedule's creation, and is later than it; the end itself still
counts; an interval's first time is one interval after that base. With catch-up, times that have passed are
run one after the other; without it, only the last of them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile
from typing import Any

from kfp_lifecycle.runner.cluster.cron import Cron, ScheduleError, interval_text

#: Passed times are counted no further than this.
MOST_PASSED = 1000


@dataclass(frozen=True)
class Trigger:
    """When a schedule fires; either ``cron`` or ``every`` is given.

    Args:
        cron: A checked cron expression.
        every: An interval in seconds.
        start: No time up to this one counts.
        end: No time after this one counts.
        catchup: Whether every time that has passed is run, or only the last one.
    """

    cron: Cron | None = None
    every: int = 0
    start: datetime | None = None
    end: datetime | None = None
    catchup: bool = True

    def times(self, created: datetime) -> Iterator[datetime]:
        """All times of a schedule that was created then, in UTC, ascending."""
        base = (self.start or created).astimezone(UTC).replace(microsecond=0)
        found = self.cron.times(base) if self.cron else _steps(base, self.every)
        for time in found:
            if self.end is not None and time > self.end:
                return
            yield time

    def passed(self, created: datetime, now: datetime) -> int:
        """How many of these times have passed by ``now``; at most :data:`MOST_PASSED`."""
        passed = takewhile(lambda time: time <= now, self.times(created))
        return sum(1 for _ in islice(passed, MOST_PASSED))

    def next_times(self, created: datetime, now: datetime, count: int) -> list[datetime]:
        """The next times after ``now``, ``count`` of them or as many as there are."""
        base = self.since(now, created)
        return list(islice((t for t in base.times(created) if t > now), count))

    def since(self, now: datetime, created: datetime) -> "Trigger":
        """The same schedule without the times that have passed; an interval keeps its beat."""
        start = (self.start or created).astimezone(UTC).replace(microsecond=0)
        if start >= now:
            return self
        if self.cron:
            start = now.astimezone(UTC).replace(microsecond=0)
        else:
            start += timedelta(seconds=self.every * (int((now - start).total_seconds()) // self.every))
        return Trigger(self.cron, self.every, start, self.end, self.catchup)

    def check(self, now: datetime) -> None:
        """Sees to it that a schedule created ``now`` fires at all.

        Raises:
            ScheduleError: The end is not after the start or has passed, or no time lies between them.
        """
        if self.start and self.end and self.end <= self.start:
            raise ScheduleError(
                f"The schedule ends ({_stamp(self.end)}) before it starts ({_stamp(self.start)}).",
                "Correct --start or --end.",
            )
        if self.end and self.end <= now:
            raise ScheduleError(f"The schedule's end, {_stamp(self.end)}, has passed.", "Correct --end.")
        if not self.next_times(now, now, 1):
            raise ScheduleError(
                f"{self.text.capitalize()} never fires before the end, {_stamp(self.end or now)}.",
                "Choose a later --end, or another time.",
            )

    @property
    def text(self) -> str:
        """The trigger in a few words: ``cron 0 0 2 * * *``, ``every 6h``."""
        return f"cron {self.cron.text}" if self.cron else f"every {interval_text(self.every)}"

    def identity(self) -> dict[str, Any]:
        """All that makes two triggers differ, for a digest."""
        return {
            "cron": self.cron.text if self.cron else "",
            "every": self.every,
            "start": _stamp(self.start) if self.start else "",
            "end": _stamp(self.end) if self.end else "",
            "catchup": self.catchup,
        }


def _steps(base: datetime, seconds: int) -> Iterator[datetime]:
    while True:
        base += timedelta(seconds=seconds)
        yield base


def _stamp(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def parse_time(text: str) -> datetime:
    """A time as ISO 8601; without an offset it is one of this machine's time zone.

    Raises:
        ScheduleError: It is none.
    """
    try:
        return datetime.fromisoformat(text.strip()).astimezone()
    except (ValueError, OverflowError) as error:
        raise ScheduleError(
            f"{text!r} is not a time.", "Write 2026-12-24, 2026-12-24T02:00 or 2026-12-24T02:00Z."
        ) from error
