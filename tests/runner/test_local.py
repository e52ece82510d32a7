"""Whole runs of small compiled pipelines: what is executed, reported and written."""

import builtins
import contextlib
import json
import logging
import os
import subprocess
import sys
import tempfile
import threading
import warnings
from pathlib import Path
from typing import Any

import pytest
from kfp import dsl

from kfp_lifecycle.components.shared.errors import StorageError
from kfp_lifecycle.runner.errors import PipelineFileError
from kfp_lifecycle.runner.events import Event, EventKind, RunResult, State, Step
from kfp_lifecycle.runner.load import load
from kfp_lifecycle.runner.local import run
from tests.runner.components import (
    environment,
    fail,
    fail_until,
    final,
    make,
    one_list,
    register,
    report,
    say,
    shown,
    take,
    untidy,
)
from tests.runner.conftest import Compile, Run


def step(result: RunResult, name: str) -> Step:
    return next(step for step in result.steps if step.name == name)


def states(result: RunResult) -> dict[str, str]:
    return {step.name: str(step.state) for step in result.steps}


@dsl.pipeline
def chain(text: str = "a") -> str:
    return take(data=make(text=text).outputs["data"]).output


@dsl.pipeline
def failing(how: str):
    broken = fail(how=how).after(say(text="first"))
    say(text="last").after(broken)


def test_a_run_gives_states_times_outputs_and_artifacts(run_it: Run, here: Path) -> None:
    result = run_it(chain, "text=hello")

    assert result.state is State.SUCCEEDED
    assert result.exit_code == 0
    assert states(result) == {"make": "succeeded", "take": "succeeded"}
    assert all(step.seconds and step.started and step.exit_code == 0 for step in result.steps)
    [artifact] = step(result, "make").artifacts
    assert artifact.type == "system.Dataset"
    assert Path(artifact.uri).read_text() == "hello"
    assert result.outputs["Output"].startswith("hello ")
    assert result.parameters == {"text": "hello"}


def test_metadata_travels_with_an_artifact_and_whole_numbers_stay_whole(run_it: Run) -> None:
    result = run_it(chain)

    assert step(result, "make").artifacts[0].metadata == {
        "rows": 7043,
        "share": 0.5,
        "nested": {"numbers": [1, 2.5]},
    }
    assert result.outputs["Output"] == (
        "a [('nested', {'numbers': [1, 2.5]}), ('rows', 7043), ('share', 0.5)]"
    )


def test_whole_numbers_in_lists_and_mappings_reach_a_step_whole(run_it: Run) -> None:
    @dsl.pipeline
    def numbers(numbers: list, mapping: dict = {"depth": 5}):  # noqa: B006 - KFP's own way
        shown(numbers=numbers, mapping=mapping, number=2.0)

    result = run_it(numbers, "numbers=[200, 0.5, {a: [1]}]")

    assert step(result, "shown").outputs["Output"] == "([200, 0.5, {'a': [1]}], {'depth': 5}, 2.0)"


@pytest.mark.parametrize(
    "text",
    [
        "python3 -m pip",
        "/usr/bin/python3",
        "{{$.inputs.parameters['x']}}",
        "{{$}}",
        "{{$.pipeline_job_uuid}}",
        "a {{b}} $c",
        'it\'s "quoted"',
        "two\nlines",
        "Grüße 日本 🎉",
        "",
        "x" * 60_000,
    ],
)
def test_a_text_reaches_every_step_as_it_is(text: str, run_it: Run) -> None:
    @dsl.pipeline
    def twice(text: str) -> str:
        return say(text=say(text=text).output).output

    result = run_it(twice, f"text={text}")

    assert result.outputs == {"Output": text}
    assert [step.outputs for step in result.steps] == [{"Output": text}] * 2
    assert result.parameters == {"text": text}


