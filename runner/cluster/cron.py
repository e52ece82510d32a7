"""When a recurring run fires: KFP's cron expressions and intervals, checked and worked out ahead.

KFP's scheduled-workflow controller reads a cron expression with robfig/cron 1.2 (``cron.Parse``): six fields,
seconds first, the last optional, so that a five-field expression is taken for another schedule without a
word. It works in one time zone, UTC unless the controller's ``CRON_SCHEDULE_TIMEZONE`` says otherwise. What
this module says is compared with that library itself by ``tests/runner/cluster/cron_reference.json``.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from kfp_lifecycle.components.shared.errors import LifecycleError, did_you_mean

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_EXAMPLE = "0 0 2 * * * is 02:00:00 every day."
#: The parser's own words for an expression, as six fields.
_WORDS = {
    "@yearly": "0 0 0 1 1 *",
    "@annually": "0 0 0 1 1 *",
    "@monthly": "0 0 0 1 * *",
    "@weekly": "0 0 0 * * 0",
    "@daily": "0 0 0 * * *",
    "@midnight": "0 0 0 * * *",
    "@hourly": "0 0 * * * *",
}
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
#: The controller gives up on the year after these; its zero time then fires again and again at once.
_YEARS = 5
#: Longer than any change of a clock, so that none further off can repeat a time already past.
_SOON = timedelta(hours=3)


class ScheduleError(LifecycleError):
    """A schedule cannot be read, would never fire or not as meant, or cannot be made what was asked for."""


@dataclass(frozen=True)
class _Field:
    """One field of an expression: what it is called and what it may hold."""

    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()


_FIELDS = (
    _Field("second", 0, 59),
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of the month", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of the week", 0, 6, _DAYS),
)


@dataclass(frozen=True)
class Cron:
    """A checked cron expression.

    Args:
        text: The six fields as they are sent.
        fields: The values that each field allows, ascending.
        both_days: Whether day of the month and day of the week must both match (one of them is ``*``);
            else either is enough.
        zone: The time zone of the server's controller.
    """

    text: str
    fields: tuple[tuple[int, ...], ...]
    both_days: bool
    zone: tzinfo = UTC

    def times(self, after: datetime) -> Iterator[datetime]:
        """The times later than ``after``, in UTC, until one is more than five years after the last.

        A local time that the change to summer time leaves out is skipped, and one that the change back
        repeats fires twice, as in the controller.
        """
        last = after.astimezone(UTC).replace(microsecond=0)
        while (following := self._next(last)) is not None:
            yield following
            last = following

    def _next(self, after: datetime) -> datetime | None:
        local = after.astimezone(self.zone)
        change = self._change(after)
        if change is None:
            return self._later(local.replace(tzinfo=None), after)
        # Up to the change and from it on, wall-clock times are plain numbers.
        wall = self._next_wall(local.replace(tzinfo=None))
        if wall is not None and self._at(wall, after) < change:
            return self._at(wall, after)
        return self._later(change.astimezone(self.zone).replace(tzinfo=None) - timedelta(seconds=1), change)

    def _later(self, wall: datetime, start: datetime) -> datetime | None:
        """The first time after a wall-clock time and from ``start`` on, with no change of clocks between."""
        limit = wall.year + _YEARS
        while (found := self._next_wall(wall)) is not None and found.year <= limit:
            for fold in (0, 1):
                time = found.replace(tzinfo=self.zone, fold=fold).astimezone(UTC)
                # A wall-clock time that the clock leaves out comes back as another one.
                if time >= start and time.astimezone(self.zone).replace(tzinfo=None) == found:
                    return time
            wall = found
        return None

    def _at(self, wall: datetime, like: datetime) -> datetime:
        """A wall-clock time in UTC, with the offset of the time ``like``."""
        return (wall - (like.astimezone(self.zone).utcoffset() or timedelta())).replace(tzinfo=UTC)

    def _change(self, after: datetime) -> datetime | None:
        """The second of the next change of the zone's offset, if that is soon."""
        offset = after.astimezone(self.zone).utcoffset()
        same, other = after, after + _SOON
        if other.astimezone(self.zone).utcoffset() == offset:
            return None
        while (other - same) > timedelta(seconds=1):
            middle = same + timedelta(seconds=int((other - same).total_seconds()) // 2)
            if middle.astimezone(self.zone).utcoffset() == offset:
                same = middle
            else:
                other = middle
        return other

    def _next_wall(self, after: datetime) -> datetime | None:
        from croniter import CroniterBadDateError, croniter

        expression = " ".join(",".join(map(str, values)) for values in self.fields)
        times = croniter(
            expression,
            after,
            ret_type=datetime,
            day_or=not self.both_days,
            second_at_beginning=True,
            max_years_between_matches=_YEARS + 1,
        )
        try:
            found: datetime = times.get_next()
        except CroniterBadDateError:
            return None
        return found


def parse_cron(text: str, zone: tzinfo = UTC) -> Cron:
    """Reads a cron expression strictly as KFP's server does, six fields and no fewer.

    Raises:
        ScheduleError: It has not six fields, a field cannot be read, or it never fires.
    """
    cleaned = " ".join(text.split())
    if cleaned.startswith("@"):
        raise _word(cleaned)
    parts = cleaned.split()
    if len(parts) == 5:
        raise ScheduleError(
            f"The cron expression {cleaned!r} has five fields; KFP's has six, seconds first, and would take "
            "this one for another schedule.",
            f"Write '0 {cleaned}'.",
        )
    if len(parts) != 6:
        raise ScheduleError(
            f"The cron expression {cleaned!r} has {len(parts)} fields, not six: second, minute, hour, day of "
            "the month, month, day of the week.",
            _EXAMPLE,
        )
    fields = tuple(_values(part, field, cleaned) for part, field in zip(parts, _FIELDS, strict=True))
    both_days = any(_has_star(parts[index]) for index in (3, 5))
    cron = Cron(cleaned, fields, both_days, zone)
    if next(cron.times(datetime.now(UTC)), None) is None:
        raise ScheduleError(
            f"The cron expression {cleaned!r} never fires within {_YEARS} years.",
            "Correct the day or the month. KFP's controller would take it for due at once, again and again.",
        )
    return cron


def lenient_cron(text: str, zone: tzinfo = UTC) -> Cron:
    """Reads what the server has accepted from somebody else: five fields, and the parser's own words, too.

    Raises:
        ScheduleError: It cannot be read, is an interval, or never fires.
    """
    cleaned = " ".join(text.split())
    if len(cleaned.split()) == 5:
        cleaned += " *"
    return parse_cron(_WORDS.get(cleaned, cleaned), zone)


def _word(text: str) -> ScheduleError:
    if text in _WORDS:
        return ScheduleError(f"{text} is not a six-field cron expression.", f"Write '{_WORDS[text]}'.")
    if text.startswith("@every"):
        interval = text.removeprefix("@every").strip() or "6h"
        return ScheduleError(f"{text} is an interval, not a cron expression.", f"Write --every {interval}.")
    return ScheduleError(f"{text!r} is not a cron expression.", _EXAMPLE)


def _has_star(part: str) -> bool:
    # With a step too (*/2): so it is in robfig/cron 1.2; its version 3 changed that.
    return any(re.split("[-/]", item)[0] in ("*", "?") for item in part.split(","))


def _values(part: str, field: _Field, text: str) -> tuple[int, ...]:
    found: set[int] = set()
    for item in part.split(","):
        found |= _range(item, field, text)
    return tuple(sorted(found))


def _range(item: str, field: _Field, text: str) -> set[int]:
    """The values of ``*``, ``?``, ``n``, ``a-b``, each with or without ``/step``."""
    matched = re.fullmatch(r"(?:([*?])|(\w+)(?:-(\w+))?)(?:/(\d+))?", item, re.ASCII)
    if matched is None:
        raise _wrong(item, field, text, "cannot be read")
    star, first, last, step = matched.groups()
    low = field.low if star else _number(first, field, text)
    high = field.high if star or (step and not last) else _number(last, field, text) if last else low
    if low > high:
        raise _wrong(item, field, text, f"runs backwards; a range goes up, from {field.low} to {field.high}")
    if step is not None and int(step) == 0:
        raise _wrong(item, field, text, "has a step of 0")
    return set(range(low, high + 1, int(step or 1)))


def _number(text: str, field: _Field, whole: str) -> int:
    if text.lower() in field.names:
        return field.names.index(text.lower()) + field.low
    if not text.isdecimal():
        raise _wrong(text, field, whole, "cannot be read")
    value = int(text)
    if field.names == _DAYS and value == 7:
        raise _wrong(text, field, whole, "is no day: Sunday is 0")
    if not field.low <= value <= field.high:
        raise _wrong(text, field, whole, f"is not in {field.low} to {field.high}")
    return value


def _wrong(item: str, field: _Field, text: str, why: str) -> ScheduleError:
    return ScheduleError(f"In the cron expression {text!r}, the {field.name} {item!r} {why}.", _EXAMPLE)


def parse_zone(name: str) -> tzinfo:
    """The time zone of that name; UTC for an empty one.

    Raises:
        ScheduleError: There is none.
    """
    from zoneinfo import ZoneInfo, available_timezones

    if not name:
        return UTC
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError) as error:
        fix = did_you_mean(name, available_timezones()) if name else ""
        raise ScheduleError(f"{name!r} is no time zone.", fix) from error


def parse_interval(text: str) -> int:
    """The seconds of an interval such as ``30s``, ``90m``, ``6h``, ``1d`` or ``1h30m``.

    Raises:
        ScheduleError: It cannot be read, or is shorter than a second.
    """
    cleaned = "".join(text.split()).lower()
    parts = re.findall(r"(\d+)([smhd])", cleaned)
    if not parts or "".join(number + unit for number, unit in parts) != cleaned:
        fix = f"Write {cleaned}s for seconds." if cleaned.isdecimal() else "Write 30s, 90m, 6h, 1d or 1h30m."
        raise ScheduleError(f"The interval {text!r} cannot be read.", fix)
    seconds = sum(int(number) * _UNITS[unit] for number, unit in parts)
    if seconds < 1:
        raise ScheduleError(
            f"The interval {text!r} is shorter than a second.", "KFP's shortest interval is 1s."
        )
    return seconds


def interval_text(seconds: int) -> str:
    """``seconds`` as :func:`parse_interval` reads it: ``6h``, ``1h30m``."""
    parts = []
    for unit, size in sorted(_UNITS.items(), key=lambda item: -item[1]):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)
