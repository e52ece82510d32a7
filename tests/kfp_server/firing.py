"""The scheduled-workflow controller of the double: it fires recurring runs as KFP's own does.

After ``GetNextScheduledEpoch`` and its likes of the backend's ``crd/controller/scheduledworkflow/util``; cron
expressions are read in UTC, with six fields.
"""

from datetime import datetime, timedelta
from typing import Any

from croniter import croniter

from tests.kfp_server.state import State

#: It looks at every schedule this often.
RESYNC = timedelta(seconds=10)


class Controller:
    """Fires what is due whenever it looks; the clock is the state's, and is moved on by :meth:`run`."""

    def __init__(self, state: State) -> None:
        self.state = state
        #: What has fired: id of the recurring run, and the time that it was due.
        self.fired: list[tuple[str, datetime]] = []
        self._last: dict[str, datetime] = {}

    def run(self, duration: timedelta) -> None:
        """Lets time pass; it looks every ten seconds, where there is something to see."""
        end = self.state.now() + duration
        while (now := self.state.now()) < end:
            dues = [self._due(item, now) for item in self._enabled()]
            following = min((due for due in dues if due is not None), default=end)
            self.state.clock_ahead += min(max(following - now, RESYNC), end - now)
            self.look()

    def look(self) -> None:
        """Looks at every schedule once."""
        now = self.state.now()
        for item in self._enabled():
            due = self._due(item, now)
            if due is not None and due <= now:
                self.fired.append((item["recurring_run_id"], due))
                self._last[item["recurring_run_id"]] = due

    def _enabled(self) -> list[dict[str, Any]]:
        return [item for item in self.state.recurring.values() if item["status"] == "ENABLED"]

    def _due(self, item: dict[str, Any], now: datetime) -> datetime | None:
        ((kind, trigger),) = item["trigger"].items()
        start, end = _time(trigger.get("start_time")), _time(trigger.get("end_time"))
        last = self._last.get(item["recurring_run_id"]) or start or _time(item["created_at"])
        assert last is not None
        catchup = not item.get("no_catchup")
        if kind == "cron_schedule":
            return _cron(trigger["cron"], max(last, start or last), end, catchup, now)
        return _periodic(timedelta(seconds=int(trigger["interval_second"])), last, start, end, catchup, now)


def _cron(text: str, after: datetime, end: datetime | None, catchup: bool, now: datetime) -> datetime | None:
    times = croniter(text, after, ret_type=datetime, second_at_beginning=True)
    due: datetime = times.get_next()
    if end is not None and end < due:
        return None
    while not catchup:
        following = times.get_next()
        if following > now or (end is not None and following > end):
            break
        due = following
    return due


def _periodic(
    every: timedelta,
    last: datetime,
    start: datetime | None,
    end: datetime | None,
    catchup: bool,
    now: datetime,
) -> datetime | None:
    if start is not None and start > last:
        return start
    due = last + every
    if end is not None and end < due:
        return None
    if not catchup and now >= due + every:
        return min(now, end) if end is not None else now
    return due


def _time(text: Any) -> datetime | None:
    # Kubernetes keeps whole seconds.
    return datetime.fromisoformat(text).replace(microsecond=0) if text else None
