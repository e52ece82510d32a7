"""The parameters of the training run: what the user gave, with the new data window filled in."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from kfp_lifecycle.components.monitor.message import Summary
from kfp_lifecycle.components.shared.errors import ParameterError, did_you_mean

#: ``{window_end}``, or with a format of ``strftime``: ``{window_end:%Y-%m}``.
_PLACE = re.compile(r"\{([a-z_]+)(?::(%[^}]*))?\}")


def fill(parameters: Mapping[str, Any], summary: Summary, training_window: timedelta) -> dict[str, Any]:
    """The parameters with their places filled in, in texts at any depth.

    ``{window_start}`` and ``{window_end}`` are those of the window that led here, ``{training_start}`` is
    ``training_window`` before its end, all as ``2026-11-20T06:00:00`` (UTC) or as their format says;
    ``{model}`` and ``{version}`` are what is to be replaced.

    Args:
        parameters: The training pipeline's parameters.
        summary: What monitor found.
        training_window: How far back the training data goes; nought is as far as the window does.

    Raises:
        ParameterError: A place has no such name. Names the parameter.
    """
    start = summary.end - training_window if training_window else summary.start
    values = {
        "window_start": summary.start,
        "window_end": summary.end,
        "training_start": start,
        "model": summary.model,
        "version": summary.version,
    }
    return {name: _filled(value, values, name) for name, value in parameters.items()}


def _filled(value: Any, values: Mapping[str, Any], parameter: str) -> Any:
    if isinstance(value, dict):
        return {key: _filled(item, values, parameter) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, values, parameter) for item in value]
    if not isinstance(value, str):
        return value

    def put(found: "re.Match[str]") -> str:
        name, form = found[1], found[2]
        if name not in values:
            raise ParameterError(
                f"Parameter {parameter!r} of the training has the place {found[0]!r}, which nothing fills.",
                did_you_mean(name, values),
            )
        known = values[name]
        if isinstance(known, datetime):
            return known.astimezone(UTC).strftime(form or "%Y-%m-%dT%H:%M:%S")
        return str(known)

    return _PLACE.sub(put, value)
