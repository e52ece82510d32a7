"""Charts as inline SVG in the colours and font of the page that holds them, which follow light and dark."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Stand for the page's CSS variables, which matplotlib does not know: they are put in afterwards.
INK, MUTED, LINE, ACCENT, SECOND = "#010101", "#020202", "#030303", "#040404", "#050505"
_VARIABLES = {INK: "--ink", MUTED: "--muted", LINE: "--line", ACCENT: "--accent", SECOND: "--second"}

_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "kfp-lifecycle",
    "font.size": 10,
    "text.color": INK,
    "text.parse_math": False,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.8,
}


@contextmanager
def chart(x: str, y: str, *, unit: bool = True) -> Iterator[tuple[Figure, Axes]]:
    """A figure with one pair of axes in the report's style.

    Args:
        x: Label of the axis.
        y: Likewise.
        unit: Whether the numbers along both are of 0 to 1, and so short.
    """
    with matplotlib.rc_context(_STYLE):
        # Making room for long numbers draws everything twice.
        figure = Figure(figsize=(4.4, 3.5), layout=None if unit else "constrained")
        if unit:
            figure.subplots_adjust(left=0.15, right=0.97, bottom=0.14, top=0.97)
        axes = figure.add_subplot()
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        yield figure, axes


def svg(figure: Figure, title: str) -> Markup:
    """The figure as an SVG element that names nothing outside the page."""
    written = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(written, format="svg", transparent=True, metadata=nothing)
    text = written.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text).replace("xlink:href", "href")
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    return Markup(text.replace("<svg", f'<svg role="img" aria-label="{title}"', 1))
