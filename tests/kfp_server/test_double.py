"""The double itself, held to the client that is generated from the published API."""

import inspect
import json
import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import kfp
import kfp_server_api
import pytest
import urllib3
import yaml
from kfp_server_api import ApiException

from tests.kfp_server import KfpServer, plays
from tests.kfp_server.routes import ROUTES

ROOT = Path(__file__).resolve().parents[2]
TRAINING = ROOT / "compiled" / "pipelines" / "training" / "1.0.0.yaml"
GIVEN = {"source": "gs://b/churn.csv", "target": "churn", "model_name": "churn"}


@pytest.fixture
def server() -> Iterator[KfpServer]:
    with KfpServer() as running:
        yield running


@pytest.fixture
def client(server: KfpServer) -> Any:
    return connected(server)


def connected(server: KfpServer, **options: Any) -> Any:
    # Without retries: the generated client's own would hide what the double does.
    client = kfp.Client(host=server.url, **options)
    client.runs.run_service_list_runs.__self__.api_client.rest_client.pool_manager.connection_pool_kw[
        "retries"
    ] = False
    return client


def uploaded(client: Any) -> tuple[str, str]:
    pipeline = client.upload_pipeline(str(TRAINING), pipeline_name="training")
    version = client.upload_pipeline_version(str(TRAINING), "1.0.0", pipeline_id=pipeline.pipeline_id)
    return pipeline.pipeline_id, version.pipeline_version_id


def started(client: Any, name: str = "one", **given: Any) -> Any:
    found = client.list_pipelines().pipelines
    if found:
        pipeline = found[0].pipeline_id
        version = client.list_pipeline_versions(pipeline).pipeline_versions[0].pipeline_version_id
    else:
        pipeline, version = uploaded(client)
    experiment = client.create_experiment("Default").experiment_id
    return client.run_pipeline(
        experiment, name, pipeline_id=pipeline, version_id=version, params={**GIVEN, **given}
    )


def test_every_route_is_one_of_the_generated_client() -> None:
    apis = [getattr(kfp_server_api, name) for name in dir(kfp_server_api) if name.endswith("ServiceApi")]
    source = "".join(inspect.getsource(inspect.getmodule(api)) for api in apis)  # type: ignore[arg-type]
    published = set(re.findall(r"'(/apis/v2beta1[^']*)', '([A-Z]+)'", source))
    assert {(route.template, route.method) for route in ROUTES} <= published
    # … and none that verbs of this library use is missing: auth, reports and pictures are the UI's.
    left = {path for path, _ in published - {(route.template, route.method) for route in ROUTES}}
    assert left == {
        "/apis/v2beta1/auth",
        "/apis/v2beta1/filters",
        "/apis/v2beta1/pipelines/create",
        "/apis/v2beta1/pipelines/{pipeline.pipeline_id}",
        "/apis/v2beta1/pipelines/{pipeline_version.pipeline_id}/versions/"
        "{pipeline_version.pipeline_version_id}",
        "/apis/v2beta1/pipelines/{pipeline_id}/versions",  # POST: from an address, not a file
        "/apis/v2beta1/scheduledworkflows",
        "/apis/v2beta1/visualizations/{namespace}",
        "/apis/v2beta1/workflows",
    }


def lossless(client: Any, function: Any, *args: Any, **kwargs: Any) -> Any:
    """Calls, and holds the model that comes out against the JSON that came in."""
    found = function(*args, **kwargs)
    api = function.__self__.api_client
    raw = json.loads(api.last_response.data)
    assert _plain(api.sanitize_for_serialization(found)) == _plain(raw)
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d)", value):
        return datetime.fromisoformat(value)
    return value


