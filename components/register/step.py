"""What the component's body calls."""

import logging
from typing import Any, NamedTuple

from kfp_lifecycle.components.register.lineage import Pipeline
from kfp_lifecycle.components.register.versions import Request, register_model
from kfp_lifecycle.components.shared.outputs import InputArtifact
from kfp_lifecycle.components.shared.step import step

log = logging.getLogger(__name__)


class Outputs(NamedTuple):
    """The component's output parameters."""

    model_version: str
    model_uri: str
    aliases: str


@step(outputs=())
def register_step(
    *,
    model: InputArtifact,
    evaluation: InputArtifact,
    model_name: str,
    approved: bool = False,
    reasons: str = "",
    description: str = "",
    mlflow_run_id: str = "",
    challenger_only: bool = False,
    **pipeline: Any,
) -> Outputs:
    """Registers the model and says which aliases its version holds.

    Args:
        model: The Model artifact.
        evaluation: The evaluation artifact.
        model_name: Name of the registered model.
        approved: Whether the version becomes the champion.
        reasons: Why, one reason a line.
        description: Text for people.
        mlflow_run_id: The MLflow run that holds the model.
        challenger_only: Whether serve is to make an approved version the champion.
        **pipeline: As :class:`Pipeline`.
    """
    request = Request(
        model_name,
        approved,
        reasons,
        description,
        mlflow_run_id,
        Pipeline(**pipeline),
        challenger_only,
    )
    done = register_model(model.path, evaluation.path, request)
    log.info("version %s of %s: %s", done.version, done.model_name, ", ".join(done.aliases) or "no alias")
    if not approved:
        log.info("not the champion, because it was not approved:\n%s", reasons)
    return Outputs(done.version, done.uri, ",".join(done.aliases))
