"""One pass over a table, however long: each column's distribution and state, and a sample of the rows."""

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import polars as pl

from kfp_lifecycle.components.monitor.sketch import Sketch
from kfp_lifecycle.components.shared.errors import SchemaError, SourceError
from kfp_lifecycle.components.shared.inference.schema import Column, TableSchema
from kfp_lifecycle.components.shared.inference.settle import Settling, column_settling

#: Rows that are looked at together.
PART_ROWS = 262_144
#: Rows of the sample, for pictures and for what only a model can tell.
SAMPLE_ROWS = 5_000
#: A text column with more distinct values is an identifier, not a category.
MAX_CATEGORIES = 50_000
#: Row hashes that are kept; of more rows those of a part of all hashes, which has each row's repeats with it.
MAX_HASHES = 1_000_000
#: Examples of bad values that are kept.
EXAMPLES = 5

_KEY = "\0sample"


@dataclass
class ColumnSummary:
    """What a table holds in one column.

    Args:
        column: The column as the schema has it.
        rows: Rows that were looked at.
        missing: Those without a value.
        unfit: Those with a value that is none of the column's type.
        out_of_range: Those below or above what the training data has.
        examples: Some of the unfit values.
        numbers: The numbers; None for other types.
        too_many: Whether a text column has more distinct values than can be counted.
    """

    column: Column
    rows: int = 0
    missing: int = 0
    unfit: int = 0
    out_of_range: int = 0
    examples: list[str] = field(default_factory=list)
    numbers: Sketch | None = None
    too_many: bool = False
    _counted: list[pl.DataFrame] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.column.type in ("integer", "number"):
            self.numbers = Sketch()

    @property
    def values(self) -> int:
        """Rows with a value of the column's type."""
        return self.rows - self.missing - self.unfit

    def counts(self) -> Mapping[str, int]:
        """Category to the rows that have it, of a text or boolean column; the most frequent first."""
        self._gather()
        return dict(self._counted[0].iter_rows()) if self._counted else {}

    @property
    def distinct(self) -> int:
        """How many distinct values there are; of numbers no more than a sketch keeps."""
        return len(self.numbers.points()[0]) if self.numbers else len(self.counts())

    def add(self, clean: pl.Series, settled: pl.Series) -> None:
        """Adds rows: the values that mean something, and those of them that fit the type."""
        self.rows += len(clean)
        self.missing += clean.null_count()
        unfit = settled.null_count() - clean.null_count()
        if unfit:
            self.unfit += unfit
            bad = clean.filter(settled.is_null() & clean.is_not_null()).unique(maintain_order=True)
            self.examples += bad.head(EXAMPLES).cast(pl.String).to_list()
            del self.examples[EXAMPLES:]
        if self.numbers is not None:
            self._add_numbers(self.numbers, settled)
        elif self.column.type in ("string", "boolean") and not self.too_many:
            self._add_categories(settled)

    def _add_numbers(self, numbers: Sketch, settled: pl.Series) -> None:
        values = settled.drop_nulls().cast(pl.Float64).to_numpy()
        numbers.add(values)
        for bound, beyond in ((self.column.minimum, np.less), (self.column.maximum, np.greater)):
            if isinstance(bound, (int, float)):
                self.out_of_range += int(beyond(values, bound).sum())

    def _add_categories(self, settled: pl.Series) -> None:
        values = settled.drop_nulls().cast(pl.String).alias("value")
        self._counted.append(values.value_counts().cast({"count": pl.Int64}))
        if sum(part.height for part in self._counted) > 4 * MAX_CATEGORIES:
            self._gather()

    def _gather(self) -> None:
        if not self._counted:
            return
        counts = pl.concat(self._counted).group_by("value").agg(pl.col("count").sum())
        self.too_many = counts.height > MAX_CATEGORIES
        self._counted = [counts.sort("count", "value", descending=[True, False]).head(MAX_CATEGORIES)]


@dataclass
class Summary:
    """What a table holds.

    Args:
        rows: How many rows.
        columns: By name the columns that could be read as what they should be.
        retyped: By name the columns that could not, and why.
        hashes: A hash of each row's input columns (UInt64, shape ``(n,)``), for counting duplicates: those
            that are a multiple of ``modulus``.
        modulus: 1 keeps all.
        sample: A random sample of the rows, settled, with the columns beside them that were asked for.
    """

    rows: int
    columns: dict[str, ColumnSummary]
    retyped: dict[str, str]
    hashes: npt.NDArray[np.uint64]
    modulus: int
    sample: pl.DataFrame


