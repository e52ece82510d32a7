"""Makes a schedule what it should be: takes the steps of the plan, one after the other."""

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Any

from kfp_lifecycle.runner.cluster.cron import ScheduleError
from kfp_lifecycle.runner.cluster.schedule_plan import Action, Mark, Seen, Step, Wanted, new_call, next_step
from kfp_lifecycle.runner.cluster.schedules import (
    Schedule,
    delete,
    has_run,
    list_schedules,
    read_schedule,
    server_clock,
    switch,
)
from kfp_lifecycle.runner.cluster.trigger import Trigger

if TYPE_CHECKING:
    from kfp_lifecycle.runner.cluster.connect import Server

#: What the server's tables hold of a name.
_MOST_NAME = 128
_MAX_CONCURRENCY = 10
#: No plan takes as many steps, unless two calls undo each other's.
_MOST_STEPS = 30
#: So near to one of its times a schedule is not replaced: the controller looks every ten seconds, and both
#: the old one and the new one, or neither, would run it.
_QUIET = timedelta(seconds=20)

#: Told of each step: the action, and the recurring run's id.
Notify = Callable[[Action, str], None]


@dataclass(frozen=True)
class Definition:
    """A schedule as it should be.

    Args:
        name: By which it is found again.
        pipeline: What runs, for people: ``training 1.0.0``.
        pipeline_id: The pipeline on the server.
        version_id: Its version, which stays the same whatever is uploaded later.
        trigger: When.
        parameters: Of its runs.
        max_concurrency: How many of its runs may go on at once, 1 to 10.
        experiment_id: Where its runs go.
        service_account: Of its runs; empty for the server's default.
        pipeline_root: Where its runs write; empty for the server's default.
        paused: Whether it is to be there, but not to fire.
    """

    name: str
    pipeline: str
    pipeline_id: str
    version_id: str
    trigger: Trigger
    parameters: Mapping[str, Any] = field(default_factory=dict)
    max_concurrency: int = 1
    experiment_id: str = ""
    service_account: str = ""
    pipeline_root: str = ""
    paused: bool = False

    @property
    def digest(self) -> str:
        """Of everything that makes two schedules differ; not of whether it is paused."""
        about = {
            "version": [self.pipeline_id, self.version_id],
            "trigger": self.trigger.identity(),
            "parameters": dict(self.parameters),
            "max_concurrency": self.max_concurrency,
            "experiment": self.experiment_id,
            "service_account": self.service_account,
            "pipeline_root": self.pipeline_root,
        }
        return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Applied:
    """What has come of it.

    Args:
        schedule: As it is now.
        actions: What was done, in order; empty where it was as it should be.
    """

    schedule: Schedule
    actions: tuple[Action, ...]

    @property
    def replaced(self) -> bool:
        """Whether it took another's place."""
        return Action.CREATE in self.actions and Action.DELETE in self.actions


def check_definition(name: str, max_concurrency: int) -> None:
    """Sees to it that the server will take a schedule of that name.

    Raises:
        ScheduleError: The name or the concurrency is out of bounds.
    """
    if not name.strip() or name != name.strip() or not name.isascii() or not name.isprintable():
        raise ScheduleError(f"{name!r} is no name for a schedule.", "Use printable ASCII characters.")
    if len(name) > _MOST_NAME:
        raise ScheduleError(
            f"The schedule's name has {len(name)} characters.", f"Use at most {_MOST_NAME} characters."
        )
    if not 1 <= max_concurrency <= _MAX_CONCURRENCY:
        raise ScheduleError(
            f"max_concurrency is {max_concurrency}.", f"KFP allows 1 to {_MAX_CONCURRENCY} runs at once."
        )


def apply(
    server: "Server",
    definition: Definition,
    notify: Notify | None = None,
    wait: Callable[[float, datetime], None] = lambda seconds, until: time.sleep(seconds),
) -> Applied:
    """Makes the schedule so: creates it, replaces it, or leaves it as it is.

    Called again after a crash at any point, it takes up what was left. A schedule that somebody has paused
    stays paused, and so does one that replaces it.

    Args:
        server: Where.
        definition: What it should be.
        notify: Told of each step.
        wait: Waits so many seconds where one of the schedule's times is too near, the second argument.

    Raises:
        ScheduleError: It would never fire, another call changes it at the same time, or a recurring run of
            that name is not one of ours.
        ServerError: The server refuses, or does not answer.
    """
    check_definition(definition.name, definition.max_concurrency)
    work = _Work(server, definition, notify or (lambda *_: None), wait)
    definition.trigger.check(work.now())
    return work.run()