def test_every_answer_is_a_published_model_with_nothing_lost(client: Any) -> None:
    call, v2 = lossless, kfp_server_api
    call(client, client.healthzs.healthz_service_get_healthz)
    experiment = call(
        client,
        client.experiments.experiment_service_create_experiment,
        v2.V2beta1Experiment(display_name="churn", description="who leaves"),
    )
    call(client, client.experiments.experiment_service_get_experiment, experiment.experiment_id)
    call(client, client.experiments.experiment_service_list_experiments, page_size=1)
    pipeline = call(
        client,
        client.pipelines.pipeline_service_create_pipeline,
        v2.V2beta1Pipeline(name="training", display_name="Training", tags={"team": "ml"}),
    )
    call(client, client.pipelines.pipeline_service_get_pipeline, pipeline.pipeline_id)
    call(client, client.pipelines.pipeline_service_get_pipeline_by_name, "training")
    call(client, client.pipelines.pipeline_service_list_pipelines)
    upload = client.pipeline_uploads
    call(client, upload.upload_pipeline, str(TRAINING), name="other", tags=json.dumps({"a": "b"}))
    version = call(
        client,
        upload.upload_pipeline_version,
        str(TRAINING),
        name="1.0.0",
        pipelineid=pipeline.pipeline_id,
        description="first",
    )
    ids = (pipeline.pipeline_id, version.pipeline_version_id)
    found = call(client, client.pipelines.pipeline_service_get_pipeline_version, *ids)
    assert found.pipeline_spec == next(yaml.safe_load_all(TRAINING.read_text()))
    call(client, client.pipelines.pipeline_service_list_pipeline_versions, pipeline.pipeline_id)


def test_so_is_that_of_runs_and_schedules(server: KfpServer, client: Any) -> None:
    server.state.plays[""] = plays.succeeds({"train": {"model": ["7"]}})
    call, v2, ids = lossless, kfp_server_api, uploaded(client)
    experiment = client.create_experiment("churn")
    reference = v2.V2beta1PipelineVersionReference(pipeline_id=ids[0], pipeline_version_id=ids[1])
    config = v2.V2beta1RuntimeConfig(parameters=GIVEN)
    body = v2.V2beta1Run(
        display_name="one",
        description="a run",
        experiment_id=experiment.experiment_id,
        pipeline_version_reference=reference,
        runtime_config=config,
    )
    run = call(client, client.runs.run_service_create_run, body)
    while run.state not in ("SUCCEEDED", "FAILED"):
        run = call(client, client.runs.run_service_get_run, run.run_id)
    trained = next(d for d in run.run_details.task_details if d.display_name == "train")
    assert trained.outputs["model"].artifact_ids == ["7"]
    call(client, client.runs.run_service_list_runs, experiment_id=experiment.experiment_id)
    for schedule in (
        {"cron_schedule": {"cron": "0 0 2 * * *", "start_time": "2026-12-01T00:00:00Z"}},
        {"periodic_schedule": {"interval_second": 21600}},
    ):
        job = call(
            client,
            client.recurring_runs.recurring_run_service_create_recurring_run,
            v2.V2beta1RecurringRun(
                display_name="nightly",
                experiment_id=experiment.experiment_id,
                pipeline_version_reference=reference,
                runtime_config=config,
                trigger=schedule,
                max_concurrency="1",
                mode="ENABLE",
                no_catchup=True,
            ),
        )
    call(client, client.recurring_runs.recurring_run_service_get_recurring_run, job.recurring_run_id)
    found = client.recurring_runs.recurring_run_service_list_recurring_runs()
    assert [item.status for item in found.recurring_runs] == ["ENABLED", "ENABLED"]


def test_a_refusal_is_google_rpc_status(client: Any) -> None:
    with pytest.raises(ApiException) as raised:
        client.get_run("none")
    body = json.loads(raised.value.body)
    model = kfp_server_api.GoogleRpcStatus(code=body["code"], message=body["message"])
    assert (raised.value.status, model.code) == (404, 5)
    assert "Run none not found" in model.message


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda spec: spec.update(extra=1), 'no field named "extra"'),
        (lambda spec: spec["pipelineInfo"].update(name="Train_it"), "lower case alphanumeric"),
        (lambda spec: spec.update(schemaVersion="2.0.0"), "schema version"),
        (lambda spec: spec["root"].pop("dag"), "no root dag"),
        (lambda spec: spec.pop("pipelineInfo"), "one pipeline spec"),
    ],
)
def test_uploads_are_read_strictly(client: Any, tmp_path: Path, damage: Any, said: str) -> None:
    spec = next(yaml.safe_load_all(TRAINING.read_text()))
    damage(spec)
    path = tmp_path / "bad.yaml"
    path.write_text(yaml.safe_dump(spec))
    with pytest.raises(ApiException) as raised:
        client.pipeline_uploads.upload_pipeline(str(path), name="bad")
    assert raised.value.status == 400
    assert said in json.loads(raised.value.body)["error_message"]
    assert client.list_pipelines().pipelines is None


