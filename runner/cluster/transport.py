"""How requests of the generated client travel: credentials, time limits, and no detour to a login page."""

from collections.abc import Callable
from typing import Any

import urllib3
from kfp_server_api import ApiException, Configuration
from kfp_server_api.rest import RESTClientObject

from kfp_lifecycle.runner.cluster.auth import Credentials
from kfp_lifecycle.runner.cluster.errors import ServerError

#: Seconds to connect, and between two pieces of an answer.
TIMEOUT = (10, 60)


class Transport(RESTClientObject):  # type: ignore[misc] # no stubs
    """In place of the generated client's own, which has no time limit and retries where we are to decide.

    Args:
        configuration: The generated client's.
        credentials: What to send along.
        pool: Opens connections; None for ordinary ones.
        timeout: Seconds to connect, and to wait for the server.
    """

    def __init__(
        self,
        configuration: Configuration,
        credentials: Credentials,
        pool: urllib3.PoolManager | None = None,
        timeout: tuple[int, int] = TIMEOUT,
    ) -> None:
        # urllib3's own retries follow redirects, and repeat what may have been done.
        configuration.retries = False
        super().__init__(configuration)
        self._credentials = credentials
        self._timeout = timeout
        if pool is not None:
            self.pool_manager = pool

    def request(self, method: str, url: str, headers: Any = None, **options: Any) -> Any:
        """Sends one request, once; ``options`` are the generated client's."""
        sent = {**(headers or {}), **self._credentials.headers()}
        options["_request_timeout"] = options.get("_request_timeout") or self._timeout
        try:
            answer = super().request(method, url, headers=sent, **options)
        except ApiException as error:
            # The generated client wraps an SSLError so that it fails over its own wrapping.
            if error.status == 0 and isinstance(error.__context__, urllib3.exceptions.SSLError):
                raise error.__context__ from None
            raise
        if options.get("_preload_content", True) and answer.data.lstrip()[:1] == b"<":
            raise ServerError(
                f"{url.partition('/apis/')[0]} answers with a web page, not as the pipelines API does.",
                "Name the address of the API: on Kubeflow it ends with /pipeline. Log in where a proxy asks.",
            )
        return answer


def hiding(credentials: Credentials) -> Callable[[str], str]:
    """Replaces every credential in a text."""
    from kfp_lifecycle.components.shared.errors import redact

    def hide(text: str) -> str:
        for secret in sorted(set(credentials.secrets), key=len, reverse=True):
            if len(secret) > 3:
                text = text.replace(secret, "***")
        return redact(text)

    return hide
