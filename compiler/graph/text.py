"""Text in pictures: what may be shown, and how wide it is without asking any font of the machine."""

import re

#: Advance widths of the printable ASCII characters, in thousandths of the font size: of Roboto and of the
#: fonts with Helvetica's metrics (Arial, Liberation Sans), whichever is wider.
_REGULAR = (
    278, 278, 355, 616, 562, 889, 667, 191, 342, 348, 431, 584, 278, 333, 278, 413, 562, 562, 562, 562,
    562, 562, 562, 562, 562, 562, 278, 278, 584, 584, 584, 556, 1015, 667, 667, 722, 722, 667, 611, 778,
    722, 278, 552, 667, 556, 873, 722, 778, 667, 778, 722, 667, 611, 722, 667, 944, 667, 667, 611, 278,
    411, 278, 469, 556, 333, 556, 562, 523, 564, 556, 348, 562, 556, 243, 239, 507, 243, 877, 556, 570,
    562, 568, 339, 516, 327, 556, 500, 751, 500, 500, 500, 338, 260, 338, 680,
)  # fmt: skip
_BOLD = (
    278, 333, 474, 596, 574, 889, 722, 238, 351, 353, 454, 584, 278, 388, 291, 374, 574, 574, 574, 574,
    574, 574, 574, 574, 574, 574, 333, 333, 584, 584, 584, 611, 975, 722, 722, 722, 722, 667, 611, 778,
    722, 292, 559, 722, 611, 876, 722, 778, 667, 778, 722, 667, 619, 722, 667, 944, 667, 667, 611, 333,
    422, 333, 584, 556, 333, 556, 611, 556, 611, 556, 358, 611, 611, 278, 278, 556, 278, 889, 611, 611,
    611, 611, 389, 556, 338, 611, 556, 778, 556, 556, 509, 389, 280, 389, 649,
)  # fmt: skip

#: Other characters: alphabets are narrower than a square, Chinese, Japanese, Korean and pictograms fill it.
_OTHER, _SQUARE, _FIRST_SQUARE = 720, 1000, 0x1100

ELLIPSIS = "…"

# Characters; nothing that is longer could be shown or read anyway.
_MOST = 2000

# Not allowed in XML, or able to turn the text around it.
_UNSHOWABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)


def clean(text: str) -> str:
    """One line that can be shown anywhere: no control or broken characters, no runs of spaces, no novel."""
    start = " ".join(text[: 2 * _MOST].split())[:_MOST]
    return _UNSHOWABLE.sub("\N{REPLACEMENT CHARACTER}", start)


def width(text: str, size: int, bold: bool = False) -> int:
    """How wide ``text`` is, in pixels, rounded up.

    Args:
        text: One line.
        size: The font size in pixels.
        bold: Whether it is set in bold.
    """
    table = _BOLD if bold else _REGULAR
    total = 0
    for char in text:
        code = ord(char)
        if 32 <= code < 127:
            total += table[code - 32]
        else:
            total += _SQUARE if code >= _FIRST_SQUARE and char != ELLIPSIS else _OTHER
    return -(-total * size // 1000)


def fit(text: str, size: int, limit: int, bold: bool = False) -> str:
    """``text``, or as much of its start as fits ``limit`` pixels, with an ellipsis."""
    if width(text, size, bold) <= limit:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if width(text[:middle].rstrip() + ELLIPSIS, size, bold) <= limit:
            low = middle
        else:
            high = middle - 1
    return text[:low].rstrip() + ELLIPSIS


def wrap(text: str, size: int, limit: int, lines: int, bold: bool = False) -> list[str]:
    """``text`` broken into at most ``lines`` lines of ``limit`` pixels, the last one cut.

    Breaks are between words, and within a word that is too long behind a ``/``, ``_``, ``-``, ``.`` or ``,``.
    """
    broken: list[str] = []
    while len(broken) < lines - 1 and width(text, size, bold) > limit:
        most = len(fit(text, size, limit, bold)) - len(ELLIPSIS)
        end = max((text.rfind(char, 0, most + 1) for char in " /_-.,"), default=-1)
        # A break that leaves next to nothing on the line is worse than one within a word.
        end = end + 1 if end * 3 > most else most
        if end == 0:
            break
        broken.append(text[:end].rstrip())
        text = text[end:].lstrip()
    return [*broken, fit(text, size, limit, bold)]