def test_platform_settings_come_back_beside_the_spec(client: Any, tmp_path: Path) -> None:
    platform = {"platforms": {"kubernetes": {"deploymentSpec": {"executors": {}}}}}
    path = tmp_path / "both.yaml"
    path.write_text(TRAINING.read_text() + "---\n" + yaml.safe_dump(platform))
    pipeline = client.upload_pipeline(str(path), pipeline_name="both")
    (version,) = client.list_pipeline_versions(pipeline.pipeline_id).pipeline_versions
    assert version.display_name == "both"
    assert version.pipeline_spec["platform_spec"] == platform
    assert version.pipeline_spec["pipeline_spec"]["pipelineInfo"]["name"] == "training"


def test_names_are_unique_where_the_server_says_so(client: Any) -> None:
    pipeline, _ = uploaded(client)
    upload = client.pipeline_uploads
    for again in (
        lambda: upload.upload_pipeline(str(TRAINING), name="training"),
        lambda: upload.upload_pipeline_version(str(TRAINING), name="1.0.0", pipelineid=pipeline),
        lambda: client.experiments.experiment_service_create_experiment({"display_name": "Default"}),
    ):
        with pytest.raises(ApiException) as raised:
            again()
        assert raised.value.status == 409
        assert "already exist" in raised.value.body or "Failed to create" in raised.value.body
    assert started(client).run_id != started(client).run_id


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"sourse": "x"}, "unknown parameter(s) provided: sourse"),
        ({"folds": "five"}, "folds requires type NUMBER_INTEGER"),
        ({"folds": 2.5}, "folds requires type NUMBER_INTEGER"),
        ({"folds": True}, "folds requires type NUMBER_INTEGER"),
        ({"description": "x" * 100_001}, "exceed maximum size"),
    ],
)
def test_parameters_are_checked(client: Any, given: dict[str, Any], said: str) -> None:
    with pytest.raises(ApiException, match=re.escape(said)):
        started(client, **given)


def test_a_missing_parameter_is_named(client: Any) -> None:
    pipeline, version = uploaded(client)
    experiment = client.create_experiment("Default").experiment_id
    with pytest.raises(ApiException, match="are missing: model_name, source, target"):
        client.run_pipeline(experiment, "one", pipeline_id=pipeline, version_id=version)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"max_concurrency": 0}, "between 1 and 10"),
        ({"max_concurrency": 11}, "between 1 and 10"),
        ({"interval_second": 0}, "interval_second"),
        ({"cron_expression": "0 2 * *"}, "Expected 5 to 6 fields"),
        ({"cron_expression": "0 0 25 * * *"}, "not in the range"),
        ({"cron_expression": "every day"}, "Expected 5 to 6 fields"),
        ({"cron_expression": "0 0 2 * * fri-mon"}, "not in the range"),
        ({"job_name": " "}, "name is empty"),
    ],
)
def test_schedules_are_checked(client: Any, changed: dict[str, Any], said: str) -> None:
    pipeline, version = uploaded(client)
    given = {"job_name": "nightly", "cron_expression": "0 0 2 * * *", **changed}
    if "interval_second" in given:
        given.pop("cron_expression")
    experiment = client.create_experiment("Default").experiment_id
    with pytest.raises((ApiException, ValueError), match=said):
        client.create_recurring_run(
            experiment, **given, pipeline_id=pipeline, version_id=version, params=GIVEN
        )


