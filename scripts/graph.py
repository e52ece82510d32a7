"""``kfp-lifecycle graph``."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Format(StrEnum):
    """What a picture can be written as."""

    SVG = "svg"
    PNG = "png"
    MERMAID = "mermaid"


class Towards(StrEnum):
    """Which way a picture runs."""

    LR = "LR"
    TB = "TB"


#: File endings that say the format.
ENDINGS = {".svg": Format.SVG, ".png": Format.PNG, ".mmd": Format.MERMAID, ".mermaid": Format.MERMAID}


def _names(incomplete: str) -> list[str]:
    from kfp_lifecycle.runner.resolve import names

    return [name for name in names() if name.startswith(incomplete)]


def graph_command(
    target: Annotated[
        str,
        typer.Argument(
            metavar="NAME|FILE",
            help="A compiled pipeline or component: its name, NAME@VERSION, or a file that KFP 2 compiled.",
            autocompletion=_names,
            show_default=False,
        ),
    ],
    picture: Annotated[
        Format | None,
        typer.Option(
            "--format",
            case_sensitive=False,
            help="Default: what --out ends in, else svg.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Where to write it; else standard output.")
    ] = None,
    direction: Annotated[
        Towards | None,
        typer.Option(
            case_sensitive=False,
            help="Left to right or top to bottom. Default: whichever fits a page better.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Draw a compiled pipeline or component: tasks, what flows between them, conditions, loops, resources.

    Any compiled KFP 2 file can be drawn, ours or not. An SVG is one file for light and dark grounds that
    needs nothing else; long names are cut, and whole where you point at them. The same pipeline gives the
    same bytes on every machine. PNG needs the extra `kfp-lifecycle[png]`.

    **Examples**

        kfp-lifecycle graph training --out training.svg
        kfp-lifecycle graph training@1.0.0 --format mermaid
        kfp-lifecycle graph my_pipeline.yaml --direction LR --out my_pipeline.png
    """
    from kfp_lifecycle.compiler.graph import Direction, GraphError, build, lay_out, to_mermaid, to_png, to_svg
    from kfp_lifecycle.compiler.reader import read
    from kfp_lifecycle.components.shared.outputs import whole_file
    from kfp_lifecycle.runner.resolve import find

    chosen = picture or (ENDINGS.get(out.suffix.lower()) if out else None) or Format.SVG
    if out is not None and out.is_dir():
        raise GraphError(f"{out} is a folder.", "Name the file to write in it.")
    if chosen is Format.PNG and out is None and sys.stdout.isatty():
        raise GraphError("A PNG is nothing for a terminal.", "Say where to write it: --out FILE.png.")
    compiled = read(find(target))
    root = build(compiled.spec, compiled.platform)
    towards = Direction(direction) if direction else None
    if chosen is Format.MERMAID:
        content = to_mermaid(root, towards).encode()
    else:
        svg = to_svg(lay_out(root, towards))
        content = svg.encode() if chosen is Format.SVG else to_png(svg)
    if out is None:
        sys.stdout.buffer.write(content)
        return
    with whole_file(out) as partial:
        partial.write_bytes(content)
    typer.echo(f"{out}  {len(content):,} bytes", err=True)
