"""Cross-validation folds that follow prepare's split: stratified, at random, forward in time, or by group.

A model is judged in folds as it will be judged on the test split. So a fold under a time split never
learns from the future, and under a group split no group is on both sides.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from sklearn.model_selection import (
    GroupKFold,
    GroupShuffleSplit,
    KFold,
    StratifiedGroupKFold,
    StratifiedKFold,
    train_test_split,
)

from kfp_lifecycle.components.shared.errors import ParameterError, SplitError
from kfp_lifecycle.components.shared.inference.schema import ROW_HASH, TableSchema

log = logging.getLogger(__name__)

Positions = npt.NDArray[np.intp]

#: scikit-learn's stratified group folds take one Python step per group; so many groups balance by themselves.
MAX_STRATIFIED_GROUPS = 10_000


@dataclass(frozen=True)
class Fold:
    """Positions of the rows that a fold fits on, and of those that it is judged on."""

    fit: Positions
    judge: Positions


def make_folds(
    rows: pl.DataFrame, y: npt.NDArray[Any], schema: TableSchema, count: int, seed: int
) -> list[Fold]:
    """The folds of a training table.

    Where the table has too few rows, groups, moments or members of the rarest class for ``count`` folds,
    there are fewer, and the log says so.

    Args:
        rows: The prepared training rows, with the split's column and the row hash, ``n`` rows.
        y: Class positions, or the target's values, shape ``(n,)``.
        schema: The schema, for its split and task.
        count: How many folds; 0 is none.
        seed: Seed of the shuffling. Folds forward in time are not shuffled.

    Raises:
        ParameterError: ``count`` is negative or 1.
        SplitError: There can be no two folds, or a fold has one class only to fit on.
    """
    if count == 0:
        return []
    if count < 2:
        raise ParameterError(
            f"Parameter 'folds' is {count}.", "Give 2 or more, or 0 for no cross-validation."
        )
    classifies = schema.task != "regression"
    method = schema.split.method
    if method == "time":
        folds = forward_folds(moments(rows, schema), count)
    elif method == "group":
        folds = list(_group_folds(rows[schema.split.column], y, count, seed, classifies))
    else:
        folds = list(_row_folds(rows[ROW_HASH], y, count, seed, classifies and method == "stratified"))
    if classifies:
        _check_classes(folds, y, schema)
    return folds


def moments(rows: pl.DataFrame, schema: TableSchema) -> npt.NDArray[np.int64]:
    """Each row's moment as a rank from 0 (earliest), shape ``(n,)``. Rows without one come first."""
    ranks = rows[schema.split.column].rank("dense").cast(pl.Int64).fill_null(0).to_numpy()
    return ranks - ranks.min() if len(ranks) else ranks


def forward_folds(ranks: npt.NDArray[np.int64], count: int) -> list[Fold]:
    """Expanding windows forward in time: each fold fits on all before its block, and is judged on the block.

    The rows are cut into ``count + 1`` blocks of about the same size. A cut never falls within a moment,
    so no fold fits on a row of the moment that it is judged on.

    Args:
        ranks: Each row's moment, as ranks from 0, shape ``(n,)``.
        count: How many folds at most.
    """
    rows_until = np.cumsum(np.bincount(ranks)) if len(ranks) else np.zeros(0, dtype=int)
    wanted = len(ranks) * np.arange(1, count + 1) / (count + 1)
    starts = np.unique(np.searchsorted(rows_until, wanted, side="left") + 1)
    starts = starts[starts < len(rows_until)]
    if len(starts) < count:  # the rows crowd in few moments: cut by moments, not by rows
        found = _enough(len(rows_until) - 1, count, "moments in the time column")
        starts = np.linspace(1, len(rows_until) - 1, found).round().astype(int)
    ends = [*starts[1:], len(rows_until)]
    return [
        Fold(np.flatnonzero(ranks < start), np.flatnonzero((ranks >= start) & (ranks < end)))
        for start, end in zip(starts, ends, strict=True)
    ]


