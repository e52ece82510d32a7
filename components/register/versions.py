"""Registering a model once, however often it is asked for, and putting the aliases where they belong."""

import json
import logging
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.tracking import MlflowClient

from kfp_lifecycle.components.register.lineage import (
    MODEL_DIGEST,
    Pipeline,
    describe_version,
    tags,
)
from kfp_lifecycle.components.register.registry import (
    APPROVED,
    AWAITED,
    CHALLENGER,
    CHAMPION,
    ROLLED_BACK,
    ROLLOUT,
    check_name,
    holder,
    make_champion,
    versions,
)
from kfp_lifecycle.components.register.registry import (
    DONE as ROLLED_OUT,
)
from kfp_lifecycle.components.shared.errors import ParameterError, RegistryError
from kfp_lifecycle.components.shared.model_format import describe, model_digest
from kfp_lifecycle.components.shared.tracking import connect, tracked_run, tracking_errors
from kfp_lifecycle.components.train.log_run import log_model

log = logging.getLogger(__name__)

#: Tag of a version whose aliases have been set: registering its model again does not move them back.
DONE = "registered"
#: The experiment of a run that is made only to hold a model.
EXPERIMENT = "kfp-lifecycle"


@dataclass(frozen=True)
class Request:
    """What is to be registered, and what is said of it.

    Args:
        model_name: Name of the registered model.
        approved: Whether the version becomes the champion.
        reasons: Why, one reason a line.
        description: Text for people.
        mlflow_run_id: The MLflow run that holds the model; empty is the one that the model names, or a new
            one.
        pipeline: The pipeline run that made the model.
        challenger_only: Whether serve is to make an approved version the champion.
    """

    model_name: str
    approved: bool = False
    reasons: str = ""
    description: str = ""
    mlflow_run_id: str = ""
    pipeline: Pipeline = field(default_factory=Pipeline)
    challenger_only: bool = False


@dataclass(frozen=True)
class Registered:
    """A version in the registry.

    Args:
        model_name: The registered model.
        version: The version's number.
        aliases: The aliases that it holds.
    """

    model_name: str
    version: str
    aliases: list[str]

    @property
    def uri(self) -> str:
        """The version as MLflow names it."""
        return f"models:/{self.model_name}/{self.version}"


def register_model(folder: str | Path, evaluation: str | Path, request: Request) -> Registered:
    """Registers a model; a model that is registered already keeps its one version.

    What an earlier call left undone is done. The aliases of a version whose registering was finished stay as
    they are, so that a late retry undoes no promotion, unless it could not be the champion then and can now.

    Args:
        folder: Local folder of the Model artifact.
        evaluation: Local file of the evaluation.
        request: What is said of it.

    Raises:
        RegistryError: The name is none, or the MLflow run does not hold the model.
        SchemaError: The folder is no Model artifact.
        TrackingError: The registry fails or cannot be reached.
    """
    name = check_name(request.model_name)
    model, found, digest = describe(folder), _read(evaluation), model_digest(folder)
    wanted = tags(digest, model, found, request.pipeline, request.approved, request.reasons)
    if request.challenger_only and request.approved:
        wanted[ROLLOUT] = AWAITED
    client = connect()
    with tracking_errors():
        version = _existing(client, name, digest)
        if version is None:
            version = _create(client, Path(folder), digest, wanted, request)
        if DONE in version.tags and request.approved and _may_now(version, request):
            for tag in {DONE, ROLLOUT} & set(version.tags):
                client.delete_model_version_tag(name, str(version.version), tag)
        kept = _bring_up_to_date(client, version, wanted)
        text = describe_version(request.description, kept, found)
        if version.description != text:
            client.update_model_version(name, str(version.version), text)
        _set_aliases(client, name, str(version.version), request.approved and not request.challenger_only)
        held = client.get_model_version(name, str(version.version)).aliases
        return Registered(name, str(version.version), sorted(held))


def _read(evaluation: str | Path) -> dict[str, Any]:
    try:
        found = json.loads(Path(evaluation).read_text(encoding="utf-8"))
        if not isinstance(found["metrics"], dict) or "confidence" not in found["options"]:
            raise KeyError("metrics")
        return dict(found)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ParameterError(
            f"{evaluation} is not an evaluation artifact: {error}.", "Pass the evaluation output of evaluate."
        ) from error


def _existing(client: MlflowClient, name: str, digest: str) -> ModelVersion | None:
    """The oldest version with this digest; None where there is none."""
    same = [found for found in versions(client, name) if found.tags.get(MODEL_DIGEST) == digest]
    return same[0] if same else None


