"""Who runs a training: a Kubeflow cluster, or this machine."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

#: States of a run that is over.
ENDED = ("succeeded", "failed")


@dataclass(frozen=True)
class Started:
    """A run.

    Args:
        run_id: Its id.
        link: Where it is looked at.
        state: ``running``, ``succeeded`` or ``failed``.
    """

    run_id: str
    link: str
    state: str = "running"


class Starter(Protocol):
    """Starts runs of a compiled pipeline and finds them again. Every method raises ``RetrainError``."""

    def start(self, name: str, pipeline: str, parameters: Path) -> Started:
        """Starts a run of that name; with a pipeline's name or file, and a file of parameters."""

    def find(self, name: str, since: datetime) -> Started | None:
        """The newest run of that name that was started since; None where none is, or it was broken off."""

    def state(self, run: Started, since: datetime) -> str:
        """The state of a run that was started since."""

    def wait(self, run: Started) -> str:
        """Waits until the run is over, and gives its state."""
