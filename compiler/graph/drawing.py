"""A laid out picture: boxes, texts and lines with their places, in pixels, before any file format."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from kfp_lifecycle.compiler.graph.model import Edge, Flow, Node

Anchor = Literal["start", "middle", "end"]


class Direction(StrEnum):
    """Which way the edges run."""

    LR = "LR"
    TB = "TB"


#: Style of a text to its font size, and whether it is bold.
FONTS = {
    "title": (14, True),
    "note": (12, False),
    "port": (11, False),
    "badge": (11, False),
    "kind": (10, True),
}


@dataclass(frozen=True)
class Label:
    """A line of text; ``y`` is its baseline."""

    x: int
    y: int
    text: str
    style: str
    anchor: Anchor = "start"


@dataclass(frozen=True)
class Badge:
    """A text in a small frame; ``x`` and ``y`` are its upper left corner."""

    x: int
    y: int
    width: int
    height: int
    text: str


@dataclass(frozen=True)
class Dot:
    """A port that something comes out of, or goes through."""

    x: int
    y: int
    flow: Flow
    type: str
    name: str


@dataclass(frozen=True)
class Box:
    """A node at its place.

    Args:
        path: The keys of the groups around it, and its own.
        node: What it is.
        x: Left side.
        y: Upper side.
        width: To the right.
        height: Downwards.
        labels: The texts in it.
        badges: The badges in it.
        dots: The ports that are drawn as dots.
    """

    path: tuple[str, ...]
    node: Node
    x: int
    y: int
    width: int
    height: int
    labels: tuple[Label, ...] = ()
    badges: tuple[Badge, ...] = ()
    dots: tuple[Dot, ...] = ()


@dataclass(frozen=True)
class Route:
    """An edge on its way.

    Args:
        path: The keys of the group that it is in.
        edge: What flows.
        points: Its ends and bends; only horizontal and vertical parts.
        arrow: Whether it ends here, and does not go on behind a border.
        label: What flows from where to where, in words.
    """

    path: tuple[str, ...]
    edge: Edge
    points: tuple[tuple[int, int], ...]
    arrow: bool
    label: str


@dataclass(frozen=True)
class Drawing:
    """A whole pipeline.

    Args:
        root: The pipeline.
        direction: Left to right or top to bottom.
        width: Of what is drawn.
        height: Of what is drawn.
        boxes: Groups before what is in them.
        routes: All edges.
    """

    root: Node
    direction: Direction
    width: int
    height: int
    boxes: tuple[Box, ...]
    routes: tuple[Route, ...]