def test_the_run_knows_itself(run_it: Run) -> None:
    """The placeholders that a cluster fills in, as constants in the compiled file."""

    @dsl.pipeline
    def itself(text: str = "a"):
        for placeholder in (
            dsl.PIPELINE_JOB_ID_PLACEHOLDER,
            dsl.PIPELINE_JOB_NAME_PLACEHOLDER,
            dsl.PIPELINE_JOB_RESOURCE_NAME_PLACEHOLDER,
            dsl.PIPELINE_JOB_CREATE_TIME_UTC_PLACEHOLDER,
            dsl.PIPELINE_JOB_SCHEDULE_TIME_UTC_PLACEHOLDER,
        ):
            say(text=placeholder)
        say(text=f"{text} in {dsl.PIPELINE_JOB_ID_PLACEHOLDER}")

    result = run_it(itself)

    outputs = [step(result, f"say{n}").outputs["Output"] for n in ("", "-2", "-3", "-4", "-5", "-6")]
    assert outputs[:3] == [result.run_id] * 3
    assert outputs[3] == outputs[4] == f"{result.started:%Y-%m-%dT%H:%M:%SZ}"
    assert outputs[5] == f"a in {result.run_id}"


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("raise", "ValueError: the first line"),
        ("declared", "SourceError: data/none.csv does not exist. Correct the path."),
        ("kill", "It was killed by SIGKILL, as when the machine runs out of memory."),
        ("exit", "It ended with exit code 3 and printed nothing."),
    ],
)
def test_a_failure_says_which_step_why_and_where(how: str, said: str, run_it: Run) -> None:
    result = run_it(failing, f"how={how}")

    assert (result.state, result.exit_code) == (State.FAILED, 1)
    assert states(result) == {"say": "succeeded", "fail": "failed", "say-2": "not run"}
    assert result.failed_step is step(result, "fail")
    assert result.error == step(result, "fail").error == said
    log = step(result, "fail").log
    assert log is not None
    assert log == result.output_dir / "logs" / "02-fail.log"
    assert how in log.read_text()  # the whole log: KFP prints the inputs first


def test_a_flood_of_output_is_kept_and_costs_nothing(run_it: Run) -> None:
    result = run_it(failing, "how=flood")

    log = step(result, "fail").log
    assert log is not None
    assert log.stat().st_size > 100_000_000
    assert result.state is State.FAILED
    log.unlink()


def test_output_that_is_no_text_and_ends_nowhere_is_kept(run_it: Run) -> None:
    result = run_it(failing, "how=bytes")

    log = step(result, "fail").log
    assert log is not None
    assert log.read_bytes().endswith(b"\xff\xfe no newline \xe4")
    assert result.error == "�� no newline �"


def test_a_retry_begins_afresh_and_is_told(run_it: Run, here: Path) -> None:
    @dsl.pipeline
    def retried(folder: str):
        fail_until(attempt=3, folder=folder).set_retry(4, backoff_duration="0s")

    events: list[Event] = []
    result = run_it(retried, f"folder={here}", observers=[events.append])

    found = step(result, "fail-until")
    assert (found.state, found.attempts, found.retries) == (State.SUCCEEDED, 3, 4)
    assert (found.error, found.outputs) == ("", {"Output": "attempt 3"})
    assert [event.text for event in events if event.kind is EventKind.STEP_RETRIED] == [
        "attempt 1 of 5 failed; the next in 0 s",
        "attempt 2 of 5 failed; the next in 0 s",
    ]
    assert found.log is not None
    assert "--- attempt 3 of 5 ---" in found.log.read_text()


def test_an_attempt_does_not_see_what_the_one_before_it_left(run_it: Run, here: Path) -> None:
    @dsl.pipeline
    def retried(folder: str):
        untidy(folder=folder).set_retry(1, backoff_duration="0s")

    assert run_it(retried, f"folder={here}").state is State.SUCCEEDED


@dsl.pipeline
def branches(which: str = "a"):
    with dsl.If(which == "a"):
        say(text="first")
    with dsl.Else():
        say(text="second")


def test_the_branch_whose_condition_does_not_hold_is_skipped(run_it: Run) -> None:
    assert states(run_it(branches)) == {"say": "succeeded", "say-2": "skipped"}


def test_a_condition_that_kfp_cannot_evaluate_fails_the_run(run_it: Run) -> None:
    """Where kfp.local alone would skip both branches and report success."""
    result = run_it(branches, "which=it's")

    assert result.state is State.FAILED
    assert "cannot be evaluated locally" in result.error
    assert set(states(result).values()) == {"not run"}


