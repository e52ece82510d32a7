"""What a request can fail with: an HTTP status, a kind for the metrics, and a reason for the client."""

from typing import Any


class RequestError(Exception):
    """A request that is answered with an error.

    Args:
        reason: What is wrong and what to do, for the client.
        column: The input column that it is about; empty where it is about none.
    """

    #: The HTTP status of the answer.
    status = 500
    #: The label ``kind`` of ``model_request_errors_total``.
    kind = "internal"

    def __init__(self, reason: str, column: str = "") -> None:
        self.reason = " ".join(reason.split())
        self.column = column
        super().__init__(self.reason)

    def body(self, request_id: str) -> dict[str, Any]:
        """The answer's JSON object."""
        about = {"column": self.column} if self.column else {}
        return {"error": self.reason, **about, "request_id": request_id}


class BadRequestError(RequestError):
    """The request does not fit the protocol or the model's signature."""

    status, kind = 400, "bad_request"


class UnknownModelError(RequestError):
    """There is no such model, or no such version of it."""

    status, kind = 404, "bad_request"


class NotFoundError(RequestError):
    """There is nothing at this path."""

    status, kind = 404, "bad_request"


class NotAllowedError(RequestError):
    """The path does not know this method."""

    status, kind = 405, "bad_request"


class UnauthorizedError(RequestError):
    """The control endpoints want a token."""

    status, kind = 401, "bad_request"


class TooSlowError(RequestError):
    """The client did not send the body in time."""

    status, kind = 408, "bad_request"


class ClientGoneError(RequestError):
    """The client has closed the connection before its answer."""

    status, kind = 499, "bad_request"


class ConflictError(RequestError):
    """The control endpoint does not fit the state: another candidate is there, or none."""

    status, kind = 409, "bad_request"


class TooLargeError(RequestError):
    """The body has too many bytes, or the request too many rows."""

    status, kind = 413, "bad_request"


class ModelError(RequestError):
    """The model raised something; the log has it."""

    status, kind = 500, "model"


class FeaturesError(RequestError):
    """A feature of the feature store is missing or stale, and the settings make that an error."""

    status, kind = 503, "features"


class OverloadedError(RequestError):
    """More requests are under way than the server takes at once."""

    status, kind = 503, "overloaded"


class TimedOutError(RequestError):
    """The answer was not ready in time."""

    status, kind = 504, "timeout"
