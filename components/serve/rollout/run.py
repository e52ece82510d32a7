"""The rollout itself: a smoke test, growing shares of the traffic, each with its guard, and a way back."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from kfp_lifecycle.components.serve.rollout.guard import Limits, fails_already, judge
from kfp_lifecycle.components.serve.rollout.readings import Window, window
from kfp_lifecycle.components.serve.rollout.smoke import Caller
from kfp_lifecycle.components.serve.rollout.target import Measurement, Release, Target
from kfp_lifecycle.components.shared.cancel import Cancelled, cancellable
from kfp_lifecycle.components.shared.errors import LifecycleError, ParameterError, RolloutError, redact
from kfp_lifecycle.components.shared.model_example import Example

log = logging.getLogger(__name__)

_LOOK_S = 1.0
_LOG_LINES = 15


@dataclass(frozen=True)
class Course:
    """How a rollout goes.

    Args:
        steps: Shares of the traffic in percent, growing; the last is 100.
        step_s: How long each is watched, in seconds.
        limits: What the candidate must keep to at each.
        ready_timeout_s: How long the new version may take to be ready, in seconds.
    """

    steps: tuple[int, ...] = (10, 50, 100)
    step_s: float = 60.0
    limits: Limits = field(default_factory=Limits)
    ready_timeout_s: float = 600.0

    def __post_init__(self) -> None:
        growing = all(low < high for low, high in zip((0, *self.steps), self.steps, strict=False))
        if not self.steps or not growing or self.steps[-1] != 100:
            raise ParameterError(
                f"Parameter 'canary_steps' is {list(self.steps)}.",
                "Give growing percentages that end with 100, such as [10, 50, 100].",
            )
        for name, value in (("step_seconds", self.step_s), ("ready_timeout", self.ready_timeout_s)):
            if value < 0:
                raise ParameterError(f"Parameter {name!r} is {value}.", "Give seconds, 0 or more.")


class Commit(Protocol):
    """What is to follow the traffic: the registry's alias. Done when all of it is the new version's."""

    def do(self) -> None:
        """Moves it; once more changes nothing."""

    def undo(self) -> None:
        """Moves it back, where :meth:`do` has moved it."""

    def failed(self, reason: str) -> None:
        """Keeps with the version why it was not rolled out. Raises nothing."""


@dataclass(frozen=True)
class Step:
    """One step of a rollout that was passed.

    Args:
        percent: The candidate's share of the traffic.
        candidate: What it did.
        stable: What the version before did since the rollout began; None where there is none.
        replayed: How many of the candidate's requests were recorded examples, sent for lack of others.
    """

    percent: int
    candidate: Window
    stable: Window | None
    replayed: int


@dataclass(frozen=True)
class Outcome:
    """A rollout that has succeeded.

    Args:
        version: The version that is served now.
        previous: The one before; None where nothing was served, the same where nothing was to be done.
        url: Where it is served.
        steps: The steps, in order; none where nothing was to be done.
    """

    version: str
    previous: str | None
    url: str
    steps: tuple[Step, ...]


def roll_out(
    target: Target,
    release: Release,
    example: Example,
    course: Course,
    commit: Commit,
    holder: str,
    pause: Callable[[float], None] = time.sleep,
) -> Outcome:
    """Gives a new version all traffic, step by step, or leaves everything as it was.

    Args:
        target: Where it is served.
        release: The new version.
        example: Its recorded examples.
        course: Steps and limits.
        commit: What follows the traffic.
        holder: Who does it, for another rollout that is kept out meanwhile.
        pause: Waits for some seconds.

    Raises:
        RolloutError: The version is not ready in time, answers wrongly, or breaks a limit; or another rollout
            is under way. Names the reason, what is served now and the last lines of the server's log.
        Cancelled: The run was cancelled; everything is as it was.
    """
    if not example.inputs:
        raise RolloutError(
            f"Version {release.version} of {release.name} has no input example to be tested with.",
            "Save the model with input_example=…",
        )
    with cancellable(), target.lock(holder):
        previous = target.current()
        with _way_back(target, release, previous, commit):
            log.info(
                "version %s of %s: starting beside %s", release.version, release.name, previous or "none"
            )
            target.start(release, course.ready_timeout_s)
            caller = Caller(target.address(), example)
            caller.check()
            steps = (
                () if previous == release.version else tuple(_steps(target, caller, course, previous, pause))
            )
            commit.do()
            target.promote()
    return Outcome(release.version, previous, target.endpoint, steps)


def _steps(
    target: Target,
    caller: Caller,
    course: Course,
    previous: str | None,
    pause: Callable[[float], None],
) -> Iterator[Step]:
    begun = target.measure()
    # Where nothing is served there is no traffic to share out.
    for percent in course.steps if previous is not None else (100,):
        before = target.measure()
        target.shift(percent)
        _watch(target, before, course, pause)
        step = _judged(target, caller, begun, before, course, percent)
        log.info("%d%%: %s", percent, describe(step))
        yield step


def _watch(target: Target, before: Measurement, course: Course, pause: Callable[[float], None]) -> None:
    """Lets the step's time pass, and ends it early where errors are too many already."""
    rest = course.step_s
    while rest > 0:
        pause(min(_LOOK_S, rest))
        rest -= _LOOK_S
        seen = window(before.candidate, target.measure().candidate)
        if reason := fails_already(seen, course.limits):
            raise RolloutError(f"{reason[0].upper()}{reason[1:]}.")


