"""Opening a Feast repository: a folder, or the same folder in a bucket."""

import hashlib
import json
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from kfp_lifecycle.components.shared.errors import FeatureStoreError, LifecycleError, redact
from kfp_lifecycle.components.shared.storage import is_remote, open_store

CONFIGURATION = "feature_store.yaml"
#: The files of a repository that hold definitions and settings; tables may lie beside them.
_DEFINITIONS = (".py", ".yaml", ".yml", ".toml", ".sql", ".feastignore")
#: Exceptions of these packages are what a store or the way to it said, and not bugs.
_STORES = frozenset(
    [
        "feast",
        "pydantic",
        "pydantic_core",
        "redis",
        "sqlalchemy",
        "pg8000",
        "psycopg",
        "psycopg_pool",
        "sqlite3",
        "botocore",
        "boto3",
        "google",
        "requests",
        "urllib3",
        "polars",
        "pyarrow",
        "yaml",
        "fsspec",
        "gcsfs",
        "s3fs",
    ]
)


@dataclass(frozen=True)
class Repository:
    """An open Feast repository.

    Args:
        uri: Where it is, without credentials.
        folder: Its files on this machine.
        store: Feast's own ``FeatureStore``, with the registry read.
    """

    uri: str
    folder: Path
    store: Any

    @property
    def project(self) -> str:
        """The Feast project."""
        return str(self.store.project)

    def digest(self) -> str:
        """Digest of the registry's definitions; materializing does not change it."""
        return registry_digest(self.store.registry.proto())


def open_repository(uri: str) -> Repository:
    """The Feast repository in a folder, or below ``gs://…``, ``s3://…`` or ``minio://…``.

    Of a repository in a bucket the definitions are downloaded, and a relative path of the registry is meant
    below the same URI. Environment variables in ``feature_store.yaml`` are filled in, as Feast does.

    Raises:
        FeatureStoreError: Feast is not installed, there is no such repository, its configuration is wrong, or
            its registry cannot be read or is of another format than this Feast's.
        StorageError: The bucket cannot be read.
    """
    folder = _local(uri)
    with feast_errors(redact(uri)):
        feast = _feast()
        config = _configuration(folder, uri)
        store = feast.FeatureStore(repo_path=str(folder), config=config)
        _check_registry(store, redact(uri))
    return Repository(redact(uri), folder, store)


def registry_digest(registry: Any) -> str:
    """``sha256:…`` of a registry's definitions, whatever times and materializations it holds too.

    Args:
        registry: Feast's ``Registry`` message.
    """
    digest = hashlib.sha256()
    for kind, objects in sorted((field.name, value) for field, value in registry.ListFields()):
        if kind not in _KINDS:
            continue
        specs = [one.spec if hasattr(one, "spec") else one for one in objects]
        for text in sorted(_definition(spec) for spec in specs):
            digest.update(kind.encode() + b"\0" + text + b"\0")
    return f"sha256:{digest.hexdigest()}"


def definition_digest(*definitions: Any) -> str:
    """Digest of some of a registry's definitions (messages of Feast), whatever their order."""
    return "sha256:" + hashlib.sha256(b"\0".join(sorted(map(_definition, definitions)))).hexdigest()


@contextmanager
def feast_errors(uri: str) -> Iterator[None]:
    """Turns what Feast and its stores raise into a ``FeatureStoreError`` that names ``uri``.

    What Feast prints meanwhile goes to nobody: its progress is not for a step's log.
    """
    try:
        with redirect_stdout(_Silent()):
            yield
    except LifecycleError:
        raise
    except Exception as error:
        if not is_stores(error):
            raise
        said = redact(" ".join(str(error).split()))[:400].rstrip(".") or type(error).__name__
        raise FeatureStoreError(
            f"The feature store {redact(uri)} says: {said}.",
            "Check its feature_store.yaml, that feature-store-apply has run, and that its stores can be "
            "reached from here with the credentials in the environment.",
        ) from error


#: The lists of a registry that are definitions, and not state.
_KINDS = (
    "entities",
    "feature_views",
    "data_sources",
    "on_demand_feature_views",
    "stream_feature_views",
    "feature_services",
    "label_views",
)
#: What Feast adds to a definition, and not always: times, ids, a class's name, pickled functions.
_STATE = frozenset(
    ("meta", "createdTimestamp", "lastUpdatedTimestamp", "versionId", "currentVersionNumber", "body")
) | {"dataSourceClassType"}


class _Silent:
    """A standard output that keeps nothing."""

    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None:
        """Has nothing to write."""


def _feast() -> Any:
    os.environ.setdefault("FEAST_USAGE", "False")
    try:
        import feast
    except ImportError as error:
        raise FeatureStoreError(
            f"Feast cannot be imported: {error}.",
            "pip install 'kfp-lifecycle[feast]'; on a cluster, let the profile give this step the image "
            "python-feast (docs/feature-store.md).",
        ) from error
    logging.getLogger("feast").setLevel(logging.WARNING)  # it tells of every look at the registry
    warnings.filterwarnings("ignore", "On demand feature view is an experimental feature", RuntimeWarning)
    return feast


