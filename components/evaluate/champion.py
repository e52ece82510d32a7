"""The registered champion, scored on the same rows, or the reason why that would not be a fair comparison."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mlflow
import numpy as np
import numpy.typing as npt
from mlflow.entities.model_registry import ModelVersion

from kfp_lifecycle.components.evaluate.predictions import Floats, Scored
from kfp_lifecycle.components.evaluate.scoring import score
from kfp_lifecycle.components.register.registry import find_champion
from kfp_lifecycle.components.shared.dataset import scan
from kfp_lifecycle.components.shared.errors import redact
from kfp_lifecycle.components.shared.inference.schema import ROW_HASH, TableSchema
from kfp_lifecycle.components.shared.model_format import ModelDescription, describe
from kfp_lifecycle.components.shared.tracking import connect

_KINDS = {"integer": "number", "boolean": "string", "date": "timestamp"}


class IncomparableError(Exception):
    """Why a champion cannot be compared with, as a sentence. Not the user's mistake: the gate decides."""


def champion_of(model_name: str) -> ModelVersion | None:
    """The champion's version of a registered model; None where there is none yet.

    Raises:
        RegistryError: The name cannot be a registered model's.
        TrackingError: The registry fails or cannot be reached.
    """
    return find_champion(connect(), model_name)


def score_champion(
    version: ModelVersion, test: str | Path, schema: TableSchema, truth: npt.NDArray[np.int64] | Floats
) -> Scored:
    """The champion's predictions of the test rows.

    Args:
        version: The champion's version.
        test: The test split.
        schema: The challenger's schema, which the champion is held against.
        truth: The target of the test rows.

    Raises:
        IncomparableError: The comparison would not be fair, or cannot be made.
    """
    with tempfile.TemporaryDirectory() as place:
        with _incomparable("its files cannot be read"):
            uri = f"models:/{version.name}/{version.version}"
            folder = mlflow.artifacts.download_artifacts(uri, dst_path=place)
        with _incomparable("what it was trained on cannot be told"):
            champion = describe(folder)
        columns = set(scan(test).collect_schema())
        if reason := (
            other_question(champion.schema, schema)
            or _lacks_columns(champion, columns)
            or _has_seen(champion, schema, test, columns)
        ):
            raise IncomparableError(reason)
        with _incomparable("it cannot score the test rows"):
            return score(folder, test, champion.schema, truth)


@contextmanager
def _incomparable(problem: str) -> Iterator[None]:
    """A champion may be of any age and make, and fail in any way: none of them stops the evaluation."""
    try:
        yield
    except Exception as error:
        said = redact(str(error)).strip().splitlines() or [type(error).__name__]
        raise IncomparableError(f"{problem}: {said[0][:300].rstrip('.')}.") from error


def other_question(model: TableSchema, schema: TableSchema) -> str:
    """In what a model trained under one schema answers another question than another asks; empty if none."""
    for what, verb, theirs, ours in (
        ("task", "differs", model.task, schema.task),
        ("target", "differs", model.target, schema.target),
        ("classes", "differ", ", ".join(model.classes), ", ".join(schema.classes)),
        ("positive class", "differs", model.positive_class, schema.positive_class),
    ):
        if theirs != ours:
            return f"its {what} {verb}: {theirs} in its training, {ours} in the test rows."
    return ""


def _lacks_columns(champion: ModelDescription, columns: set[str]) -> str:
    lacking = [name for name in champion.input_columns if name not in columns]
    if not lacking:
        return ""
    names = ", ".join(map(repr, lacking[:10])) + (", …" if len(lacking) > 10 else "")
    return f"it needs {names}, which the test rows do not have."


def _has_seen(champion: ModelDescription, schema: TableSchema, test: str | Path, columns: set[str]) -> str:
    """Whether the champion was trained on test rows, by the hashes of the rows that prepare writes."""
    if ROW_HASH not in columns:
        return f"whether it has seen the test rows in its training cannot be told: they have no {ROW_HASH}."
    if _identity(champion.schema) != _identity(schema):
        return (
            "whether it has seen the test rows in its training cannot be told: the columns that tell rows "
            "apart have changed since. With key_columns given to prepare, they need not."
        )
    rows = champion.training_rows
    hashes = scan(test).select(ROW_HASH).collect()[ROW_HASH].to_numpy()
    tellable = hashes[hashes % np.uint64(rows.modulus) == 0]
    if not rows.hashes.size or not tellable.size:
        return (
            "whether it has seen the test rows in its training cannot be told: too few row hashes are kept."
        )
    if seen := rows.seen(tellable):
        return f"it has seen {seen:,} of {tellable.size:,} test rows in its training."
    return ""


def _identity(schema: TableSchema) -> object:
    """What prepare hashes a row by. Hashes can be compared only where this is the same.

    That is the row's key or, with none, every column that no parameter drops. Values that settle alike hash
    alike, so an integer column may have become a number.
    """
    asked = schema.parameters
    # A feature store adds its columns after the rows are hashed.
    own = [column for column in schema.columns if not column.reference]
    kinds = {column.name: _KINDS.get(column.type, column.type) for column in own}
    if keys := asked.get("key_columns") or [column.name for column in schema.by_role("key")]:
        return [(name, kinds.get(name)) for name in keys]
    dropped = sorted(set(schema.dropped) - set(asked.get("drop_columns") or ()))
    return list(kinds.items()), dropped, asked.get("target_expression"), sorted(schema.missing_values)
