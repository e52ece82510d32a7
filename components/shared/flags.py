"""Flags of the programs that jobs start, such as Katib's trials."""

from collections.abc import Sequence

from kfp_lifecycle.components.shared.errors import ParameterError


def hyperparameters(rest: Sequence[str]) -> dict[str, str]:
    """Name to text, from ``--name=value`` or ``--name value``.

    Raises:
        ParameterError: Something is neither, or is given twice.
    """
    found: dict[str, str] = {}
    words = iter(rest)
    for word in words:
        name, equals, value = word.removeprefix("--").partition("=")
        if not word.startswith("--") or not name:
            raise ParameterError(f"{word!r} is no flag.", "Write hyperparameters as --name=value.")
        if not equals and (value := next(words, "")) == "":
            raise ParameterError(f"The flag {word!r} has no value.", "Write hyperparameters as --name=value.")
        if name in found:
            raise ParameterError(f"The flag '--{name}' is given twice.", "Give it once.")
        found[name] = value
    return found