def test_such_a_condition_inside_a_loop_fails_the_run_too(run_it: Run) -> None:
    @dsl.pipeline
    def pipeline(items: list):
        with dsl.ParallelFor(items) as item, dsl.If(item == "a"):
            say(text="held")

    result = run_it(pipeline, """items=["a", "it's"]""")

    assert result.state is State.FAILED
    assert "cannot be evaluated locally" in result.error


def test_every_item_of_a_loop_is_a_step_of_its_own(run_it: Run) -> None:
    @dsl.pipeline
    def loop():
        with dsl.ParallelFor(one_list().output) as item:
            take(data=make(text=item).outputs["data"])

    result = run_it(loop)

    assert sorted(states(result)) == ["make #1", "make #2", "one-list", "take #1", "take #2"]
    assert set(states(result).values()) == {"succeeded"}
    for number, text in ((1, "a"), (2, "b")):
        [artifact] = step(result, f"make #{number}").artifacts
        assert Path(artifact.uri).read_text() == text
        assert step(result, f"take #{number}").outputs["Output"].startswith(f"{text} ")
    logs = {step.log for step in result.steps}
    assert len(logs) == 5


def test_a_failure_inside_a_loop_fails_the_run(run_it: Run) -> None:
    @dsl.pipeline
    def loop():
        with dsl.ParallelFor(["raise", "declared"]) as item:
            fail(how=item)

    result = run_it(loop)

    assert result.state is State.FAILED
    assert step(result, "fail #1").error == "ValueError: the first line"


def test_a_loop_without_items_is_skipped(run_it: Run) -> None:
    @dsl.pipeline
    def loop(items: list):
        with dsl.ParallelFor(items) as item:
            say(text=item)

    assert states(run_it(loop, "items=[]")) == {"say": "skipped"}


def test_an_exit_handler_runs_after_a_failure(run_it: Run) -> None:
    @dsl.pipeline
    def handled():
        with dsl.ExitHandler(final()):
            fail(how="raise")

    result = run_it(handled)

    assert result.state is State.FAILED
    assert states(result) == {"fail": "failed", "final": "succeeded"}
    assert step(result, "final").outputs == {"Output": "FAILED"}


def test_an_importer_is_a_step_without_a_log(run_it: Run, here: Path) -> None:
    (here / "data.txt").write_text("imported")

    @dsl.pipeline
    def importing(uri: str):
        data = dsl.importer(artifact_uri=uri, artifact_class=dsl.Dataset)
        take(data=data.output)

    result = run_it(importing, f"uri={here / 'data.txt'}")

    assert step(result, "importer").log is None
    assert step(result, "importer").artifacts[0].uri == str(here / "data.txt")
    assert step(result, "take").outputs["Output"].startswith("imported")


def test_nested_pipelines_are_named_by_their_place(run_it: Run) -> None:
    @dsl.pipeline
    def nested():
        first = chain(text="1")
        chain(text="2").after(first)

    result = run_it(nested)

    assert list(states(result)) == ["chain / make", "chain / take", "chain-2 / make", "chain-2 / take"]
    outputs = [step.outputs.get("Output", "")[:1] for step in result.steps]
    assert outputs == ["", "1", "", "2"]
    assert step(result, "chain-2 / take").log == result.output_dir / "logs" / "04-chain-2-take.log"


def test_a_component_runs_alone(run_it: Run) -> None:
    result = run_it(say, "text=alone")

    assert states(result) == {"say": "succeeded"}
    assert result.outputs == {"Output": "alone"}


def test_reports_get_a_name_that_a_browser_opens(run_it: Run) -> None:
    @dsl.pipeline
    def reporting():
        report()
        register()

    result = run_it(reporting)

    [page] = result.reports
    assert page == result.output_dir / "reports" / "report-page.html"
    assert page.read_text() == "<p>A report</p>"
    metrics = next(a for a in step(result, "report").artifacts if a.type == "system.Metrics")
    assert metrics.metadata == {"roc_auc": 0.5}


