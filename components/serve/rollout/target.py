"""What a rollout works on: a place that serves one version of a model, and for a while another beside it.

Two places are built on it: a server on this machine (:mod:`.local`) and KServe (:mod:`.kserve`). A version
that is being rolled out is the *candidate*; the one before it, which has the rest of the traffic, the
*stable* one. Every call can be made again after a crash at any point: it then finds what is there, and goes
on from it.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from kfp_lifecycle.components.serve.rollout.readings import Reading


@dataclass(frozen=True)
class Release:
    """A version of a model that is to be served.

    Args:
        name: The name that it is served under.
        version: Its version, as requests and metrics name it.
        uri: Where a server gets it from; fixed, such as ``models:/churn/3``, never an alias.
        folder: A local copy of it.
    """

    name: str
    version: str
    uri: str
    folder: Path


@dataclass(frozen=True)
class Address:
    """Where requests for one version of a model go, whatever share of the traffic it has.

    Args:
        url: Base URL without a slash at the end.
        model: The model's name.
        version: The version; empty leaves the choice to the traffic's split.
        headers: Headers that lead there, such as ``Host`` behind a gateway.
    """

    url: str
    model: str
    version: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Measurement:
    """What the servers have counted since they were started.

    Args:
        candidate: The candidate's counts by server instance (a pod's name).
        stable: Likewise the stable version's; empty where there is none.
    """

    candidate: Mapping[str, Reading]
    stable: Mapping[str, Reading]


class Target(Protocol):
    """A place that serves a model. Its errors are ``ServingError`` or ``ClusterError``, in one line each."""

    def lock(self, holder: str) -> AbstractContextManager[None]:
        """Keeps other rollouts of the same model out for the block.

        Args:
            holder: Who holds it, for whom it keeps out: ``rollout of version 4 by run 17``.

        Raises:
            RolloutError: Another holds it and does not let go in time; names that one.
        """

    def current(self) -> str | None:
        """The version that has the traffic, the stable one; None where nothing is served."""

    def start(self, release: Release, timeout_s: float) -> None:
        """Brings the release up beside the stable version, without traffic, and waits until it is ready.

        It becomes the candidate, in the place of any other. Where nothing is served it is brought up alone.
        Where it is the stable version already, nothing is changed, but it must be ready.

        Raises:
            ServingError: It ended, or is not ready in time.
        """

    def address(self) -> Address:
        """Where requests for the candidate alone go; for the stable version where that is the release."""

    def shift(self, percent: int) -> None:
        """Gives the candidate this share of the traffic, 0 to 100, and waits until it holds.

        Where nothing else is served, a candidate has all of it, and this does nothing.
        """

    def measure(self) -> Measurement:
        """What both versions' metrics say now."""

    def promote(self) -> None:
        """Makes the candidate the stable version, and takes the one before down once it has answered all."""

    def roll_back(self, reason: str) -> None:
        """Gives the stable version all traffic again and takes the candidate down.

        Where there is no stable version, nothing is served afterwards. Where the release was the stable
        version from the beginning, nothing is changed.

        Args:
            reason: Why, for those who look at the place later.
        """

    def logs(self) -> str:
        """The last lines that the candidate's server has logged; empty where there are none."""

    @property
    def endpoint(self) -> str:
        """The URL that clients use."""

    def objects(self) -> list[dict[str, Any]]:
        """What was applied, as it is to be written into the step's output; no secrets."""
