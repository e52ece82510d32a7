"""``kfp-lifecycle run``: the command as a user starts it, and what it shows."""

import io
import json
import os
import pty
import re
import select
import signal
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from kfp import compiler, dsl
from rich.console import Console

from kfp_lifecycle.runner.events import Artifact, Event, EventKind, RunResult, State, Step
from kfp_lifecycle.scripts.run_display import _lines, _print_result, _Progress
from tests.repositories import COMMAND
from tests.repositories import run as command
from tests.runner.components import fail, make, register, report, say, take, wait

Compile = Callable[[Any], str]


@pytest.fixture
def compiled(tmp_path: Path) -> Compile:
    """Compiles into ``compiled/`` of the test's folder; gives the name."""

    def compile_(component: Any) -> str:
        kind = "pipelines" if hasattr(component, "pipeline_func") else "components"
        path = tmp_path / "compiled" / kind / component.name / "1.0.0.yaml"
        path.parent.mkdir(parents=True)
        compiler.Compiler().compile(component, str(path))
        return str(component.name)

    return compile_


@dsl.pipeline
def training(source: str):
    data = make(text=source)
    page = report().after(data)
    take(data=data.outputs["data"]).after(page)
    register().after(page)


@dsl.pipeline
def failing(how: str):
    say(text="last").after(fail(how=how).after(report()))


@dsl.pipeline
def waiting(folder: str):
    say(text="never").after(wait(seconds=60.0, folder=folder))


def test_a_run_ends_with_all_that_one_wants_to_see(compiled: Compile, tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").touch()
    (tmp_path / "params.yaml").write_text("source: data/churn.csv\n")
    done = command("run", compiled(training), "--params", "params.yaml", cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    folder = f"runs/{(tmp_path / 'runs' / 'latest').readlink()}"
    assert re.search(r"^training 1\.0\.0 succeeded in \d+\.\d s$", done.stdout, re.M)
    assert re.search(r"^✓  make +\d\.\d s$", done.stdout, re.M)
    assert re.search(r"^✓  report +\d\.\d s  roc_auc +0\.5$", done.stdout, re.M)
    assert re.search(r"^✓  take +\d\.\d s  +data/churn\.csv ", done.stdout, re.M)
    assert re.search(r"^✓  register +\d\.\d s  aliases +challenger,champion$", done.stdout, re.M)
    assert f"Reports  {folder}/reports/report-page.html\n" in done.stdout
    assert "Model    version 3, models:/churn/3 (challenger,champion)\n" in done.stdout
    assert f"mlflow ui --backend-store-uri sqlite:///{tmp_path}/mlflow.db\n" in done.stdout
    assert f"Run      {folder}/run.json\n" in done.stdout
    assert not re.search(r" $", done.stdout, re.M)
    assert "KFP Executor" not in done.stdout + done.stderr


def test_without_a_terminal_every_event_is_a_line(compiled: Compile, tmp_path: Path) -> None:
    done = command("run", compiled(failing), "-p", "how=raise", cwd=tmp_path)

    lines = [re.sub(r"^\d\d:\d\d:\d\d |\d\.\d s", "", line) for line in done.stderr.splitlines()]
    assert lines == [
        f"failing 1.0.0  runs/{(tmp_path / 'runs' / 'latest').readlink()}",
        "report started",
        "report succeeded after ",
        "fail started",
        "fail failed after : ValueError: the first line",
    ]


def test_a_failure_says_which_step_why_and_where_its_log_is(compiled: Compile, tmp_path: Path) -> None:
    done = command("run", compiled(failing), "-p", "how=declared", cwd=tmp_path)

    assert done.returncode == 1
    folder = f"runs/{(tmp_path / 'runs' / 'latest').readlink()}"
    assert re.search(r"^failing 1\.0\.0 failed after", done.stdout, re.M)
    assert re.search(r"^-  say +not run$", done.stdout, re.M)
    assert "\nfail failed: SourceError: data/none.csv does not exist. Correct the path.\n" in done.stdout
    assert f"\nLog      {folder}/logs/02-fail.log\n" in done.stdout
    assert f"\nReports  {folder}/reports/report-page.html\n" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["trainig"],
            "PipelineFileError: There is no compiled pipeline or component 'trainig'. Did you mean",
        ),
        (["none.yaml"], "PipelineFileError: There is no file none.yaml"),
        (["training"], "ParameterError: training needs a parameter that is not given: source"),
        (["training", "-p", "sorce=a"], "has no parameter 'sorce' (-p). Did you mean 'source'?"),
        (["training", "-p", "source"], "ParameterError: -p 'source' has no '='"),
        (["training", "--params", "none.yaml"], "ParameterError: none.yaml cannot be read"),
        (["training", "-p", "source=a", "--output-dir", "compiled"], "StorageError: "),
        (["params.txt"], "CompiledFileError: params.txt"),
    ],
)
def test_what_is_wrong_is_one_line_and_nothing_is_run(
    arguments: list[str], said: str, compiled: Compile, tmp_path: Path
) -> None:
    compiled(training)
    (tmp_path / "params.txt").write_text("a: b\n")
    done = command("run", *arguments, cwd=tmp_path)

    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert not (tmp_path / "runs").exists()


