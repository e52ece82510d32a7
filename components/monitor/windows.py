"""Windows of time: which rows are looked at, and which moved by a season they are compared with."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from kfp_lifecycle.components.shared.errors import ParameterError

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@dataclass(frozen=True)
class Window:
    """The rows from ``start`` on and before ``end``, both in UTC."""

    start: datetime
    end: datetime

    def before(self, season: timedelta) -> "Window":
        """The window of the same length one season earlier."""
        return Window(self.start - season, self.end - season)

    def __str__(self) -> str:
        """Such as ``2013-07-01 00:00 to 2013-07-31 18:00 UTC``."""
        return f"{self.start:%Y-%m-%d %H:%M} to {self.end:%Y-%m-%d %H:%M} UTC"


def window_to(end: str, length: str, now: datetime) -> Window:
    """The window of ``length`` that ends at ``end``.

    Args:
        end: A time (ISO 8601; in UTC where it says no zone); empty is the last whole hour, so that a step
            that is run again soon looks at the same window.
        length: Such as ``6h`` or ``7d``.
        now: The present.

    Raises:
        ParameterError: Either cannot be read, or the length is nought.
    """
    last = _time(end) if end.strip() else now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    found = duration(length, "window")
    if not found:
        raise ParameterError(f"Parameter 'window' is {length!r}, which holds no row.", "Give one such as 7d.")
    return Window(last - found, last)


def duration(text: str, parameter: str) -> timedelta:
    """A time such as ``90s``, ``45m``, ``6h``, ``7d``, ``2w`` or ``1d12h``; empty is none at all.

    Raises:
        ParameterError: It is none. Names ``parameter``.
    """
    parts = re.findall(r"(\d+)([smhdw])", text.strip())
    if "".join(f"{number}{unit}" for number, unit in parts) != text.strip():
        raise ParameterError(
            f"Parameter {parameter!r} is {text!r}, which is no length of time.",
            "Write it as 90m, 6h, 7d or 2w.",
        )
    try:
        return sum((timedelta(**{_UNITS[unit]: int(number)}) for number, unit in parts), timedelta())
    except OverflowError:
        raise ParameterError(f"Parameter {parameter!r} is {text!r}, which is too long.", "") from None


def _time(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ParameterError(
            f"Parameter 'window_end' is {text!r}, which is no time.", "Write it as 2026-11-20T06:00:00."
        ) from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
