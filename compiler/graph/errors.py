"""What can be wrong with a pipeline that is to be drawn."""

from kfp_lifecycle.components.shared.errors import LifecycleError


class GraphError(LifecycleError):
    """The pipeline cannot be drawn: it holds itself, is too large, or the picture's format is not at hand."""