def test_a_component_runs_alone_by_its_name(compiled: Compile, tmp_path: Path) -> None:
    name = compiled(say)
    done = command("run", f"{name}@1.0.0", "-p", "text=a=b", "--output-dir", "out", cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    assert re.search(r"^✓  say +\d\.\d s +a=b$", done.stdout, re.M)
    assert json.loads((tmp_path / "out" / "run.json").read_text())["outputs"] == {"Output": "a=b"}


def test_a_step_may_start_a_run(compiled: Compile, tmp_path: Path) -> None:
    done = command("run", compiled(say), "-p", "text=a", cwd=tmp_path, env={"_KFP_RUNTIME": "true"})

    assert done.returncode == 0, done.stderr


def test_ctrl_c_is_130_and_shows_how_far_it_came(compiled: Compile, tmp_path: Path) -> None:
    name = compiled(waiting)
    child = subprocess.Popen(
        [COMMAND, "run", name, "-p", f"folder={tmp_path}"], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("pid-*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    child.send_signal(signal.SIGINT)
    out = child.communicate(timeout=60)[0]

    assert child.returncode == 130
    assert re.search(r"^waiting 1\.0\.0 cancelled after", out, re.M)
    assert re.search(r"^✗  wait +cancelled, ", out, re.M)
    assert re.search(r"^-  say +not run$", out, re.M)


def test_on_a_terminal_the_table_is_alive_and_then_gone(compiled: Compile, tmp_path: Path) -> None:
    name = compiled(waiting)
    screen, terminal = pty.openpty()
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": "24"}
    child = subprocess.Popen(
        [COMMAND, "run", name, "-p", f"folder={tmp_path}"],
        cwd=tmp_path, env=env, stdin=terminal, stdout=terminal, stderr=terminal, close_fds=True,
    )  # fmt: skip
    os.close(terminal)
    shown = _until(screen, r"wait\b.*waiting")
    assert re.search(r"· say", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown))
    child.send_signal(signal.SIGINT)
    shown = _until(screen, r"run\.json")

    assert "\x1b[2K" in shown  # the live table is erased
    assert "cancelled" in shown
    assert child.wait(60) == 130


def _until(screen: int, pattern: str) -> str:
    """What appears on a terminal up to something."""
    shown, deadline = "", time.monotonic() + 60
    while not re.search(pattern, shown) and time.monotonic() < deadline:
        if select.select([screen], [], [], 1)[0]:
            shown += os.read(screen, 65536).decode()
    return shown


def test_the_verb_completes_names_and_teaches() -> None:
    done = command("run", "--help", cwd=Path.cwd())
    assert "kfp-lifecycle run training --params pipelines/params/churn.yaml" in done.stdout

    env = {
        "_KFP_LIFECYCLE_COMPLETE": "complete_bash",
        "COMP_WORDS": "kfp-lifecycle run trai",
        "COMP_CWORD": "2",
    }
    done = command(cwd=Path.cwd(), env=env)
    found = set(done.stdout.split())
    assert found >= {"train", "training"}
    assert all(name.startswith("trai") for name in found)


def result(tmp_path: Path, *steps: Step, **changed: Any) -> RunResult:
    values: dict[str, Any] = {
        "run_id": "id", "name": "training", "version": "1.0.0", "file": tmp_path / "1.0.0.yaml", "sha256": "",
        "output_dir": tmp_path / "runs" / "id", "parameters": {}, "tracking_uri": "sqlite:////none/mlflow.db",
        "started": datetime.now(UTC), "steps": list(steps), **changed,
    }  # fmt: skip
    return RunResult(**values)


def rendered(renderable: Any, width: int = 80, height: int = 24) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height, color_system=None)
    renderable(console) if callable(renderable) else console.print(renderable)
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def live(run: RunResult, *events: Event, height: int = 24) -> list[str]:
    progress = _Progress(Console(width=80, height=height))
    progress.observe(Event(EventKind.RUN_STARTED, run))
    for event in events:
        progress.observe(event)
    return rendered(progress.table(), height=height)


def test_the_live_table_shows_every_step_and_the_line_that_one_is_at(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("fold 2 of 5 at https://me:hidden@example.test " + "x" * 100)
    train = Step("train", "train", "comp-train", state=State.RUNNING, log=log, attempts=1)
    run = result(
        tmp_path,
        Step("prepare", "prepare", "comp-prepare", state=State.SUCCEEDED, seconds=2.13),
        train,
        Step("branch", "branch", "comp-branch", state=State.SKIPPED),
        Step("register", "register", "comp-register"),
    )
    lines = live(run, Event(EventKind.STEP_STARTED, run, train))

    assert lines[0].startswith("training 1.0.0  /")
    assert lines[0].endswith("…")
    assert lines[1] == "✓ prepare  2.1 s"
    assert re.fullmatch(r". train    0\.0 s fold 2 of 5 at https://\*\*\*@example.test x+…", lines[2])
    assert lines[3:] == ["- branch         skipped", "· register"]


def test_a_retry_is_shown_until_the_next_attempt_says_something(tmp_path: Path) -> None:
    log = tmp_path / "log"
    step = Step("train", "train", "comp-train", retries=2, state=State.RUNNING, attempts=1, log=log)
    run = result(tmp_path, step)
    retried = Event(EventKind.STEP_RETRIED, run, step, "attempt 1 of 3 failed; the next in 10 s")
    assert live(run, retried)[1].endswith("attempt 1 of 3 failed; the next in 10 s")

    progress = _Progress(Console(width=80))
    progress.observe(retried)
    log.write_text("of the first\n\n--- attempt 2 of 3 ---\nfold 1\n")
    step.attempts = 2
    assert rendered(progress.table())[1].endswith("attempt 2 of 3: fold 1")


@pytest.mark.parametrize("done", [0, 5, 40, 49])
def test_more_steps_than_lines_show_those_that_run(done: int, tmp_path: Path) -> None:
    steps = [Step(f"step-{n}", "step", f"comp-{n}") for n in range(50)]
    for step in steps[:done]:
        step.state, step.seconds = State.SUCCEEDED, 1.0
    steps[done].state = State.RUNNING
    lines = live(result(tmp_path, *steps), height=20)

    assert len(lines) <= 20
    assert any(f" step-{done} " in f"{line} " for line in lines)
    hidden = [int(n) for n in re.findall(r"… (\d+) (?:before|more)", "\n".join(lines))]
    assert sum(hidden) + sum("step-" in line for line in lines) == 50


def shown(run: RunResult, width: int = 100) -> str:
    return "\n".join(rendered(lambda console: _print_result(console, run, _lines(run)), width=width))


def test_metrics_stand_with_their_intervals_and_spreads(tmp_path: Path) -> None:
    metrics = {f"metric_{n:02}": n for n in range(12)} | {
        "auc": 0.84454, "auc_low": 0.82, "auc_high": 0.866, "cv_auc_mean": 0.8, "cv_auc_std": 0.0079,
        "low": 1,
    }  # fmt: skip
    step = Step("evaluate", "evaluate", "comp-evaluate", state=State.SUCCEEDED, seconds=75.0)
    step.artifacts = [
        Artifact("metrics", "system.Metrics", "", metrics),
        Artifact("test", "system.Dataset", "", {"rows": 336776, "columns": 20}),
    ]
    step.outputs = {"approved": True, "reasons": "one\ntwo", "number": 1 / 3, "long": "y" * 400}
    text = shown(result(tmp_path, step, state=State.SUCCEEDED, seconds=3700))

    assert "succeeded in 1 h 01 min" in text
    assert "1 min 15 s  approved" in text
    assert re.search(r"reasons +one\n +two\n", text)
    assert re.search(r"number +0\.3333\n", text)
    assert re.search(r"auc +0\.8445 \[0\.82, 0\.866\]\n", text)
    assert re.search(r"cv_auc +0\.8 ± 0\.0079\n", text)
    assert re.search(r"… 5 more +in run\.json", text)
    assert re.search(r"test +336,776 rows, 20 columns", text)
    assert "y …" in text
    assert "auc_low" not in text


def test_many_items_of_a_loop_are_one_line(tmp_path: Path) -> None:
    steps = [
        Step(f"train #{n}", "train", "comp-train", True, state=State.SUCCEEDED, seconds=0.5)
        for n in range(1, 61)
    ]
    steps[7].state, steps[7].error = State.FAILED, "ValueError: a"
    text = shown(result(tmp_path, *steps, state=State.FAILED, error="ValueError: a"))

    assert re.search(r"^✓  train, 59 of 60 items  29\.5 s$", text, re.M)
    assert re.search(r"^✗  train #8 +0\.5 s$", text, re.M)
    assert "train #9" not in text


def test_what_a_cluster_would_do_is_noted_and_a_server_is_named_without_its_password(tmp_path: Path) -> None:
    run = result(
        tmp_path, state=State.FAILED, error="kfp.local failed: a", tracking_uri="https://me:hidden@mlflow.test",
        notes=["Kubernetes settings have no effect."],
    )  # fmt: skip
    text = shown(run)

    assert "Note: Kubernetes settings have no effect." in text
    assert "The run failed: kfp.local failed: a" in text
    assert "logs/kfp.log" in text
    assert "MLflow   https://***@mlflow.test" in text
