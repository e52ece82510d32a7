"""How features of a feature store are looked up while serving."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kfp_lifecycle.components.shared.errors import ParameterError
from kfp_lifecycle.components.shared.parameters import one_of


@dataclass(frozen=True)
class LookupSettings:
    """How features are looked up, and what is done where there is none.

    Args:
        repository: URI of the Feast repository; empty is the one that the model was trained with.
        timeout_s: For how long a request of one row waits for the store; each further row has
            :data:`.lookup.ROW_S` more.
        missing: A feature without a value: ``null`` leaves it missing, which the model fills as in training;
            ``error`` answers 503.
        stale: A value older than its view's time to live: ``missing``, ``use`` it, or ``error``.
        fallback: Column to the value that it gets where it is missing, whatever ``missing`` says.

    Raises:
        ParameterError: A setting is none of these.
    """

    repository: str = ""
    timeout_s: float = 0.1
    missing: str = "null"
    stale: str = "missing"
    fallback: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        one_of(self.missing, ("null", "error"), "--feature-missing")
        one_of(self.stale, ("missing", "use", "error"), "--feature-stale")
        if not self.timeout_s > 0:
            raise ParameterError(
                "--feature-timeout-ms is not more than 0.", "Give milliseconds, such as 100."
            )
