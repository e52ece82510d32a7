"""PNG: the picture at twice the size; a plain word where the extra is not installed."""

import struct
import sys
from collections.abc import Callable

import pytest

from kfp_lifecycle.compiler.graph import GraphError, Node, build, lay_out, to_png, to_svg
from kfp_lifecycle.compiler.graph.png import FONTS, MOST_PIXELS


def size(png: bytes) -> tuple[int, int]:
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", png[16:24])
    return width, height


def test_a_png_has_twice_the_size_of_the_svg(graph: Callable[[str], Node]) -> None:
    drawing = lay_out(graph("deep"))
    png = to_png(to_svg(drawing))
    assert size(png) == (2 * (drawing.width + 48), size(png)[1])
    assert png == to_png(to_svg(drawing))


def test_text_is_drawn_with_the_fonts_of_the_library_alone(
    graph: Callable[[str], Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    import resvg_py

    asked: list[dict[str, object]] = []
    real = resvg_py.svg_to_bytes

    def record(**options: object) -> bytes:
        asked.append(options)
        return real(**options)

    monkeypatch.setattr(resvg_py, "svg_to_bytes", record)
    to_png(to_svg(lay_out(graph("chain"))))
    to_png(to_svg(lay_out(build({"root": {"dag": {"tasks": {"训练": {}}}}}))))
    assert [options["skip_system_fonts"] for options in asked] == [True, False]
    assert asked[0]["font_files"] == [str(FONTS / f"Roboto-{weight}.ttf") for weight in ("Regular", "Bold")]


def test_without_the_extra_the_error_says_how_to_get_it(
    graph: Callable[[str], Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    with pytest.raises(GraphError, match=r"pip install 'kfp-lifecycle\[png\]'"):
        to_png(to_svg(lay_out(graph("chain"))))


def test_a_picture_that_would_need_gigabytes_is_refused() -> None:
    with pytest.raises(GraphError, match="too large for PNG"):
        to_png(f'<svg width="{MOST_PIXELS}" height="2"></svg>')
