"""Pictures of compiled pipelines and components: tasks, what flows between them, and the groups they are in.

``build`` makes a graph of a pipeline spec, ``lay_out`` places it, ``to_svg`` and ``to_png`` draw it;
``to_mermaid`` writes the graph for programs that do their own layout.
"""

from kfp_lifecycle.compiler.graph.build import build
from kfp_lifecycle.compiler.graph.drawing import Direction, Drawing
from kfp_lifecycle.compiler.graph.errors import GraphError
from kfp_lifecycle.compiler.graph.layout import lay_out
from kfp_lifecycle.compiler.graph.mermaid import to_mermaid
from kfp_lifecycle.compiler.graph.model import Edge, Flow, Kind, Node, Port
from kfp_lifecycle.compiler.graph.png import to_png
from kfp_lifecycle.compiler.graph.svg import to_svg

__all__ = [
    "Direction",
    "Drawing",
    "Edge",
    "Flow",
    "GraphError",
    "Kind",
    "Node",
    "Port",
    "build",
    "lay_out",
    "to_mermaid",
    "to_png",
    "to_svg",
]
