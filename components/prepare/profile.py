"""The data profile: what prepare read, what it left out and why, and what each column holds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import polars as pl

from kfp_lifecycle.components.prepare.summaries import SAMPLE_ROWS, Summary, binned, sample, sampled_every
from kfp_lifecycle.components.shared.inference.schema import ROW_HASH, TableSchema
from kfp_lifecycle.components.shared.report import render

if TYPE_CHECKING:
    from kfp_lifecycle.components.prepare.table import Prepared

#: A class with a smaller share of the rows than this gets a warning.
_RARE_CLASS = 0.01

#: So many classes are listed.
_LISTED_CLASSES = 30


@dataclass(frozen=True)
class ClassCounts:
    """Rows of one class in both splits, with their share of the split (0 to 1)."""

    label: str
    train: int
    test: int
    train_share: float
    test_share: float


@dataclass(frozen=True)
class Spread:
    """A numeric target in one split: mean, range, and counts in bins that both splits share."""

    split: str
    rows: int
    mean: float
    minimum: float
    maximum: float
    histogram: list[int]


def profile_page(prepared: Prepared, splits: Mapping[str, Path]) -> str:
    """The profile as one self-contained HTML page.

    Args:
        prepared: What prepare made.
        splits: The folders of the splits, ``train`` and ``test``.
    """
    schema = prepared.schema
    classes = _classes(schema, splits) if schema.classes else []
    return render(
        "prepare/profile.html",
        name=PurePosixPath(schema.source_uri.rstrip("/")).name or schema.source_uri,
        prepared=prepared,
        schema=schema,
        features=len(schema.features),
        classes=classes[:_LISTED_CLASSES],
        more_classes=max(0, len(classes) - _LISTED_CLASSES),
        spreads=[] if schema.classes else _spreads(schema, splits, prepared),
        warnings=_warnings(prepared, classes),
        sample_rows=SAMPLE_ROWS,
        is_sample=sampled_every(prepared.train_rows + prepared.test_rows) > 1,
        parameters=json.dumps(schema.parameters, indent=2, ensure_ascii=False),
        histogram=histogram_path,
    )


def histogram_path(counts: Sequence[int], width: float = 168, height: float = 40) -> str:
    """The outline of a histogram as the ``d`` of an SVG path, the tallest bin as high as ``height``."""
    step, tallest = width / len(counts), max(counts) or 1
    # A bin with anything in it stays visible.
    tops = [height - (max(height * count / tallest, 1.0) if count else 0) for count in counts]
    outline = "".join(f"V{top:.1f}h{step:.2f}" for top in tops)
    return f"M0 {height:g}{outline}V{height:g}Z"


def _classes(schema: TableSchema, splits: Mapping[str, Path]) -> list[ClassCounts]:
    label = pl.col(schema.target).cast(pl.String).alias("label")
    counts = {
        split: dict(
            pl.scan_parquet(folder / "*.parquet")
            .group_by(label)
            .agg(pl.len())
            .collect(engine="streaming")
            .iter_rows()
        )
        for split, folder in splits.items()
    }
    train, test = counts["train"], counts["test"]
    rows = {split: sum(found.values()) for split, found in counts.items()}
    return [
        ClassCounts(
            name,
            train.get(name, 0),
            test.get(name, 0),
            train.get(name, 0) / rows["train"],
            test.get(name, 0) / rows["test"],
        )
        for name in sorted(schema.classes, key=lambda name: -train.get(name, 0))
    ]


def _spreads(schema: TableSchema, splits: Mapping[str, Path], prepared: Prepared) -> list[Spread]:
    column = schema.column(schema.target)
    rows = {"train": prepared.train_rows, "test": prepared.test_rows}
    spreads = []
    for split, folder in splits.items():
        table = pl.scan_parquet(folder / "*.parquet").select(schema.target, ROW_HASH)
        value = pl.col(schema.target)
        facts = table.select(value.mean().alias("mean"), value.min().alias("min"), value.max().alias("max"))
        mean, low, high = facts.collect(engine="streaming").row(0)
        values = sample(table, rows[split])[schema.target]
        bins = binned(values, column.minimum, column.maximum)
        spreads.append(Spread(split, rows[split], mean, low, high, bins))
    return spreads


def _warnings(prepared: Prepared, classes: Sequence[ClassCounts]) -> list[str]:
    rows = prepared.train_rows + prepared.test_rows
    found = [warning for summary in prepared.summaries for warning in _column_warnings(summary, rows)]
    for one in classes:
        share = (one.train + one.test) / rows
        if share < _RARE_CLASS:
            found.append(
                f"Class {one.label!r} of the target is rare: {one.train + one.test:,} rows ({share:.2%})."
            )
        elif one.test == 0:
            found.append(f"Class {one.label!r} of the target is not in the test split.")
    asked = prepared.schema.split.test_size
    got = prepared.test_rows / rows
    if abs(got - asked) > 0.25 * asked:
        found.append(f"The test split has {got:.1%} of the rows, where {asked:.1%} was asked for.")
    return found


def _column_warnings(summary: Summary, rows: int) -> list[str]:
    column = summary.column
    if column.role != "feature":
        return []
    found = []
    if summary.distinct == 1 and (column.minimum == column.maximum):
        found.append(f"Column {column.name!r} is constant, so nothing can be learned from it.")
    if column.type == "string" and rows >= 100 and summary.distinct > 0.9 * (rows - summary.missing):
        found.append(f"Column {column.name!r} looks like an identifier: nearly all values differ.")
    return found
