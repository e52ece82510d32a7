"""What can be wrong with a repository that is to be compiled."""

from kfp_lifecycle.components.shared.errors import LifecycleError


class CompileError(LifecycleError):
    """A component or pipeline cannot be compiled, or what it would give breaks a rule of the project."""
