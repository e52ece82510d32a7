"""A picture as PNG: the SVG, drawn with the fonts that lie beside this module."""

import re
from pathlib import Path

from kfp_lifecycle.compiler.graph.errors import GraphError

FONTS = Path(__file__).with_name("fonts")

#: Pixels of the PNG to one of the SVG, so that text is sharp on today's screens.
SCALE = 2

#: More than this, in pixels of the SVG, would need gigabytes.
MOST_PIXELS = 30_000_000

# What the fonts beside this module hold.
_COVERED = re.compile(
    "[\\s\x20-\x7e\xa0-\u017f\u0370-\u03ff\u0400-\u045f\u2010-\u2027\u2030-\u203a\u20ac\u2190-\u2193\ufffd]*"
)


def to_png(svg: str) -> bytes:
    """The content of a PNG file, for a light ground.

    The same everywhere as long as all names are in Latin, Greek or Cyrillic letters; for others the machine's
    own fonts are asked.

    Args:
        svg: From ``to_svg``.

    Raises:
        GraphError: The extra ``png`` is not installed, or the picture is too large.
    """
    try:
        import resvg_py
    except ImportError:
        raise GraphError(
            "PNG needs the package resvg-py.", "pip install 'kfp-lifecycle[png]', or draw SVG instead."
        ) from None
    width, height = map(int, re.findall(r'(?:width|height)="(\d+)"', svg[:500])[:2])
    if width * height > MOST_PIXELS:
        raise GraphError(f"The picture is too large for PNG: {width} by {height}.", "Draw SVG instead.")
    return bytes(
        resvg_py.svg_to_bytes(
            svg_string=svg,
            zoom=SCALE,
            skip_system_fonts=_COVERED.fullmatch(svg) is not None,
            font_files=[str(FONTS / f"Roboto-{weight}.ttf") for weight in ("Regular", "Bold")],
            font_family="Roboto",
            sans_serif_family="Roboto",
        )
    )
