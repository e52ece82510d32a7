"""Texts from files that nobody vouches for, made fit for a message."""

import re

# Terminal escapes, line breaks, bidirectional overrides and what has no glyph.
_UNPRINTABLE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)


def shown(text: str, limit: int = 80, quote: bool = True) -> str:
    """``text`` in one line, without control characters, cut to ``limit`` characters, in quotes."""
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    safe = _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), cut)
    return f"'{safe}'" if quote else safe
