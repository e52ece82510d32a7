"""``kfp-lifecycle schedule`` and ``schedules``."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from kfp_lifecycle.scripts.app import app
from tests.compiler.lint.cases import put
from tests.compiler.specs import changed
from tests.kfp_server import KfpServer
from tests.repositories import COMMAND

Call = Callable[..., Result]
DAILY = ["schedule", "small.yaml", "--cron", "0 0 2 * * *"]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "small.yaml").write_bytes(changed())
    (tmp_path / "other.yaml").write_bytes(changed(put("pipelineInfo/description", "Another.")))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KFP_LIFECYCLE_CONFIG", str(tmp_path / "config.yaml"))
    monkeypatch.delenv("CRON_SCHEDULE_TIMEZONE", raising=False)
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def double() -> Iterator[KfpServer]:
    with KfpServer() as server:
        yield server


@pytest.fixture
def call(double: KfpServer) -> Call:
    def invoke(*words: str) -> Result:
        return CliRunner().invoke(app, [*words, "--host", double.url])

    return invoke


def test_the_guides_example(double: KfpServer, call: Call) -> None:
    done = call(*DAILY, "-p", "text=churn")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0] == "small: cron 0 0 2 * * * (UTC)"
    assert "0:00 CET  in " in lines[1] or "CEST  in " in lines[1]
    assert lines[-1] == "Created."
    assert "Uploaded small " in done.stderr
    (item,) = double.state.recurring.values()
    assert (item["display_name"], item["status"]) == ("small", "ENABLED")
    assert item["runtime_config"]["parameters"] == {"text": "churn"}
    assert item["max_concurrency"] == "1"
    # The times are shown before anything is made.
    order = [f"{seen.method} {seen.path.partition('?')[0]}" for seen in double.seen]
    assert order.index("POST /apis/v2beta1/pipelines") > order.index("GET /apis/v2beta1/recurringruns")


def test_again_changed_and_under_another_name(double: KfpServer, call: Call) -> None:
    assert call(*DAILY).exit_code == 0
    assert call(*DAILY).stdout.splitlines()[-1] == "It is so already."
    assert call(*DAILY, "-p", "text=other").stdout.splitlines()[-1].startswith("Replaced;")
    assert call(*DAILY, "--name", "second").stdout.splitlines()[-1] == "Created."
    # The uploaded version stays the schedule's; another file is another version.
    assert (
        call("schedule", "other.yaml", "--cron", "0 0 2 * * *")
        .stdout.splitlines()[-1]
        .startswith("Replaced;")
    )
    assert {item["display_name"] for item in double.state.recurring.values()} == {"small", "second"}
    assert len(double.state.versions) == 2


def test_every_option_arrives(double: KfpServer, call: Call, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("text: from the file\n")
    options = ["--every", "1h30m", "--start", "2030-01-01T02:00", "--end", "2031-01-01", "--no-catchup"]
    options += ["--max-concurrency", "3", "--params", "params.yaml", "--experiment", "churn"]
    options += ["--pipeline-root", "gs://b/root", "--pipeline-version", "v1"]
    done = call("schedule", "small.yaml", *options)
    assert done.exit_code == 0, done.output
    (item,) = double.state.recurring.values()
    periodic = item["trigger"]["periodic_schedule"]
    assert periodic["interval_second"] == "5400"
    assert periodic["start_time"].startswith("2030-01-01T0")
    assert (item["no_catchup"], item["max_concurrency"]) == (True, "3")
    assert item["runtime_config"] == {"parameters": {"text": "from the file"}, "pipeline_root": "gs://b/root"}
    assert double.state.experiments[item["experiment_id"]]["display_name"] == "churn"
    assert [version["name"] for version in double.state.versions.values()] == ["v1"]


def test_a_dry_run_changes_nothing(double: KfpServer, call: Call) -> None:
    assert (
        call(*DAILY, "--dry-run").stdout.count("2:00:00") + call(*DAILY, "--dry-run").stdout.count("3:00:00")
        >= 3
    )
    assert all(seen.method == "GET" for seen in double.seen)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "neither --cron nor --every"),
        (["--cron", "0 0 2 * * *", "--every", "6h"], "both --cron and --every"),
        (["--cron", "0 2 * * *"], "Write '0 0 2 * * *'."),
        (["--cron", "0 0 0 30 2 *"], "never fires"),
        (["--every", "6"], "Write 6s"),
        (["--every", "0s"], "shorter than a second"),
        (["--every", "6h", "--start", "2031-01-01", "--end", "2030-01-01"], "before it starts"),
        (["--every", "6h", "--start", "soon"], "not a time"),
        (["--every", "6h", "--max-concurrency", "11"], "1 to 10"),
        (["--every", "6h", "--name", "nächtlich"], "printable ASCII"),
        (["--every", "6h", "-p", "txet=a"], "Did you mean 'text'"),
        (["--cron", "0 0 2 * * *", "--server-zone", "Europe/Berln"], "Did you mean 'Europe/Berlin'"),
    ],
)
def test_what_cannot_be_is_refused(double: KfpServer, call: Call, options: list[str], said: str) -> None:
    done = call("schedule", "small.yaml", *options)
    assert done.exit_code == 1
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert all(seen.method == "GET" for seen in double.seen)


def test_what_is_odd_about_it_is_said(double: KfpServer, call: Call) -> None:
    double.state.clock_ahead = timedelta(minutes=3)
    done = call(*DAILY, "--dry-run", "--start", "2026-01-01")
    assert "all are run at once, one after another" in done.stdout
    assert "ahead of this machine's" in done.stdout
    assert "it moves when summer time begins or ends" in done.stdout
    assert (
        "the last is run at once" in call(*DAILY, "--dry-run", "--start", "2026-01-01", "--no-catchup").stdout
    )
    double.state.clock_ahead = timedelta()
    assert "ahead" not in call("schedule", "small.yaml", "--cron", "0 0 * * * *", "--dry-run").stdout


def test_the_controllers_zone(double: KfpServer, call: Call) -> None:
    done = call(*DAILY, "--dry-run", "--server-zone", "Asia/Tokyo")
    assert done.stdout.startswith("small: cron 0 0 2 * * * (Asia/Tokyo)")
    assert "18:00:00 CET" in done.stdout or "19:00:00 CEST" in done.stdout
    done = call(*DAILY, "--dry-run", "--server-zone", "Europe/Paris")
    assert "summer time" not in done.stdout


def test_listed_paused_resumed_and_deleted(double: KfpServer, call: Call) -> None:
    assert "There is no schedule." in call("schedules", "list").stderr
    assert call(*DAILY).exit_code == 0
    (run_of,) = double.state.recurring
    double.state.fire(run_of)
    row = call("schedules", "list").stdout.splitlines()[-1]
    assert row.startswith("small      on")
    assert "cron 0 0 2 * * *" in row
    assert "PENDING" in row
    assert call("schedules", "pause", "small").stdout == "Paused small.\n"
    assert call("schedules", "pause", "small").stdout == "small was paused already.\n"
    assert "small      paused" in call("schedules", "list").stdout
    assert "It is paused: kfp-lifecycle schedules resume 'small'" in call(*DAILY).stdout
    assert call("schedules", "resume", "small").stdout == "Resumed small.\n"
    assert call("schedules", "resume", "small").stdout == "small is on already.\n"
    (found,) = json.loads(call("schedules", "list", "--json").stdout)["schedules"]
    assert (found["name"], found["enabled"], found["pipeline"]) == ("small", True, "small")
    assert len(found["next"]) == 3
    assert found["last_run"]["state"] == "PENDING"
    assert call("schedules", "delete", "small").stdout == f"Deleted small (cron 0 0 2 * * *, {run_of}).\n"
    assert not double.state.recurring
    done = call("schedules", "delete", "small")
    assert done.exit_code == 1
    assert "There is no schedule 'small'. There is no schedule at all." in done.stderr


def test_what_was_missed_is_not_run_unasked(double: KfpServer, call: Call) -> None:
    double.state.clock_ahead = timedelta(hours=-30)
    assert call("schedule", "small.yaml", "--every", "6h").exit_code == 0
    assert call("schedules", "pause", "small").exit_code == 0
    double.state.clock_ahead = timedelta()
    done = call("schedules", "resume", "small")
    assert done.exit_code == 1
    assert "5 times of 'small' have passed since" in done.stderr
    assert call("schedules", "resume", "small", "--catch-up").stdout == "Resumed small.\n"


def test_a_change_that_broke_off_is_shown_and_not_resumed(double: KfpServer, call: Call) -> None:
    assert call(*DAILY).exit_code == 0
    double.faults.answer(400, "DELETE ")
    assert call(*DAILY, "-p", "text=other").exit_code == 1
    assert "small: a change was broken off" in call("schedules", "list").stdout
    with double.state.lock:
        for item in double.state.recurring.values():
            item["status"] = "DISABLED"
    done = call("schedules", "resume", "small")
    assert "2 recurring runs 'small', none of them on" in done.stderr
    double.faults.clear()
    assert call("schedules", "delete", "small").stdout.count("Deleted small") == 2


def test_the_times_shown_again_are_those_that_it_has(double: KfpServer, call: Call) -> None:
    assert call("schedule", "small.yaml", "--every", "6h").exit_code == 0
    (item,) = double.state.recurring.values()
    item["created_at"] = "2026-01-01T01:11:11Z"
    again = call("schedule", "small.yaml", "--every", "6h").stdout
    assert again.count(":11:11 ") == 3
    other = call("schedule", "small.yaml", "--every", "6h", "--max-concurrency", "2").stdout
    assert other.count(":11:11 ") == 3


def test_paused_at_once_stays_paused_when_scheduled_again(double: KfpServer, call: Call) -> None:
    assert call(*DAILY).exit_code == 0
    assert call("schedules", "pause", "small").stdout == "Paused small.\n"
    again = call(*DAILY).stdout
    assert "It is so already. It is paused: kfp-lifecycle schedules resume" in again
    assert [item["status"] for item in double.state.recurring.values()] == ["DISABLED"]


def test_what_others_made_is_listed_with_what_it_means(double: KfpServer, call: Call) -> None:
    assert call(*DAILY).exit_code == 0
    (item,) = double.state.recurring.values()
    item |= {"description": "by hand", "trigger": {"cron_schedule": {"cron": "0 9 * * 1"}}}
    item["pipeline_version_reference"] = {"pipeline_id": item["pipeline_version_reference"]["pipeline_id"]}
    done = call("schedules", "list")
    assert "small (newest)" in done.stdout
    assert "small: Five fields are read as seconds first: '0 9 * * 1 *'." in done.stdout
    assert "kfp-lifecycle did not make" in call(*DAILY).stderr


def test_ctrl_c_says_how_to_go_on(double: KfpServer, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("kfp_lifecycle.runner.cluster.schedule_apply.apply", interrupted)
    done = call(*DAILY)
    assert done.exit_code == 130
    assert "Call it again: it takes up what was left." in done.stderr


@pytest.mark.server
def test_killed_as_a_process(double: KfpServer, call: Call, tmp_path: Path) -> None:
    """SIGKILL while the server takes its time over the deletion; the same call again puts it right."""
    assert call(*DAILY).exit_code == 0
    double.faults.delay(30, "DELETE ")
    words = [COMMAND, *DAILY, "-p", "text=other", "--host", double.url]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while len(double.state.recurring) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    double.faults.clear()
    assert sorted(item["status"] for item in double.state.recurring.values()) == ["DISABLED", "ENABLED"]
    done = call(*DAILY, "-p", "text=other")
    assert done.stdout.splitlines()[-1] == "Finished a change that was broken off."
    (item,) = double.state.recurring.values()
    assert (item["status"], item["runtime_config"]["parameters"]) == ("ENABLED", {"text": "other"})
