"""The Open Inference protocol (V2) over REST: tensors as JSON, or as bytes behind it.

https://github.com/kserve/open-inference-protocol, with its extension for binary tensors: the header
``Inference-Header-Content-Length`` says how long the JSON part is, and the tensors' bytes follow it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from kfp_lifecycle.components.serve.server.failures import BadRequestError
from kfp_lifecycle.components.serve.server.inference import Answer
from kfp_lifecycle.components.serve.server.models import ServedModel
from kfp_lifecycle.components.serve.server.protocol_v1 import parse_json
from kfp_lifecycle.components.serve.server.table import Table, as_list
from kfp_lifecycle.components.serve.server.tensors import Tensor, from_raw, rows_of, tensors_of, to_raw

HEADER_LENGTH = b"inference-header-content-length"
EXTENSIONS = ["binary_tensor_data", "model_repository"]
#: V2's datatype of a type of the schema, as metadata has it; numbers may come as text too.
DATATYPES = {"integer": "INT64", "number": "FP64", "boolean": "BOOL"}


@dataclass(slots=True)
class Wanted:
    """How the client wants its answer.

    Args:
        id: The request's own id.
        names: The outputs asked for; empty is all.
        binary: Those to send as bytes; None is all.
    """

    id: str
    names: list[str]
    binary: set[str] | None


def decode(body: bytes, json_length: str, served: ServedModel) -> tuple[Table, Wanted]:
    """The rows of a request's body, and how its answer is wanted.

    Args:
        body: The body.
        json_length: The header with the length of its JSON part; empty where all is JSON.
        served: The model that is asked.

    Raises:
        BadRequestError: It is no JSON, or not of this form.
    """
    raw = b""
    if json_length:
        if not json_length.isdecimal() or int(json_length) > len(body):
            raise BadRequestError(f"Inference-Header-Content-Length is {json_length[:40]!r}.")
        body, raw = body[: int(json_length)], body[int(json_length) :]
    data = parse_json(body)
    inputs = data.get("inputs")
    if not isinstance(inputs, list):
        raise BadRequestError("The body has no list of 'inputs'.")
    return rows_of(_tensors(inputs, raw), served), _wanted(data)


def encode(answer: Answer, wanted: Wanted) -> tuple[bytes, int]:
    """The body of the answer, and the length of its JSON part where bytes follow it, else 0."""
    served = answer.call.served
    described, raw = [], []
    for tensor in tensors_of(answer.outputs, served, wanted.names):
        about: dict[str, Any] = {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape}
        if wanted.binary is None or tensor.name in wanted.binary:
            raw.append(to_raw(tensor))
            about["parameters"] = {"binary_data_size": len(raw[-1])}
        else:
            about["data"] = as_list(tensor.data)
        described.append(about)
    head = orjson.dumps(
        {
            "model_name": served.name,
            "model_version": served.version,
            "id": wanted.id or answer.call.id,
            "outputs": described,
        },
        default=str,
    )
    return (b"".join([head, *raw]), len(head)) if raw else (head, 0)


def check_names(served: ServedModel, names: Iterable[str]) -> None:
    """Raises ``BadRequestError`` where an output is asked for that the model does not have."""
    known = {column.name for column in served.outputs}
    for name in names:
        if name not in known:
            raise BadRequestError(f"The model has no output {name!r}, but {', '.join(sorted(known))}.")


def metadata(served: ServedModel, versions: list[str]) -> dict[str, Any]:
    """What the model takes and gives."""
    return {
        "name": served.name,
        "versions": versions,
        "platform": "kfp-lifecycle" if served.description else "mlflow",
        "inputs": [
            {"name": column.name, "datatype": DATATYPES.get(column.type, "BYTES"), "shape": [-1, 1]}
            for column in served.asked
        ],
        "outputs": [
            {"name": column.name, "datatype": column.datatype, "shape": [-1]} for column in served.outputs
        ],
    }


def _tensors(inputs: list[Any], raw: bytes) -> list[Tensor]:
    tensors, place = [], 0
    for each in inputs:
        if not isinstance(each, dict) or not isinstance(name := each.get("name"), str):
            raise BadRequestError("An input is no object with a name.")
        shape, datatype = each.get("shape"), each.get("datatype")
        if not isinstance(shape, list) or not isinstance(datatype, str):
            raise BadRequestError(f"Input {name!r} has no shape or no datatype.", name)
        size = _parameters(each).get("binary_data_size")
        if size is not None:
            if type(size) is not int or size < 0 or place + size > len(raw):
                raise BadRequestError(f"Input {name!r} has not as many bytes as it says.", name)
            tensors.append(from_raw(name, datatype, shape, raw[place : place + size]))
            place += size
            continue
        data = each.get("data")
        if not isinstance(data, list):
            raise BadRequestError(f"Input {name!r} has no list of 'data'.", name)
        tensors.append(Tensor(name, datatype, shape, _flat(data, name)))
    if place != len(raw):
        raise BadRequestError(f"{len(raw) - place} bytes follow the tensors.")
    return tensors


def _flat(data: list[Any], name: str) -> list[Any]:
    """Nested lists in row-major order."""
    while data and isinstance(data[0], list):
        if not all(isinstance(each, list) for each in data):
            raise BadRequestError(f"The data of input {name!r} is nested unevenly.", name)
        data = [value for each in data for value in each]
    return data


def _wanted(data: Mapping[str, Any]) -> Wanted:
    outputs = data.get("outputs") or []
    if not isinstance(outputs, list) or not all(
        isinstance(each, dict) and "name" in each for each in outputs
    ):
        raise BadRequestError("'outputs' is no list of objects with a name.")
    binary: set[str] | None = {
        each["name"] for each in outputs if _parameters(each).get("binary_data") is True
    }
    if not outputs and _parameters(data).get("binary_data_output") is True:
        binary = None
    return Wanted(str(data.get("id") or ""), [str(each["name"]) for each in outputs], binary)


def _parameters(about: Mapping[str, Any]) -> Mapping[str, Any]:
    found = about.get("parameters")
    return found if isinstance(found, dict) else {}
