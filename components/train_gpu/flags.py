"""The options as flags of the program: what starts a training in another process, or on other machines."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from kfp_lifecycle.components.shared.parameters import json_object
from kfp_lifecycle.components.train_gpu.options import NetworkOptions, check_names

_TYPES: dict[str, Any] = {field.name: field.type for field in dataclasses.fields(NetworkOptions)}
_BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def option_flags(options: NetworkOptions) -> list[str]:
    """The options that are not the defaults, as ``--name=value``; :func:`options_of` reads them back."""
    default = NetworkOptions()
    found = {name: getattr(options, name) for name in _TYPES}
    return [f"--{name}={_text(value)}" for name, value in found.items() if value != getattr(default, name)]


def options_of(texts: Mapping[str, str]) -> NetworkOptions:
    """The options that name and text say.

    A whole number may come as ``64.0``, which services that search write.

    Raises:
        ParameterError: There is no such option (names the nearest), or its text is not of its type.
    """
    check_names(texts)
    return NetworkOptions(**{name: _value(name, text) for name, text in texts.items()})


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return json.dumps(dict(value), ensure_ascii=False)
    return value if isinstance(value, str) else json.dumps(value)


def _value(name: str, text: str) -> Any:
    kind = _TYPES[name]
    if kind is str:
        return text
    if name == "network_parameters":
        return json_object(text, name)
    try:
        if kind is bool:
            return _BOOLEANS[text.strip().lower()]
        number = float(text)
        return int(number) if kind is int and number.is_integer() else number
    except (KeyError, ValueError):
        return text  # of the wrong type, which the options say in their own words