def _local(uri: str) -> Path:
    """The repository's files on this machine."""
    if not is_remote(uri):
        folder = Path(uri.removeprefix("file://")).expanduser().absolute()
        if not (folder / CONFIGURATION).is_file():
            raise FeatureStoreError(
                f"{folder} holds no {CONFIGURATION}.", "Pass the folder of a Feast repository."
            )
        return folder
    store = open_store(uri)
    names = [name for name in store.names() if name.endswith(_DEFINITIONS)]
    if CONFIGURATION not in names:
        raise FeatureStoreError(
            f"{redact(uri)} holds no {CONFIGURATION}.", "Pass the URI of a Feast repository's folder."
        )
    folder = Path(tempfile.mkdtemp(prefix="kfp-lifecycle-feast-"))
    for name in names:
        store.read(name, folder / name)
    return folder


def _configuration(folder: Path, uri: str) -> Any:
    """Feast's ``RepoConfig``, with paths that lie where the repository does."""
    from feast.repo_config import RepoConfig

    text = os.path.expandvars((folder / CONFIGURATION).read_text(encoding="utf-8"))
    raw = yaml.safe_load(text)
    if not isinstance(raw, dict) or not raw.get("project"):
        raise FeatureStoreError(f"{redact(uri)}/{CONFIGURATION} names no project.", "Give it project: NAME.")
    raw.setdefault("registry", "data/registry.db")
    if is_remote(uri):
        raw["registry"] = _below(raw["registry"], uri)
        _endpoint_for_feast()
    config = RepoConfig(**raw)
    config.repo_path = folder
    return config


def _below(registry: Any, uri: str) -> Any:
    """The registry's setting with a relative path made one below ``uri``."""
    if isinstance(registry, dict):
        if registry.get("registry_type", "file") != "file" or "path" not in registry:
            return registry
        return {**registry, "path": _below(registry["path"], uri)}
    if "://" in registry or Path(registry).is_absolute():
        return registry
    scheme, _, rest = uri.rstrip("/").partition("://")
    return f"{'s3' if scheme == 'minio' else scheme}://{rest}/{registry}"


def _endpoint_for_feast() -> None:
    """Feast's registry in S3 has an environment variable of its own for the endpoint."""
    named = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if named:
        os.environ.setdefault("FEAST_S3_ENDPOINT_URL", named)


def _check_registry(store: Any, uri: str) -> None:
    """Refuses a registry that this Feast would read wrongly, or write back with parts missing."""
    from feast.infra.registry.registry import REGISTRY_SCHEMA_VERSION
    from google.protobuf.message import DecodeError

    try:
        registry = store.registry.proto()
    except DecodeError as error:
        raise FeatureStoreError(
            f"The registry of {uri} is damaged: {error}.",
            "Restore it, or remove it and apply the repository.",
        ) from error
    found = registry.registry_schema_version
    if found and found != REGISTRY_SCHEMA_VERSION:
        age = "newer" if _number(found) > _number(REGISTRY_SCHEMA_VERSION) else "older"
        raise FeatureStoreError(
            f"The registry of {uri} has format {found}, which is {age} than this Feast's "
            f"({REGISTRY_SCHEMA_VERSION}).",
            _other_feast(),
        )
    if field := _unknown(registry):
        raise FeatureStoreError(
            f"The registry of {uri} was written by a newer Feast: {field} holds what this one does not know.",
            _other_feast(),
        )


def _other_feast() -> str:
    here = version("feast")
    return f"Feast here is {here}: install the one that wrote it, or apply the repository to a new registry."


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0


def _unknown(message: Any, path: str = "the registry") -> str:
    """The first part of a message with fields that this version of its format has not; empty for none."""
    from google.protobuf.unknown_fields import UnknownFieldSet

    if len(UnknownFieldSet(message)):
        return path
    for field, value in message.ListFields():
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        for one in value if field.is_repeated else (value,):
            if found := _unknown(one, f"{path}.{field.name}".removeprefix("the registry.")):
                return found
    return ""


def _definition(message: Any) -> bytes:
    """A definition as bytes that are the same for the same definition."""
    # JSON, as Protobuf's own bytes are the same in one version of it only.
    from google.protobuf.json_format import MessageToDict

    return json.dumps(_without_state(MessageToDict(message)), sort_keys=True).encode()


def _without_state(value: Any) -> Any:
    """A definition without :data:`_STATE`; of functions the source text stays."""
    if isinstance(value, dict):
        return {key: _without_state(one) for key, one in value.items() if key not in _STATE}
    return [_without_state(one) for one in value] if isinstance(value, list) else value


def is_stores(error: BaseException) -> bool:
    """Whether Feast, a store or the way to it raised ``error``, and not code of ours or of its user."""
    seen: BaseException | None = error
    while seen is not None:
        module = type(seen).__module__.partition(".")[0]
        if module in _STORES or isinstance(seen, (OSError, ImportError)):
            return True
        seen = seen.__cause__
    return False