def test_a_step_gets_the_environment_that_it_needs(
    run_it: Run, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @dsl.pipeline
    def surrounded():
        environment().set_env_variable("OF_THE_TASK", "1").set_env_variable("OF_BOTH", "task")

    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("OF_BOTH", "shell")
    monkeypatch.setenv("OF_THE_SHELL", "1")
    result = run_it(surrounded)

    found = step(result, "environment").outputs["Output"]
    assert (found["OF_THE_TASK"], found["OF_BOTH"], found["OF_THE_SHELL"]) == ("1", "task", "1")
    assert found["MLFLOW_TRACKING_URI"] == result.tracking_uri == f"sqlite:///{here}/mlflow.db"
    assert "PYTHONDONTWRITEBYTECODE" not in found
    assert found["PATH"].split(":")[0] == str(Path(sys.executable).parent)
    assert found["_KFP_RUNTIME"] == "true"
    assert "MLFLOW_TRACKING_URI" not in os.environ


def test_a_tracking_server_of_the_user_is_kept(
    run_it: Run, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://user:secret@mlflow.test")
    result = run_it(chain)

    assert result.tracking_uri == "https://user:secret@mlflow.test"
    assert "secret" not in (result.output_dir / "run.json").read_text()


def test_temporary_files_of_steps_are_gone_after_the_run(
    run_it: Run, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = here / "tmp"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    run_it(chain)

    assert list(temporary.iterdir()) == []


def test_nothing_is_printed_and_nothing_is_left_changed(
    run_it: Run, capfd: pytest.CaptureFixture[str]
) -> None:
    @dsl.pipeline
    def loop():
        with dsl.ParallelFor(["a", "b"]) as item:
            say(text=item)

    root = logging.getLogger()
    before = (builtins.print, root.handlers[:], root.level, warnings.showwarning)
    result = run_it(loop)

    assert (builtins.print, root.handlers, root.level, warnings.showwarning) == before
    assert capfd.readouterr() == ("", "")
    kfp_log = (result.output_dir / "logs" / "kfp.log").read_text()
    assert "Running pipeline: 'loop'" in kfp_log
    assert "\x1b" not in kfp_log


def test_what_kfp_logs_shows_no_credentials(run_it: Run) -> None:
    result = run_it(say, "text=postgresql://me:hidden@example.test/db")

    assert "postgresql://***@example.test/db" in (result.output_dir / "logs" / "kfp.log").read_text()


def test_events_tell_a_run_as_it_goes(run_it: Run) -> None:
    seen: list[tuple[Any, ...]] = []

    def observe(event: Event) -> None:
        recorded = json.loads((event.run.output_dir / "run.json").read_text())
        name = event.step.name if event.step else None
        seen.append((event.kind, name, recorded["state"], [s["state"] for s in recorded["steps"]]))

    run_it(chain, observers=[observe])

    assert seen == [
        (EventKind.RUN_STARTED, None, "running", ["waiting", "waiting"]),
        (EventKind.STEP_STARTED, "make", "running", ["running", "waiting"]),
        (EventKind.STEP_ENDED, "make", "running", ["succeeded", "waiting"]),
        (EventKind.STEP_STARTED, "take", "running", ["succeeded", "running"]),
        (EventKind.STEP_ENDED, "take", "running", ["succeeded", "succeeded"]),
        (EventKind.RUN_ENDED, None, "succeeded", ["succeeded", "succeeded"]),
    ]


def test_run_json_says_all_that_is_known(run_it: Run, here: Path) -> None:
    result = run_it(chain, "text=https://me:hidden@example.test/?token=hidden")

    text = (result.output_dir / "run.json").read_text()
    record = json.loads(text)
    assert "hidden" not in text
    assert record["run_id"] == result.run_id
    assert record["pipeline"]["file"] == str(here / "chain.yaml")
    assert record["pipeline"]["sha256"] == result.sha256
    assert record["parameters"] == {"text": "https://***@example.test/?token=***"}
    assert record["environment"]["packages"]["kfp"] == "2.17.0"
    [artifact] = record["steps"][0]["artifacts"]
    assert (artifact["name"], artifact["metadata"]["rows"]) == ("data", 7043)
    assert not list(result.output_dir.glob(".run.json*"))


def test_runs_are_kept_apart_and_the_latest_is_linked(run_it: Run, here: Path) -> None:
    first, second = run_it(chain), run_it(chain)

    assert first.output_dir.parent == second.output_dir.parent == here / "runs"
    assert first.output_dir != second.output_dir
    assert (here / "runs" / "latest").resolve() == second.output_dir


def test_a_folder_of_ones_own_must_be_empty(run_it: Run, here: Path) -> None:
    result = run_it(chain, output_dir=here / "out")

    assert result.output_dir == here / "out"
    assert not (here / "runs").exists()
    with pytest.raises(StorageError, match="is not empty"):
        run_it(chain, output_dir=here / "out")


def test_a_folder_that_cannot_be_made_is_a_declared_error(run_it: Run, here: Path) -> None:
    (here / "file").touch()
    with pytest.raises(StorageError, match=r"file/out cannot be written: not a directory\. Free space"):
        run_it(chain, output_dir=here / "file" / "out")


def test_a_full_disk_is_a_declared_error(run_it: Run, small_disk: Path) -> None:
    def fill(event: Event) -> None:
        if event.kind is EventKind.STEP_STARTED:
            with (small_disk / "filler").open("wb", buffering=0) as filler, contextlib.suppress(OSError):
                while True:
                    filler.write(bytes(4096))

    with pytest.raises(StorageError, match=r"run\.json cannot be written: no space left on device"):
        run_it(chain, output_dir=small_disk / "out", observers=[fill])


def test_inputs_that_no_process_can_be_given_are_refused(run_it: Run) -> None:
    @dsl.pipeline
    def long(text: str):
        first = say(text=text)
        shown(numbers=[first.output], mapping={"again": first.output})

    result = run_it(long, f"text={'x' * 100_000}")

    assert step(result, "say").state is State.SUCCEEDED
    assert "The inputs of 'shown' are 293 KiB long" in result.error


def test_one_process_runs_one_pipeline_at_a_time(compiled: Compile, here: Path) -> None:
    file = compiled(chain)
    errors: list[PipelineFileError] = []

    def again(event: Event) -> None:
        if event.kind is EventKind.RUN_STARTED:
            with pytest.raises(PipelineFileError, match="is running a pipeline already") as raised:
                run(file, {})
            errors.append(raised.value)

    assert run(file, {}, observers=[again]).state is State.SUCCEEDED
    assert len(errors) == 1
    assert run(file, {}).state is State.SUCCEEDED


def test_a_run_in_another_thread_takes_no_signals(compiled: Compile) -> None:
    file = compiled(chain)
    results: list[RunResult] = []
    thread = threading.Thread(target=lambda: results.append(run(file, {})))
    thread.start()
    thread.join()

    assert results[0].state is State.SUCCEEDED


def test_two_runs_at_once_do_not_disturb_each_other(compiled: Compile, here: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from kfp_lifecycle.runner.load import load; "
        "from kfp_lifecycle.runner.local import run; "
        "result = run(load(Path(sys.argv[1])), {'text': sys.argv[2]}); print(result.outputs['Output'][:1])"
    )
    path = str(compiled(chain).path)
    children = [
        subprocess.Popen([sys.executable, "-c", program, path, text], stdout=subprocess.PIPE, text=True)
        for text in "12"
    ]
    said = [child.communicate(timeout=120)[0].strip() for child in children]

    assert said == ["1", "2"]
    records = [json.loads(path.read_text()) for path in (here / "runs").glob("chain-*/run.json")]
    assert sorted(record["parameters"]["text"] for record in records) == ["1", "2"]
    assert {record["state"] for record in records} == {"succeeded"}


def test_the_interpreters_path_may_hold_blanks(compiled: Compile, here: Path) -> None:
    (here / "with blanks").mkdir()
    python = here / "with blanks" / "python3"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    program = (
        "import sys; from pathlib import Path; sys.executable = sys.argv[2]; "
        "from kfp_lifecycle.runner.load import load; from kfp_lifecycle.runner.local import run; "
        "print(run(load(Path(sys.argv[1])), {}).state)"
    )
    command = [sys.executable, "-c", program, str(compiled(chain).path), str(python)]

    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "succeeded\n"


def test_the_file_that_is_run_is_not_changed(compiled: Compile) -> None:
    file = compiled(chain)
    run(file, {"text": "b"})

    assert load(file.path) == file
