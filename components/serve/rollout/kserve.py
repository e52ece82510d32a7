"""KServe as the place of a rollout: see :class:`.target.Target`."""

import logging
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import requests

from kfp_lifecycle.components.serve.rollout.kserve_alone import Alone
from kfp_lifecycle.components.serve.rollout.kserve_knative import Knative
from kfp_lifecycle.components.serve.rollout.kserve_objects import (
    DIGEST,
    HTTP_ROUTE,
    ISVC,
    PART_OF,
    VERSION,
    Predictor,
    annotation,
    http_route,
    inference_service,
    is_same,
    label,
    service_name,
)
from kfp_lifecycle.components.serve.rollout.kserve_pods import (
    last_lines,
    of_version,
    pods_of,
    port_of,
    readings,
    url_of,
)
from kfp_lifecycle.components.serve.rollout.kserve_relay import Relay
from kfp_lifecycle.components.serve.rollout.kserve_site import Site, Way, component_of, mode_of, snapshot
from kfp_lifecycle.components.serve.rollout.kserve_standard import Standard
from kfp_lifecycle.components.serve.rollout.kserve_watch import Patience
from kfp_lifecycle.components.serve.rollout.lease import LEASE, RolloutLease
from kfp_lifecycle.components.serve.rollout.route import Route
from kfp_lifecycle.components.serve.rollout.target import Address, Measurement, Release
from kfp_lifecycle.components.shared.cluster import Cluster
from kfp_lifecycle.components.shared.cluster_pods import is_ready
from kfp_lifecycle.components.shared.errors import ClusterError, ParameterError, ServingError

log = logging.getLogger(__name__)

#: A headless Service, KServe's choice without Knative, has no port 80: there the pods' own port is asked.
_PORT, _TIMEOUT_S = 8080, 5.0


