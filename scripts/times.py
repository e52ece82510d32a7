"""Times and durations as people read them, by the clock of this machine."""

from datetime import datetime, timedelta


def local(time: datetime, seconds: bool = False) -> str:
    """``Mon 2026-11-23 03:00 CET``."""
    return f"{time.astimezone():%a %Y-%m-%d %H:%M{':%S' if seconds else ''} %Z}"


def short(time: datetime, now: datetime) -> str:
    """The day where it is another one, and the time: ``03:00``, ``Mon 03:00``, ``2026-11-23 03:00``."""
    there, here = time.astimezone(), now.astimezone()
    if there.date() == here.date():
        return f"{there:%H:%M}"
    return f"{there:%a %H:%M}" if abs(there - here) < timedelta(days=6) else f"{there:%Y-%m-%d %H:%M}"


def duration(seconds: float) -> str:
    """``12 s``, ``3 min 05 s``, ``2 h 10 min``, ``3 d 4 h``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def iso(time: datetime | None) -> str | None:
    """For JSON, in UTC."""
    from datetime import UTC

    return time.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z") if time else None
