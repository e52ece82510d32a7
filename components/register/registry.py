"""The MLflow model registry: which version is the challenger, which the champion, and which were before.

A registered model has two aliases, ``challenger`` (the newest version) and ``champion`` (the one to serve),
and a tag ``champion_history`` with the versions that were champion, oldest first, the present one last.
MLflow changes one thing at a time, so each change here is made in an order that a crash leaves readable.
"""

import logging
from dataclasses import dataclass

from mlflow.entities.model_registry import ModelVersion, RegisteredModel
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode
from mlflow.tracking import MlflowClient

from kfp_lifecycle.components.shared.errors import RegistryError, did_you_mean, redact
from kfp_lifecycle.components.shared.tracking import tracking_errors, tracking_uri

log = logging.getLogger(__name__)

CHAMPION = "champion"
CHALLENGER = "challenger"

#: Tag of the registered model: versions that were champion, separated by commas, the present one last.
HISTORY = "champion_history"
#: How many of them are kept; MLflow's databases hold 5,000 characters.
HISTORY_LENGTH = 500
#: Tag of a version: whether evaluate approved it, ``true`` or ``false``.
APPROVED = "approved"
#: Tag of a version that rollback took the alias from.
ROLLED_BACK = "rolled_back"
#: Tag of a version that serve is to make the champion: one of the states below, with a reason after the last.
ROLLOUT = "rollout"
AWAITED, DONE, FAILED = "awaited", "done", "failed"


@dataclass(frozen=True)
class Change:
    """What a call did to an alias.

    Args:
        model_name: The registered model.
        alias: The alias.
        before: The version that held it before; empty where none did.
        after: The version that holds it now.
    """

    model_name: str
    alias: str
    before: str
    after: str

    @property
    def changed(self) -> bool:
        """Whether the alias moved."""
        return self.before != self.after


def promote(client: MlflowClient, model_name: str, version: str = "", *, force: bool = False) -> Change:
    """Makes a version the champion and remembers the one before.

    Args:
        client: Client of the registry.
        model_name: The registered model.
        version: The version's number; empty is the challenger.
        force: Also a version that evaluate did not approve.

    Raises:
        RegistryError: There is no such model or version, or it was not approved.
        TrackingError: The registry fails or cannot be reached.
    """
    with tracking_errors():
        model = registered_model(client, model_name)
        chosen = find_version(client, model, version or _challenger(model))
        if chosen.tags.get(APPROVED) != "true" and not force:
            raise RegistryError(
                f"Version {chosen.version} of {model_name!r} was not approved by evaluate: "
                f"{chosen.tags.get('reasons') or 'it was not evaluated'}",
                "Give --force to make it the champion all the same.",
            )
        return make_champion(client, model_name, str(chosen.version))


def rollback(client: MlflowClient, model_name: str) -> Change:
    """Makes the champion before the present one the champion again; called again, the one before that.

    Raises:
        RegistryError: There is no such model, no champion, or none before it.
        TrackingError: The registry fails or cannot be reached.
    """
    with tracking_errors():
        present, history = _before_champion(client, registered_model(client, model_name))
        # The alias first: what the history has after the champion's last entry counts for nothing.
        client.set_registered_model_alias(model_name, CHAMPION, history[-1])
        _write_history(client, model_name, history)
        client.set_model_version_tag(model_name, present, ROLLED_BACK, "true")
        return Change(model_name, CHAMPION, present, history[-1])


def previous_champion(client: MlflowClient, model_name: str) -> str:
    """The version that :func:`rollback` would make the champion. Raises as that does."""
    with tracking_errors():
        return _before_champion(client, registered_model(client, model_name))[1][-1]


def _before_champion(client: MlflowClient, model: RegisteredModel) -> tuple[str, list[str]]:
    """The champion, and those before it that are still there, the last one last."""
    present = holder(model, CHAMPION)
    if not present:
        raise RegistryError(
            f"The registered model {model.name!r} has no champion to roll back.",
            f"Make one with: kfp-lifecycle promote {model.name}",
        )
    history = champion_history(model)[:-1]
    while history and not _exists(client, model.name, history[-1]):
        history.pop()
    if not history:
        raise RegistryError(
            f"Version {present} of {model.name!r} is the champion, and none was before it.",
            f"Make another version the champion with: kfp-lifecycle promote {model.name} --version N",
        )
    return present, history


def make_champion(client: MlflowClient, model_name: str, version: str) -> Change:
    """Moves the champion alias to ``version``, whatever evaluate said of it."""
    model = client.get_registered_model(model_name)
    before = holder(model, CHAMPION)
    history = champion_history(model)
    # The history first: without the entry of the version before, there would be no way back to it.
    if before != version:
        _write_history(client, model_name, [*history, version])
    tags = client.get_model_version(model_name, version).tags
    if ROLLED_BACK in tags:
        client.delete_model_version_tag(model_name, version, ROLLED_BACK)
    if tags.get(ROLLOUT, DONE) != DONE:
        client.set_model_version_tag(model_name, version, ROLLOUT, DONE)
    client.set_registered_model_alias(model_name, CHAMPION, version)
    return Change(model_name, CHAMPION, before, version)


