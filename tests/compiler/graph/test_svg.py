"""SVG: valid, complete, safe, the same on every machine."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import HealthCheck, given, settings

from kfp_lifecycle.compiler.graph import Direction, Kind, Node, build, lay_out, to_svg
from kfp_lifecycle.compiler.graph.style import COLOURS
from kfp_lifecycle.compiler.graph.text import clean
from tests.compiler.graph.specs import Spec, specs
from tests.conftest import SOAK

SVG = "{http://www.w3.org/2000/svg}"
NAMES = ("chain", "conditions", "loops", "exits", "nested", "deep", "thirty-tasks", "wide", "fit")


def parsed(root: Node, direction: Direction | None = None) -> ET.Element:
    return ET.fromstring(to_svg(lay_out(root, direction)))


@pytest.mark.parametrize("name", NAMES)
def test_every_task_is_drawn_once_and_every_edge_once(graph: Callable[[str], Node], name: str) -> None:
    root = graph(name)
    svg = parsed(root)
    drawn = [group.get("data-path") for group in svg.iter(f"{SVG}g") if group.get("data-path") is not None]
    assert sorted(drawn) == sorted("/".join(path) for path, _ in root.walk())
    edges = [group for group in svg.iter(f"{SVG}g") if group.get("class") == "edge"]
    assert len(edges) == len(root.edges) + sum(len(node.edges) for _, node in root.walk())


def test_the_texts_of_a_task_are_in_its_group(graph: Callable[[str], Node]) -> None:
    svg = parsed(graph("exits"), Direction.TB)
    group = next(g for g in svg.iter(f"{SVG}g") if g.get("data-path") == "exit-handler-1/fit")
    texts = {element.text for element in group.iter(f"{SVG}text")}
    assert {"fit", "data", "model", "16G", "2 x nvidia.com/gpu", "retries 3"} <= texts
    title = group.findtext(f"{SVG}title") or ""
    assert {"task fit", "component fit", "image python:3.11"} <= set(title.splitlines())


def test_it_is_described_for_those_who_do_not_see_it(graph: Callable[[str], Node]) -> None:
    svg = parsed(graph("conditions"))
    assert svg.get("role") == "img"
    assert svg.findtext(f"{SVG}title") == "Pipeline conditions"
    described = svg.findtext(f"{SVG}desc") or ""
    assert described.startswith("9 tasks, 5 conditions, 2 inputs.")
    for part in ("else if flip == 'tails'", "make → fit-2 (data)", "if limit > 3"):
        assert part in described, part


def test_artifacts_have_the_colour_of_their_type_and_a_legend(graph: Callable[[str], Node]) -> None:
    svg = parsed(graph("exits"))
    dots = {(dot.get("class"), dot.findtext(f"{SVG}title")) for dot in svg.iter(f"{SVG}circle")}
    assert {("dot dataset", "data: Dataset"), ("dot model", "model: Model")} <= dots
    legend = [e.text for e in svg.iter(f"{SVG}text") if e.get("class") == "legend"]
    assert legend == ["Dataset", "Model", "Metrics", "Parameter", "Order only"]


def test_it_is_for_light_and_dark_grounds(graph: Callable[[str], Node]) -> None:
    style = parsed(graph("chain")).findtext(f"{SVG}style") or ""
    light, dark = style.split("@media (prefers-color-scheme:dark)")
    for name in ("ground", "card", "text", "dataset", "model"):
        assert COLOURS[name][0] in light
        assert COLOURS[name][1] in dark


def luminance(colour: str) -> float:
    """Relative luminance, WCAG 2.2."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("ground", [0, 1])
def test_texts_and_lines_stand_out_from_the_ground(ground: int) -> None:
    for name, colours in COLOURS.items():
        if name in ("ground", "card", "rim", "badge"):
            continue
        behind = ["badge"] if name == "quiet" else ["ground", "card"]
        for back in behind:
            shades = sorted((luminance(colours[ground]), luminance(COLOURS[back][ground])))
            contrast = (shades[1] + 0.05) / (shades[0] + 0.05)
            assert contrast >= (4.5 if name in ("text", "quiet") else 3), (name, back, contrast)


@pytest.mark.parametrize("name", NAMES)
def test_it_asks_for_nothing_from_outside(graph: Callable[[str], Node], name: str) -> None:
    svg = parsed(graph(name))
    tags = {element.tag.removeprefix(SVG) for element in svg.iter()}
    assert tags <= {"svg", "title", "desc", "style", "rect", "text", "g", "path", "circle"}
    attributes = {key for element in svg.iter() for key in element.attrib}
    assert attributes <= {
        *("class", "width", "height", "viewBox", "role", "x", "y", "rx", "r", "cx", "cy", "d"),
        *("transform", "text-anchor", "data-path"),
    }
    assert not re.search(r"url\(|@import|@font-face", svg.findtext(f"{SVG}style") or "")


@settings(max_examples=5000 if SOAK else 100, deadline=None, suppress_health_check=list(HealthCheck))
@given(specs())
def test_hostile_names_stay_text(made: tuple[Spec, Spec]) -> None:
    root = build(*made)
    svg = parsed(root)
    tags = {element.tag.removeprefix(SVG) for element in svg.iter()}
    assert tags <= {"svg", "title", "desc", "style", "rect", "text", "g", "path", "circle"}
    assert (svg.findtext(f"{SVG}title") or "").startswith("Pipeline ")
    paths = [g.get("data-path") for g in svg.iter(f"{SVG}g") if g.get("data-path") is not None]
    assert sorted(paths) == sorted("/".join(map(clean, path)) for path, _ in root.walk())


def test_long_names_are_cut_and_whole_in_the_hint() -> None:
    name = "a" * 400
    task = {"taskInfo": {"name": name}, "componentRef": {"name": f"comp-{name}"}}
    svg = parsed(build({"root": {"dag": {"tasks": {name: task}}}}))
    group = next(g for g in svg.iter(f"{SVG}g") if g.get("class") == Kind.TASK.value)
    lines = [element.text or "" for element in group.iter(f"{SVG}text")]
    assert len(lines) == 2
    assert lines[1].endswith("…")
    assert f"task {name}" in (group.findtext(f"{SVG}title") or "")
    assert int(svg.get("width", "0")) < 400


def test_another_process_with_another_hash_seed_writes_the_same_bytes(
    compiled: Callable[[str], Path],
) -> None:
    program = (
        "import sys\n"
        "from kfp_lifecycle.compiler.graph import *\n"
        "from kfp_lifecycle.compiler.reader import read\n"
        "file = read(sys.argv[1])\n"
        "root = build(file.spec, file.platform)\n"
        "for direction in Direction:\n"
        "    sys.stdout.buffer.write(to_svg(lay_out(root, direction)).encode())\n"
        "sys.stdout.buffer.write(to_mermaid(root).encode())\n"
    )
    written = {
        subprocess.run(
            [sys.executable, "-c", program, str(compiled("deep"))],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "2")
    }
    assert len(written) == 1