def _create(
    client: MlflowClient, folder: Path, digest: str, wanted: dict[str, str], request: Request
) -> ModelVersion:
    """A new version with its tags, in one request; of two made at once for one model, the later goes."""
    uri = _source(client, folder, request)
    try:
        mine = mlflow.register_model(uri, request.model_name, tags=wanted)
    except MlflowException as error:
        if not uri.startswith("runs:/"):
            raise
        raise RegistryError(
            f"The MLflow run {request.mlflow_run_id!r} holds no model to register: {error.message}",
            "Pass the run that train returned as mlflow_run_id, or leave it empty.",
        ) from error
    first = _existing(client, request.model_name, digest)
    if first is None or first.version == mine.version:
        return client.get_model_version(request.model_name, str(mine.version))
    log.info("version %s was made for the same model at the same time", first.version)
    client.delete_model_version(request.model_name, str(mine.version))
    return first


def _source(client: MlflowClient, folder: Path, request: Request) -> str:
    """Where in MLflow the model lies; it is logged first where it does not yet."""
    about = Model.load(str(folder))
    run_id = request.mlflow_run_id
    if run_id and about.run_id and run_id != about.run_id:
        raise RegistryError(
            f"The model was logged in the MLflow run {about.run_id!r}, but mlflow_run_id is {run_id!r}.",
            "Pass the run and the model of one and the same train, or leave mlflow_run_id empty.",
        )
    if about.model_id and _is_logged(client, about.model_id):
        return f"models:/{about.model_id}"
    if run_id:
        return f"runs:/{run_id}/model"
    with tracked_run(EXPERIMENT, request.model_name) as own, tempfile.TemporaryDirectory() as place:
        # A copy, because logging writes run and model id into the folder.
        copy = Path(shutil.copytree(folder, Path(place) / "model"))
        return f"models:/{log_model(client, own, copy, {})}"


def _is_logged(client: MlflowClient, model_id: str) -> bool:
    try:
        return bool(client.get_logged_model(model_id).status == "READY")
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND"):
            return False
        raise


def _bring_up_to_date(client: MlflowClient, version: ModelVersion, wanted: dict[str, str]) -> dict[str, str]:
    """The version's tags now: what was judged follows this call, where it came from stays as first told."""
    tags = dict(version.tags)
    for key, text in wanted.items():
        judged = key in (APPROVED, "reasons") or key.startswith("test_")
        if key not in tags or (judged and tags[key] != text):
            client.set_model_version_tag(version.name, str(version.version), key, text)
            tags[key] = text
    return tags


def _may_now(version: ModelVersion, request: Request) -> bool:
    """Whether the version may be champion by this call, and could not by an earlier one."""
    if version.tags.get(APPROVED) != "true":
        return True
    return version.tags.get(ROLLOUT) == AWAITED and not request.challenger_only


def _set_aliases(client: MlflowClient, name: str, number: str, champion: bool) -> None:
    """Moves the aliases forward, never back: to the newest version, and to the newest approved one."""
    aliases = client.get_registered_model(name).aliases
    done = DONE in client.get_model_version(name, number).tags
    if not done or CHALLENGER not in aliases:
        _move(client, name, CHALLENGER)
    if champion and (not done or CHAMPION not in aliases):
        _move(client, name, CHAMPION)
    client.set_model_version_tag(name, number, DONE, "true")


def _move(client: MlflowClient, name: str, alias: str) -> None:
    """Sets the alias to the newest version that may have it, and looks again: another may be at it too."""
    while (newest := _newest(client, name, alias)) is not None:
        if holder(client.get_registered_model(name), alias) == newest:
            return
        if alias == CHAMPION:
            make_champion(client, name, newest)
        else:
            client.set_registered_model_alias(name, alias, newest)


def _newest(client: MlflowClient, name: str, alias: str) -> str | None:
    may = [found for found in versions(client, name) if MODEL_DIGEST in found.tags]
    if alias == CHAMPION:
        may = [found for found in may if _may_be_champion(found)]
    return str(may[-1].version) if may else None


def _may_be_champion(version: ModelVersion) -> bool:
    """Whether it was approved, was not rolled back, and is not to be, or has been, rolled out in vain."""
    tags = version.tags
    approved = tags.get(APPROVED) == "true" and ROLLED_BACK not in tags
    return approved and tags.get(ROLLOUT, ROLLED_OUT) == ROLLED_OUT