def summarize(
    table: pl.LazyFrame,
    schema: TableSchema,
    columns: Sequence[Column],
    *,
    beside: Sequence[str] = (),
    hashed: Sequence[str] = (),
    sample_rows: int = SAMPLE_ROWS,
    seed: int = 0,
) -> Summary:
    """Reads a table once, in parts.

    Args:
        table: The rows as they are in the source, or settled.
        schema: The schema of the training data.
        columns: The columns to look at; those that the table does not have are left out.
        beside: Further columns of the sample, as they are.
        hashed: Of ``columns`` those whose values make two rows duplicates; empty counts none.
        sample_rows: Rows of the sample.
        seed: Seed of the sample.

    Raises:
        SourceError: The table cannot be read to its end.
    """
    types: Mapping[str, pl.DataType] = table.collect_schema()
    settlings, retyped = _settlings(columns, types, schema)
    found = {column.name: ColumnSummary(column) for column in columns if column.name in settlings}
    hashed = [name for name in hashed if name in found]
    extra = [name for name in beside if name in types and name not in found]
    sample = _Sample(sample_rows, seed)
    rows, hashes = 0, _Hashes()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for part in _parts(table.select(*found, *extra)):
            rows += part.height
            clean = part.select(**{name: one.clean for name, one in settlings.items()})
            settled = clean.select(**{name: one.convert(pl.col(name)) for name, one in settlings.items()})
            # Sorting and counting leave Python alone, so that several columns go at once.
            list(pool.map(ColumnSummary.add, found.values(), clean, settled))
            if hashed:
                hashes.add(settled.select(hashed).hash_rows().to_numpy())
            sample.add(pl.concat([settled, part.select(extra)], how="horizontal") if extra else settled)
    return Summary(rows, found, retyped, hashes.kept, hashes.modulus, sample.rows())


def _settlings(
    columns: Sequence[Column], types: Mapping[str, pl.DataType], schema: TableSchema
) -> tuple[dict[str, Settling], dict[str, str]]:
    settlings, retyped = {}, {}
    for column in columns:
        if column.name in types:
            try:
                settlings[column.name] = column_settling(column, types[column.name], schema)
            except SchemaError as error:
                retyped[column.name] = error.problem
    return settlings, retyped


def _parts(table: pl.LazyFrame) -> Iterator[pl.DataFrame]:
    try:
        # A batch without columns has no height to count.
        yield from table.with_columns(pl.lit(0, pl.Int8).alias(_KEY)).collect_batches(
            chunk_size=PART_ROWS, maintain_order=True
        )
    except pl.exceptions.PolarsError as error:
        said = " ".join(str(error).split())[:300].rstrip(".")
        raise SourceError(
            f"The table cannot be read to its end: {said}.",
            "A file may be damaged, or its columns may differ in type from those of the others.",
        ) from error


class _Hashes:
    """Row hashes, thinned out by their own value where they become many."""

    def __init__(self) -> None:
        self.modulus = 1
        self.kept = np.empty(0, np.uint64)

    def add(self, hashes: npt.NDArray[np.uint64]) -> None:
        self.kept = np.concatenate([self.kept, thinned(hashes, self.modulus)])
        # One row that is repeated without end is never thinned out.
        while len(self.kept) > MAX_HASHES and self.modulus < MAX_HASHES:
            self.modulus *= 2
            self.kept = thinned(self.kept, self.modulus)


def thinned(hashes: npt.NDArray[np.uint64], modulus: int) -> npt.NDArray[np.uint64]:
    """The hashes that are a multiple of ``modulus``, in their high bits."""
    chosen: npt.NDArray[np.uint64] = hashes[(hashes >> np.uint64(32)) % np.uint64(modulus) == 0]
    return chosen


class _Sample:
    """A random sample of rows that come in parts: those with the smallest random keys."""

    def __init__(self, size: int, seed: int) -> None:
        self._size, self._random = size, np.random.default_rng(seed)
        self._kept: pl.DataFrame | None = None
        self._bar = 1.0

    def add(self, part: pl.DataFrame) -> None:
        keys = self._random.random(part.height)
        chosen = np.flatnonzero(keys < self._bar)
        if self._kept is not None and not len(chosen):
            return
        part = part[chosen].with_columns(pl.Series(_KEY, keys[chosen]))
        kept = part if self._kept is None else pl.concat([self._kept, part])
        if kept.height > self._size:
            kept = kept.bottom_k(self._size, by=_KEY)
            self._bar = float(kept[_KEY].max())  # type: ignore[arg-type]
        self._kept = kept

    def rows(self) -> pl.DataFrame:
        return pl.DataFrame() if self._kept is None else self._kept.drop(_KEY)