class _Work:
    """One call at work."""

    def __init__(
        self,
        server: "Server",
        definition: Definition,
        notify: Notify,
        wait: Callable[[float, datetime], None],
    ) -> None:
        self._server, self._definition, self._notify, self._wait = server, definition, notify, wait
        self._zone: tzinfo | None = definition.trigger.cron.zone if definition.trigger.cron else None
        self._waited = False
        self._schedules: list[Schedule] = []
        self._wanted = Wanted(
            definition.digest,
            definition.paused,
            has_run=self._has_run,
            passed=self._has_passed,
            call=new_call(),
        )

    def now(self) -> datetime:
        """The server's time."""
        return server_clock(self._server).now

    def run(self) -> Applied:
        """Takes steps until there is none left to take."""
        done: list[Action] = []
        for _ in range(_MOST_STEPS):
            self._schedules = schedules = self._look()
            step = next_step([_seen(one) for one in schedules], self._wanted)
            if step.action is Action.DONE:
                assert step.target is not None
                return Applied(next(one for one in schedules if one.id == step.target.id), tuple(done))
            if step.action is Action.CREATE and schedules and not self._waited:
                # Afterwards there may be others.
                self._waited = True
                if self._let_pass(schedules):
                    continue
            self._take(step, schedules)
            done.append(step.action)
        raise ScheduleError(
            f"The schedule {self._definition.name!r} keeps changing.",
            "Another call changes it all the time. Call again when it has ended.",
        )

    def _look(self) -> list[Schedule]:
        found = list_schedules(self._server, self._definition.name, *([self._zone] if self._zone else []))
        if foreign := [one for one in found if one.mark is None]:
            raise ScheduleError(
                f"There is a recurring run {self._definition.name!r} that kfp-lifecycle did not make "
                f"({foreign[0].id}).",
                f"Choose another --name, or delete it: kfp-lifecycle schedules delete {foreign[0].id}.",
            )
        return found

    def _has_run(self, id: str) -> bool:  # noqa: A002
        return has_run(self._server, next(one for one in self._schedules if one.id == id))

    def _has_passed(self, id: str) -> bool:  # noqa: A002
        found = next(one for one in self._schedules if one.id == id)
        trigger = found.trigger.since(found.created, found.created) if found.trigger else None
        return trigger is not None and trigger.passed(found.created, self.now()) > 0

    def _let_pass(self, schedules: Sequence[Schedule]) -> bool:
        """Waits until no time of the old one or the new one is near; whether it had to."""
        now = self.now()
        triggers = [one.trigger for one in schedules if one.enabled and one.trigger]
        if not self._definition.paused:
            triggers.append(self._definition.trigger)
        near = _near(triggers, schedules[-1].created, now)
        if near is None:
            return False
        self._wait((near + _QUIET - now).total_seconds(), near)
        return True

    def _take(self, step: Step, schedules: Sequence[Schedule]) -> None:
        target = next((one for one in schedules if step.target and one.id == step.target.id), None)
        if step.action is Action.CREATE:
            assert step.mark is not None
            made = self._create(step.mark, schedules)
            self._wanted = self._wanted.with_made(made)
            self._notify(step.action, made)
            return
        assert target is not None
        if step.action is Action.DELETE:
            delete(self._server, target)
        else:
            switch(self._server, target, step.action is Action.ENABLE)
        self._notify(step.action, target.id)

    def _create(self, mark: Mark, schedules: Sequence[Schedule]) -> str:
        api = self._server.client.recurring_runs
        trigger = self._definition.trigger
        if schedules:
            # Nothing that has passed by now is run: what it replaces has run that, or was to.
            trigger = _later(trigger, schedules, self.now())
        body = _body(self._server, self._definition, mark, trigger)

        def made_by_us() -> Any:
            found = [one for one in self._look() if one.mark and one.mark.call == mark.call]
            wanted = [one for one in found if one.mark and one.mark.generation == mark.generation]
            return wanted[0] if wanted else None

        found = self._server.create(
            made_by_us,
            lambda: read_schedule(api.recurring_run_service_create_recurring_run(body)),
            what=f"create the schedule {self._definition.name!r}",
        )
        return str(found.id)


def _seen(schedule: Schedule) -> Seen:
    assert schedule.mark is not None
    return Seen(schedule.id, schedule.mark, schedule.enabled)


def _near(triggers: Sequence[Trigger], created: datetime, now: datetime) -> datetime | None:
    """A time of these that is just over or about to come; None where they fire too often for a gap."""
    for trigger in triggers:
        after = trigger.next_times(created, now - _QUIET, 2)
        if len(after) == 2 and after[1] - after[0] < 4 * _QUIET:
            continue
        if after and after[0] <= now + _QUIET:
            return after[0]
    return None


def beat(trigger: Trigger, schedules: Sequence[Schedule]) -> datetime | None:
    """Since when an interval counts that stays as it is in the newest of ``schedules``; None for others."""
    old = schedules[-1].trigger if schedules else None
    if not trigger.every or trigger.start or old is None or old.every != trigger.every:
        return None
    return old.start or schedules[-1].created


def _later(trigger: Trigger, schedules: Sequence[Schedule], now: datetime) -> Trigger:
    """The trigger without what has passed; an interval that stays the same keeps the beat of the old one."""
    if since := beat(trigger, schedules):
        trigger = replace(trigger, start=since)
    return trigger.since(now, now) if trigger.start else trigger


def _body(server: "Server", definition: Definition, mark: Mark, trigger: Trigger) -> Any:
    """The recurring run to create: off, until it is alone."""
    import kfp_server_api as api

    schedule: dict[str, Any] = {"start_time": trigger.start, "end_time": trigger.end}
    if trigger.cron:
        when = api.V2beta1Trigger(cron_schedule=api.V2beta1CronSchedule(cron=trigger.cron.text, **schedule))
    else:
        periodic = api.V2beta1PeriodicSchedule(interval_second=str(trigger.every), **schedule)
        when = api.V2beta1Trigger(periodic_schedule=periodic)
    return api.V2beta1RecurringRun(
        display_name=definition.name,
        description=mark.describe(f"{definition.pipeline}, {definition.trigger.text}"),
        pipeline_version_reference=api.V2beta1PipelineVersionReference(
            pipeline_id=definition.pipeline_id, pipeline_version_id=definition.version_id
        ),
        runtime_config=api.V2beta1RuntimeConfig(
            parameters=dict(definition.parameters), pipeline_root=definition.pipeline_root or None
        ),
        service_account=definition.service_account or None,
        max_concurrency=str(definition.max_concurrency),
        trigger=when,
        mode=api.RecurringRunMode.DISABLE,
        no_catchup=not trigger.catchup,
        namespace=server.namespace or None,
        experiment_id=definition.experiment_id or None,
    )
