"""The routes of ``/apis/v2beta1``, under the very paths of the generated client."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.kfp_server import rules
from tests.kfp_server.errors import invalid, not_found
from tests.kfp_server.listing import page
from tests.kfp_server.state import Item, State

API = "/apis/v2beta1"


@dataclass
class Request:
    """What has come in.

    Args:
        path: Values of the path's parameters.
        query: The query's.
        body: The JSON body.
        upload: The uploaded file, and its name.
        allow: Called with verb, resource and namespace; refuses what the user may not do.
    """

    path: dict[str, str]
    query: dict[str, str]
    body: Item
    upload: tuple[str, bytes]
    allow: Callable[[str, str, str], None]


Handler = Callable[[State, Request], Item]


@dataclass(frozen=True)
class Route:
    """A method and path, and what answers it."""

    method: str
    template: str
    handler: Handler
    creates: bool = field(default=False)


def _healthz(state: State, request: Request) -> Item:
    return {"multi_user": state.multi_user, "pipeline_store": state.store}


# Experiments

_EXPERIMENT_FIELDS = ("experiment_id", "display_name", "created_at", "storage_state", "namespace")


def _create_experiment(state: State, request: Request) -> Item:
    if state.multi_user and not request.body.get("namespace"):
        raise invalid("Failed to create an experiment: namespace is empty")
    request.allow("create", "experiments", state.namespace(request.body.get("namespace")))
    return state.add_experiment(request.body)


def _list_experiments(state: State, request: Request) -> Item:
    namespace = _namespace(state, request)
    request.allow("list", "experiments", namespace)
    found = [e for e in state.experiments.values() if e.get("namespace", "") == namespace]
    return _list("experiments", found, request, _EXPERIMENT_FIELDS)


def _get_experiment(state: State, request: Request) -> Item:
    item = state.experiment(request.path["experiment_id"])
    request.allow("get", "experiments", item.get("namespace", ""))
    return item


def _experiment_action(verb: str, action: Callable[[State, str], None]) -> Handler:
    def handler(state: State, request: Request) -> Item:
        item = state.experiment(request.path["experiment_id"])
        request.allow(verb, "experiments", item.get("namespace", ""))
        action(state, item["experiment_id"])
        return {}

    return handler


def _store_experiment(kept: str) -> Callable[[State, str], None]:
    return lambda state, id: state.experiment(id).update(storage_state=kept)  # noqa: A006


# Pipelines

_PIPELINE_FIELDS = ("pipeline_id", "display_name", "name", "created_at", "namespace")
_VERSION_FIELDS = ("pipeline_version_id", "display_name", "name", "created_at")


def _create_pipeline(state: State, request: Request) -> Item:
    request.allow("create", "pipelines", state.namespace(request.body.get("namespace")))
    return state.add_pipeline(request.body)


def _list_pipelines(state: State, request: Request) -> Item:
    namespace = state.namespace(request.query.get("namespace"))
    request.allow("list", "pipelines", namespace)
    found = [p for p in state.pipelines.values() if p.get("namespace", "") == namespace]
    return _list("pipelines", found, request, _PIPELINE_FIELDS)


def _get_pipeline(state: State, request: Request) -> Item:
    item = state.pipeline(request.path["pipeline_id"])
    request.allow("get", "pipelines", item.get("namespace", ""))
    return item


def _pipeline_by_name(state: State, request: Request) -> Item:
    namespace = state.namespace(request.query.get("namespace"))
    request.allow("get", "pipelines", namespace)
    for item in state.pipelines.values():
        if (item["name"], item.get("namespace", "")) == (request.path["name"], namespace):
            return item
    raise not_found("Pipeline", request.path["name"])


def _delete_pipeline(state: State, request: Request) -> Item:
    item = _get_pipeline(state, request)
    request.allow("delete", "pipelines", item.get("namespace", ""))
    if request.query.get("cascade") == "true":
        for id in [k for k, v in state.versions.items() if v["pipeline_id"] == item["pipeline_id"]]:  # noqa: A001
            del state.versions[id]
    state.delete_pipeline(item["pipeline_id"])
    return {}


def _list_versions(state: State, request: Request) -> Item:
    pipeline = state.pipeline(request.path["pipeline_id"])
    request.allow("list", "pipelines", pipeline.get("namespace", ""))
    found = [v for v in state.versions.values() if v["pipeline_id"] == pipeline["pipeline_id"]]
    return _list("pipeline_versions", found, request, _VERSION_FIELDS)


def _get_version(state: State, request: Request) -> Item:
    pipeline = state.pipeline(request.path["pipeline_id"])
    request.allow("get", "pipelines", pipeline.get("namespace", ""))
    return state.version(pipeline["pipeline_id"], request.path["pipeline_version_id"])


def _delete_version(state: State, request: Request) -> Item:
    item = _get_version(state, request)
    pipeline = state.pipeline(item["pipeline_id"])
    request.allow("delete", "pipelines", pipeline.get("namespace", ""))
    del state.versions[item["pipeline_version_id"]]
    return {}


def _upload(state: State, request: Request) -> Item:
    """A pipeline, and a version of the same name."""
    namespace = state.namespace(request.query.get("namespace"))
    request.allow("create", "pipelines", namespace)
    package = rules.parse_package(request.upload[1], state.unknown_fields)
    query = request.query
    body = {
        "name": query.get("name") or query.get("display_name") or request.upload[0],
        "display_name": query.get("display_name"),
        "description": query.get("description"),
        "namespace": namespace,
        "tags": _tags(query),
    }
    pipeline = state.add_pipeline(body)
    state.add_version({**body, "pipeline_id": pipeline["pipeline_id"], "pipeline_spec": package})
    return pipeline


def _upload_version(state: State, request: Request) -> Item:
    query = request.query
    pipeline = state.pipeline(query.get("pipelineid", ""))
    request.allow("create", "pipelines", pipeline.get("namespace", ""))
    package = rules.parse_package(request.upload[1], state.unknown_fields)
    return state.add_version(
        {
            "pipeline_id": pipeline["pipeline_id"],
            "name": query.get("name") or query.get("display_name") or request.upload[0],
            "display_name": query.get("display_name"),
            "description": query.get("description"),
            "tags": _tags(query),
            "pipeline_spec": package,
        }
    )


def _tags(query: Mapping[str, str]) -> dict[str, str] | None:
    if not query.get("tags"):
        return None
    try:
        return dict(json.loads(query["tags"]))
    except (ValueError, TypeError):
        said = "Failed to parse tags query parameter. Expected JSON object with string keys and values"
        raise invalid(said) from None


# Runs

_RUN_FIELDS = ("run_id", "display_name", "created_at", "state", "storage_state", "experiment_id", "status")


def _of_experiment(state: State, id: str) -> str:  # noqa: A002
    return str(state.experiment(id).get("namespace", ""))


def _create_run(state: State, request: Request) -> Item:
    if id := request.body.get("experiment_id"):  # noqa: A001
        request.allow("create", "runs", _of_experiment(state, id))
    return state.add_run(request.body).as_wire()


def _list_runs(state: State, request: Request) -> Item:
    items = [run.as_wire() for run in state.runs.values()]
    return _list("runs", _chosen(state, request, items, "runs"), request, _RUN_FIELDS)


def _chosen(state: State, request: Request, items: list[Item], resource: str) -> list[Item]:
    """Those of the experiment or namespace that is asked for."""
    if id := request.query.get("experiment_id"):  # noqa: A001
        request.allow("list", resource, _of_experiment(state, id))
        return [item for item in items if item["experiment_id"] == id]
    namespace = _namespace(state, request)
    request.allow("list", resource, namespace)
    return [item for item in items if _of_experiment(state, item["experiment_id"]) == namespace]


def _get_run(state: State, request: Request) -> Item:
    run = state.run(request.path["run_id"])
    request.allow("get", "runs", _of_experiment(state, run.wire["experiment_id"]))
    run.advance()
    return run.as_wire()


def _run_action(verb: str, action: Callable[[State, str], Any]) -> Handler:
    def handler(state: State, request: Request) -> Item:
        run = state.run(request.path["run_id"])
        request.allow(verb, "runs", _of_experiment(state, run.wire["experiment_id"]))
        action(state, request.path["run_id"])
        return {}

    return handler


def _store_run(kept: str) -> Callable[[State, str], None]:
    return lambda state, id: state.run(id).wire.update(storage_state=kept)  # noqa: A006


# Recurring runs

_RECURRING_FIELDS = ("recurring_run_id", "display_name", "created_at", "updated_at", "status", "mode")


def _create_recurring(state: State, request: Request) -> Item:
    if id := request.body.get("experiment_id"):  # noqa: A001
        request.allow("create", "jobs", _of_experiment(state, id))
    return state.add_recurring(request.body)


def _list_recurring(state: State, request: Request) -> Item:
    items = list(state.recurring.values())
    return _list("recurringRuns", _chosen(state, request, items, "jobs"), request, _RECURRING_FIELDS)


def _get_recurring(state: State, request: Request) -> Item:
    item = state.recurring_run(request.path["recurring_run_id"])
    request.allow("get", "jobs", _of_experiment(state, item["experiment_id"]))
    return item


def _recurring_action(verb: str, action: Callable[[State, str], Any]) -> Handler:
    def handler(state: State, request: Request) -> Item:
        item = state.recurring_run(request.path["recurring_run_id"])
        request.allow(verb, "jobs", _of_experiment(state, item["experiment_id"]))
        action(state, item["recurring_run_id"])
        return {}

    return handler


# What all of them share


def _namespace(state: State, request: Request) -> str:
    namespace = state.namespace(request.query.get("namespace"))
    if state.multi_user and not namespace:
        raise invalid("Invalid input error: namespace is empty in multi-user mode")
    return namespace


def _list(key: str, items: list[Item], request: Request, fields: tuple[str, ...]) -> Item:
    found, following, total = page(items, request.query, fields)
    answer = {key: found, "total_size": total, "next_page_token": following}
    return {name: value for name, value in answer.items() if value}


ROUTES = (
    Route("GET", f"{API}/healthz", _healthz),
    Route("POST", f"{API}/experiments", _create_experiment, True),
    Route("GET", f"{API}/experiments", _list_experiments),
    Route("GET", f"{API}/experiments/{{experiment_id}}", _get_experiment),
    Route(
        "DELETE",
        f"{API}/experiments/{{experiment_id}}",
        _experiment_action("delete", State.delete_experiment),
    ),
    Route(
        "POST",
        f"{API}/experiments/{{experiment_id}}:archive",
        _experiment_action("archive", _store_experiment("ARCHIVED")),
    ),
    Route(
        "POST",
        f"{API}/experiments/{{experiment_id}}:unarchive",
        _experiment_action("unarchive", _store_experiment("AVAILABLE")),
    ),
    Route("POST", f"{API}/pipelines", _create_pipeline, True),
    Route("GET", f"{API}/pipelines", _list_pipelines),
    Route("POST", f"{API}/pipelines/upload", _upload, True),
    Route("POST", f"{API}/pipelines/upload_version", _upload_version, True),
    Route("GET", f"{API}/pipelines/names/{{name}}", _pipeline_by_name),
    Route("GET", f"{API}/pipelines/{{pipeline_id}}", _get_pipeline),
    Route("DELETE", f"{API}/pipelines/{{pipeline_id}}", _delete_pipeline),
    Route("GET", f"{API}/pipelines/{{pipeline_id}}/versions", _list_versions),
    Route("GET", f"{API}/pipelines/{{pipeline_id}}/versions/{{pipeline_version_id}}", _get_version),
    Route("DELETE", f"{API}/pipelines/{{pipeline_id}}/versions/{{pipeline_version_id}}", _delete_version),
    Route("POST", f"{API}/runs", _create_run, True),
    Route("GET", f"{API}/runs", _list_runs),
    Route("GET", f"{API}/runs/{{run_id}}", _get_run),
    Route("DELETE", f"{API}/runs/{{run_id}}", _run_action("delete", lambda s, id: s.runs.pop(id))),  # noqa: A006
    Route("POST", f"{API}/runs/{{run_id}}:archive", _run_action("archive", _store_run("ARCHIVED"))),
    Route("POST", f"{API}/runs/{{run_id}}:unarchive", _run_action("unarchive", _store_run("AVAILABLE"))),
    Route("POST", f"{API}/runs/{{run_id}}:terminate", _run_action("terminate", State.terminate)),
    Route("POST", f"{API}/runs/{{run_id}}:retry", _run_action("retry", State.retry)),
    Route("POST", f"{API}/recurringruns", _create_recurring, True),
    Route("GET", f"{API}/recurringruns", _list_recurring),
    Route("GET", f"{API}/recurringruns/{{recurring_run_id}}", _get_recurring),
    Route(
        "DELETE",
        f"{API}/recurringruns/{{recurring_run_id}}",
        _recurring_action("delete", lambda s, id: s.recurring.pop(id)),  # noqa: A006
    ),
    Route(
        "POST",
        f"{API}/recurringruns/{{recurring_run_id}}:enable",
        _recurring_action("enable", lambda s, id: s.switch(id, True)),  # noqa: A006
    ),
    Route(
        "POST",
        f"{API}/recurringruns/{{recurring_run_id}}:disable",
        _recurring_action("disable", lambda s, id: s.switch(id, False)),  # noqa: A006
    ),
)
