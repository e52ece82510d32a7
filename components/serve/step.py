"""What the ``serve`` component's body calls."""

import json
import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

import yaml

from kfp_lifecycle.components.serve.rollout.guard import Limits
from kfp_lifecycle.components.serve.rollout.run import Course
from kfp_lifecycle.components.serve.rollout.targets import Place
from kfp_lifecycle.components.serve.serving import Request, Served, serve_model
from kfp_lifecycle.components.shared.errors import ParameterError
from kfp_lifecycle.components.shared.outputs import OutputArtifact, whole_file
from kfp_lifecycle.components.shared.step import step

log = logging.getLogger(__name__)

#: How long a step of the rollout is watched where nothing is said: on a laptop hardly anybody asks.
_CLUSTER_STEP_S, _LOCAL_STEP_S = 60.0, 5.0
#: The component's parameters that are settings of KServe's pods by the same names.
_PREDICTOR = (
    "cpu",
    "memory",
    "gpus",
    "min_replicas",
    "max_replicas",
    "scale_metric",
    "scale_target",
    "service_account",
    "payload_logger",
    "runtime",
)
_LIMITS = ("min_requests", "max_error_rate", "max_latency_ms", "max_slowdown")


class Outputs(NamedTuple):
    """The component's output parameters."""

    url: str
    model_version: str
    previous_version: str


@step(outputs=("rollout", "objects"))
def serve_step(*, rollout: OutputArtifact, objects: OutputArtifact, **asked: Any) -> Outputs:
    """Serves as the component says; see :func:`.serving.serve_model` for the errors.

    Args:
        rollout: Gets the course of the rollout as Markdown.
        objects: Gets what was applied, as YAML.
        **asked: The component's parameters by name.
    """
    from kfp_lifecycle.components.serve.markdown import rollout_page

    served = serve_model(request(asked))
    with whole_file(objects.path) as path:
        path.write_text(
            yaml.safe_dump_all(served.objects, sort_keys=False, allow_unicode=True), encoding="utf-8"
        )
    with whole_file(rollout.path) as path:
        path.write_text(rollout_page(served), encoding="utf-8")
    outputs = _outputs(served)
    objects.metadata.update(url=outputs.url, model_version=outputs.model_version)
    log.info("%s: version %s is served at %s", served.release.name, outputs.model_version, outputs.url)
    return outputs


def request(asked: Mapping[str, Any]) -> Request:
    """The request that the component's parameters make.

    Raises:
        ParameterError: A parameter is of the wrong form or out of range.
    """
    place = Place(
        target=asked["target"],
        arguments=tuple(asked["server_arguments"]),
        port=asked["port"],
        wait_s=asked["wait_seconds"],
        namespace=asked["namespace"],
        gateway=asked["gateway"],
        host=asked["host"],
        predictor={
            **{name: asked[name] for name in _PREDICTOR},
            "timeout_s": asked["request_timeout"],
            "mode": asked["kserve_mode"],
        },
    )
    course = Course(
        steps=canary_steps(asked["canary_steps"]),
        step_s=asked["step_seconds"] or (_CLUSTER_STEP_S if place.on_cluster else _LOCAL_STEP_S),
        limits=Limits(**{name: asked[name] for name in _LIMITS}),
        ready_timeout_s=asked["ready_timeout"],
    )
    names = ("model", "name", "alias", "keep_running", "run_id")
    return Request(place=place, course=course, **{name: asked[name] for name in names})


def canary_steps(text: str) -> tuple[int, ...]:
    """The percentages in a text such as ``[10, 50, 100]``. Raises ``ParameterError`` where it has others."""
    try:
        found = json.loads(text)
    except json.JSONDecodeError:
        found = None
    if not isinstance(found, list) or not all(type(one) is int for one in found):
        raise ParameterError(
            f"Parameter 'canary_steps' is {text!r}.", "Write whole percentages, such as [10, 50, 100]."
        )
    return tuple(found)


def _outputs(served: Served) -> Outputs:
    outcome = served.outcome
    return Outputs(outcome.url, outcome.version, outcome.previous or "")
