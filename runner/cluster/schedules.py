"""Schedules on a server: recurring runs, found by name, looked at, switched, deleted."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from kfp_lifecycle.components.shared.errors import did_you_mean
from kfp_lifecycle.runner.cluster.cron import Cron, ScheduleError, lenient_cron
from kfp_lifecycle.runner.cluster.errors import NotFoundError
from kfp_lifecycle.runner.cluster.schedule_plan import Mark
from kfp_lifecycle.runner.cluster.trigger import Trigger
from kfp_lifecycle.runner.cluster.versions import equals

if TYPE_CHECKING:
    from kfp_server_api import V2beta1RecurringRun

    from kfp_lifecycle.runner.cluster.connect import Server

_PAGE = 100
#: Clocks that are less apart than this, in seconds, are as good as alike.
SKEW_S = 5.0


@dataclass(frozen=True)
class Schedule:
    """A recurring run as the server shows it.

    Args:
        id: Its id.
        name: Its name; not unique on the server.
        enabled: Whether it fires.
        trigger: When; None where it cannot be read.
        trigger_text: When, in words.
        note: What is wrong with when it fires; empty where nothing is.
        mark: What its description says, if this library made it.
        created: When.
        max_concurrency: How many of its runs may go on at once.
        parameters: The parameters of its runs.
        experiment_id: Where its runs go.
        pipeline_id: Its pipeline; empty where the specification is its own.
        version_id: The pipeline's version; empty where that is always the newest.
    """

    id: str
    name: str
    enabled: bool
    trigger: Trigger | None
    trigger_text: str
    note: str
    mark: Mark | None
    created: datetime
    max_concurrency: int
    parameters: dict[str, Any]
    experiment_id: str
    pipeline_id: str
    version_id: str

    def next_times(self, now: datetime, count: int = 3) -> list[datetime]:
        """When it would fire next, were it on."""
        return self.trigger.next_times(self.created, now, count) if self.trigger else []


@dataclass(frozen=True)
class Clock:
    """The server's clock.

    Args:
        now: Its time.
        ahead_s: How many seconds it is ahead of this machine's.
    """

    now: datetime
    ahead_s: float

    @property
    def skew(self) -> str:
        """What to say where the clocks differ; empty where they do not."""
        if abs(self.ahead_s) < SKEW_S:
            return ""
        apart = timedelta(seconds=round(abs(self.ahead_s)))
        side = "ahead of" if self.ahead_s > 0 else "behind"
        return f"The server's clock is {apart} {side} this machine's; schedules go by the server's."


def server_clock(server: "Server") -> Clock:
    """The server's time, from the Date header of an answer; exact to about a second."""
    before = datetime.now(UTC)
    # kfp's client passes on only what gives the body alone.
    api = server.client.healthzs.healthz_service_get_healthz.__self__
    ask = api.healthz_service_get_healthz_with_http_info
    _, _, headers = server.call(ask, what="ask for the server's time")
    after = datetime.now(UTC)
    try:
        # The header has no fraction of a second: half of one on average.
        stated = parsedate_to_datetime(headers["Date"]).astimezone(UTC) + timedelta(seconds=0.5)
    except (KeyError, TypeError, ValueError):
        return Clock(after, 0.0)
    ahead = (stated - (before + (after - before) / 2)).total_seconds()
    return Clock(after + timedelta(seconds=ahead if abs(ahead) >= 1 else 0), ahead)


def list_schedules(server: "Server", name: str = "", zone: tzinfo = UTC) -> list[Schedule]:
    """The schedules, by name and then by age; with ``name``, those of that name.

    Raises:
        ServerError: The server refuses, or does not answer.
    """
    found = [read_schedule(item, zone) for item in _pages(server, name)]
    # MySQL compares names without regard to case.
    found = [one for one in found if not name or one.name == name]
    return sorted(found, key=lambda one: (one.name, one.created, one.id))


def find_schedules(server: "Server", name: str, zone: tzinfo = UTC) -> list[Schedule]:
    """The recurring runs of a schedule, by its name or by the id of one of them.

    Raises:
        ScheduleError: There is none.
        ServerError: The server refuses, or does not answer.
    """
    found = list_schedules(server, name, zone)
    if found:
        return found
    try:
        get = server.client.recurring_runs.recurring_run_service_get_recurring_run
        return [read_schedule(server.call(get, name, what=f"look at the schedule {name!r}"), zone)]
    except NotFoundError:
        names = {one.name for one in list_schedules(server)}
        fix = did_you_mean(name, names) or "There is no schedule at all."
        raise ScheduleError(f"There is no schedule {name!r}.", fix) from None


