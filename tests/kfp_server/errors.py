"""Refusals in the words and the JSON of the API server."""

from typing import Any

#: gRPC status code to the HTTP status that the gateway makes of it.
HTTP = {3: 400, 5: 404, 6: 409, 7: 403, 9: 400, 10: 409, 12: 501, 13: 500, 14: 503, 16: 401}


class RefusedError(Exception):
    """What the server answers with instead of what was asked for.

    Args:
        code: gRPC status code.
        message: What it says.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    @property
    def status(self) -> int:
        return HTTP[self.code]

    def body(self, uploading: bool, with_error: bool) -> dict[str, Any]:
        """As JSON; uploads have a form of their own, and gateways before 2.6 say the message twice."""
        if uploading:
            return {"error_message": self.message, "error_details": self.message}
        detail = {
            "@type": "type.googleapis.com/google.rpc.Status",
            "code": self.code,
            "message": self.message,
        }
        body = {"code": self.code, "message": self.message, "details": [detail]}
        return {"error": self.message, **body} if with_error else body


def invalid(message: str) -> RefusedError:
    return RefusedError(3, message)


def not_found(kind: str, name: str) -> RefusedError:
    return RefusedError(5, f"Failed to get {kind} {name}: ResourceNotFoundError: {kind} {name} not found")


def exists(kind: str, name: str) -> RefusedError:
    return RefusedError(
        6,
        f"Failed to create a new {kind}: Already exist error: Failed to create a new {kind}. "
        f"The name {name} already exists. Please specify a new name",
    )


def unauthenticated() -> RefusedError:
    said = "Request header error: there is no user identity header."
    return RefusedError(16, f"Failed to authorize the request: Unauthenticated: {said}: {said}")


def denied(user: str, verb: str, resource: str, namespace: str) -> RefusedError:
    return RefusedError(
        7,
        f"Failed to authorize with API: PermissionDenied: User '{user}' is not authorized with reason:  "
        f"(request: &ResourceAttributes{{Namespace:{namespace},Verb:{verb},Group:pipelines.kubeflow.org,"
        f"Version:v1beta1,Resource:{resource},Subresource:,Name:,FieldSelector:nil,LabelSelector:nil,}}): "
        "Unauthorized access",
    )