# As the facts page says: the day of week may be missing, so five fields mean something else.
@pytest.mark.parametrize("cron", ["0 0 2 * * *", "0 9 * * 1", "@daily", "*/10 0-5 ? 1,15 JAN MON-FRI"])
def test_crons_that_the_server_takes(client: Any, cron: str) -> None:
    pipeline, version = uploaded(client)
    experiment = client.create_experiment("Default").experiment_id
    job = client.create_recurring_run(
        experiment, "job", cron_expression=cron, pipeline_id=pipeline, version_id=version, params=GIVEN
    )
    assert job.trigger.cron_schedule.cron == cron


def test_a_schedule_fires_while_it_is_enabled(server: KfpServer, client: Any) -> None:
    pipeline, version = uploaded(client)
    experiment = client.create_experiment("Default").experiment_id
    job = client.create_recurring_run(
        experiment,
        "job",
        cron_expression="0 0 2 * * *",
        pipeline_id=pipeline,
        version_id=version,
        params=GIVEN,
        enabled=False,
    )
    fire = server.state.fire
    assert fire(job.recurring_run_id) is None
    client.enable_recurring_run(job.recurring_run_id)
    first = fire(job.recurring_run_id)
    assert first is not None
    assert fire(job.recurring_run_id) is None  # max_concurrency is 1
    first.finish("SUCCEEDED")
    assert fire(job.recurring_run_id) is not None
    client.delete_recurring_run(job.recurring_run_id)
    assert client.list_recurring_runs().recurring_runs is None
    assert {run.recurring_run_id for run in client.list_runs().runs} == {job.recurring_run_id}


def test_pages_go_on_with_their_own_sort_and_filter(client: Any) -> None:
    for number in range(7):
        started(client, f"run {number}")
    wanted = json.dumps(
        {"predicates": [{"operation": "IS_SUBSTRING", "key": "display_name", "stringValue": "RUN"}]}
    )
    names, token = [], ""
    while True:
        page = client.list_runs(
            page_token=token, page_size=3, sort_by="" if token else "display_name desc", filter=wanted
        )
        names += [run.display_name for run in page.runs]
        assert page.total_size == 7
        if not (token := page.next_page_token or ""):
            break
    assert names == [f"run {n}" for n in reversed(range(7))]
    first = client.list_runs(page_size=3, sort_by="display_name desc")
    for options in (
        {"sort_by": "colour"},
        {"sort_by": "display_name up"},
        {"page_token": "x"},
        {"page_token": first.next_page_token, "sort_by": "created_at desc"},
        {"filter": json.dumps({"predicates": [{"operation": "EQUALS", "key": "x", "stringValue": "y"}]})},
    ):
        with pytest.raises(ApiException) as raised:
            client.list_runs(**options)
        assert raised.value.status == 400
    assert client.get_pipeline_id("training")
    assert client.get_pipeline_id("train") is None


def test_runs_are_ended_and_tried_again(server: KfpServer, client: Any) -> None:
    server.state.plays[""] = plays.fails("train", "boom")
    run = started(client)
    with pytest.raises(ApiException):
        client.runs.run_service_retry_run(run.run_id)
    run = client.wait_for_run_completion(run.run_id, 10, sleep_duration=0)
    assert (run.state, run.error.message) == ("FAILED", "boom")
    with pytest.raises(ApiException):
        client.terminate_run(run.run_id)

    server.state.plays[""] = plays.succeeds()
    client.runs.run_service_retry_run(run.run_id)
    run = client.get_run(run.run_id)
    done = [d.display_name for d in run.run_details.task_details if d.state == "SUCCEEDED"]
    assert "prepare" in done
    assert client.wait_for_run_completion(run.run_id, 10, sleep_duration=0).state == "SUCCEEDED"

    server.state.plays[""] = plays.holds()
    run = started(client)
    client.terminate_run(run.run_id)
    assert [client.get_run(run.run_id).state for _ in range(2)] == ["CANCELED", "CANCELED"]
    client.archive_run(run.run_id)
    assert client.get_run(run.run_id).storage_state == "ARCHIVED"
    client.delete_run(run.run_id)
    with pytest.raises(ApiException):
        client.get_run(run.run_id)