def switch(server: "Server", schedule: Schedule, on: bool) -> bool:
    """Switches a recurring run on or off.

    Returns:
        False where it is gone.
    """
    api = server.client.recurring_runs
    act = (
        api.recurring_run_service_enable_recurring_run
        if on
        else api.recurring_run_service_disable_recurring_run
    )
    try:
        server.call(act, schedule.id, what=f"{'enable' if on else 'disable'} the schedule {schedule.name!r}")
    except NotFoundError:
        return False
    return True


def delete(server: "Server", schedule: Schedule) -> bool:
    """Deletes a recurring run; its runs go on.

    Returns:
        False where it was gone already.
    """
    remove = server.client.recurring_runs.recurring_run_service_delete_recurring_run
    try:
        # Else Kubernetes takes the workflows that it owns along, and with them what is training just now.
        server.call(
            remove, schedule.id, propagation_policy="ORPHAN", what=f"delete the schedule {schedule.name!r}"
        )
    except NotFoundError:
        return False
    return True


def last_runs(server: "Server", schedules: Sequence[Schedule], most: int = 400) -> dict[str, Any]:
    """The newest run of each schedule, among the newest ``most`` runs: recurring run's id to run."""
    wanted, found = {one.id for one in schedules}, dict[str, Any]()
    if not wanted:
        return found
    for run in _newest_runs(server, min(one.created for one in schedules), most):
        if run.recurring_run_id in wanted:
            found.setdefault(run.recurring_run_id, run)
        if len(found) == len(wanted):
            break
    return found


def has_run(server: "Server", schedule: Schedule) -> bool:
    """Whether a schedule has ever started a run, however many others there have been since."""
    return bool(last_runs(server, [schedule], most=sys.maxsize))


def _newest_runs(server: "Server", since: datetime, most: int) -> Iterator[Any]:
    token, seen = "", 0
    while seen < most:
        answer = server.call(
            server.client.runs.run_service_list_runs,
            what="list runs",
            page_token=token,
            page_size=_PAGE,
            sort_by="created_at desc",
            namespace=server.namespace or None,
        )
        for run in answer.runs or []:
            if run.created_at < since:
                return
            yield run
            seen += 1
        token = answer.next_page_token or ""
        if not token:
            return


def _pages(server: "Server", name: str) -> Iterator["V2beta1RecurringRun"]:
    token = ""
    while True:
        answer = server.call(
            server.client.recurring_runs.recurring_run_service_list_recurring_runs,
            what="list schedules",
            page_token=token,
            page_size=_PAGE,
            sort_by="created_at asc",
            filter=equals("display_name", name) if name else None,
            namespace=server.namespace or None,
        )
        yield from answer.recurring_runs or []
        token = answer.next_page_token or ""
        if not token:
            return


def read_schedule(item: "V2beta1RecurringRun", zone: tzinfo = UTC) -> Schedule:
    """A recurring run of the API as a :class:`Schedule`."""
    trigger, text, note = _trigger(item, zone)
    reference = item.pipeline_version_reference
    return Schedule(
        id=item.recurring_run_id,
        name=item.display_name or "",
        enabled=item.status == "ENABLED",
        trigger=trigger,
        trigger_text=text,
        note=note,
        mark=Mark.read(item.description),
        created=item.created_at or datetime.fromtimestamp(0, UTC),
        max_concurrency=int(item.max_concurrency or 1),
        parameters=dict((item.runtime_config and item.runtime_config.parameters) or {}),
        experiment_id=item.experiment_id or "",
        pipeline_id=(reference.pipeline_id if reference else "") or "",
        version_id=(reference.pipeline_version_id if reference else "") or "",
    )


def _trigger(item: "V2beta1RecurringRun", zone: tzinfo) -> tuple[Trigger | None, str, str]:
    """When a recurring run fires, whoever made it; what cannot be read is shown as it is."""
    catchup = not item.no_catchup
    given = item.trigger
    if given is not None and given.periodic_schedule is not None:
        every = given.periodic_schedule
        trigger = Trigger(None, int(every.interval_second or 1), every.start_time, every.end_time, catchup)
        return trigger, trigger.text, ""
    if given is None or given.cron_schedule is None:
        return None, "never", "It has no trigger."
    schedule = given.cron_schedule
    text = f"cron {schedule.cron}"
    try:
        cron: Cron = lenient_cron(schedule.cron or "", zone)
    except ScheduleError as error:
        return None, text, error.problem
    note = ""
    if len((schedule.cron or "").split()) == 5:
        note = f"Five fields are read as seconds first: '{cron.text}'."
    return Trigger(cron, 0, schedule.start_time, schedule.end_time, catchup), text, note
