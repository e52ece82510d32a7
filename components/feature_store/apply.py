"""Writing a repository's definitions to its registry and stores."""

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kfp_lifecycle.components.feature_store.lock import held
from kfp_lifecycle.components.feature_store.repository import Repository, feast_errors, open_repository
from kfp_lifecycle.components.shared.errors import FeatureStoreError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Applied:
    """What a registry holds after an apply.

    Args:
        project: The Feast project.
        digest: Digest of the definitions.
        changed: Whether this apply has changed them.
        objects: By kind (``entities``, ``feature views``, …) the names.
    """

    project: str
    digest: str
    changed: bool
    objects: dict[str, list[str]]


def apply(uri: str) -> Applied:
    """Does what ``feast apply`` does, from a folder or a bucket. Applying the same again changes nothing.

    Raises:
        FeatureStoreError: The repository cannot be opened, its definitions fail or contradict each other,
            another is writing the registry, or a store cannot be reached.
        StorageError: The bucket cannot be read.
    """
    repository = open_repository(uri)
    before = repository.digest()
    with held(repository, "feature-store-apply"):
        _apply(repository)
    repository.store.refresh_registry()
    after = repository.digest()
    return Applied(repository.project, after, after != before, _objects(repository))


def _apply(repository: Repository) -> None:
    from feast.repo_operations import apply_total

    with _own_modules(repository.folder), feast_errors(repository.uri):
        try:
            apply_total(repository.store.config, repository.folder, skip_source_validation=False)
        except SystemExit as error:
            raise FeatureStoreError(
                f"Feast refuses the project of {repository.uri}: its name, or more than one is defined.",
                "Name one project, with letters, digits and underscores, as in feature_store.yaml.",
            ) from error
        except Exception as error:
            if not _is_definitions(error, repository.folder):
                raise
            said = " ".join(str(error).split())[:300]
            raise FeatureStoreError(
                f"A definition of {repository.uri} fails: {type(error).__name__}: {said}.",
                "Mend the repository's Python files.",
            ) from error


@contextlib.contextmanager
def _own_modules(folder: Path) -> Iterator[None]:
    """The repository's Python files can be imported within the block, and are forgotten after it."""
    here, path, known = Path.cwd(), list(sys.path), set(sys.modules)
    writes = sys.dont_write_bytecode
    sys.path.insert(0, str(folder))
    try:
        with contextlib.chdir(folder):
            yield
    finally:
        os.chdir(here)
        sys.path[:] = path
        sys.dont_write_bytecode = writes
        for name in set(sys.modules) - known:
            file = getattr(sys.modules[name], "__file__", None)
            if file and Path(file).is_relative_to(folder):
                del sys.modules[name]


def _is_definitions(error: BaseException, folder: Path) -> bool:
    """Whether a file of the repository, or Feast's checks of what it defines, raised ``error``."""
    trace = error.__traceback__
    while trace is not None:
        if Path(trace.tb_frame.f_code.co_filename).is_relative_to(folder):
            return True
        trace = trace.tb_next
    return isinstance(error, (ValueError, TypeError, SyntaxError))


def _objects(repository: Repository) -> dict[str, list[str]]:
    store = repository.store
    with feast_errors(repository.uri):
        found: dict[str, list[Any]] = {
            "entities": store.list_entities(),
            "data sources": store.list_data_sources(),
            "feature views": store.list_feature_views(),
            "stream feature views": store.list_stream_feature_views(),
            "on-demand feature views": store.list_on_demand_feature_views(),
            "feature services": store.list_feature_services(),
        }
    return {kind: sorted(one.name for one in objects) for kind, objects in found.items() if objects}
