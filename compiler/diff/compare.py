"""Compares two files."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from kfp_lifecycle.compiler.diff.change import BUMPS, Category, Change
from kfp_lifecycle.compiler.diff.executors import run_changes
from kfp_lifecycle.compiler.diff.graphs import graph_changes
from kfp_lifecycle.compiler.diff.interface import interface_changes
from kfp_lifecycle.compiler.ir import Pipeline
from kfp_lifecycle.compiler.reader import CompiledFile


def diff(old: CompiledFile, new: CompiledFile) -> list[Change]:
    """Every change from ``old`` to ``new``: breaking ones first, then by place.

    Args:
        old: A compiled file, ours or not.
        new: Another, or another version of it.

    Raises:
        CompiledFileError: The files hold too many pairs of tasks to compare.
    """
    one, other = Pipeline(old), Pipeline(new)
    changes = [*interface_changes(one, other), *graph_changes(one, other), *run_changes(one, other)]
    order = list(Category)
    return sorted(changes, key=lambda c: (order.index(c.category), c.place, c.subject, c.id))


def bump(changes: Sequence[Change]) -> str:
    """The part of a semantic version that the changes ask for: major, minor, patch or none."""
    categories = {change.category for change in changes}
    return next((BUMPS[category] for category in Category if category in categories), "none")


def to_json(changes: Sequence[Change], old: str, new: str) -> dict[str, Any]:
    """The changes as plain data.

    Returns:
        ``format`` (1), the files, ``bump``, how many changes there are of each category, and ``changes``.
    """
    counts = {str(category): sum(c.category is category for c in changes) for category in Category}
    return {
        "format": 1,
        "old": old,
        "new": new,
        "bump": bump(changes),
        **counts,
        "changes": [{key.name: getattr(change, key.name) for key in fields(Change)} for change in changes],
    }
