"""What a registry says of an image."""

import ipaddress
import re

import requests

from kfp_lifecycle.compiler.errors import ImageError
from kfp_lifecycle.components.shared.errors import redact

_MANIFESTS = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def digest(reference: str) -> str:
    """The digest that a registry has for a reference by tag or digest, with the logins of ``docker login``.

    Raises:
        ImageError: The registry does not have it, wants a login, or cannot be reached; oras is not installed.
    """
    try:
        from oras.container import Container
        from oras.provider import Registry
    except ImportError as error:
        raise ImageError(
            f"Registries cannot be asked: {error}.", "pip install 'kfp-lifecycle[images]'"
        ) from error
    container = Container(reference)
    registry = Registry(container.registry, insecure=_on_this_machine(container.registry))
    url = f"{registry.prefix}://{container.manifest_url()}"
    try:
        registry.auth.load_configs(container)
        answer = registry.do_request(url, "HEAD", headers={"Accept": ", ".join(_MANIFESTS)})
    except (requests.RequestException, OSError) as error:
        raise ImageError(
            f"The registry {container.registry} cannot be reached: {redact(str(error))[:200]}.",
            "Check its name and the network.",
        ) from error
    except ValueError as error:  # oras' word for a login that it does not have
        raise _refused(reference, container.registry, str(error)) from error
    if answer.status_code == 404:
        raise ImageError(
            f"The registry does not have {reference}.", "Push it: kfp-lifecycle images push, then lock again."
        )
    if not answer.ok:
        raise _refused(reference, container.registry, f"{answer.status_code} {answer.reason}")
    found: str = answer.headers.get("Docker-Content-Digest", "")
    if not _DIGEST.fullmatch(found):
        raise ImageError(f"The registry {container.registry} gives no digest of {reference}.")
    return found


def _refused(reference: str, registry: str, said: str) -> ImageError:
    return ImageError(
        f"The registry does not tell of {reference}: {redact(said)}", f"Log in: docker login {registry}."
    )


def _on_this_machine(registry: str) -> bool:
    """Whether a registry is on loopback: engines too speak plain HTTP there."""
    host = registry.rpartition(":")[0] or registry
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
