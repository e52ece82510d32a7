"""The pipeline's digest: one number for exactly this compiled pipeline, carried by every model it makes."""

import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any

from kfp_lifecycle.compiler.errors import CompileError
from kfp_lifecycle.compiler.spec import Spec, task_parameters, tasks

#: A component input of this name is filled with the digest when its argument is the empty text.
DIGEST_INPUT = "pipeline_digest"

_EMPTY_OR_DIGEST = re.compile(r"(sha256:[0-9a-f]{64})?")


def spec_digest(spec: Spec) -> str:
    """The SHA-256 of a pipeline spec, the same whoever wrote it down and however.

    It is taken over the spec as JSON with sorted keys, no spaces, and whole numbers without a fraction
    (YAML, protobuf and the API server write 5 and 5.0 for the same number), with the fields that hold the
    digest itself blank. Kubernetes settings (a compiled file's second document) do not enter.

    Args:
        spec: The first document of a compiled file, or ``pipeline_spec`` as the API server returns it.

    Returns:
        ``sha256:`` and 64 hexadecimal digits.
    """
    canonical: Spec = _canonical(spec)
    for field in _fields(canonical):
        field["constant"] = ""
    text = json.dumps(canonical, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def embed_digest(spec: Spec) -> None:
    """Writes the spec's digest into every task that asks for it; changes ``spec`` in place."""
    digest = spec_digest(spec)
    for field in _fields(spec):
        field["constant"] = digest


def verify_digest(spec: Spec) -> str:
    """The spec's digest, once it is certain that the digest written in it is the same.

    Raises:
        CompileError: The spec was changed after it was compiled, or carries no digest.
    """
    digest = spec_digest(spec)
    embedded = {field["constant"] for field in _fields(spec)} - {""}
    name = spec.get("pipelineInfo", {}).get("name", "")
    if not embedded:
        raise CompileError(f"Pipeline {name!r} carries no digest.", "Compile it with kfp-lifecycle compile.")
    if embedded != {digest}:
        raise CompileError(
            f"Pipeline {name!r} was changed after compiling: it carries {min(embedded)}, but is {digest}.",
            "Compile it again; change the Python code, not the compiled file.",
        )
    return digest


def _fields(spec: Spec) -> Iterator[Spec]:
    """The places in a spec that hold its digest, or are kept free for it."""
    for _, task in tasks(spec):
        value = task_parameters(task).get(DIGEST_INPUT, {}).get("runtimeValue", {})
        constant = value.get("constant")
        if isinstance(constant, str) and _EMPTY_OR_DIGEST.fullmatch(constant):
            yield value


def _canonical(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _canonical(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