def test_faults_come_as_often_as_they_are_told_to(server: KfpServer, client: Any) -> None:
    server.faults.answer(503, "GET /apis/v2beta1/runs", retry_after="7", times=2)
    assert client.list_experiments().experiments  # another path
    for _ in range(2):
        with pytest.raises(ApiException) as raised:
            client.list_runs()
        assert (raised.value.status, raised.value.headers["Retry-After"]) == (503, "7")
    assert client.list_runs().runs is None

    create = client.experiments.experiment_service_create_experiment
    for name, drop, there in (
        ("before", server.faults.drop_before, False),
        ("after", server.faults.drop_after, True),
    ):
        drop("POST")
        with pytest.raises(urllib3.exceptions.ProtocolError):
            create({"display_name": name})
        held = {e["display_name"] for e in server.state.experiments.values()}
        assert (name in held) is there


def test_a_restart_keeps_address_and_state(server: KfpServer, client: Any) -> None:
    started(client)
    before = server.url
    server.stop()
    with pytest.raises(urllib3.exceptions.HTTPError):
        client.list_runs()
    server.start()
    assert server.url == before
    assert len(client.list_runs().runs) == 1


def test_many_at_once_leave_one_of_each_name(server: KfpServer) -> None:
    made, refused = [], []

    def create() -> None:
        try:
            connected(server).experiments.experiment_service_create_experiment({"display_name": "x"})
            made.append(1)
        except ApiException as error:
            refused.append(error.status)

    threads = [threading.Thread(target=create) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(made), set(refused)) == (1, {409})


def test_a_server_of_many_users_tells_them_apart() -> None:
    with KfpServer(multi_user=True) as server:
        server.gate.admit("ann", token="ann's")
        server.gate.rights = {("ann", "team-a"): {"get", "list", "create"}, ("ann", "team-b"): {"list runs"}}
        with pytest.raises(ApiException) as raised:
            connected(server).list_runs(namespace="team-a")
        assert raised.value.status == 401

        client = connected(server, existing_token="ann's", namespace="team-a")
        client.create_experiment("churn", namespace="team-a")
        assert client.list_experiments(namespace="team-a").total_size == 1
        assert client.list_runs(namespace="team-b").runs is None
        for denied in (
            lambda: client.experiments.experiment_service_create_experiment(
                {"display_name": "x", "namespace": "team-b"}
            ),
            lambda: client.list_recurring_runs(namespace="team-b"),
        ):
            with pytest.raises(ApiException, match="Namespace:team-b,Verb:") as raised:
                denied()
            assert raised.value.status == 403
        with pytest.raises(ApiException, match="is not authorized") as raised:
            client.upload_pipeline(str(TRAINING), pipeline_name="x", namespace="team-b")
        assert raised.value.status == 400  # as the upload endpoints answer

        server.gate.expire("ann's")
        with pytest.raises(ApiException) as raised:
            client.list_runs(namespace="team-a")
        assert raised.value.status == 401


def test_an_older_server_knows_less(server: KfpServer, client: Any, tmp_path: Path) -> None:
    server.state.unknown_fields = {"maxRetryCount", "backoffDuration"}
    spec = next(yaml.safe_load_all(TRAINING.read_text()))
    spec["root"]["dag"]["tasks"]["train"]["retryPolicy"] = {"maxRetryCount": 2}
    path = tmp_path / "new.yaml"
    path.write_text(yaml.safe_dump(spec))
    with pytest.raises(ApiException, match=r"unknown field .*(maxRetryCount|backoffDuration)"):
        client.upload_pipeline(str(path), pipeline_name="new")
    with KfpServer(version="2.0") as old, pytest.raises(ApiException) as raised:
        connected(old).get_run("x")
    assert "error" in json.loads(raised.value.body)
    with KfpServer(version="1.8") as old:
        answer = urllib3.request("GET", f"{old.url}/apis/v2beta1/healthz")
        assert answer.status == 404


def test_the_clock_may_be_ahead(server: KfpServer, client: Any) -> None:
    server.state.clock_ahead = timedelta(hours=2)
    ahead = started(client).created_at - datetime.now(UTC)
    assert timedelta(hours=1, minutes=59) < ahead < timedelta(hours=2, minutes=1)
