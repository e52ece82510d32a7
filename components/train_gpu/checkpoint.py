"""Checkpoints: the state of a training, so that one that is stopped goes on where it was."""

from collections.abc import Mapping
from typing import Any

from kfp_lifecycle.components.shared.storage import Store


class Preempted(SystemExit):
    """SIGTERM came and the state is safe: the process ends with 143, and whoever restarts it goes on."""

    def __init__(self, said: str) -> None:
        super().__init__(143)
        self.said = said


class Checkpoints:
    """The checkpoints of one training.

    Args:
        store: Where they are.
        fingerprint: What must be the same for a checkpoint to be of this training: nested names to values.
    """

    def __init__(self, store: Store, fingerprint: Mapping[str, Any]) -> None:
        self.store, self.fingerprint = store, fingerprint
