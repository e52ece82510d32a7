"""``submit``, ``watch`` and ``context`` as one types them, each a process of its own."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT
from tests.kfp_server import KfpServer, plays
from tests.kfp_server.run import RunState
from tests.runner.cluster.submitting import compiled, spec_of

COMMAND = str(Path(sys.executable).parent / "kfp-lifecycle")
SECRET = "t0ken-of-ann-1234"


def call(
    *arguments: str, cwd: Path = ROOT, code: int = 0, **environment: str
) -> "subprocess.CompletedProcess[str]":
    """A command that ended with ``code``."""
    done = subprocess.run(
        [COMMAND, *arguments],
        cwd=cwd,
        env=_environment(environment),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, f"{arguments}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done


def _environment(given: Mapping[str, str]) -> dict[str, str]:
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("KFP_", "KF_PIPELINES_"))
    }
    return kept | {"KFP_LIFECYCLE_CONFIG": "/none/config.yaml", "KUBECONFIG": "/none/kube"} | dict(given)


@pytest.fixture
def double() -> Iterator[KfpServer]:
    with KfpServer() as server:
        yield server


@pytest.fixture
def file(tmp_path: Path) -> str:
    return str(compiled(tmp_path).path)


def quick(*, fail: str = "") -> "plays.Play":
    """A run that is over at the second look."""

    def play(run: RunState) -> Iterator[None]:
        for name in run.task_names:
            run.start(name)
        yield
        for name in run.task_names:
            if name == fail:
                run.end(name, "FAILED")
                run.finish("FAILED", "exit code 1")
                return
            run.end(name, "SUCCEEDED", outputs={"model": ["7"]} if name == "train" else {})
        run.finish("SUCCEEDED")

    return play


def test_a_run_is_started_and_its_link_printed(double: KfpServer, file: str) -> None:
    done = call(
        "submit", file, "-p", "source=x", "-p", "folds=3", "--experiment", "churn", KFP_HOST=double.url
    )
    (run_id,) = double.state.runs
    assert done.stdout == f"{double.url}/#/runs/details/{run_id}\n"
    assert "Uploaded small 1.0.0.\n" in done.stderr
    assert f"Follow it: kfp-lifecycle watch {run_id}\n" in done.stderr
    assert double.state.runs[run_id].wire["runtime_config"]["parameters"] == {"source": "x", "folds": 3}


def test_waiting_shows_tasks_outputs_and_the_exit_code(double: KfpServer, file: str) -> None:
    double.state.plays[""] = quick()
    done = call("submit", file, "-p", "source=x", "--wait", "--host", double.url)
    assert re.search(r"^\d\d:\d\d:\d\d prepare started$", done.stderr, re.M)
    assert re.search(r"^\d\d:\d\d:\d\d train succeeded after ", done.stderr, re.M)
    assert re.search(r"^small 1\.0\.0 succeeded in ", done.stdout, re.M)
    assert re.search(r"^✓  train .* model  7$", done.stdout, re.M)

    double.state.plays[""] = quick(fail="train")
    done = call("submit", file, "-p", "source=x", "--wait", "--host", double.url, code=1)
    run_id = list(double.state.runs)[-1]
    assert "train failed: exit code 1" in done.stdout
    assert f"kfp-lifecycle runs logs {run_id} --host {double.url}" in done.stdout
    assert call("watch", run_id, "--host", double.url, code=1).stdout.endswith(f"/#/runs/details/{run_id}\n")


def test_wrong_parameters_and_files_send_nothing(double: KfpServer, file: str, tmp_path: Path) -> None:
    bad = tmp_path / "2.0.0.yaml"
    bad.write_text(yaml.safe_dump(spec_of("train", name="Not_a_name")))
    for arguments, said in (
        ((file, "-p", "sourse=x"), "Did you mean 'source'"),
        ((file, "-p", "source=x", "-p", "folds=many"), "folds"),
        ((file,), "source"),
        (("trainin",), "Did you mean 'training'"),
        ((str(bad), "-p", "source=x"), "Not_a_name"),
    ):
        assert said in call("submit", *arguments, KFP_HOST=double.url, code=1).stderr
    assert double.requests() == []


def test_errors_are_one_line(double: KfpServer, file: str, tmp_path: Path) -> None:
    other = compiled(tmp_path / "b", "other").path
    call("submit", file, "-p", "source=x", KFP_HOST=double.url)
    done = call("submit", str(other), "-p", "source=x", KFP_HOST=double.url, code=1)
    assert re.search(r"^VersionConflictError: .*sha256:[0-9a-f]{64}.*sha256:[0-9a-f]{64}", done.stderr, re.M)
    assert call("watch", "x", KFP_HOST=double.url, code=1).stderr.startswith("NotFoundError: ")
    assert call("watch", "x", code=1).stderr.startswith("ContextError: No server is named")
    assert call("watch", "x", "--context", "y", code=1).stderr.startswith("ContextError: ")


def test_ctrl_c_leaves_the_run(double: KfpServer, file: str) -> None:
    double.state.plays[""] = plays.holds()
    process = subprocess.Popen(
        [COMMAND, "submit", file, "-p", "source=x", "--wait", "--host", double.url],
        env=_environment({}), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    seen = ""
    while "prepare started" not in seen:
        line = process.stderr.readline()
        assert line, seen
        seen += line
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=60)
    (run_id,) = double.state.runs
    assert process.returncode == 130
    assert f"The run goes on. Follow it again: kfp-lifecycle watch {run_id} --host {double.url}" in rest
    assert "Traceback" not in rest
    assert double.state.runs[run_id].state == "RUNNING"

    double.state.runs[run_id].play = quick()(double.state.runs[run_id])
    call("watch", run_id, "--host", double.url)


def test_ctrl_c_before_the_run_is_known_says_where_to_look(double: KfpServer, file: str) -> None:
    double.faults.delay(5, "POST /apis/v2beta1/runs")
    process = subprocess.Popen(
        [COMMAND, "submit", file, "-p", "source=x", "--host", double.url],
        env=_environment({}), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while not double.requests("POST /apis/v2beta1/runs"):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, said = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert f"See whether a run was started: kfp-lifecycle runs list --host {double.url}" in said


def test_a_restart_during_the_wait_is_told(double: KfpServer, file: str) -> None:
    double.state.plays[""] = plays.holds()
    process = subprocess.Popen(
        [COMMAND, "submit", file, "-p", "source=x", "--wait", "--host", double.url],
        env=_environment({}), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    seen, stopped = "", False
    while "Trying again" not in seen:
        line = process.stderr.readline()
        assert line, seen
        seen += line
        if "prepare started" in line and not stopped:
            stopped = True
            double.stop()
    (run,) = double.state.runs.values()
    run.play = quick()(run)
    double.start()
    out, _ = process.communicate(timeout=90)
    assert process.returncode == 0
    assert "small 1.0.0 succeeded" in out


def test_a_terminal_shows_a_live_table(double: KfpServer, file: str) -> None:
    double.state.plays[""] = quick()
    near, far = pty.openpty()
    process = subprocess.Popen(
        [COMMAND, "submit", file, "-p", "source=x", "--wait", "--host", double.url],
        env=_environment({"TERM": "xterm", "COLUMNS": "100", "LINES": "30"}), stdout=far, stderr=far,
    )  # fmt: skip
    os.close(far)
    seen, deadline = b"", time.monotonic() + 90
    while time.monotonic() < deadline and select.select([near], [], [], 90)[0]:
        try:
            piece = os.read(near, 65536)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        seen += piece
    os.close(near)
    assert process.wait(30) == 0
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", seen.decode())
    assert "small 1.0.0 succeeded" in text
    assert text.count("prepare") > 2  # drawn again and again
    assert "prepare started" not in text


@pytest.mark.parametrize("verb", [("submit", "FILE", "-p", "source=x"), ("watch", "RUN")])
@pytest.mark.parametrize("fault", ["401", "403", "500", "dropped"])
def test_no_credential_is_printed(verb: tuple[str, ...], fault: str, file: str, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    program = tmp_path / "token.sh"
    program.write_text(f"#!/bin/sh\necho {SECRET}\n")
    program.chmod(0o755)
    with KfpServer(multi_user=True) as double:
        double.gate.admit("ann", token="other" if fault == "401" else SECRET)
        double.gate.rights = {("ann", "team-a"): set()} if fault == "403" else None
        held = {"host": double.url, "namespace": "team-a", "token_command": str(program), "patience_s": 0.5}
        config.write_text(yaml.safe_dump({"current": "team", "contexts": {"team": held}}))
        if fault == "500":
            double.faults.answer(500, times=-1, body=f"authorization: Bearer {SECRET}")
        elif fault == "dropped":
            double.faults.drop_before(times=-1)
        words = [file if word == "FILE" else word for word in verb]
        done = call(*words, code=1, KFP_LIFECYCLE_CONFIG=str(config), KFP_COOKIES="")
        assert double.requests()
    assert SECRET not in done.stdout + done.stderr
    assert done.stderr.strip()


def test_contexts_are_made_used_and_forgotten(tmp_path: Path, double: KfpServer) -> None:
    config = str(tmp_path / "deep" / "config.yaml")

    def context(*arguments: str, code: int = 0) -> str:
        done = call("context", *arguments, KFP_LIFECYCLE_CONFIG=config, code=code)
        return done.stdout + done.stderr

    assert "has no context yet" in context("list")
    context("set", "kind", "--kube-context", "kind-kind")
    context("set", "team", "--host", double.url, "-n", "team-a", "--token-command", "printf x")
    assert re.findall(r"^([* ]) (\w+) +(.*)$", context("list"), re.M) == [
        ("*", "kind", "kube config: ml-pipeline:8888 in kubeflow"),
        (" ", "team", f"{double.url}  team-a"),
    ]
    context("use", "team")
    assert context("show") == f"team\n  host: {double.url}\n  namespace: team-a\n  token_command: printf x\n"
    context("set", "team", "--namespace", "", "--token-command", "")
    assert context("show", "team") == f"team\n  host: {double.url}\n"
    assert "Did you mean 'team'" in context("use", "taem", code=1)
    assert "token_env and token_file" in context("set", "x", "--token-env", "A", "--token-file", "b", code=1)
    assert "has no run 'r'" in call("watch", "r", KFP_LIFECYCLE_CONFIG=config, code=1).stderr
    context("delete", "team")
    assert context("list").count("\n") == 1


def test_contexts_cost_nothing(tmp_path: Path) -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from kfp_lifecycle.scripts.app import app; "
        "assert CliRunner().invoke(app, ['context', 'list']).exit_code == 0; "
        "print(*{m.partition('.')[0] for m in sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=_environment({}), capture_output=True, text=True, check=True
    )
    assert not {"kfp", "kfp_server_api", "kubernetes", "urllib3"} & set(done.stdout.split())
