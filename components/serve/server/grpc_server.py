"""The Open Inference protocol (V2) over gRPC, with kserve's messages, beside REST in the same event loop."""

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from typing import Any

import grpc
from grpc import aio
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import (
    GRPCInferenceServiceServicer,
    add_GRPCInferenceServiceServicer_to_server,
)

from kfp_lifecycle.components.serve.server.failures import BadRequestError, RequestError
from kfp_lifecycle.components.serve.server.grpc_messages import response, tensors_in
from kfp_lifecycle.components.serve.server.host import Host
from kfp_lifecycle.components.serve.server.inference import Answer, Call, Inference
from kfp_lifecycle.components.serve.server.models import ServedModel
from kfp_lifecycle.components.serve.server.options import ServerOptions
from kfp_lifecycle.components.serve.server.protocol_v2 import EXTENSIONS, check_names, metadata
from kfp_lifecycle.components.serve.server.tensors import rows_of, tensors_of
from kfp_lifecycle.components.shared.errors import ServingError

log = logging.getLogger(__name__)

_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    404: grpc.StatusCode.NOT_FOUND,
    409: grpc.StatusCode.FAILED_PRECONDITION,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
_REQUEST_ID = "x-request-id"


class GrpcServer:
    """The gRPC server; a service of :mod:`.extensions`.

    Args:
        options: Its address, and the limits that REST has too.
        host: The models.
    """

    def __init__(self, options: ServerOptions, host: Host) -> None:
        self._options, self._host = options, host
        self._server: Any = None
        self.port = 0

    async def start(self, inference: Inference) -> None:
        """Listens. Raises ``ServingError`` where the port is taken."""
        self._server = aio.server(
            options=[
                ("grpc.max_receive_message_length", self._options.max_body),
                ("grpc.max_send_message_length", -1),
                # Without this two servers would share a port, and each get some of the requests.
                ("grpc.so_reuseport", 0),
            ],
            maximum_concurrent_rpcs=self._options.max_in_flight,
        )
        servicer = _Servicer(inference, self._host, self._options)
        add_GRPCInferenceServiceServicer_to_server(servicer, self._server)
        host = f"[{self._options.host}]" if ":" in self._options.host else self._options.host
        try:
            self.port = self._server.add_insecure_port(f"{host}:{self._options.grpc_port}")
        except RuntimeError as error:
            raise ServingError(
                f"gRPC cannot listen on port {self._options.grpc_port} of {host}.", "Give a free --grpc-port."
            ) from error
        await self._server.start()
        log.info("gRPC listens on %s:%d", host, self.port)

    async def stop(self, grace_s: float) -> None:
        """Takes no more calls, and ends when those under way are answered, or after ``grace_s`` seconds."""
        await self._server.stop(grace_s)


class _Servicer(GRPCInferenceServiceServicer):  # type: ignore[misc]
    """The protocol's calls. Their names are gRPC's."""

    def __init__(self, inference: Inference, host: Host, options: ServerOptions) -> None:
        self._inference, self._host, self._options = inference, host, options

    async def ServerLive(self, request: Any, context: Any) -> Any:  # noqa: N802
        return pb.ServerLiveResponse(live=True)

    async def ServerReady(self, request: Any, context: Any) -> Any:  # noqa: N802
        return pb.ServerReadyResponse(ready=self._inference.ready)

    async def ServerMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
        return pb.ServerMetadataResponse(
            name="kfp-lifecycle", version=version("kfp-lifecycle"), extensions=EXTENSIONS
        )

    async def ModelReady(self, request: Any, context: Any) -> Any:  # noqa: N802
        await _or_abort(context, self._found, request)
        return pb.ModelReadyResponse(ready=self._inference.ready)

    async def ModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
        served = await _or_abort(context, self._found, request)
        found = metadata(served, [model.version for model in self._host.models])
        tensor = pb.ModelMetadataResponse.TensorMetadata
        return pb.ModelMetadataResponse(
            name=found["name"],
            versions=found["versions"],
            platform=found["platform"],
            inputs=[tensor(**each) for each in found["inputs"]],
            outputs=[tensor(**each) for each in found["outputs"]],
        )

    async def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802
        return await _or_abort(context, self._infer, request, context)

    async def RepositoryModelLoad(self, request: Any, context: Any) -> Any:  # noqa: N802
        # The message has a name and no place to load from: what it can ask for is there already.
        await _or_abort(context, self._host.find, request.model_name)
        return pb.RepositoryModelLoadResponse(model_name=request.model_name, isLoaded=True)

    async def RepositoryModelUnload(self, request: Any, context: Any) -> Any:  # noqa: N802
        said = "This server keeps its model; a rollout's candidate is unloaded over REST, with the token."
        await context.abort(grpc.StatusCode.FAILED_PRECONDITION, said)

    def _found(self, request: Any) -> ServedModel:
        return self._host.find(request.name, request.version)

    async def _infer(self, request: Any, context: Any) -> Any:
        request_id = _request_id(request, context)
        await context.send_initial_metadata(((_REQUEST_ID, request_id),))
        served = self._host.choose(request.model_name, request.model_version)
        wanted = [output.name for output in request.outputs]
        answer = await self._answer(Call(request_id, "grpc", served), request, wanted)
        tensors = tensors_of(answer.outputs, served, wanted)
        return response(request, served.version, request.id or request_id, tensors)

    async def _answer(self, call: Call, request: Any, wanted: list[str]) -> Answer:
        self._inference.started(call)
        try:
            check_names(call.served, wanted)
            return await self._inference.answer(call, rows_of(tensors_in(request), call.served))
        except RequestError as error:
            self._inference.failed(call, error)
            raise
        except asyncio.CancelledError:
            self._inference.failed(call, BadRequestError("The client has gone."))
            raise
        except Exception:
            self._inference.failed(call, RequestError("The server failed."))
            raise


def _request_id(request: Any, context: Any) -> str:
    """The client's id where it is plain text, as over REST; else a new one."""
    given = dict(context.invocation_metadata() or ()).get(_REQUEST_ID, "") or request.id
    text = given[:128].strip() if isinstance(given, str) else ""
    return text if text and text.isascii() and text.isprintable() else uuid.uuid4().hex


async def _or_abort(context: Any, ask: Callable[..., Any], *arguments: Any) -> Any:
    """What ``ask`` gives; what it raises ends the call with a status and the reason."""
    try:
        found = ask(*arguments)
        return await found if isinstance(found, Awaitable) else found
    except RequestError as error:
        await context.abort(_CODES.get(error.status, grpc.StatusCode.INTERNAL), error.reason)
    except Exception:
        log.exception("a gRPC request failed")
        await context.abort(grpc.StatusCode.INTERNAL, "The server failed; its log says why.")
