"""Open Inference's gRPC messages, which are kserve's, as tensors and back."""

from collections.abc import Sequence
from typing import Any

from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb

from kfp_lifecycle.components.serve.server.failures import BadRequestError
from kfp_lifecycle.components.serve.server.table import as_list
from kfp_lifecycle.components.serve.server.tensors import Tensor, from_raw, to_raw

#: The field of a tensor's contents by its datatype. FP16 has none: it comes raw.
_FIELDS = {
    "BOOL": "bool_contents",
    "BYTES": "bytes_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
}


def tensors_in(request: Any) -> list[Tensor]:
    """The tensors of a ``ModelInferRequest``.

    Raises:
        BadRequestError: A tensor is not as the protocol has it. Names it.
    """
    raw = request.raw_input_contents
    if not raw:
        return [_from_contents(tensor) for tensor in request.inputs]
    if len(raw) != len(request.inputs):
        raise BadRequestError(f"There are {len(request.inputs)} inputs, but {len(raw)} raw contents.")
    tensors = []
    for tensor, content in zip(request.inputs, raw, strict=True):
        if tensor.HasField("contents"):
            raise BadRequestError(f"Input {tensor.name!r} has contents beside raw ones.", tensor.name)
        tensors.append(from_raw(tensor.name, tensor.datatype, list(tensor.shape), content))
    return tensors


def response(request: Any, version: str, request_id: str, tensors: Sequence[Tensor]) -> Any:
    """The ``ModelInferResponse``; raw where the request's contents are raw."""
    made = pb.ModelInferResponse(model_name=request.model_name, model_version=version, id=request_id)
    for tensor in tensors:
        output = made.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        if request.raw_input_contents:
            made.raw_output_contents.append(to_raw(tensor))
        else:
            getattr(output.contents, _FIELDS[tensor.datatype]).extend(_present(tensor))
    return made


def _from_contents(tensor: Any) -> Tensor:
    field = _FIELDS.get(tensor.datatype)
    if field is None:
        raise BadRequestError(
            f"Input {tensor.name!r} has datatype {tensor.datatype!r}, which has no contents.", tensor.name
        )
    values = list(getattr(tensor.contents, field))
    if tensor.datatype == "BYTES":
        values = [_text(tensor.name, value) for value in values]
    return Tensor(tensor.name, tensor.datatype, list(tensor.shape), values)


def _text(name: str, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise BadRequestError(f"Input {name!r} has a text that is not UTF-8.", name) from error


def _present(tensor: Tensor) -> list[Any]:
    """The values as protobuf takes them, which knows no missing ones: NaN, and empty text."""
    values = as_list(tensor.data)
    if tensor.datatype == "BYTES":
        return [b"" if value is None else str(value).encode() for value in values]
    return [float("nan") if value is None else value for value in values]
