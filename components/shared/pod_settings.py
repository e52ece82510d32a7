"""What a profile says of a component's pods, as parts of a pod that a step makes itself.

The compiler gives such a step the settings as JSON in a variable, each as the profile's file has it
(docs/profiles.md): ``resources``, ``accelerator``, ``node_selector``, ``tolerations``, ``secrets``, ``env``,
``volumes``, ``labels``, ``annotations``, ``pull_policy``, ``pull_secrets``.
"""

from collections.abc import Mapping
from typing import Any

Settings = Mapping[str, Any]

#: What the compiler tells the serve step: what the profile says of it, for the pods of the model server.
PREDICTOR_PODS = "KFP_LIFECYCLE_PREDICTOR_PODS"


def said(given: Mapping[str, Any]) -> dict[str, Any]:
    """The entries that say something."""
    return {key: value for key, value in given.items() if value or (value == 0 and value is not False)}


def resources(settings: Settings) -> dict[str, Any]:
    """The container's resources, with the accelerator among its limits."""
    given = settings.get("resources") or {}
    found = {kind: said({k: v and str(v) for k, v in (given.get(kind) or {}).items()}) for kind in given}
    if accelerator := settings.get("accelerator"):
        limits = found.get("limits") or {}
        found["limits"] = {**limits, accelerator["type"]: str(accelerator.get("count", 1))}
    return said(found)


def tolerations(settings: Settings) -> list[dict[str, Any]]:
    """The pod's tolerations."""
    return [_toleration(given) for given in settings.get("tolerations") or ()]


def secret_variables(settings: Settings) -> list[dict[str, Any]]:
    """Environment variables from keys of Secrets."""
    return [
        from_secret(variable, given["name"], key, bool(given.get("optional")))
        for given in settings.get("secrets") or ()
        for key, variable in given["env"].items()
    ]


def from_secret(variable: str, secret: str, key: str, optional: bool) -> dict[str, Any]:
    """An environment variable from a Secret's key."""
    reference = {"name": secret, "key": key, **({"optional": True} if optional else {})}
    return {"name": variable, "valueFrom": {"secretKeyRef": reference}}


def _toleration(given: Mapping[str, Any]) -> dict[str, Any]:
    found = {key: given.get(key) for key in ("key", "operator", "value", "effect")}
    return said({**found, "tolerationSeconds": given.get("seconds")})
