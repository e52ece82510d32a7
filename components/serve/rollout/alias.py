"""The registry's side of a rollout: the alias follows the traffic, and the version's tag says how it went."""

import logging
from dataclasses import dataclass

from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from kfp_lifecycle.components.register.registry import (
    CHAMPION,
    DONE,
    FAILED,
    ROLLOUT,
    Change,
    holder,
    make_champion,
    registered_model,
    take_back,
)
from kfp_lifecycle.components.shared.tracking import tracking_errors

log = logging.getLogger(__name__)

_LONGEST = 1000


@dataclass
class AliasMove:
    """Moves an alias to the version that is rolled out, and back; a :class:`.run.Commit`.

    Args:
        client: Client of the registry.
        model_name: The registered model.
        version: The version that is rolled out.
        alias: The alias; empty moves none.
    """

    client: MlflowClient
    model_name: str
    version: str
    alias: str = CHAMPION
    change: Change | None = None

    def do(self) -> None:
        """Moves the alias, where another version holds it. Raises ``TrackingError``."""
        if not self.alias:
            return
        with tracking_errors():
            before = holder(registered_model(self.client, self.model_name), self.alias)
            if before == self.version:
                return
            self.change = Change(self.model_name, self.alias, before, self.version)
            if self.alias == CHAMPION:
                make_champion(self.client, self.model_name, self.version)
            else:
                self.client.set_registered_model_alias(self.model_name, self.alias, self.version)
        log.info("%s of %s: version %s", self.alias, self.model_name, self.version)

    def undo(self) -> None:
        """Moves it back, where :meth:`do` has moved it. Raises ``TrackingError``."""
        if self.change is not None:
            with tracking_errors():
                take_back(self.client, self.change)
            self.change = None

    def failed(self, reason: str) -> None:
        """Says why at a version whose rollout was awaited; a registry that fails now only warns."""
        try:
            tags = self.client.get_model_version(self.model_name, self.version).tags
            if tags.get(ROLLOUT, DONE) != DONE:
                text = f"{FAILED}: {reason}"[:_LONGEST]
                self.client.set_model_version_tag(self.model_name, self.version, ROLLOUT, text)
        except MlflowException as error:
            log.warning("the registry could not be told that the rollout failed: %s", error)


class NoAlias:
    """For models that are in no registry; a :class:`.run.Commit`."""

    def do(self) -> None:
        """Does nothing."""

    def undo(self) -> None:
        """Does nothing."""

    def failed(self, reason: str) -> None:
        """Does nothing."""
