"""The rows of a prediction log's file, from the answers that it is about."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import polars as pl

from kfp_lifecycle.components.serve.server.alike import groups
from kfp_lifecycle.components.serve.server.inference import Answer
from kfp_lifecycle.components.serve.server.models import ServedModel
from kfp_lifecycle.components.serve.server.options import ServerOptions
from kfp_lifecycle.components.serve.server.table import Table, as_list
from kfp_lifecycle.components.shared.errors import ParameterError, did_you_mean
from kfp_lifecycle.components.shared.prediction_log import (
    COLUMNS,
    MODEL,
    REQUEST_ID,
    ROW,
    SALT,
    TIME,
    VERSION,
    hashed,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Entry:
    """An answer that is to be logged.

    Args:
        microseconds: When it was computed, since 1970.
        answer: The answer.
    """

    microseconds: int
    answer: Answer

    @property
    def day(self) -> int:
        """Its day, since 1970."""
        return self.microseconds // 86_400_000_000

    @property
    def moment(self) -> datetime:
        """When it was computed."""
        return datetime.fromtimestamp(self.microseconds / 1e6, UTC)


@dataclass(frozen=True)
class LogColumns:
    """What the log has besides the model's inputs and outputs, and what it has not.

    Args:
        extra: Columns of requests that are no input, logged as text.
        left_out: Inputs and outputs that are not logged.
        hashed: Columns that are logged as their hash.
        salt: What makes the hashes this log's own.
    """

    extra: tuple[str, ...] = ()
    left_out: frozenset[str] = frozenset()
    hashed: tuple[str, ...] = ()
    salt: str = ""


def log_columns(options: ServerOptions, served: ServedModel, environ: Mapping[str, str]) -> LogColumns:
    """The log's columns as the options have them.

    Raises:
        ParameterError: A column to leave out or to hash is none that would be logged (a mistyped name must
            not put into the log what was to be kept out of it), or there is no salt to hash with.
    """
    inputs, outputs = ({column.name for column in served.inputs}, {column.name for column in served.outputs})
    known = inputs | outputs | set(options.log_columns)
    for flag, names in (("exclude", options.log_exclude), ("hash", options.log_hash)):
        for name in names:
            if name not in known:
                raise ParameterError(
                    f"--log-{flag} names {name!r}, which is no column of the prediction log.",
                    did_you_mean(name, known),
                )
    salt = environ.get(SALT, "")
    if options.log_hash and not salt:
        raise ParameterError(
            "--log-hash needs a salt: without one anyone can try which value has a hash.",
            f"Set {SALT} in the environment, to the same text for all servers of the model.",
        )
    if shadowed := sorted(inputs & (outputs | COLUMNS.keys())):
        log.warning("The prediction log leaves out inputs with names of its own: %s", ", ".join(shadowed))
    return LogColumns(options.log_columns, frozenset(options.log_exclude), options.log_hash, salt)


def rows_of(served: ServedModel, entries: Sequence[Entry], columns: LogColumns) -> pl.DataFrame:
    """The rows of some answers of one version, in the columns of :mod:`...shared.prediction_log`."""
    parts = [
        _rows(served, [entries[position] for position in positions], columns)
        for positions in groups([entry.answer.inputs for entry in entries])
    ]
    return pl.concat(parts, how="diagonal_relaxed")


def _rows(served: ServedModel, entries: Sequence[Entry], columns: LogColumns) -> pl.DataFrame:
    answers = [entry.answer for entry in entries]
    heights = np.array([answer.inputs.height for answer in answers])
    starts = np.cumsum(heights) - heights
    total = int(heights.sum())
    ids = np.array([answer.call.id for answer in answers], object)
    found = {
        TIME: pl.Series(np.repeat([entry.microseconds for entry in entries], heights)),
        REQUEST_ID: pl.Series(np.repeat(ids, heights).tolist()),
        ROW: pl.Series(np.arange(total) - np.repeat(starts, heights)),
        MODEL: pl.Series([served.name]).new_from_index(0, total),
        VERSION: pl.Series([served.version]).new_from_index(0, total),
    }
    own = pl.DataFrame([values.cast(COLUMNS[name]).alias(name) for name, values in found.items()])
    inputs = served.settled(Table.concatenated([answer.inputs for answer in answers]))
    extra = pl.DataFrame([_text(name, answers) for name in columns.extra if name not in inputs.columns])
    outputs = Table.concatenated([answer.outputs for answer in answers]).frame()
    return pl.concat([own, *_kept(columns, inputs, extra, outputs)], how="horizontal")


def _kept(columns: LogColumns, *frames: pl.DataFrame) -> list[pl.DataFrame]:
    """The columns that are logged, those of a name once, hashed where they are to be."""
    seen = set(COLUMNS) | columns.left_out
    kept: list[pl.DataFrame] = []
    # From the last: a prediction's name is the prediction's.
    for frame in reversed(frames):
        names = [name for name in frame.columns if name not in seen]
        seen.update(names)
        kept.insert(
            0,
            frame.select(
                hashed(frame[name], columns.salt) if name in columns.hashed else frame[name] for name in names
            ),
        )
    return kept


def _text(name: str, answers: Sequence[Answer]) -> pl.Series:
    """A column of the requests as text; null where a request does not have it."""
    values: list[str | None] = []
    for answer in answers:
        found = answer.given.columns.get(name)
        given = [None] * answer.given.height if found is None else as_list(found)
        values += [None if value is None else str(value) for value in given]
    return pl.Series(name, values, dtype=pl.String)
