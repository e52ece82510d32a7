"""The weighted HTTPRoute in front of two InferenceServices, where KServe runs without Knative."""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kfp_lifecycle.components.serve.rollout.kserve_objects import HTTP_ROUTE, backends, http_route
from kfp_lifecycle.components.shared.cluster import AlreadyThere, Changed, Cluster
from kfp_lifecycle.components.shared.errors import ServingError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Route:
    """A route of ours.

    Args:
        cluster: Where.
        service: The InferenceService that is behind it in the end.
        gateway: The Gateway that it belongs to, as ``namespace/name``.
        host: The host name that clients ask for; empty where there is no route.
        poll_s: Seconds between two looks at it.
    """

    cluster: Cluster
    service: str
    gateway: str = ""
    host: str = ""
    poll_s: float = 0.5

    @property
    def name(self) -> str:
        """The route's name; KServe's own are ``service`` and ``service-predictor``."""
        return f"{self.service}-traffic"

    def split(self, weights: Mapping[str, int], timeout_s: float) -> None:
        """Sets the weights, and waits until the Gateway has taken them.

        Args:
            weights: By InferenceService, its share in percent.
            timeout_s: How long it may take.

        Raises:
            ServingError: The Gateway does not take the route in time; says why not.
            ClusterError: Kubernetes refuses, or the Gateway API is not installed.
        """
        self._set(weights)
        deadline = time.monotonic() + timeout_s
        while why := _not_taken(self.cluster.objects(HTTP_ROUTE).get(self.name)):
            if time.monotonic() > deadline:
                raise ServingError(
                    f"The HTTPRoute {self.name!r} is not in force after {timeout_s:.0f} s: {why}.",
                    f"See kubectl -n {self.cluster.namespace} describe httproute {self.name}.",
                )
            time.sleep(self.poll_s)
        shares = ", ".join(f"{service} {weight}%" for service, weight in weights.items())
        log.info("HTTPRoute %s: %s", self.name, shares)

    def there(self) -> dict[str, Any] | None:
        """The route as it is; None where there is none."""
        return self.cluster.objects(HTTP_ROUTE).get(self.name)

    def _set(self, weights: Mapping[str, int]) -> None:
        routes = self.cluster.objects(HTTP_ROUTE)
        while True:
            found = routes.get(self.name)
            try:
                if found is None:
                    where = self.cluster.namespace
                    routes.create(http_route(self.name, where, self.gateway, self.host, weights))
                    return
                rule = found["spec"]["rules"][0]
                found["spec"]["hostnames"] = [self.host]
                if rule.get("backendRefs") != (wanted := backends(weights)):
                    rule["backendRefs"] = wanted
                    routes.update(found)
                return
            except (AlreadyThere, Changed):  # its controller was faster, or an answer was lost
                continue


def _not_taken(route: dict[str, Any] | None) -> str:
    """Why a Gateway does not yet route as this route says; empty where it does."""
    if route is None:
        return "it is gone"
    parents = (route.get("status") or {}).get("parents") or ()
    generation = route["metadata"].get("generation", 0)
    for parent in parents:
        for own in parent.get("conditions") or ():
            if own.get("type") not in ("Accepted", "ResolvedRefs"):
                continue
            if int(own.get("observedGeneration") or generation) < generation:
                return "the Gateway has not seen its last change"
            if own.get("status") != "True":
                return f"{own['type']} is {own.get('status')}: {own.get('message') or own.get('reason', '')}"
    return "" if parents else "no Gateway has taken it up"