def _row_folds(
    hashes: pl.Series, y: npt.NDArray[Any], count: int, seed: int, stratified: bool
) -> Iterator[Fold]:
    """Folds by row; equal rows (of one hash) stay together, so that none is both fitted and judged."""
    _, first, member = np.unique(hashes.to_numpy(), return_index=True, return_inverse=True)
    labels = y[first]
    if stratified:
        count = _enough(int(np.bincount(labels)[np.unique(labels)].min()), count, "rows of the rarest class")
        splitter: Any = StratifiedKFold(count, shuffle=True, random_state=seed)
    else:
        count = _enough(len(first), count, "rows")
        splitter = KFold(count, shuffle=True, random_state=seed)
    for fit, judge in splitter.split(first, labels):
        if len(first) == len(member):
            yield Fold(np.sort(first[fit]), np.sort(first[judge]))
        else:
            judged = np.isin(member, judge)
            yield Fold(np.flatnonzero(~judged), np.flatnonzero(judged))


def _group_folds(
    groups: pl.Series, y: npt.NDArray[Any], count: int, seed: int, classifies: bool
) -> Iterator[Fold]:
    codes = groups.rank("dense").fill_null(0).to_numpy()
    distinct = len(np.unique(codes))
    count = _enough(distinct, count, "groups")
    by_class = classifies and distinct <= MAX_STRATIFIED_GROUPS and np.bincount(y).max() >= count
    kind = StratifiedGroupKFold if by_class else GroupKFold
    for fit, judge in kind(count, shuffle=True, random_state=seed).split(codes, y, codes):
        yield Fold(fit, judge)


def _enough(there: int, count: int, what: str) -> int:
    if there < 2:
        raise SplitError(
            f"There are too few {what} ({there}) for cross-validation.",
            "Set folds to 0, or train on more data.",
        )
    if there < count:
        log.warning("%d folds instead of %d: there are too few %s", there, count, what)
    return min(there, count)


def _check_classes(folds: list[Fold], y: npt.NDArray[Any], schema: TableSchema) -> None:
    for number, fold in enumerate(folds):
        if len(np.unique(y[fold.fit])) < 2:
            raise SplitError(
                f"Fold {number} of {len(folds)} has one class of {schema.target!r} only to fit on.",
                "Set folds lower or to 0, or split stratified.",
            )


def hold_out(
    rows: pl.DataFrame, y: npt.NDArray[Any], schema: TableSchema, share: float | int, seed: int
) -> Fold:
    """Rows to validate on while fitting (early stopping), chosen as prepare split the table.

    Args:
        rows: As for :func:`make_folds`.
        y: Likewise.
        schema: Likewise.
        share: Share of rows (below 1) or their number; the latest under a time split.
        seed: Seed of the choice.

    Raises:
        SplitError: There is one group or one moment only.
    """
    share = share if isinstance(share, float) else share / len(y)
    if schema.split.method == "time":
        ranks = moments(rows, schema)
        # All of the moment that the cut falls into is held out, unless nothing would be left to fit on.
        cut = max(1, int(np.quantile(ranks, 1 - share, method="lower")))
        late = ranks >= cut
        held_out = Fold(np.flatnonzero(~late), np.flatnonzero(late))
    elif schema.split.method == "group":
        held_out = _held_out_groups(rows[schema.split.column], share, seed)
    else:
        by_class = schema.split.method == "stratified" and schema.task != "regression"
        fit, judge = train_test_split(
            np.arange(len(y)),
            test_size=share,
            random_state=seed,
            stratify=y if by_class and _can_stratify(y, share) else None,
        )
        held_out = Fold(fit, judge)
    if not len(held_out.fit) or not len(held_out.judge):
        raise SplitError(
            f"No rows can be held out for early stopping: {schema.split.column!r} has one value.",
            "Set early_stopping to false in estimator_parameters.",
        )
    return held_out


def _can_stratify(y: npt.NDArray[Any], share: float) -> bool:
    """Whether each class can have a row on both sides."""
    counts = np.unique(y, return_counts=True)[1]
    return bool(counts.min() >= 2 and len(counts) <= share * len(y) and len(counts) <= (1 - share) * len(y))


def _held_out_groups(groups: pl.Series, share: float, seed: int) -> Fold:
    codes = groups.rank("dense").fill_null(0).to_numpy()
    distinct = np.unique(codes)
    if len(distinct) < 2:
        return Fold(np.arange(len(codes)), np.zeros(0, dtype=np.intp))
    fit, judge = next(GroupShuffleSplit(1, test_size=share, random_state=seed).split(codes, groups=codes))
    return Fold(fit, judge)
