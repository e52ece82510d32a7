"""Drawings: nothing on anything else, every line where it belongs, the same every time."""

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings

from kfp_lifecycle.compiler.graph import Direction, Node, build, lay_out
from tests.compiler.graph.geometry import lines_on_lines, problems
from tests.compiler.graph.specs import Spec, specs
from tests.conftest import SOAK

NAMES = ("chain", "conditions", "loops", "exits", "nested", "deep", "thirty-tasks", "wide", "fit")


@pytest.mark.parametrize("direction", Direction)
@pytest.mark.parametrize("name", NAMES)
def test_nothing_overlaps(graph: Callable[[str], Node], name: str, direction: Direction) -> None:
    drawing = lay_out(graph(name), direction)
    assert problems(drawing) == []
    assert lines_on_lines(drawing) == []


@pytest.mark.parametrize("direction", Direction)
@pytest.mark.parametrize("name", NAMES)
def test_every_node_has_one_box_and_every_edge_one_line(
    graph: Callable[[str], Node], name: str, direction: Direction
) -> None:
    root = graph(name)
    drawing = lay_out(root, direction)
    assert sorted(box.path for box in drawing.boxes) == sorted(path for path, _ in root.walk())
    edges = [((), edge) for edge in root.edges] + [(p, e) for p, node in root.walk() for e in node.edges]
    drawn = [(route.path, route.edge) for route in drawing.routes]
    assert len(drawn) == len(edges)
    assert all(edge in drawn for edge in edges)


@pytest.mark.parametrize("direction", Direction)
def test_links_run_forwards(graph: Callable[[str], Node], direction: Direction) -> None:
    along = 0 if direction is Direction.LR else 1
    for route in lay_out(graph("deep"), direction).routes:
        places = [point[along] for point in route.points]
        assert places == sorted(places), route.label


@settings(max_examples=5000 if SOAK else 120, deadline=None, suppress_health_check=list(HealthCheck))
@given(specs())
def test_nothing_overlaps_whatever_the_pipeline(made: tuple[Spec, Spec]) -> None:
    root = build(*made)
    for direction in Direction:
        assert problems(lay_out(root, direction)) == []


def test_without_a_direction_the_picture_fits_a_page(graph: Callable[[str], Node]) -> None:
    assert lay_out(graph("wide")).direction is Direction.LR
    assert lay_out(graph("chain")).direction is Direction.TB


def test_an_empty_pipeline_has_an_empty_picture() -> None:
    drawing = lay_out(build({"root": {"dag": {"tasks": {}}}}))
    assert (drawing.boxes, drawing.routes) == ((), ())