class KServe:
    """A model served by an InferenceService; a :class:`.target.Target`.

    Args:
        cluster: Where.
        model: The model's name; the InferenceService's follows from it.
        predictor: The pods that serve.
        gateway: Without Knative, the Gateway of the route that splits the traffic, as ``namespace/name``.
        host: Likewise, the host name that clients ask for; empty is no route.
        splits: Whether traffic is to be split: not where the only step is 100%.
        patience: How long is waited.

    Raises:
        ParameterError: There is a host and no gateway.
    """

    def __init__(
        self,
        cluster: Cluster,
        model: str,
        predictor: Predictor,
        *,
        gateway: str = "",
        host: str = "",
        splits: bool = True,
        patience: Patience | None = None,
    ) -> None:
        if host and not gateway:
            raise ParameterError(
                "Parameter 'host' is given and 'gateway' is not.",
                "Name the Gateway as namespace/name, such as kserve/kserve-ingress-gateway.",
            )
        self.cluster, self.model, self.service = cluster, model, service_name(model)
        self._predictor, self._splits = predictor, splits
        self._route = Route(cluster, self.service, gateway, host, (patience or Patience()).poll)
        self._patience = patience or Patience()
        self._lease: RolloutLease | None = None
        self._release: Release | None = None
        self._way: Way | None = None
        self._previous: str | None = None
        self._relay: Relay | None = None

    @contextmanager
    def lock(self, holder: str) -> Iterator[None]:
        """Holds the model's Lease. See :meth:`.target.Target.lock`.

        Raises:
            NotInstalled: KServe is not installed, or the Gateway API where a route is wanted.
            ClusterError: This account lacks a right.
        """
        self._check_cluster()
        name, patience = f"{self.service}-rollout", self._patience
        with RolloutLease(self.cluster, name, holder, patience.lock, patience.lease) as self._lease:
            self._forget_if_promoted(self._lease)
            try:
                yield
            finally:
                if self._relay is not None:
                    self._relay.close()
                    self._relay = None

    def current(self) -> str | None:
        """See :meth:`.target.Target.current`. Of a rollout that was broken off, the version before it."""
        found = self.cluster.objects(ISVC).get(self.service)
        if (
            found is not None
            and label(found, "app.kubernetes.io/part-of") != PART_OF["app.kubernetes.io/part-of"]
        ):
            raise ClusterError(
                f"There is an InferenceService {self.service!r} in namespace {self.cluster.namespace!r}, "
                "and serve has not made it.",
                "Delete it, or serve this model under another name.",
            )
        before = self._lease.before if self._lease else None
        if found is None:
            return None
        return before["version"] if before else (label(found, VERSION) or None)

    def start(self, release: Release, timeout_s: float) -> None:
        """See :meth:`.target.Target.start`."""
        lease = self._held()
        self._release, self._previous = release, self.current()
        site = Site(
            self.cluster, self.service, self._predictor, self._route, self._splits, lease, self._patience
        )
        self._way = self._choose(site, release)
        self._way.begin(release, timeout_s)

    def address(self) -> Address:
        """See :meth:`.target.Target.address`."""
        release, url = self._started(), self._chosen().url()
        if os.environ.get("KUBERNETES_SERVICE_HOST") or _is_known(str(urlsplit(url).hostname)):
            return Address(_reach(url, self._patience.shift), release.name, release.version)
        log.info("this machine is outside the cluster: its pods are asked through %s", self.cluster.host)
        self._relay = self._relay or Relay(self.cluster)
        ready = [pod for pod in of_version(self._pods(), release.version) if is_ready(pod)]
        if not ready:
            raise ServingError(f"No pod of version {release.version} is ready.")
        return Address(_reach(self._where(ready[-1]), self._patience.shift), release.name, release.version)

    def shift(self, percent: int) -> None:
        """See :meth:`.target.Target.shift`."""
        self._chosen().shift(percent)

    def measure(self) -> Measurement:
        """See :meth:`.target.Target.measure`: each pod is asked for its own counts."""
        release, pods = self._started(), self._pods()
        candidate = readings(pods, release.name, release.version, self._where)
        if self._previous in (None, release.version):
            return Measurement(candidate, {})
        return Measurement(candidate, readings(pods, release.name, str(self._previous), self._where))

    def promote(self) -> None:
        """See :meth:`.target.Target.promote`."""
        self._chosen().promote()
        log.info("version %s of %s has all traffic at %s", self._started().version, self.model, self.endpoint)

    def roll_back(self, reason: str) -> None:
        """See :meth:`.target.Target.roll_back`."""
        log.info("rolling %s back: %s", self.service, reason)
        if self._way is not None:
            self._way.roll_back()

    def logs(self) -> str:
        """See :meth:`.target.Target.logs`."""
        if self._way is None or self._release is None:
            return ""
        pods = of_version(pods_of(self.cluster, self._way.services), self._release.version)
        return last_lines(self.cluster, pods)

    @property
    def endpoint(self) -> str:
        """See :attr:`.target.Target.endpoint`."""
        status = (self.cluster.objects(ISVC).get(self.service) or {}).get("status") or {}
        url = str(status.get("url") or (status.get("address") or {}).get("url") or "")
        if self._route.host and not isinstance(self._way, Knative):
            return f"{urlsplit(url).scheme or 'http'}://{self._route.host}"
        return url.rstrip("/")

    def objects(self) -> list[dict[str, Any]]:
        """See :meth:`.target.Target.objects`: as they are when the rollout has ended well."""
        site = self.cluster.namespace
        hidden = bool(self._route.host)
        made = [inference_service(self.service, site, self._started(), self._predictor, hidden=hidden)]
        if self._route.host and self._route.there():
            route = self._route
            made.append(http_route(route.name, site, route.gateway, route.host, {self.service: 100}))
        return made

    def _check_cluster(self) -> None:
        self.cluster.objects(ISVC).get(
            self.service
        )  # raises where KServe is not installed, or may not be asked
        self.cluster.require(ISVC, "create", "update", "delete")
        self.cluster.require(LEASE, "create", "get", "update")
        if self._route.host:
            self._route.there()
            self.cluster.require(HTTP_ROUTE, "create", "update")

    def _forget_if_promoted(self, lease: RolloutLease) -> None:
        """A rollout that was broken off when Knative had been told to give all traffic to it is over."""
        found, before = self.cluster.objects(ISVC).get(self.service), (lease.before or {}).get("object")
        if found is None or not before or not component_of(found).get("traffic"):
            return
        is_other = annotation(found, DIGEST) != before["annotations"].get(DIGEST)
        if is_other and "canaryTrafficPercent" not in found["spec"]["predictor"]:
            lease.remember(None)

    def _choose(self, site: Site, release: Release) -> Way:
        """The way for what is there; what is there is remembered, if an attempt before has not done so."""
        found = self.cluster.objects(ISVC).get(self.service)
        if found is not None and found["metadata"].get("deletionTimestamp"):
            site.watch.gone(self.service)
            found = None
        if found is None:
            site.lease.remember({"version": None})
            return Alone(site)
        before = site.lease.before or {}
        if before.get("object") and before["version"] == release.version:
            log.info("a rollout that was broken off is taken back first")
            self._by_mode(site, found).roll_back()
            found = self.cluster.objects(ISVC).get(self.service) or found
        if site.lease.before is None:
            if is_same(found, site.body(release)):
                return Alone(site)
            site.lease.remember(snapshot(found, label(found, VERSION)))
        if (site.lease.before or {})["version"] in (None, release.version):
            return Alone(site)
        return self._by_mode(site, found)

    def _by_mode(self, site: Site, found: dict[str, Any]) -> Way:
        return Knative(site) if mode_of(found, self.cluster) == "Knative" else Standard(site)

    def _pods(self) -> list[dict[str, Any]]:
        return pods_of(self.cluster, self._chosen().services)

    def _where(self, pod: Mapping[str, Any]) -> str:
        """A pod's address, as this machine reaches it."""
        if self._relay is None:
            return url_of(pod)
        return self._relay.url_of(pod["metadata"]["name"], port_of(pod))

    def _held(self) -> RolloutLease:
        if self._lease is None:
            raise RuntimeError("start is called inside of lock")
        return self._lease

    def _started(self) -> Release:
        if self._release is None:
            raise RuntimeError("nothing was started")
        return self._release

    def _chosen(self) -> Way:
        if self._way is None:
            raise RuntimeError("nothing was started")
        return self._way


def _reach(url: str, timeout_s: float) -> str:
    """The address where a server answers: this one, or its pods' own port.

    Raises:
        ServingError: None answers in time.
    """
    parts = urlsplit(url)
    own = urlunsplit(parts._replace(netloc=f"{parts.hostname}:{_PORT}"))
    deadline = time.monotonic() + timeout_s
    while True:
        for each in (url,) if parts.port else (url, own):
            try:
                if (
                    requests.get(f"{each}/v2/health/ready", timeout=_TIMEOUT_S).status_code
                    == requests.codes.ok
                ):
                    return each
                said = "it is not ready"
            except requests.RequestException as error:
                said = type(error).__name__
        if time.monotonic() > deadline:
            raise ServingError(
                f"{url} does not answer: {said}.",
                "Let this step's pod reach the predictors (a NetworkPolicy, a mesh that wants TLS).",
            )
        time.sleep(0.5)


def _is_known(host: str) -> bool:
    """Whether this machine knows a name: one of the cluster's own only a pod does."""
    try:
        socket.getaddrinfo(host, None)
    except OSError:
        return False
    return True