def _judged(
    target: Target, caller: Caller, begun: Measurement, before: Measurement, course: Course, percent: int
) -> Step:
    """The step, if it has passed; recorded examples are sent for what is missing of traffic."""
    missing = max(0, course.limits.min_requests - window(before.candidate, target.measure().candidate).judged)
    caller.replay(missing)
    now = target.measure()
    candidate = window(before.candidate, now.candidate)
    stable = window(begun.stable, now.stable) if now.stable or begun.stable else None
    if reason := judge(candidate, stable, course.limits):
        raise RolloutError(f"At {percent}% of the traffic, {reason}.")
    return Step(percent, candidate, stable, missing)


def describe(step: Step) -> str:
    """A step in a line."""
    seen = step.candidate
    replayed = f" ({step.replayed} recorded examples)" if step.replayed else ""
    times = "" if seen.p50 is None or seen.p99 is None else f", p50 {_ms(seen.p50)}, p99 {_ms(seen.p99)}"
    return f"{seen.requests} requests{replayed}, {seen.errors} failed{times}"


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.3g} ms"


@contextmanager
def _way_back(target: Target, release: Release, previous: str | None, commit: Commit) -> Iterator[None]:
    """Whatever fails in the block: alias and traffic are put back, and the error says how it stands."""
    try:
        yield
    except BaseException as error:
        reason = _reason(error)
        lines = _last_lines(target)
        log.warning("version %s of %s: rolling back: %s", release.version, release.name, reason)
        stands = _put_back(target, release, previous, commit, reason)
        if isinstance(error, Cancelled):
            raise Cancelled(f"{reason} {stands}") from error
        if not isinstance(error, LifecycleError):
            raise  # a bug: its traceback is what is needed
        commit.failed(reason)
        raise RolloutError(
            f"Version {release.version} of {release.name} was not rolled out: {reason} {stands}{lines}",
            error.fix,
        ) from error


def _reason(error: BaseException) -> str:
    if isinstance(error, LifecycleError):
        return error.problem
    return str(error) or type(error).__name__


def _put_back(target: Target, release: Release, previous: str | None, commit: Commit, reason: str) -> str:
    """Puts alias and traffic back; each even where the other fails. Says how it stands now."""
    failed = []
    for what, back in (("the alias", commit.undo), ("the traffic", lambda: target.roll_back(reason))):
        try:
            back()
        except Exception as error:
            failed.append(f"{what} could not be put back ({_reason(error)})")
    if failed:
        return f"Attention: {' and '.join(failed)}."
    if previous is None:
        return "Nothing is served, as before."
    if previous == release.version:
        return f"Version {previous} was served before and has all traffic still."
    return f"Version {previous} has all traffic again."


def _last_lines(target: Target) -> str:
    try:
        lines = target.logs().splitlines()[-_LOG_LINES:]
    except Exception as error:
        return f" (The server's log cannot be read: {_reason(error)})"
    text = " | ".join(line.strip() for line in lines if line.strip())
    return f" Last lines of its server: {redact(text)}" if text else ""
