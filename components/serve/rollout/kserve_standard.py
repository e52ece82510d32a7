"""KServe without Knative: a second InferenceService beside the first, a weighted HTTPRoute before both."""

import logging
import time

from kfp_lifecycle.components.serve.rollout.kserve_objects import (
    ISVC,
    MODE,
    annotation,
    canary_name,
    inference_service,
    is_same,
)
from kfp_lifecycle.components.serve.rollout.kserve_site import Object, Site, address_of, put, restore
from kfp_lifecycle.components.serve.rollout.target import Release
from kfp_lifecycle.components.shared.errors import ParameterError, ServingError

log = logging.getLogger(__name__)


class Standard:
    """Without Knative: a second InferenceService beside the first, and a weighted HTTPRoute before both.

    At the end the first one is given the new version while the second has all traffic, and the second goes.

    Args:
        site: Where.
    """

    def __init__(self, site: Site) -> None:
        self._site, self._canary = site, canary_name(site.service)
        self._release: Release | None = None
        self._timeout_s = 0.0

    @property
    def services(self) -> tuple[str, ...]:
        """See :class:`.kserve_site.Way`."""
        return self._site.service, self._canary

    def begin(self, release: Release, timeout_s: float) -> None:
        """See :class:`.kserve_site.Way`."""
        self._release, self._timeout_s = release, timeout_s
        site, services = self._site, self._site.cluster.objects(ISVC)
        self._check_route()
        body = self._beside(release)
        there = services.get(self._canary)
        if there is not None and (there["metadata"].get("deletionTimestamp") or not is_same(there, body)):
            log.info("the InferenceService %s is left from another rollout: it is deleted", self._canary)
            self._take_down()
            site.watch.gone(self._canary)
            there = None
        if there is None:
            site.create(body)
        else:
            log.info("going on with the InferenceService %s", self._canary)
        site.watch.until(self._canary, site.watch.serves, timeout_s)

    def _check_route(self) -> None:
        site = self._site
        if site.splits and not site.route.host:
            raise ParameterError(
                "Without Knative, as KServe runs here, an HTTPRoute splits the traffic, and 'host' is empty.",
                "Give host, the name that clients are to ask for, and gateway; or canary_steps [100].",
            )

    def _beside(self, release: Release) -> Object:
        """The second InferenceService; in the mode that the first is in, whatever the default is by now."""
        site = self._site
        body = inference_service(self._canary, site.cluster.namespace, release, site.predictor, hidden=True)
        there = site.cluster.objects(ISVC).get(site.service) or {"metadata": {}}
        said = (there.get("status") or {}).get("deploymentMode") or annotation(there, MODE)
        if said:
            body["metadata"]["annotations"][MODE] = said
        return body

    def url(self) -> str:
        """See :class:`.kserve_site.Way`."""
        return address_of(self._site.cluster.objects(ISVC).get(self._canary) or {})

    def shift(self, percent: int) -> None:
        """See :class:`.kserve_site.Way`."""
        site = self._site
        site.lease.check()
        if site.route.host:
            weights = {site.service: 100 - percent, self._canary: percent}
            site.route.split(weights, site.patience.shift)

    def promote(self) -> None:
        """See :class:`.kserve_site.Way`."""
        assert self._release is not None
        site, body = self._site, self._site.body(self._release)
        site.lease.check()
        site.watch.change(site.service, lambda found: None if is_same(found, body) else put(found, body))
        site.watch.until(site.service, site.watch.serves, self._timeout_s)
        self._take_down()
        site.lease.remember(None)

    def roll_back(self) -> None:
        """See :class:`.kserve_site.Way`."""
        site, before = self._site, (self._site.lease.before or {}).get("object")
        if before and site.cluster.objects(ISVC).get(site.service):
            site.watch.change(site.service, lambda found: restore(found, before))
            try:
                site.watch.until(site.service, site.watch.serves, site.patience.back)
            except ServingError as error:  # Kubernetes keeps old pods until new ones are ready
                log.warning("%s", error)
        self._take_down()
        site.lease.remember(None)

    def _take_down(self) -> None:
        """All traffic to the first InferenceService, and the second deleted once it has answered."""
        site = self._site
        if site.route.host and site.route.there():
            site.route.split({site.service: 100}, site.patience.shift)
            time.sleep(site.patience.drain)
        site.cluster.objects(ISVC).delete(self._canary)
