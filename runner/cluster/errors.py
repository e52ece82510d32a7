"""What can be wrong between this machine and a Kubeflow Pipelines API server."""

from kfp_lifecycle.components.shared.errors import LifecycleError


class ContextError(LifecycleError):
    """The configuration of contexts is damaged, or does not say what a connection needs."""


class ServerError(LifecycleError):
    """The API server, or something on the way to it, does not do what was asked for."""


class UnreachableError(ServerError):
    """There was no answer, or only that the server is not there just now."""


class TlsError(ServerError):
    """The server's certificate is not trusted, or no encrypted connection can be made."""


class UnauthorizedError(ServerError):
    """The server does not know who is calling (401), or sends the caller to a login page."""


class ForbiddenError(ServerError):
    """The caller lacks a right (403)."""


class NotFoundError(ServerError):
    """What was asked for is not there (404)."""


class OldServerError(ServerError):
    """The server is older than the file, or than the API that is needed."""


class RefusedError(ServerError):
    """The server refuses what it was given."""


class VersionConflictError(ServerError):
    """The server has this version of the pipeline with another content."""


class RunFailedError(ServerError):
    """A run that was waited for has failed, or was cancelled."""
