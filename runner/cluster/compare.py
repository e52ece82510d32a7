"""Runs side by side: what went in, what came out, and what changed in the pipeline between them."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from kfp_lifecycle.compiler.diff import Change, diff
from kfp_lifecycle.compiler.diff import to_json as diff_to_json
from kfp_lifecycle.compiler.reader import CompiledFile

#: Metrics whose direction is known, without the beginnings and ends that say of which rows they are.
HIGHER = {"accuracy", "auc", "average_precision", "balanced_accuracy", "f1", "f1_macro", "f1_micro"}
HIGHER |= {"f1_weighted", "map", "ndcg", "pr_auc", "precision", "r2", "recall", "roc_auc", "roc_auc_ovr"}
HIGHER |= {"sensitivity", "specificity"}
LOWER = {"brier", "error", "log_loss", "logloss", "loss", "mae", "mape", "mse", "rmse"}
_BEGINNING = re.compile(r"^(test|train|val|valid|validation|cv|holdout|eval)_")
_END = re.compile(r"_(mean|avg)$")
#: The ends of metrics that only say how sure another one is.
_SPREAD = re.compile(r"_(low|high|std|lower|upper)$")


@dataclass(frozen=True)
class Column:
    """A run in a comparison.

    Args:
        run_id: Its id.
        name: Its name.
        state: Its state, as the API names it.
        title: Pipeline and version; empty where the server has it no more.
        parameters: The parameters that were given.
        metrics: What it measured.
        file: What it ran; None where the server has it no more.
        model: The model version that came of it; empty for none.
    """

    run_id: str
    name: str
    state: str
    title: str
    parameters: Mapping[str, Any]
    metrics: Mapping[str, float] = field(default_factory=dict)
    file: CompiledFile | None = None
    model: str = ""

    def values(self) -> dict[str, Any]:
        """All parameters, with the pipeline's defaults for those not given."""
        inputs = self.file.spec["root"].get("inputDefinitions", {}).get("parameters", {}) if self.file else {}
        defaults = {name: one["defaultValue"] for name, one in inputs.items() if "defaultValue" in one}
        return {**defaults, **self.parameters}


@dataclass(frozen=True)
class Row:
    """A parameter or metric of all runs.

    Args:
        name: Its name.
        values: One for each run; None where the run has none.
        differs: Whether they are not all the same.
        best: Positions of the best ones; empty where nobody knows what is better, or all are alike.
    """

    name: str
    values: tuple[Any, ...]
    differs: bool
    best: tuple[int, ...] = ()


@dataclass(frozen=True)
class Between:
    """What changed from one version of a pipeline to another.

    Args:
        old: The one, as ``training 1.0.0``.
        new: The other.
        changes: What changed; empty for the same pipeline under two names.
    """

    old: str
    new: str
    changes: tuple[Change, ...]


@dataclass(frozen=True)
class Comparison:
    """Runs side by side.

    Args:
        columns: The runs.
        parameters: Their parameters, by name.
        metrics: Their metrics, by name.
        versions: What changed between the versions of neighbouring runs that are not of the same one.
    """

    columns: tuple[Column, ...]
    parameters: tuple[Row, ...]
    metrics: tuple[Row, ...]
    versions: tuple[Between, ...]


def compare(columns: Sequence[Column]) -> Comparison:
    """Puts runs side by side.

    Raises:
        CompiledFileError: Their pipelines hold too many tasks to compare.
    """
    parameters = [column.values() for column in columns]
    names = sorted({name for values in parameters for name in values})
    measured = sorted({name for column in columns for name in column.metrics})
    return Comparison(
        tuple(columns),
        tuple(_row(name, [values.get(name) for values in parameters]) for name in names),
        tuple(_metric(name, [column.metrics.get(name) for column in columns]) for name in measured),
        tuple(_versions(columns)),
    )


def higher_is_better(name: str) -> bool | None:
    """Which way a metric is better, by its name; None where that is not known."""
    if _SPREAD.search(name):
        return None
    bare = _END.sub("", _BEGINNING.sub("", name))
    if bare in HIGHER:
        return True
    return False if bare in LOWER else None


def _row(name: str, values: Sequence[Any]) -> Row:
    # KFP makes a double of every number: 5 and 5.0 are the same.
    texts = {json.dumps(_plain(value), sort_keys=True) for value in values}
    return Row(name, tuple(values), len(texts) > 1)


def _plain(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


def _metric(name: str, values: Sequence[float | None]) -> Row:
    row, better = _row(name, values), higher_is_better(name)
    known = [value for value in values if value is not None and value == value]
    if better is None or not row.differs or len(known) < 2:
        return row
    best = max(known) if better else min(known)
    if all(value == best for value in known):
        return row
    return Row(name, row.values, True, tuple(i for i, value in enumerate(values) if value == best))


def _versions(columns: Sequence[Column]) -> list[Between]:
    found: dict[tuple[str, str], Between] = {}
    for old, new in pairwise(columns):
        if old.file is None or new.file is None or old.title == new.title:
            continue
        key = (old.title, new.title)
        if key not in found:
            found[key] = Between(*key, tuple(diff(old.file, new.file)))
    return list(found.values())


def to_json(comparison: Comparison) -> dict[str, Any]:
    """The comparison as plain data."""
    ids = [column.run_id for column in comparison.columns]

    def rows(given: Sequence[Row]) -> dict[str, Any]:
        return {
            row.name: {
                "values": dict(zip(ids, row.values, strict=True)),
                "differs": row.differs,
                **({"best": [ids[i] for i in row.best]} if row.best else {}),
            }
            for row in given
        }

    return {
        "format": 1,
        "runs": [
            {"run_id": c.run_id, "name": c.name, "state": c.state, "pipeline": c.title, "model": c.model}
            for c in comparison.columns
        ],
        "parameters": rows(comparison.parameters),
        "metrics": rows(comparison.metrics),
        "versions": [diff_to_json(one.changes, one.old, one.new) for one in comparison.versions],
    }
