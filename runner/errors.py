"""What can be wrong with a compiled file that is to be run here."""

from kfp_lifecycle.components.shared.errors import LifecycleError


class PipelineFileError(LifecycleError):
    """The compiled file is missing, is not one of KFP v2, or holds what a local run gets wrong."""
