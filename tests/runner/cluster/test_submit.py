"""Submissions: what is uploaded, made and started, once, whatever goes wrong meanwhile."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from kfp_lifecycle.compiler.digest import spec_digest
from kfp_lifecycle.components.shared.errors import ParameterError
from kfp_lifecycle.runner.cluster.connect import Server
from kfp_lifecycle.runner.cluster.errors import (
    ForbiddenError,
    OldServerError,
    RefusedError,
    UnreachableError,
    VersionConflictError,
)
from kfp_lifecycle.runner.cluster.experiments import experiment_name
from kfp_lifecycle.runner.cluster.retry import Patience
from kfp_lifecycle.runner.cluster.submit import Submission, check_file, submit
from kfp_lifecycle.runner.cluster.versions import ensure_version, version_name
from kfp_lifecycle.runner.load import RunnableFile, load
from kfp_lifecycle.runner.resolve import find
from tests.conftest import ROOT, SOAK
from tests.kfp_server import KfpServer
from tests.kfp_server.faults import Faults
from tests.runner.cluster.submitting import compiled, settings, spec_of, to

GIVEN = {"source": "gs://b/churn.csv"}


def send(server: Server, file: RunnableFile, **options: Any) -> Submission:
    return submit(server, file, GIVEN, **{"experiment": "churn", **options})


def held(double: KfpServer) -> tuple[int, int, int, int]:
    """How many pipelines, versions, experiments named churn, and runs there are."""
    state = double.state
    churn = sum(e["display_name"] == "churn" for e in state.experiments.values())
    return len(state.pipelines), len(state.versions), churn, len(state.runs)


def test_a_first_submission_makes_everything(double: KfpServer, tmp_path: Path) -> None:
    file = compiled(tmp_path)
    told: list[str] = []
    done = send(to(double), file, tell=told.append)

    assert held(double) == (1, 1, 1, 1)
    assert told == ["Uploaded small 1.0.0."]
    (version,) = double.state.versions.values()
    assert (version["name"], version["display_name"]) == ("1.0.0", "1.0.0")
    assert version["pipeline_spec"] == file.spec
    assert done.version.digest == spec_digest(file.spec)
    run = double.state.runs[done.run_id].wire
    assert run["display_name"] == done.name
    assert done.name.startswith("small 1.0.0 ")
    assert run["runtime_config"]["parameters"] == GIVEN
    assert run["pipeline_version_reference"]["pipeline_version_id"] == version["pipeline_version_id"]
    assert done.link == f"{double.url}/#/runs/details/{done.run_id}"


def test_a_second_one_makes_a_run_alone(double: KfpServer, tmp_path: Path) -> None:
    file, told = compiled(tmp_path), list[str]()
    first = send(to(double), file)
    second = send(to(double), file, tell=told.append, run_name="nightly")
    third = send(to(double), file, run_name="nightly")

    assert held(double) == (1, 1, 1, 3)
    assert told == ["The server has small 1.0.0 already."]
    assert (first.version.uploaded, second.version.uploaded) == (True, False)
    assert len({first.run_id, second.run_id, third.run_id}) == 3
    assert second.name == third.name == "nightly"


def test_the_library_s_own_file_is_taken_as_it_is(double: KfpServer) -> None:
    file = load(find("training@1.0.0", ROOT))
    check_file(file)
    given = {"source": "gs://b/churn.csv", "target": "churn", "model_name": "churn"}
    for _ in range(2):
        done = submit(to(double), file, given, experiment="Default")
    catalog = json.loads((ROOT / "compiled" / "catalog.json").read_text())
    entry = next(e for e in catalog["files"] if e["path"] == "pipelines/training/1.0.0.yaml")
    assert done.version.digest == entry["spec_digest"]
    assert len(double.state.versions) == 1


def test_the_same_version_with_another_content_is_refused(double: KfpServer, tmp_path: Path) -> None:
    first = compiled(tmp_path / "a")
    other = compiled(tmp_path / "b", "prepare", "evaluate")
    send(to(double), first)
    with pytest.raises(VersionConflictError) as raised:
        send(to(double), other)
    assert spec_digest(first.spec) in str(raised.value)
    assert spec_digest(other.spec) in str(raised.value)
    assert "--pipeline-version" in str(raised.value)
    assert held(double)[3] == 1
    assert send(to(double), other, version="1.0.0-b").version.uploaded
    assert send(to(double), compiled(tmp_path / "b", "prepare", "evaluate", version="1.1.0")).version.uploaded


def test_so_is_one_with_other_kubernetes_settings(double: KfpServer, tmp_path: Path) -> None:
    one = compiled(tmp_path / "a", platform=settings("8Gi"))
    send(to(double), one)
    assert not send(to(double), one).version.uploaded
    for number, platform in enumerate([settings("16Gi"), None]):
        with pytest.raises(VersionConflictError, match="other Kubernetes settings"):
            send(to(double), compiled(tmp_path / str(number), platform=platform))


def test_a_version_that_someone_else_uploaded_is_compared_by_its_content(
    double: KfpServer, tmp_path: Path
) -> None:
    file = compiled(tmp_path)
    # Another writer's YAML: other order, whole numbers with a fraction, another form of each name.
    text = json.dumps(file.spec, sort_keys=True)
    foreign = json.loads(text.replace('"defaultValue": 5', '"defaultValue": 5.0'))
    pipeline = double.state.add_pipeline({"name": "small"})
    body = {"pipeline_id": pipeline["pipeline_id"], "name": "1.0.0", "pipeline_spec": foreign}
    double.state.add_version(body)
    assert not send(to(double), file).version.uploaded

    body["name"] = "1.1.0"
    body["pipeline_spec"] = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow"}
    double.state.add_version(body)
    with pytest.raises(VersionConflictError, match="its digest is unknown"):
        send(to(double), compiled(tmp_path, version="1.1.0"))


def test_a_file_without_a_version_is_known_by_its_content(double: KfpServer, tmp_path: Path) -> None:
    file = compiled(tmp_path, version="pipeline")
    name = version_name(file)
    assert name == f"sha256-{name.removeprefix('sha256-')}"
    assert len(name) == len("sha256-") + 12
    for uploaded in (True, False):
        done = send(to(double), file)
        assert (done.version.name, done.version.uploaded) == (name, uploaded)
    others = [
        compiled(tmp_path / "b", "prepare", version="pipeline"),
        compiled(tmp_path / "c", version="pipeline", platform=settings("8Gi")),
    ]
    assert len({name, *map(version_name, others)}) == 3


def test_where_pipelines_are_objects_of_the_cluster(tmp_path: Path) -> None:
    with KfpServer(store="kubernetes") as double:
        for name in ("small", "other"):
            file = compiled(tmp_path / name, name=name)
            for uploaded in (True, False):
                assert send(to(double), file).version.uploaded is uploaded
        names = {(v["name"], v["display_name"]) for v in double.state.versions.values()}
        assert names == {("small-1.0.0", "1.0.0"), ("other-1.0.0", "1.0.0")}


@pytest.mark.parametrize("version", ["2.0", "2.4", "2.5", "2.17"])
def test_on_servers_of_every_age(version: str, tmp_path: Path) -> None:
    with KfpServer(version=version) as double:
        file = compiled(tmp_path)
        for uploaded in (True, False):
            assert send(to(double), file).version.uploaded is uploaded
        (pipeline,) = double.state.pipelines.values()
        assert pipeline["name"] == "small"
        with pytest.raises(VersionConflictError):
            send(to(double), compiled(tmp_path / "b", "other"))


def test_on_a_server_of_many_users(
    shared: KfpServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KFP_TOKEN", "token-of-ann")
    send(to(shared, namespace="team-a"), compiled(tmp_path))
    state = shared.state
    made = (*state.pipelines.values(), *state.experiments.values())
    assert [item["namespace"] for item in made] == ["team-a", "team-a"]

    shared.gate.rights = {("ann", "team-a"): {"get", "list", "create experiments", "create runs"}}
    with pytest.raises(
        ForbiddenError, match=r"upload small 1\.1\.0.* may not create pipelines in namespace 'team-a'"
    ):
        send(to(shared, namespace="team-a"), compiled(tmp_path, version="1.1.0"))
    with pytest.raises(ForbiddenError, match="may not get pipelines in namespace 'team-b'"):
        send(to(shared, namespace="team-b"), compiled(tmp_path))


def test_an_archived_experiment_takes_no_run(double: KfpServer, tmp_path: Path) -> None:
    double.state.add_experiment({"display_name": "churn"}).update(storage_state="ARCHIVED")
    with pytest.raises(RefusedError, match="experiment 'churn' is archived"):
        send(to(double), compiled(tmp_path))


def test_the_experiment_is_the_one_that_kfp_would_take() -> None:
    default, override = "KF_PIPELINES_DEFAULT_EXPERIMENT_NAME", "KF_PIPELINES_OVERRIDE_EXPERIMENT_NAME"
    assert experiment_name("", {}) == "Default"
    assert experiment_name("", {default: "d"}) == "d"
    assert experiment_name("mine", {default: "d"}) == "mine"
    assert experiment_name("mine", {default: "d", override: "o"}) == "o"


def test_the_service_account_of_the_context(double: KfpServer, tmp_path: Path, config: Path) -> None:
    config.write_text(yaml.safe_dump({"contexts": {"c": {"host": double.url, "service_account": "trainer"}}}))
    done = send(to(double, context="c"), compiled(tmp_path))
    assert double.state.runs[done.run_id].wire["service_account"] == "trainer"


# Nothing is sent that would be refused


def test_files_are_held_against_the_rules_first(tmp_path: Path) -> None:
    bad = spec_of("train")
    bad["deploymentSpec"]["executors"]["exec"]["container"]["env"] = [
        {"name": "AWS_SECRET_ACCESS_KEY", "value": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}
    ]
    path = tmp_path / "1.0.0.yaml"
    path.write_text(yaml.safe_dump(bad))
    with pytest.raises(RefusedError, match=r"1\.0\.0\.yaml:\d+: KL401") as raised:
        check_file(load(path))
    assert "wJalrXUtnFEMI" not in str(raised.value)


def test_what_the_server_takes_is_only_noted(tmp_path: Path) -> None:
    moving = spec_of("train")
    moving["deploymentSpec"]["executors"]["exec"]["container"]["image"] = "registry.test/steps:latest"
    path = tmp_path / "1.0.0.yaml"
    path.write_text(yaml.safe_dump(moving))
    (note,) = check_file(load(path))
    assert "KL302" in note


def test_long_parameters_are_named(double: KfpServer, tmp_path: Path) -> None:
    server = to(double)
    before = len(double.requests())
    with pytest.raises(ParameterError, match="'source' alone 100,0"):
        submit(server, compiled(tmp_path), {"source": "x" * 100_000, "folds": 3}, experiment="churn")
    with pytest.raises(RefusedError, match="at most 191"):
        send(server, compiled(tmp_path), run_name="x" * 192)
    assert len(double.requests()) == before
    with pytest.raises(RefusedError, match="at most 127"):
        send(server, compiled(tmp_path), version="x" * 128)
    assert held(double) == (0, 0, 0, 0)


def test_a_file_that_changes_meanwhile_is_not_sent(double: KfpServer, tmp_path: Path) -> None:
    file = compiled(tmp_path)
    compiled(tmp_path, "prepare")
    with pytest.raises(RefusedError, match="has changed just now"):
        send(to(double), file)
    assert held(double) == (0, 0, 0, 0)


def test_a_server_older_than_the_file(double: KfpServer, tmp_path: Path) -> None:
    double.state.unknown_fields = {"cachingOptions"}
    with pytest.raises(
        OldServerError, match="does not know 'cachingOptions'; it is older than the file"
    ) as raised:
        send(to(double), compiled(tmp_path))
    assert "--for-backend" in str(raised.value)
    assert len(double.requests("upload")) == 1
    assert held(double)[1:] == (0, 0, 0)


def test_what_the_server_refuses_is_said(double: KfpServer, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="are missing: source"):
        submit(to(double), compiled(tmp_path), {}, experiment="churn")


# Faults

STEPS = {
    "pipeline": "POST /apis/v2beta1/pipelines",
    "upload": "POST /apis/v2beta1/pipelines/upload_version",
    "experiment": "POST /apis/v2beta1/experiments",
    "run": "POST /apis/v2beta1/runs",
    "look": "GET ",
}

FAULTS: dict[str, Callable[[Faults, str], None]] = {
    "before": lambda faults, match: faults.drop_before(match),
    "after": lambda faults, match: faults.drop_after(match),
    "before, twice": lambda faults, match: faults.drop_before(match, 2),
    "before, then after": lambda faults, match: (faults.drop_before(match), faults.drop_after(match))[0],
    "429": lambda faults, match: faults.answer(429, match, retry_after="0"),
    "503": lambda faults, match: faults.answer(503, match, retry_after="0"),
    "502, 3 times": lambda faults, match: faults.answer(502, match, times=3),
    "500": lambda faults, match: faults.answer(500, match),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("step", STEPS)
def test_every_step_survives(double: KfpServer, tmp_path: Path, step: str, fault: str) -> None:
    server = to(double)
    FAULTS[fault](double.faults, STEPS[step])
    done = send(server, compiled(tmp_path))
    assert held(double) == (1, 1, 1, 1)
    assert done.run_id in double.state.runs


def test_a_run_of_the_same_name_is_not_taken_for_ours(double: KfpServer, tmp_path: Path) -> None:
    file = compiled(tmp_path)
    first = send(to(double), file, run_name="nightly")
    double.faults.drop_before("POST /apis/v2beta1/runs")
    second = send(to(double), file, run_name="nightly")
    double.faults.drop_after("POST /apis/v2beta1/runs")
    third = send(to(double), file, run_name="nightly")
    assert len({first.run_id, second.run_id, third.run_id}) == 3
    assert held(double)[3] == 3


def test_ours_is_found_among_many_of_its_name(double: KfpServer, tmp_path: Path) -> None:
    file = compiled(tmp_path)
    version = ensure_version(to(double), file)
    (experiment,) = double.state.experiments
    body = {
        "display_name": "nightly",
        "experiment_id": experiment,
        "pipeline_version_reference": {
            "pipeline_id": version.pipeline_id, "pipeline_version_id": version.version_id,
        },
        "runtime_config": {"parameters": GIVEN},
    }  # fmt: skip
    with double.state.lock:
        for _ in range(120):
            double.state.add_run(body)
    double.faults.drop_after("POST /apis/v2beta1/runs")
    done = submit(to(double), file, GIVEN, experiment="Default", run_name="nightly")
    assert len(double.state.runs) == 121
    assert list(double.state.runs)[-1] == done.run_id


def to_once(double: KfpServer) -> Server:
    return to(double, Patience(0.1, 0.01, 0.02, 0.01))


def test_a_server_that_stays_away_is_given_up(double: KfpServer, tmp_path: Path) -> None:
    server = to_once(double)
    double.faults.drop_before("POST /apis/v2beta1/runs", times=-1)
    with pytest.raises(UnreachableError, match=r"Cannot start the run: .* does not answer"):
        send(server, compiled(tmp_path))
    assert held(double)[3] == 0


def test_a_version_that_another_brings_meanwhile_is_compared(double: KfpServer, tmp_path: Path) -> None:
    ours, theirs = compiled(tmp_path / "a"), compiled(tmp_path / "b", "evaluate")
    for file, other in ((ours, ours), (compiled(tmp_path / "c", version="2.0.0"), theirs)):
        server = to(double)
        upload = server.client.pipeline_uploads.upload_pipeline_version

        def late(*args: Any, _file: RunnableFile = file, _other: RunnableFile = other, **kwargs: Any) -> Any:
            # Between our look and our upload, someone else uploads.
            (pipeline,) = double.state.pipelines
            body = {"pipeline_id": pipeline, "name": _file.version, "pipeline_spec": _other.spec}
            double.state.add_version(body)
            return upload(*args, **kwargs)  # noqa: B023

        server.client.pipeline_uploads.upload_pipeline_version = late
        if other is ours:
            assert not ensure_version(server, file).uploaded
        else:
            with pytest.raises(VersionConflictError):
                ensure_version(server, file)


_SUBMIT = """
import sys
from pathlib import Path
from kfp_lifecycle.runner.cluster.connect import connect
from kfp_lifecycle.runner.cluster.submit import submit
from kfp_lifecycle.runner.load import load
server = connect(host=sys.argv[1])
file = load(Path(sys.argv[2]))
print("ready", flush=True)
sys.stdin.readline()
done = submit(server, file, {"source": "x"}, experiment="churn")
print(done.run_id, done.version.version_id, done.version.uploaded)
"""


def test_two_processes_at_once(double: KfpServer, tmp_path: Path) -> None:
    file = compiled(tmp_path)
    command = [sys.executable, "-W", "ignore", "-c", _SUBMIT, double.url, str(file.path)]
    started = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    answers = list[str]()

    def release(process: "subprocess.Popen[str]") -> None:
        answers.append(process.communicate("\n", timeout=120)[0])

    threads = [threading.Thread(target=release, args=(process,)) for process in started]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [process.returncode for process in started] == [0, 0]
    runs, versions, uploaded = zip(*(answer.split() for answer in answers), strict=True)
    assert held(double) == (1, 1, 1, 2)
    assert len(set(runs)) == 2
    assert len(set(versions)) == 1
    assert sorted(uploaded) == ["False", "True"]


@pytest.mark.parametrize("many", [40 if SOAK else 6])
def test_many_at_once_over_a_bad_line(double: KfpServer, tmp_path: Path, many: int) -> None:
    file = compiled(tmp_path)
    servers = [to(double) for _ in range(many)]
    for match in ("POST", "GET"):
        double.faults.drop_before(match, many)
        double.faults.drop_after(match, many)
    done: list[Submission] = []
    threads = [
        threading.Thread(target=lambda server=server: done.append(send(server, file))) for server in servers
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert held(double) == (1, 1, 1, many)
    assert len({one.run_id for one in done}) == many
