"""Bringing the version before back: in the registry, and wherever it is served."""

import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path

from mlflow.tracking import MlflowClient

from kfp_lifecycle.components.register.registry import (
    Change,
    holder,
    make_champion,
    previous_champion,
    registered_model,
    rollback,
)
from kfp_lifecycle.components.serve.rollout.alias import NoAlias
from kfp_lifecycle.components.serve.rollout.guard import Limits
from kfp_lifecycle.components.serve.rollout.local import LocalTarget
from kfp_lifecycle.components.serve.rollout.release import find_release
from kfp_lifecycle.components.serve.rollout.run import Commit, Course, roll_out
from kfp_lifecycle.components.serve.rollout.target import Target
from kfp_lifecycle.components.serve.rollout.targets import make_target, remembered, state_file
from kfp_lifecycle.components.shared.errors import RegistryError
from kfp_lifecycle.components.shared.tracking import tracking_errors

log = logging.getLogger(__name__)

#: The version before has been served already: it is tested again, but given all traffic at once.
COURSE = Course(steps=(100,), step_s=0.0, limits=Limits(min_requests=20))


@dataclass
class RegistryRollback:
    """Takes the champion back to the one before; a :class:`.rollout.run.Commit`.

    Args:
        client: Client of the registry.
        model_name: The registered model.
        present: The champion that is taken back.
    """

    client: MlflowClient
    model_name: str
    present: str
    change: Change | None = None

    def do(self) -> None:
        """Moves the alias, unless another has moved it meanwhile. Raises ``RegistryError``."""
        with tracking_errors():
            now = holder(registered_model(self.client, self.model_name), "champion")
        if now != self.present:
            raise RegistryError(
                f"Version {now or 'none'} of {self.model_name!r} has become the champion meanwhile.",
                "Look at it, and roll back again if that is wanted.",
            )
        self.change = rollback(self.client, self.model_name)

    def undo(self) -> None:
        """Makes the champion the champion again."""
        if self.change is not None:
            with tracking_errors():
                make_champion(self.client, self.model_name, self.present)
            self.change = None

    def failed(self, reason: str) -> None:
        """Does nothing: the version before is as good as it was."""


@dataclass(frozen=True)
class RolledBack:
    """What was rolled back.

    Args:
        change: The alias.
        urls: Where the version before is served now.
    """

    change: Change
    urls: list[str]


def roll_back(client: MlflowClient, model_name: str, *, registry_only: bool = False) -> RolledBack:
    """Brings the champion before the present one back, where it is served first, then in the registry.

    A place that cannot serve it leaves the registry as it was, so that the call can be made again. The local
    server comes last, with the registry: it may watch the alias.

    Args:
        client: Client of the registry.
        model_name: The registered model.
        registry_only: Whether what is served is left alone.

    Raises:
        RegistryError: There is no such model, no champion, or none before it.
        RolloutError: It cannot be served: nothing is changed there.
        ServingError: Its files are not whole.
        ClusterError: The cluster where it is served cannot be reached.
        TrackingError: The registry fails or cannot be reached.
    """
    version = previous_champion(client, model_name)
    with tracking_errors():
        present = holder(registered_model(client, model_name), "champion")
    commit = RegistryRollback(client, model_name, present)
    urls = [] if registry_only else _serve(client, model_name, version, commit)
    if commit.change is None:
        commit.do()
    if commit.change is None:  # pragma: no cover - do() has set it, or raised
        raise AssertionError
    return RolledBack(commit.change, urls)


def _serve(client: MlflowClient, model_name: str, version: str, commit: Commit) -> list[str]:
    """Gives the version all traffic, wherever the model is served; the URLs."""
    place = remembered(client, model_name)
    with tempfile.TemporaryDirectory(prefix="serve-") as folder:
        release, example = find_release(f"models:/{model_name}/{version}", "", Path(folder) / "model")
        targets: list[tuple[Target, Commit]] = []
        if place is not None:
            targets.append((make_target(place, release, splits=False), NoAlias()))
        local = LocalTarget(state_file(release))
        if local.find() is not None:
            targets.append((local, commit))
        holder = f"rollback to version {version} of {model_name}"
        return [
            roll_out(target, release, example, COURSE, follows, holder).url for target, follows in targets
        ]