def take_back(client: MlflowClient, change: Change) -> None:
    """Undoes a change of the champion that was just made: nothing was wrong with the version before."""
    model = client.get_registered_model(change.model_name)
    if holder(model, change.alias) != change.after or not change.changed:
        return
    history = champion_history(model)[:-1]
    if change.before:
        client.set_registered_model_alias(change.model_name, change.alias, change.before)
    else:
        client.delete_registered_model_alias(change.model_name, change.alias)
    if change.alias == CHAMPION:
        _write_history(client, change.model_name, history)


def champion_history(model: RegisteredModel) -> list[str]:
    """Versions that were champion, oldest first, the present champion last; empty where there is none.

    Entries after the champion's last one are of a change that was not finished, and are left out.
    """
    present = holder(model, CHAMPION)
    if not present:
        return []
    entries = [entry for entry in model.tags.get(HISTORY, "").split(",") if entry]
    while present in entries and entries[-1] != present:
        entries.pop()
    return entries if present in entries else [*entries, present]


def holder(model: RegisteredModel, alias: str) -> str:
    """The version that holds the alias; empty where none does."""
    return str(model.aliases.get(alias, ""))


def registered_model(client: MlflowClient, name: str) -> RegisteredModel:
    """The registered model of that name. Raises ``RegistryError``, with the nearest name if there is none."""
    try:
        return client.get_registered_model(check_name(name))
    except MlflowException as error:
        if not missing(error):
            raise
    known = [model.name for model in client.search_registered_models(max_results=1000)]
    raise RegistryError(
        f"MLflow at {redact(tracking_uri())} has no registered model {name!r}.", did_you_mean(name, known)
    )


def find_champion(client: MlflowClient, name: str) -> ModelVersion | None:
    """The champion's version; None where there is no champion, or no registered model yet.

    Raises:
        RegistryError: The name cannot be a registered model's.
        TrackingError: The registry fails or cannot be reached.
    """
    with tracking_errors():
        try:
            version = holder(client.get_registered_model(check_name(name)), CHAMPION)
        except MlflowException as error:
            if missing(error):
                return None
            raise
        return client.get_model_version(name, version) if version else None


def find_version(client: MlflowClient, model: RegisteredModel, version: str) -> ModelVersion:
    """A version by its number. Raises ``RegistryError`` with the versions that there are."""
    try:
        return client.get_model_version(model.name, version)
    except MlflowException as error:
        if not missing(error) and not _refused(error):
            raise
    there = ", ".join(sorted((str(found.version) for found in versions(client, model.name)), key=int))
    raise RegistryError(
        f"The registered model {model.name!r} has no version {version!r}.", f"It has: {there or 'none'}."
    )


def versions(client: MlflowClient, model_name: str) -> list[ModelVersion]:
    """All versions of a registered model, oldest first."""
    quote = '"' if "'" in model_name else "'"
    found: list[ModelVersion] = []
    token = None
    while True:
        page = client.search_model_versions(
            f"name={quote}{model_name}{quote}", max_results=1000, page_token=token
        )
        found += page
        token = page.token
        if not token:
            return sorted(found, key=lambda version: int(version.version))


def check_name(name: str) -> str:
    """``name``, if MLflow takes it as a registered model's. Raises ``RegistryError`` otherwise."""
    if not name.strip() or any(sign in name for sign in "/:") or {"'", '"'} <= set(name):
        raise RegistryError(
            f"{name!r} cannot be the name of a registered model.",
            "Give a name without slash or colon, such as churn.",
        )
    return name


def missing(error: MlflowException) -> bool:
    """Whether MLflow says that a thing does not exist."""
    return bool(error.error_code == ErrorCode.Name(RESOURCE_DOES_NOT_EXIST))


def _refused(error: MlflowException) -> bool:
    return bool(error.error_code == "INVALID_PARAMETER_VALUE")


def _challenger(model: RegisteredModel) -> str:
    version = holder(model, CHALLENGER)
    if not version:
        raise RegistryError(
            f"The registered model {model.name!r} has no challenger.", "Name the version with --version."
        )
    return version


def _exists(client: MlflowClient, model_name: str, version: str) -> bool:
    try:
        client.get_model_version(model_name, version)
    except MlflowException as error:
        if missing(error):
            return False
        raise
    return True


def _write_history(client: MlflowClient, model_name: str, history: list[str]) -> None:
    client.set_registered_model_tag(model_name, HISTORY, ",".join(history[-HISTORY_LENGTH:]))
