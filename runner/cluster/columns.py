"""A run of the API as a column of a comparison."""

import json
from typing import TYPE_CHECKING, Any

from kfp_lifecycle.compiler.reader import CompiledFile, read_bytes
from kfp_lifecycle.components.shared.errors import LifecycleError, redact
from kfp_lifecycle.runner.cluster.compare import Column
from kfp_lifecycle.runner.cluster.errors import NotFoundError
from kfp_lifecycle.runner.cluster.metrics import Measured

if TYPE_CHECKING:
    from kfp_lifecycle.runner.cluster.connect import Server


def column(server: "Server", run: Any, measured: Measured) -> Column:
    """The run as a column, with the file that it runs as the server has it.

    Raises:
        ServerError: The server refuses, or does not answer.
    """
    held, version = _held(server, run)
    file = _file(held)
    given = (run.runtime_config.parameters if run.runtime_config else None) or {}
    return Column(
        run_id=run.run_id,
        name=run.display_name or "",
        state=run.state or "PENDING",
        title=" ".join(part for part in (file.name if file else "", version) if part),
        parameters={name: _shown(value) for name, value in given.items()},
        metrics=measured.metrics,
        file=file,
        model=measured.model,
    )


def _held(server: "Server", run: Any) -> tuple[Any, str]:
    """What the run runs, as the server holds it, and its version's name."""
    reference = run.pipeline_version_reference
    if run.pipeline_spec or reference is None or not reference.pipeline_version_id:
        return run.pipeline_spec, ""
    ids = (reference.pipeline_id, reference.pipeline_version_id)
    try:
        found = server.call(server.client.get_pipeline_version, *ids, what="read the run's pipeline")
    except NotFoundError:
        return None, ""
    return found.pipeline_spec, found.display_name or ""


def _file(held: Any) -> CompiledFile | None:
    """Pipeline and platform spec, read as every compiled file is; None where it is none of KFP 2."""
    if not isinstance(held, dict):
        return None
    documents = [held.get("pipeline_spec", held), held.get("platform_spec")]
    data = "\n---\n".join(json.dumps(document) for document in documents if document)
    try:
        return read_bytes(data.encode(), "the server's")
    except LifecycleError:
        return None


def _shown(value: Any) -> Any:
    return redact(value) if isinstance(value, str) else value
