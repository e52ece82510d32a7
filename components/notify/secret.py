"""Secrets by reference: a parameter says where one is, and never what it is."""

import os
from pathlib import Path

from kfp_lifecycle.components.shared.errors import NotifyError


def secret(reference: str, parameter: str) -> str:
    """The text that ``env:NAME`` or ``file:/path`` leads to; empty for an empty reference.

    Raises:
        NotifyError: The reference is none, or leads nowhere. It is not shown: it may be the secret itself.
    """
    kind, _, place = reference.strip().partition(":")
    if not reference.strip():
        return ""
    if kind == "env" and place:
        found, where = os.environ.get(place, ""), f"the environment has no {place}"
    elif kind == "file" and place:
        found, where = _content(Path(place)), f"there is no text in the file {place}"
    else:
        raise NotifyError(
            f"Parameter {parameter!r} does not say where the secret is.",
            "Write env:NAME or file:/path, and never the secret itself: parameters are shown to everybody.",
        )
    if not found.strip():
        raise NotifyError(
            f"Parameter {parameter!r} leads nowhere: {where}.",
            "Set it in the profile that the pipeline is compiled with (secrets), or in the shell.",
        )
    return found.strip()


def _content(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
