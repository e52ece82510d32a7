"""Serving a version of a model: found, tested, rolled out; and the alias that follows the traffic."""

import logging
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kfp_lifecycle.components.serve.rollout.alias import AliasMove, NoAlias
from kfp_lifecycle.components.serve.rollout.local import LocalTarget
from kfp_lifecycle.components.serve.rollout.release import find_release
from kfp_lifecycle.components.serve.rollout.run import Commit, Course, Outcome, roll_out
from kfp_lifecycle.components.serve.rollout.target import Release
from kfp_lifecycle.components.serve.rollout.targets import Place, make_target, remember

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """What is to be served, where and how.

    Args:
        model: The model's URI.
        name: The name to serve it under; empty is the registered name, else the folder's.
        alias: The registry's alias that follows the traffic; empty is none.
        place: Where.
        course: How it is rolled out.
        keep_running: Whether a local server that is started for it goes on when all is done.
        run_id: The pipeline run that it is for.
    """

    model: str
    name: str = ""
    alias: str = "champion"
    place: Place = field(default_factory=Place)
    course: Course = field(default_factory=Course)
    keep_running: bool = True
    run_id: str = ""


@dataclass(frozen=True)
class Served:
    """What is served now.

    Args:
        release: The version.
        outcome: How its rollout went.
        objects: What was applied.
        is_running: Whether it still is: not where a local server was only for the test.
    """

    release: Release
    outcome: Outcome
    objects: list[dict[str, Any]]
    is_running: bool


def serve_model(request: Request) -> Served:
    """Rolls a version out, and moves the alias once it has all traffic.

    Raises:
        RolloutError: It failed, or another rollout is under way; alias and traffic are as they were.
        ServingError: It is no model, or not whole.
        RegistryError: There is no such model, version or alias.
        StorageError: Its files cannot be read.
        ClusterError: There is no way to the cluster.
        TrackingError: The registry fails or cannot be reached.
    """
    with tempfile.TemporaryDirectory(prefix="serve-") as place:
        release, example = find_release(request.model, request.name, Path(place) / "model")
        target = make_target(request.place, release, splits=request.course.steps != (100,))
        commit, holder = _commit(release, request.alias), _holder(release, request.run_id)
        outcome = roll_out(target, release, example, request.course, commit, holder)
    if isinstance(commit, AliasMove):
        remember(commit.client, commit.model_name, request.place)
    objects = target.objects()
    if isinstance(target, LocalTarget) and target.is_new and not request.keep_running:
        log.info("the server of %s is stopped, because keep_running is false", release.name)
        target.stop()
        return Served(release, outcome, objects, is_running=False)
    return Served(release, outcome, objects, is_running=True)


def _commit(release: Release, alias: str) -> Commit:
    if not release.uri.startswith("models:/"):
        return NoAlias()
    from kfp_lifecycle.components.shared.tracking import connect

    registered = release.uri.removeprefix("models:/").rpartition("/")[0]
    return AliasMove(connect(), registered, release.version, alias)


def _holder(release: Release, run_id: str) -> str:
    by = f", run {run_id}" if run_id else ""
    return f"version {release.version} of {release.name}{by}"
