"""The first version of a model on KServe, or other settings of the same: there is no traffic to split."""

from kfp_lifecycle.components.serve.rollout.kserve_objects import ISVC, is_same
from kfp_lifecycle.components.serve.rollout.kserve_site import (
    Object,
    Site,
    address_of,
    component_of,
    mode_of,
    new_revision,
    put,
    restore,
)
from kfp_lifecycle.components.serve.rollout.kserve_watch import not_true
from kfp_lifecycle.components.serve.rollout.target import Release


class Alone:
    """Nothing else is served, or the same version with other settings: there is no traffic to split.

    Args:
        site: Where.
    """

    def __init__(self, site: Site) -> None:
        self._site = site

    @property
    def services(self) -> tuple[str, ...]:
        """See :class:`.kserve_site.Way`."""
        return (self._site.service,)

    def begin(self, release: Release, timeout_s: float) -> None:
        """See :class:`.kserve_site.Way`."""
        site, body = self._site, self._site.body(release)
        seen = ""
        if (there := site.cluster.objects(ISVC).get(site.service)) is None:
            site.create(body)
        elif not is_same(there, body) or "canaryTrafficPercent" in there["spec"]["predictor"]:
            seen = component_of(there).get("latestCreatedRevision", "")
            site.watch.change(site.service, lambda found: put(found, body))
        site.watch.until(site.service, lambda found: self._ready(found, seen), timeout_s)

    def _ready(self, found: Object, seen: str) -> str:
        if why := not_true(found, "Ready"):
            return why
        if mode_of(found, self._site.cluster) == "Standard":
            return self._site.watch.serves(found)
        return new_revision(found, seen)

    def url(self) -> str:
        """See :class:`.kserve_site.Way`."""
        found = self._site.cluster.objects(ISVC).get(self._site.service) or {}
        return address_of(found)

    def shift(self, percent: int) -> None:
        """See :class:`.kserve_site.Way`."""

    def promote(self) -> None:
        """See :class:`.kserve_site.Way`."""
        site = self._site
        found = site.cluster.objects(ISVC).get(site.service) or {"metadata": {"name": site.service}}
        if site.route.host and mode_of(found, site.cluster) == "Standard":
            site.route.split({site.service: 100}, site.patience.shift)
        site.lease.remember(None)

    def roll_back(self) -> None:
        """See :class:`.kserve_site.Way`."""
        site, before = self._site, self._site.lease.before or {}
        if before.get("object"):
            site.watch.change(site.service, lambda found: restore(found, before["object"]))
        elif "version" in before:
            site.cluster.objects(ISVC).delete(site.service)
            site.cluster.objects(ISVC).gone(site.service, site.patience.back)
        site.lease.remember(None)
