"""The pictures that are kept in a repository: one for each pipeline, drawn from what it compiles to."""

from collections.abc import Iterable, Iterator

from kfp_lifecycle.compiler.compile import Compiled
from kfp_lifecycle.compiler.files import GeneratedFile
from kfp_lifecycle.compiler.graph.build import build
from kfp_lifecycle.compiler.graph.drawing import Direction
from kfp_lifecycle.compiler.graph.layout import lay_out
from kfp_lifecycle.compiler.graph.svg import to_svg
from kfp_lifecycle.compiler.reader import read_bytes
from kfp_lifecycle.compiler.repository import Repository

#: Where they are, in a repository; without this folder none are kept.
FOLDER = "docs/pictures"


def pictures(repository: Repository, pipelines: Iterable[Compiled]) -> Iterator[GeneratedFile]:
    """The picture of each pipeline, left to right as pages have more width than height.

    Args:
        repository: Whether it keeps pictures.
        pipelines: What was compiled.
    """
    if not (repository.root / FOLDER).is_dir():
        return
    for compiled in pipelines:
        file = read_bytes(compiled.text.encode(), compiled.path)
        svg = to_svg(lay_out(build(file.spec, file.platform), Direction.LR))
        yield GeneratedFile(f"{FOLDER}/{compiled.definition.source.name}.svg", svg)
