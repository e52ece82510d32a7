"""From a model's URI to what is rolled out: a fixed version, its files, and examples to test it with."""

import logging
import math
from pathlib import Path
from typing import Any

from kfp_lifecycle.components.serve.rollout.target import Release
from kfp_lifecycle.components.serve.server.sources import Source, bring, resolve
from kfp_lifecycle.components.shared.model_example import Example, read_example
from kfp_lifecycle.components.shared.model_format import model_digest
from kfp_lifecycle.components.shared.storage import is_remote

log = logging.getLogger(__name__)


def find_release(uri: str, name: str, place: Path) -> tuple[Release, Example]:
    """What a URI names now, and its recorded examples; none of a model without an input example.

    Args:
        uri: As :func:`kfp_lifecycle.components.serve.server.sources.resolve` takes it.
        name: The name to serve it under; empty is what it is called where it is.
        place: An empty folder for its files.

    Raises:
        ServingError: It is no model, or not whole.
        RegistryError: There is no such model, version or alias.
        StorageError: Its files cannot be read.
        TrackingError: The registry fails or cannot be reached.
    """
    source = resolve(uri)
    folder = bring(source, place)
    version = source.version or model_digest(folder).partition(":")[2][:12]
    fixed = source.uri if is_remote(source.uri) or source.version else str(folder.absolute())
    release = Release(name or source.name, version, fixed, folder)
    return release, read_example(folder) or _computed(source, folder)


def _computed(source: Source, folder: Path) -> Example:
    """What a plain MLflow model makes of its input example here: it has no recorded outputs."""
    from kfp_lifecycle.components.serve.server.loading import load

    served = load(Source(str(folder), source.name, source.version))
    if served.example is None:
        return Example([], [])
    outputs = served.predict(served.check(served.example))
    return Example(_plain(served.example.records()), _plain(outputs.records()))


def _plain(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows with None where JSON has no number."""
    return [{name: _number(value) for name, value in row.items()} for row in rows]


def _number(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
