"""Waiting for KServe, with its conditions as they change."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kfp_lifecycle.components.serve.rollout.kserve_objects import ISVC, VERSION, label
from kfp_lifecycle.components.serve.rollout.kserve_pods import is_hopeless, of_version, pods_of
from kfp_lifecycle.components.shared.cluster import Changed, Cluster
from kfp_lifecycle.components.shared.cluster_pods import is_ready, why_not_running
from kfp_lifecycle.components.shared.errors import ServingError, redact

log = logging.getLogger(__name__)

Object = dict[str, Any]
#: Says why an InferenceService is not yet what is waited for; empty where it is.
Check = Callable[[Object], str]


@dataclass(frozen=True)
class Patience:
    """How long is waited for what, in seconds.

    Args:
        poll: Between two looks.
        lock: For another rollout.
        lease: Until a Lease that nobody renews is free.
        shift: For a share of the traffic to hold.
        gone: For an object that is being deleted.
        drain: Between the last request for a version and its end.
        back: For the version before, while rolling back; Kubernetes gives a cancelled step 30 s.
    """

    poll: float = 2.0
    lock: float = 120.0
    lease: float = 30.0
    shift: float = 120.0
    gone: float = 120.0
    drain: float = 5.0
    back: float = 20.0


class Watch:
    """Looks at InferenceServices until they are as they should be, and says what changes meanwhile.

    Args:
        cluster: Where.
        patience: How long is waited.
    """

    def __init__(self, cluster: Cluster, patience: Patience) -> None:
        self.cluster, self.patience = cluster, patience
        self._told: dict[tuple[str, str], str] = {}

    def until(self, name: str, check: Check, timeout_s: float) -> Object:
        """Waits, and gives the InferenceService as it is then.

        Raises:
            ServingError: It is not so in time, cannot become so, or is gone.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            found = self.cluster.objects(ISVC).get(name)
            if found is None:
                raise ServingError(
                    f"The InferenceService {name!r} was deleted meanwhile.", "Run this again for a new one."
                )
            self._tell(name, found)
            if not (why := check(found)):
                return found
            hopeless = _invalid(found) or is_hopeless(self._pods_of(found))
            if hopeless or time.monotonic() > deadline:
                late = "" if hopeless else f" after {timeout_s:.0f} s"
                why = hopeless or self._explained(found, why)
                raise ServingError(
                    f"The InferenceService {name!r} is not ready{late}: {why}.",
                    f"See kubectl -n {self.cluster.namespace} describe inferenceservice {name}.",
                )
            time.sleep(self.patience.poll)

    def serves(self, found: Object) -> str:
        """Why not all pods serve the version that the object names, without Knative; empty where they do."""
        if why := not_true(found, "Ready"):
            return why
        version, pods = label(found, VERSION), self._pods(found)
        ready = [pod for pod in pods if is_ready(pod)]
        if len(of_version(ready, version)) < max(1, len(ready)):
            return f"{len(ready)} of {len(pods)} pods are ready, and not all of them serve version {version}"
        return "" if ready else f"no pod of version {version} is ready"

    def gone(self, name: str) -> None:
        """Waits until an InferenceService that was deleted is no more. Raises ``ServingError``."""
        if not self.cluster.objects(ISVC).gone(name, self.patience.gone):
            raise ServingError(
                f"The InferenceService {name!r} is being deleted, and is still there after "
                f"{self.patience.gone:.0f} s.",
                f"See what holds it: kubectl -n {self.cluster.namespace} get isvc {name} -o yaml.",
            )

    def change(self, name: str, change: Callable[[Object], Any]) -> Object:
        """Changes an InferenceService, whatever else changes it meanwhile."""
        services = self.cluster.objects(ISVC)
        while True:
            found = services.get(name)
            if found is None:
                raise ServingError(f"The InferenceService {name!r} was deleted meanwhile.", "Run this again.")
            before = {key: found[key] for key in ("metadata", "spec")}
            text = repr(before)
            change(found)
            if repr({key: found[key] for key in ("metadata", "spec")}) == text:
                return found
            try:
                return services.update(found)
            except Changed:
                continue

    def _pods(self, found: Object) -> list[Object]:
        return pods_of(self.cluster, [found["metadata"]["name"]])

    def _pods_of(self, found: Object) -> list[Mapping[str, Any]]:
        return of_version(self._pods(found), label(found, VERSION))

    def _explained(self, found: Object, why: str) -> str:
        pods = [reason for pod in self._pods_of(found) if (reason := why_not_running(pod))]
        return redact("; ".join([why, *pods[:1]]))

    def _tell(self, name: str, found: Object) -> None:
        for own in (found.get("status") or {}).get("conditions") or ():
            said = f"{own.get('status')} {own.get('reason') or ''} {own.get('message') or ''}".strip()
            if self._told.get((name, own["type"])) != said:
                self._told[name, own["type"]] = said
                log.info("%s: %s %s", name, own["type"], redact(" ".join(said.split()))[:300])


def not_true(found: Object, kind: str) -> str:
    """Why a condition is not true, in its own words; empty where it is."""
    for own in (found.get("status") or {}).get("conditions") or ():
        if own["type"] == kind:
            words = own.get("message") or own.get("reason") or "no reason is given"
            return (
                "" if own.get("status") == "True" else f"{kind} is {own.get('status')}: {words}".rstrip(".")
            )
    return f"KServe has not said {kind} yet"


def _invalid(found: Object) -> str:
    """What KServe says of a spec that it cannot serve; empty where it can."""
    status = (found.get("status") or {}).get("modelStatus") or {}
    if status.get("transitionStatus") != "InvalidSpec":
        return ""
    said = status.get("lastFailureInfo") or {}
    return f"KServe cannot serve it: {said.get('message') or said.get('reason') or 'InvalidSpec'}".rstrip(".")
