"""One drift starts one retraining: what is under way is found, and what was begun is not begun again."""

import json
import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from kfp_lifecycle.components.monitor.history import History, Retraining, retraining_name
from kfp_lifecycle.components.monitor.message import Summary
from kfp_lifecycle.components.retrain.parameters import fill
from kfp_lifecycle.components.retrain.starters import ENDED, Started, Starter
from kfp_lifecycle.components.shared.errors import RetrainError
from kfp_lifecycle.components.shared.storage import fetch, is_remote

log = logging.getLogger(__name__)


#: For how long a step may be run again without a history, and finds the run that it has begun.
RETRY = timedelta(days=1)


@dataclass(frozen=True)
class Training:
    """What is to be run.

    Args:
        pipeline: Name of a released pipeline, with or without ``@version``, or the path or URI of a compiled
            file.
        parameters: Its parameters, with places for the window (:func:`.parameters.fill`).
        window: How far back the training data goes; nought is as far as the window does.
    """

    pipeline: str
    parameters: dict[str, Any]
    window: timedelta


@dataclass(frozen=True)
class Outcome:
    """The retraining that a window has led to.

    Args:
        run: The run; without an id where another step is just starting it.
        started: Whether this window began it, now or in an earlier attempt of this step.
    """

    run: Started
    started: bool


def retrain(
    summary: Summary, training: Training, starter: Starter, history: History | None, *, wait: bool = False
) -> Outcome:
    """Starts the retraining that a window has led to, unless one is under way.

    Args:
        summary: The window.
        training: What is to be run.
        starter: Where.
        history: Where retrainings are kept; None keeps none, and then only a run of the same window is found.
        wait: Whether to wait until the run is over.

    Raises:
        MonitorError: The history is damaged.
        ParameterError: The training's parameters cannot be filled in.
        RetrainError: The run cannot be started, or the one that was waited for has failed.
        StorageError: The history or the compiled file cannot be read or written.
    """
    parameters = fill(training.parameters, summary, training.window)
    name = retraining_name(summary.model, summary.version, summary.end)
    known: Retraining | None = None
    mine = Retraining(name, summary.model, summary.version, summary.end, datetime.now(UTC))
    if history is not None:
        begun = history.retrainings(summary.model)
        known = next((one for one in begun if one.name == name), None)
        mine = known or mine
        if (other := _under_way(begun, mine, starter, history)) is not None:
            return Outcome(other, started=False)
        history.keep(mine)
        if (earlier := _earlier(history, mine)) is not None:
            history.forget(mine)
            return Outcome(_run(earlier), started=False)
    # What is asked for the first time by the history, nobody has begun.
    run = starter.find(name, mine.asked - RETRY) if known or history is None else None
    if run is not None:
        log.info("the run %s of this window is there already: %s", run.run_id, run.state)
    else:
        with _taken_back(mine, history):
            run = _start(starter, name, training.pipeline, parameters)
        log.info("started %s: %s", run.run_id, run.link)
    return Outcome(_kept(run, mine, starter, history, wait), started=True)


def _under_way(
    begun: list[Retraining], mine: Retraining, starter: Starter, history: History
) -> Started | None:
    """Another retraining of the model that is not over; what has become of those before is kept."""
    for one in begun:
        if one.name == mine.name or one.state in ENDED or not one.run_id:
            continue
        run = replace(_run(one), state=starter.state(_run(one), one.asked))
        if run.state not in ENDED:
            log.info("the retraining %s is under way: %s", run.run_id, run.link)
            return run
        history.keep(replace(one, state=run.state))
    return None


def _earlier(history: History, mine: Retraining) -> Retraining | None:
    """Who asked at the same time, but before: of two steps at once, the second leaves it to the first."""
    for one in history.retrainings(mine.model):
        if one.name == mine.name:
            return None
        if one.state == "asked" and one.begun(mine.asked):
            log.info("the retraining %s is just being started", one.name)
            return one
    return None


@contextmanager
def _taken_back(mine: Retraining, history: History | None) -> Iterator[None]:
    """What could not be started was not begun: the next window's alarm may try again."""
    try:
        yield
    except BaseException:
        if history is not None:
            history.forget(mine)
        raise


def _run(one: Retraining) -> Started:
    return Started(one.run_id, one.link, one.state)


def _start(starter: Starter, name: str, pipeline: str, parameters: dict[str, Any]) -> Started:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "params.yaml"
        file.write_text(json.dumps(parameters), encoding="utf-8")  # JSON is YAML
        if is_remote(pipeline):
            compiled = Path(folder) / pipeline.rpartition("/")[2]
            pipeline = str(fetch(pipeline, compiled))
        return starter.start(name, pipeline, file)


def _kept(run: Started, mine: Retraining, starter: Starter, history: History | None, wait: bool) -> Started:
    """The run as it is now, or with ``wait`` as it has ended, kept in the history."""

    def keep(state: str) -> None:
        if history is not None:
            history.keep(replace(mine, run_id=run.run_id, link=run.link, state=state))

    keep(run.state)
    if wait and run.state not in ENDED:
        run = replace(run, state=starter.wait(run))
        keep(run.state)
    if wait and run.state == "failed":
        raise RetrainError(f"The retraining {run.run_id} has failed.", f"See {run.link}")
    return run
