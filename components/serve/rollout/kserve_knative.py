"""KServe with Knative: one InferenceService, whose newest revision gets a percentage of the traffic."""

import logging
from urllib.parse import urlsplit, urlunsplit

from kfp_lifecycle.components.serve.rollout.kserve_objects import DIGEST, ISVC, annotation, is_same
from kfp_lifecycle.components.serve.rollout.kserve_site import (
    Object,
    Site,
    address_of,
    component_of,
    new_revision,
    put,
    restore,
)
from kfp_lifecycle.components.serve.rollout.kserve_watch import not_true
from kfp_lifecycle.components.serve.rollout.target import Release
from kfp_lifecycle.components.shared.errors import ServingError

log = logging.getLogger(__name__)

#: KServe forgets the version before once the new one has all traffic: Knative's last step leaves it the rest.
_LAST_STEP = 99


class Knative:
    """With Knative: one InferenceService, whose newest revision gets a percentage of the traffic.

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
        body["spec"]["predictor"]["canaryTrafficPercent"] = 0
        seen = self._revision()

        def change(found: Object) -> None:
            nonlocal seen
            if not is_same(found, body):
                seen = str(component_of(found).get("latestCreatedRevision", ""))
                put(found, body)

        site.watch.change(site.service, change)
        site.watch.until(site.service, lambda found: self._apart(found, seen), timeout_s)

    def url(self) -> str:
        """See :class:`.kserve_site.Way`."""
        found = self._site.cluster.objects(ISVC).get(self._site.service) or {}
        parts = urlsplit(address_of(found))
        return urlunsplit(parts._replace(netloc=f"latest-{parts.netloc}"))

    def shift(self, percent: int) -> None:
        """See :class:`.kserve_site.Way`."""
        self._site.lease.check()
        self._set(min(percent, _LAST_STEP))

    def promote(self) -> None:
        """See :class:`.kserve_site.Way`."""
        site = self._site
        site.lease.check()
        self._set(None)
        # What KServe takes for the version before, when the next one comes.
        site.watch.until(site.service, _rolled_out, site.patience.shift)
        site.lease.remember(None)

    def roll_back(self) -> None:
        """See :class:`.kserve_site.Way`."""
        site, before = self._site, (self._site.lease.before or {}).get("object")
        if before and site.cluster.objects(ISVC).get(site.service):
            self._put_back(before)
        site.lease.remember(None)

    def _put_back(self, before: Object) -> None:
        """The revision that is still there has all traffic at once; then one of the same takes its place."""
        site, seen = self._site, ""

        def change(found: Object) -> None:
            nonlocal seen
            if annotation(found, DIGEST) != before["annotations"].get(DIGEST):
                seen = str(component_of(found).get("latestCreatedRevision", ""))
                restore(found, before)
                found["spec"]["predictor"]["canaryTrafficPercent"] = 0

        found = site.watch.change(site.service, change)
        if "canaryTrafficPercent" not in found["spec"]["predictor"]:  # nothing was begun
            return
        site.watch.until(site.service, lambda found: _shares(found, 0, self._revision()), site.patience.shift)
        try:
            site.watch.until(site.service, lambda found: new_revision(found, seen), site.patience.back)
            self._set(None)
        except ServingError as error:
            log.warning("the revision before keeps all traffic by canaryTrafficPercent 0: %s", error)

    def _set(self, percent: int | None) -> None:
        site = self._site

        def change(found: Object) -> None:
            found["spec"]["predictor"].pop("canaryTrafficPercent", None)
            if percent is not None:
                found["spec"]["predictor"]["canaryTrafficPercent"] = percent

        site.watch.change(site.service, change)
        revision = self._revision() if percent is not None else ""
        share = 100 if percent is None else percent
        site.watch.until(site.service, lambda found: _shares(found, share, revision), site.patience.shift)

    def _apart(self, found: Object, seen: str) -> str:
        """Why the new revision is not ready without traffic yet; empty where it is."""
        return not_true(found, "PredictorReady") or new_revision(found, seen, self._revision())

    def _revision(self) -> str:
        """The revision that had all traffic before the rollout."""
        return str((self._site.lease.before or {}).get("revision") or "")


def _rolled_out(found: Object) -> str:
    predictor = component_of(found)
    if predictor.get("latestRolledoutRevision") == predictor.get("latestReadyRevision"):
        return ""
    return f"KServe still has {predictor.get('latestRolledoutRevision')} as the revision that is rolled out"


def _shares(found: Object, percent: int, before: str) -> str:
    """Why the newest revision has not this share, and the one before the rest; empty where that holds."""
    newest = rest = 0
    for target in component_of(found).get("traffic") or ():
        share = int(target.get("percent") or 0)
        if target.get("latestRevision"):
            newest += share
        elif target.get("revisionName") == before:
            rest += share
    if (newest, rest) == (percent, 100 - percent):
        return ""
    return f"the newest revision has {newest}% of the traffic, {before or 'the one before'} {rest}%"
