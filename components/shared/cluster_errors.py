"""What Kubernetes answers when it refuses, as errors that say what to do."""

import json
import random
import re
from dataclasses import dataclass
from typing import Any

import urllib3
from kubernetes.client.exceptions import ApiException

from kfp_lifecycle.components.shared.errors import ClusterError, redact

#: Answers that another attempt may not meet.
TRANSIENT = (429, 500, 502, 503, 504)
#: Seconds between attempts: the first wait at most, and the longest.
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 10.0

_USER = re.compile(r'User "([^"]+)"')


class AlreadyThere(ClusterError):  # noqa: N818
    """An object of the name is there already: the caller may adopt it."""


class Changed(ClusterError):  # noqa: N818
    """The object is another than the one that was read: the caller may read it again."""


class NotInstalled(ClusterError):  # noqa: N818
    """The cluster does not know the kind of object."""


@dataclass(frozen=True)
class Refusal:
    """What the API server, or the way to it, said.

    Args:
        status: HTTP status; 0 where there was no answer.
        said: Its message, redacted, in one line.
        reason: Kubernetes' word for it, such as ``AlreadyExists``; empty where it gave none.
        about: The kind of object that the message is about, such as ``namespaces``.
        name: The object's name. Where there is no such kind, the answer names no object.
        wait_s: Seconds that the server asks to wait; 0 where it does not say.
    """

    status: int
    said: str
    reason: str = ""
    about: str = ""
    name: str = ""
    wait_s: float = 0.0

    @property
    def transient(self) -> bool:
        """Whether another attempt may succeed."""
        return self.status == 0 or self.status in TRANSIENT


def refusal(error: Exception) -> Refusal:
    """What an error of the Kubernetes client says."""
    if not isinstance(error, ApiException) or not error.status:
        inner = error.args[-1] if isinstance(error, urllib3.exceptions.HTTPError) and error.args else error
        return Refusal(0, _line(f"{type(error).__name__}: {inner}"))
    try:
        body = json.loads(error.body or "")
        details = body.get("details") or {}
        about, name = details.get("kind", ""), details.get("name", "")
        said, reason = str(body.get("message", "")), str(body.get("reason", ""))
    except (ValueError, AttributeError):
        about, name, said, reason = "", "", str(error.body or ""), ""
    return Refusal(error.status, _line(said or error.reason), reason, about, name, _retry_after(error))


def wait_before(attempt: int, found: Refusal) -> float:
    """Seconds to wait before attempt ``attempt`` (from 1): twice as long each time, at random below that."""
    longest = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** (attempt - 1))
    return float(max(found.wait_s, longest * random.uniform(0.5, 1.0)))


def declared(found: Refusal, verb: str, what: str, host: str, installs: str = "") -> ClusterError:
    """The error for a refusal that no other attempt will change, or that has outlasted all of them.

    Args:
        found: The refusal.
        verb: What was asked, as RBAC calls it: ``create``.
        what: Of what: ``experiments.kubeflow.org 'tune-1' in namespace 'team'``.
        host: The API server.
        installs: What has to be installed for the kind; empty for Kubernetes' own.
    """
    if "admission webhook" in found.said and found.status in (400, 403, 422):
        return ClusterError(f"The cluster refuses to {verb} {what}: {found.said}.", "Correct what it names.")
    if found.status == 0:
        return ClusterError(
            f"Kubernetes at {redact(host)} cannot be reached: {found.said}.",
            "Check that the cluster answers from here (kubectl get namespaces).",
        )
    if found.status == 401:
        return ClusterError(
            f"Kubernetes at {redact(host)} does not know this account: {found.said}.",
            "Log in again, or mount a service account's token into the pod.",
        )
    if found.status == 403:
        who = match[1] if (match := _USER.search(found.said)) else "this account"
        return not_allowed(verb, what, who)
    if found.status == 404 and found.about == "namespaces":
        return ClusterError(f"{found.said[:1].upper()}{found.said[1:]}.", "Make it, or name another.")
    if found.status == 404 and installs:
        return NotInstalled(
            f"The cluster does not know {what.partition(' ')[0]}.", f"Install {installs} there."
        )
    if found.status == 409 and found.reason == "Conflict":
        return Changed(f"Another has changed {what} in the meantime.", "Run this again.")
    if found.status == 409:
        return AlreadyThere(f"There is already {what}.", "Delete it, or choose another name.")
    return ClusterError(
        f"Kubernetes cannot {verb} {what}: {found.said} (HTTP {found.status}).",
        "Check what the message names; if the server is at fault, run the step again.",
    )


def not_allowed(verb: str, what: str, who: str) -> ClusterError:
    """The error where RBAC lacks a right: it names the verb, the resource and the account."""
    return ClusterError(
        f"{who} may not {verb} {what}.",
        "Give it a Role with this verb on this resource: kubectl apply -k manifests/overlays/… has it.",
    )


def _retry_after(error: ApiException) -> float:
    try:
        return min(60.0, max(0.0, float((error.headers or {}).get("Retry-After", 0))))
    except (TypeError, ValueError):
        return 0.0


def _line(text: Any) -> str:
    return redact(" ".join(str(text).split()))[:600].rstrip(".")
