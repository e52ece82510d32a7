"""What the ways of a rollout on KServe have in common."""

import copy
import json
import logging
from dataclasses import dataclass, field
from typing import Any, Protocol

from kfp_lifecycle.components.serve.rollout.kserve_objects import (
    DIGEST,
    ISVC,
    MODE,
    Predictor,
    annotation,
    inference_service,
    is_same,
)
from kfp_lifecycle.components.serve.rollout.kserve_watch import Patience, Watch, not_true
from kfp_lifecycle.components.serve.rollout.lease import RolloutLease
from kfp_lifecycle.components.serve.rollout.route import Route
from kfp_lifecycle.components.serve.rollout.target import Release
from kfp_lifecycle.components.shared.cluster import AlreadyThere, Cluster, Kind
from kfp_lifecycle.components.shared.errors import ClusterError, ServingError

log = logging.getLogger(__name__)

Object = dict[str, Any]
_CONFIG_MAP = Kind("ConfigMap", "", "v1", "configmaps")
#: Where KServe is installed: alone, and as a part of Kubeflow.
_KSERVE = ("kserve", "kubeflow")


@dataclass(frozen=True)
class Site:
    """What all ways work with.

    Args:
        cluster: Where.
        service: The InferenceService's name.
        predictor: The pods that serve.
        route: The weighted route; one without a host is not made.
        splits: Whether the traffic is to be split at all.
        lease: What keeps other rollouts out, and remembers what was there before this one.
        patience: How long is waited.
        watch: Looks at InferenceServices.
    """

    cluster: Cluster
    service: str
    predictor: Predictor
    route: Route
    splits: bool
    lease: RolloutLease
    patience: Patience
    watch: Watch = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "watch", Watch(self.cluster, self.patience))

    def body(self, release: Release) -> Object:
        """The InferenceService of a version. Where a route of ours has the traffic, KServe makes none."""
        hidden = bool(self.route.host)
        return inference_service(self.service, self.cluster.namespace, release, self.predictor, hidden=hidden)

    def create(self, body: Object) -> None:
        """Makes an InferenceService, or finds that an attempt that was not answered has made it."""
        try:
            self.cluster.objects(ISVC).create(body)
            log.info("made the InferenceService %s", body["metadata"]["name"])
        except AlreadyThere:
            there = self.cluster.objects(ISVC).get(body["metadata"]["name"])
            if there is None or not is_same(there, body):
                raise


class Way(Protocol):
    """How one version takes the place of another; see :class:`.target.Target`."""

    @property
    def services(self) -> tuple[str, ...]:
        """The InferenceServices that are part of it."""

    def begin(self, release: Release, timeout_s: float) -> None:
        """Brings the version up without traffic, and waits until it is ready."""

    def url(self) -> str:
        """The address of the new version alone, inside the cluster."""

    def shift(self, percent: int) -> None:
        """Gives it a share of the traffic, and waits until that holds."""

    def promote(self) -> None:
        """Makes it the only one."""

    def roll_back(self) -> None:
        """Makes the one before the only one."""


def snapshot(found: Object, version: str) -> dict[str, Any]:
    """What a rollout must know to put everything back."""
    about, spec = found["metadata"], copy.deepcopy(found["spec"])
    spec["predictor"].pop("canaryTrafficPercent", None)
    kept = {"spec": spec, "labels": about.get("labels") or {}, "annotations": about.get("annotations") or {}}
    predictor = component_of(found)
    revision = predictor.get("latestRolledoutRevision") or predictor.get("latestReadyRevision") or ""
    return {"version": version, "revision": revision, "object": kept}


def put(found: Object, body: Object) -> None:
    """Gives an InferenceService the spec of ``body``; labels and annotations of others stay."""
    found["spec"] = copy.deepcopy(body["spec"])
    for part in ("labels", "annotations"):
        found["metadata"][part] = {**(found["metadata"].get(part) or {}), **body["metadata"][part]}


def restore(found: Object, before: dict[str, Any]) -> None:
    """Gives an InferenceService back what :func:`snapshot` has kept."""
    if annotation(found, DIGEST) == before["annotations"].get(DIGEST):
        return
    found["spec"] = copy.deepcopy(before["spec"])
    found["metadata"] |= {"labels": dict(before["labels"]), "annotations": dict(before["annotations"])}


def mode_of(found: Object, cluster: Cluster) -> str:
    """``Standard`` or ``Knative``: what KServe has decided for an InferenceService.

    Raises:
        ServingError: Nothing says so.
    """
    said = (found.get("status") or {}).get("deploymentMode") or annotation(found, MODE)
    if not said:
        said = "Knative" if component_of(found).get("traffic") else _configured(cluster)
    named = {"RawDeployment": "Standard", "Serverless": "Knative"}
    if (mode := named.get(said, said)) in ("Standard", "Knative"):
        return mode
    raise ServingError(
        f"The InferenceService {found['metadata']['name']!r} does not say in which mode KServe runs it"
        f"{f' ({said})' if said else ''}.",
        "Give parameter kserve_mode: Standard or Knative.",
    )


def _configured(cluster: Cluster) -> str:
    """The cluster's default mode by KServe's own configuration; empty where this account may not read it."""
    for namespace in _KSERVE:
        try:
            found = Cluster(cluster.client, namespace).objects(_CONFIG_MAP).get("inferenceservice-config")
            if found:
                return str(json.loads(found["data"]["deploy"])["defaultDeploymentMode"])
        except (ClusterError, KeyError, ValueError) as error:
            log.info("KServe's configuration: %s", error)
    return ""


def address_of(found: Object) -> str:
    """The address of an InferenceService's predictor inside the cluster, as KServe says it."""
    status = found.get("status") or {}
    for place in (component_of(found), status):
        if url := ((place.get("address") or {}).get("url")):
            return str(url).rstrip("/")
    raise ServingError("KServe has given the InferenceService no address.", "See its conditions.")


def component_of(found: Object) -> dict[str, Any]:
    """What KServe says of an InferenceService's predictor."""
    return ((found.get("status") or {}).get("components") or {}).get("predictor") or {}


def new_revision(found: Object, *seen: str) -> str:
    """Why the newest revision is not a new one that is ready; empty where it is."""
    predictor = component_of(found)
    created, ready = predictor.get("latestCreatedRevision"), predictor.get("latestReadyRevision")
    if not created or created in seen:
        return "Knative has made no new revision yet"
    if created != ready:
        return f"revision {created} is not ready. {not_true(found, 'PredictorReady')}".rstrip(". ")
    return ""
