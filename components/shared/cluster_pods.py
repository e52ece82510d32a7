"""What a pod's status says of it."""

from collections.abc import Mapping
from typing import Any

#: Reasons that say nothing: it has just been made, or has ended as its own log says.
_NOTHING = ("", "Completed", "Error", "ContainerCreating", "PodInitializing")


def why_not_running(pod: Mapping[str, Any]) -> str:
    """Why a pod does not run, after the words "its pod"; empty where its status says nothing of the kind."""
    status = pod.get("status") or {}
    for own in status.get("containerStatuses") or ():
        state = own.get("state") or {}
        reason = (state.get("waiting") or state.get("terminated") or {}).get("reason", "")
        if reason not in _NOTHING:
            said = (state.get("waiting") or state["terminated"]).get("message", "")
            return f"its pod is {reason}: {said}".rstrip(": ")
    for own in status.get("conditions") or ():
        if own.get("type") == "PodScheduled" and own.get("status") == "False":
            return f"its pod finds no node: {own.get('message', '')}"
    return ""


def is_ready(pod: Mapping[str, Any]) -> bool:
    """Whether a pod takes requests: ready, and not about to end."""
    if pod["metadata"].get("deletionTimestamp"):
        return False
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(own.get("type") == "Ready" and own.get("status") == "True" for own in conditions)


def restarts(pod: Mapping[str, Any], container: str) -> int:
    """How often a container of a pod has been started anew."""
    found = (pod.get("status") or {}).get("containerStatuses") or ()
    return sum(int(own.get("restartCount") or 0) for own in found if own.get("name") == container)
