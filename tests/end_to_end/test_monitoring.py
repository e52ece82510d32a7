"""The compiled pipeline ``monitoring`` on a laptop: both branches, and the exit handler."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.components.monitor.flights import flights, train_on
from tests.end_to_end.laptop import Laptop, Run
from tests.receivers import Webhook, webhook

pytestmark = [pytest.mark.e2e, pytest.mark.server]

#: Stands for the training, which tests/end_to_end/test_loop.py starts: quick, and it shows what it was given.
TRAINING = {"decision": "train {model} up to {window_end:%Y-%m-%d}"}


class Watched:
    """A laptop with January's model, and tables to look at."""

    def __init__(self, home: Path, table: Callable[[str], Any]) -> None:
        self.laptop = Laptop(home)
        rows = flights(table, [1, 7])
        january = rows.filter(pl.col("month") == 1).sample(fraction=1, shuffle=True, seed=1)
        train_on(january.head(10_000), home / "late")
        self.tables = {"january": january.tail(5_000), "july": rows.filter(pl.col("month") == 7).head(5_000)}
        for name, current in self.tables.items():
            current.drop("month").write_parquet(home / f"{name}.parquet")

    def look(self, current: str, hook: Webhook) -> Run:
        given = {
            "model": "late",
            "current": f"{current}.parquet",
            "history": "history",
            "training_pipeline": "record-decision",
            "training_parameters": json.dumps(TRAINING),
            "window_end": "2013-08-01",
            "alarms": "1",
            "alarm_windows": "1",
            "pictures": "false",
            "wait": "true",
            "webhook": "env:HOOK",
        }
        words = [word for name, value in given.items() for word in ("-p", f"{name}={value}")]
        return self.laptop.run("monitoring", *words, env={"HOOK": hook.url})


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory, table: Callable[[str], Any]) -> Watched:
    home = tmp_path_factory.mktemp("watched")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{home / 'mlflow.db'}")
        return Watched(home, table)


@pytest.fixture
def hook() -> Iterator[Webhook]:
    with webhook() as found:
        yield found


def states(run: Run) -> dict[str, str]:
    return {step["name"].rpartition("/")[2]: step["state"] for step in run.record["steps"]}


def test_a_steady_month_starts_nothing_and_the_run_says_why(watched: Watched, hook: Webhook) -> None:
    run = watched.look("january", hook)
    assert run.code == 0, run.terminal
    assert states(run) == {
        "monitor": "succeeded",
        "record-decision": "succeeded",
        "notify-2": "succeeded",
        "retrain": "skipped",
        "notify": "skipped",
        "notify-failure": "succeeded",
    }
    said = run.artifact("record-decision", "record").read_text()
    assert "not retrained" in said
    assert "has drifted" in said
    assert hook.told == []


def test_a_drifted_month_starts_one_training_and_tells_of_it(watched: Watched, hook: Webhook) -> None:
    run = watched.look("july", hook)
    assert run.code == 0, run.terminal
    found = states(run)
    assert (found["retrain"], found["notify"], found["notify-failure"]) == ("succeeded",) * 3
    assert (found["record-decision"], found["notify-2"]) == ("skipped",) * 2
    begun = run.step("retrain")["outputs"]
    assert begun["started"] is True
    record = json.loads((Path(begun["retraining_link"]) / "run.json").read_text())
    assert (record["state"], record["parameters"]["decision"]) == ("succeeded", "train late up to 2013-08-01")
    (told,) = hook.told
    assert (told["event"], told["model"]) == ("retraining", "late")
    assert told["drifted"]
    assert told["links"]["Retraining"] == begun["retraining_link"]
    assert Path(told["links"]["Report"].removeprefix("file://")).read_text().startswith("<!doctype html>")


def test_a_run_that_fails_is_told_of(watched: Watched, hook: Webhook) -> None:
    run = watched.look("juli", hook)
    assert run.code == 1
    assert states(run)["monitor"] == "failed"
    assert states(run)["notify-failure"] == "succeeded"
    (told,) = hook.told
    assert told["event"] == "failure"
    assert told["title"] == "monitoring of late has failed"
