"""Loads a model for the server, and makes sure that it answers as it did when it was saved."""

import logging
import math
import tempfile
import time
import weakref
from collections.abc import Collection
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from kfp_lifecycle.components.serve.server.devices import AUTO
from kfp_lifecycle.components.serve.server.failures import RequestError
from kfp_lifecycle.components.serve.server.lifecycle_model import LifecycleModel
from kfp_lifecycle.components.serve.server.lookup_settings import LookupSettings
from kfp_lifecycle.components.serve.server.mlflow_model import MlflowModel
from kfp_lifecycle.components.serve.server.models import ServedModel
from kfp_lifecycle.components.serve.server.sources import Source, bring, resolve
from kfp_lifecycle.components.serve.server.table import as_list
from kfp_lifecycle.components.shared.errors import LifecycleError, ServingError, redact
from kfp_lifecycle.components.shared.model_format import DATA, DESCRIPTION, model_digest

if TYPE_CHECKING:
    from kfp_lifecycle.components.serve.server.lookup import Lookup

log = logging.getLogger(__name__)

#: How far a number may be from the recorded one: another processor adds in another order.
_RELATIVE, _ABSOLUTE = 1e-4, 1e-6

#: Where MLmodel names files and folders of the model.
_FILES = ("code", "data", "model_path", "pickled_model")


def load(
    uri: str | Source,
    name: str = "",
    beside: Collection[str] = (),
    lookup: LookupSettings | None = None,
    device: str = AUTO,
) -> ServedModel:
    """The model at ``uri``, ready to predict.

    Args:
        uri: See :func:`.sources.resolve`, or what that gave.
        name: Its name in URLs; empty is what it is called where it is.
        beside: Names of columns that requests may have and the model does not.
        lookup: How features of a feature store are looked up; None is as by default.
        device: Where a network runs, see :func:`.devices.move`.

    Raises:
        ServingError: It is not whole, is of another version of a library, or answers otherwise than it did
            when it was saved.
        LifecycleError: As :func:`.sources.resolve` and :func:`.sources.bring`.
    """
    source = resolve(uri) if isinstance(uri, str) else uri
    place = tempfile.TemporaryDirectory(prefix="serve-")
    folder = bring(source, Path(place.name) / "model")
    digest = model_digest(folder)
    named = {
        "name": name or source.name,
        "version": source.version or digest.partition(":")[2][:12],
        "uri": source.uri,
        "digest": digest,
    }
    _check_whole(folder, source.uri)
    kind = LifecycleModel if (folder / DATA / DESCRIPTION).exists() or _is_ours(folder) else MlflowModel
    try:
        served = kind(folder, beside, **named)
        served.move(device)
        _replay(served)
    except Exception as error:
        raise _refusal(error, source.uri, folder) from error
    served.lookup = _lookup(served, lookup or LookupSettings())
    # A download is kept for as long as the model is.
    weakref.finalize(served, place.cleanup)
    if versions := mismatches(folder):
        log.warning("the model was made with %s; it answers its example as it did then", "; ".join(versions))
    return served


def _lookup(served: ServedModel, settings: LookupSettings) -> "Lookup | None":
    """What looks up the model's features; None where none comes from a feature store."""
    if served.description is None or served.description.schema.feature_source is None:
        return None
    from kfp_lifecycle.components.serve.server.lookup import lookup_of

    return lookup_of(served.description.schema, served.inputs, settings)


def mismatches(folder: Path) -> list[str]:
    """The distributions that the model pins to another version than is installed, with both."""
    try:
        lines = (folder / "requirements.txt").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        name, pinned, wanted = line.partition("==")
        have = _installed(name.partition("[")[0].strip())
        if pinned and have != wanted.strip():
            found.append(f"{name} {wanted.strip()} (here {have or 'not installed'})")
    return found


def _check_whole(folder: Path, uri: str) -> None:
    """Looks for the files that MLmodel names. Raises ``ServingError`` where one is not there."""
    try:
        about = yaml.safe_load((folder / "MLmodel").read_text(encoding="utf-8"))
        flavours = [flavour for flavour in about["flavors"].values() if isinstance(flavour, dict)]
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        said = " ".join(str(error).split())[:200]
        raise ServingError(
            f"The model {redact(uri)} does not load: its file MLmodel is damaged ({said}).",
            "Upload all of it again.",
        ) from error
    for named in {flavour[key] for flavour in flavours for key in _FILES if flavour.get(key)}:
        if not (folder / str(named)).exists():
            raise ServingError(
                f"The model {redact(uri)} is not whole: {named} is missing.",
                "Wait until all of it is uploaded, or upload it again.",
            )


def _installed(name: str) -> str:
    try:
        return version(name).partition("+")[0]
    except (PackageNotFoundError, ValueError):
        return ""


def _is_ours(folder: Path) -> bool:
    """Whether it was meant to be a Model artifact of this library, even if not all of it is there."""
    return "kfp_lifecycle_model_" in (folder / "MLmodel").read_text(encoding="utf-8", errors="replace")


def _refusal(error: Exception, uri: str, folder: Path) -> LifecycleError:
    """Why a model is not served: what is missing or damaged, or which versions differ."""
    if isinstance(error, LifecycleError) and not isinstance(error, ServingError):
        said = error.problem
    elif isinstance(error, ServingError):
        return error
    else:
        said = f"{type(error).__name__}: {redact(' '.join(str(error).split()))[:300]}"
    if versions := mismatches(folder):
        return ServingError(
            f"The model {redact(uri)} does not load here ({said}). It was made with {'; '.join(versions)}.",
            "Serve it with an image of those versions, or train it again with these.",
        )
    return ServingError(
        f"The model {redact(uri)} does not load: {said.rstrip('.')}. It is damaged or not whole.",
        "Upload all of it again, or train it again.",
    )


def _replay(served: ServedModel) -> None:
    """The model's example must give the recorded outputs; it also warms the model up."""
    recorded = served.recorded
    if served.example is None:
        return
    began = time.perf_counter()
    try:
        answered = served.predict(served.check(served.example))
        served.seconds = time.perf_counter() - began
    except RequestError as error:
        if recorded is None:  # a plain MLflow model whose example is in another form
            log.warning("the model's input example does not fit its signature: %s", error)
            return
        raise
    for name, want in recorded.columns.items() if recorded else ():
        got = as_list(answered.columns[name])
        for row, (one, other) in enumerate(zip(got, as_list(want), strict=True)):
            if not _same(one, other):
                raise ServingError(
                    f"The model {redact(served.uri)} gives {name} = {one!r} for row {row} of its "
                    f"example, where {other!r} is recorded.",
                    "Serve it with the versions that it was made with, or train it again.",
                )


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, (int, float)):
        return math.isclose(one, other, rel_tol=_RELATIVE, abs_tol=_ABSOLUTE)
    return bool(one == other)
