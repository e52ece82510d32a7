"""One rollout of a model at a time on a cluster: a Lease, and on it what a rollout must know after a crash.

Whoever holds the Lease renews it. A holder that is killed renews nothing, and after the Lease's duration the
next one takes it over; clocks of different machines have no part in it. The Lease stays when a rollout has
ended. It is no annotation of the InferenceService because KServe starts all pods anew when one changes.
"""

import json
import logging
import threading
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from kfp_lifecycle.components.shared.cluster import AlreadyThere, Changed, Cluster, Kind
from kfp_lifecycle.components.shared.errors import ClusterError, RolloutError, redact

log = logging.getLogger(__name__)

LEASE = Kind("Lease", "coordination.k8s.io", "v1", "leases")
#: What was there before the rollout that is under way, or was broken off.
BEFORE = "kfp-lifecycle/before"
#: Seconds after which a Lease that nobody has renewed is free, and between two renewals.
DURATION_S, RENEW_S = 30, 8.0
_POLL_S = 1.0


class RolloutLease:
    """A Lease; holding it is the block of a ``with``.

    Args:
        cluster: Where.
        name: Its name: one for each model.
        holder: Who holds it, such as ``rollout of version 4``.
        wait_s: How long another holder is waited for; longer than the Lease's duration, so that a rollout
            that was killed keeps nobody out.
        duration_s: Seconds after which a Lease that nobody has renewed is free.
    """

    def __init__(
        self, cluster: Cluster, name: str, holder: str, wait_s: float, duration_s: float = DURATION_S
    ) -> None:
        self._cluster, self._name, self._wait_s, self._duration_s = cluster, name, wait_s, duration_s
        self._identity = f"{holder} [{uuid.uuid4().hex[:8]}]"
        self._leases = cluster.objects(LEASE)
        self._lease: dict[str, Any] = {}
        self._busy, self._done = threading.Lock(), threading.Event()
        self._lost = ""

    @property
    def before(self) -> dict[str, Any] | None:
        """What was there before the rollout that is not over; None where there is none."""
        text = (self._lease["metadata"].get("annotations") or {}).get(BEFORE)
        return dict(json.loads(text)) if text else None

    def remember(self, before: dict[str, Any] | None) -> None:
        """Keeps what was there before; None once the rollout is over."""

        def change(lease: dict[str, Any]) -> None:
            annotations = lease["metadata"].setdefault("annotations", {})
            annotations.pop(BEFORE, None)
            if before is not None:
                annotations[BEFORE] = json.dumps(before, sort_keys=True)

        self._change(change)

    def check(self) -> None:
        """Raises ``RolloutError`` where another rollout has taken the Lease over."""
        if self._lost:
            raise RolloutError(f"This rollout was overtaken by another: {self._lost}.")

    def __enter__(self) -> "RolloutLease":
        deadline, told = time.monotonic() + self._wait_s, ""
        seen, since = "", time.monotonic()
        while not self._taken(seen, time.monotonic() - since):
            about = self._lease["metadata"]
            if about["resourceVersion"] != seen:
                seen, since = about["resourceVersion"], time.monotonic()
            holder = _holder(self._lease)
            if time.monotonic() > deadline:
                began = self._lease["spec"].get("acquireTime")
                raise RolloutError(
                    f"Another rollout is under way: {holder}, since {began}.",
                    "Wait until it has ended, and start again.",
                )
            if holder != told:
                log.info("waiting for another rollout: %s", holder)
                told = holder
            time.sleep(min(_POLL_S, self._duration_s / 5))
        threading.Thread(target=self._renew, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        if self._lost:
            return
        try:
            self._change(lambda lease: lease["spec"].update(holderIdentity=""))
        except ClusterError as failed:  # it runs out by itself
            log.warning("the Lease %s could not be given back: %s", self._name, failed)

    def _taken(self, seen: str, idle_s: float) -> bool:
        """Takes the Lease if it is free, or was not renewed for its duration. Reads it in any case."""
        found = self._leases.get(self._name)
        if found is None:
            try:
                self._lease = self._leases.create(self._new())
            except AlreadyThere:
                self._lease = self._leases.get(self._name) or self._new()
                return _holder(self._lease) == self._identity
            return True
        self._lease = found
        version = found["metadata"]["resourceVersion"]
        if _holder(found) and not (version == seen and idle_s > self._duration_s):
            return False
        found["spec"] |= {"holderIdentity": self._identity, "acquireTime": _now(), "renewTime": _now()}
        found["spec"]["leaseTransitions"] = int(found["spec"].get("leaseTransitions") or 0) + 1
        try:
            self._lease = self._leases.update(found)
        except Changed:  # another was faster
            return False
        return True

    def _new(self) -> dict[str, Any]:
        spec = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": max(1, round(self._duration_s)),
            "acquireTime": _now(),
            "renewTime": _now(),
            "leaseTransitions": 0,
        }
        labels = {"app.kubernetes.io/part-of": "kfp-lifecycle"}
        about = {"name": self._name, "namespace": self._cluster.namespace, "labels": labels}
        return {"apiVersion": LEASE.api_version, "kind": LEASE.name, "metadata": about, "spec": spec}

    def _renew(self) -> None:
        while not self._done.wait(min(RENEW_S, self._duration_s / 3)):
            try:
                self._change(lambda lease: lease["spec"].update(renewTime=_now()))
            except RolloutError:
                return
            except Exception as error:  # the next renewal may succeed; if none does, another takes over
                log.info("the Lease %s could not be renewed: %s", self._name, redact(str(error)))

    def _change(self, change: Callable[[dict[str, Any]], Any]) -> None:
        """Changes the Lease as long as it is this rollout's."""
        with self._busy:
            while True:
                self.check()
                change(self._lease)
                try:
                    self._lease = self._leases.update(self._lease)
                    return
                except Changed:  # an answer was lost, or another has taken over
                    there = self._leases.get(self._name)
                    if there is None or _holder(there) != self._identity:
                        self._lost = _holder(there) if there else "its Lease was deleted"
                    else:
                        self._lease = there


def _holder(lease: dict[str, Any]) -> str:
    return str(lease["spec"].get("holderIdentity") or "")


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
