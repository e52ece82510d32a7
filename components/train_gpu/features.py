"""From the prepared training split to the feature tables that a network is fitted and judged on."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from kfp_lifecycle.components.shared.dataset import scan
from kfp_lifecycle.components.shared.errors import ParameterError
from kfp_lifecycle.components.shared.inference.encoders import CategoryEncoder
from kfp_lifecycle.components.shared.inference.expressions import running
from kfp_lifecycle.components.shared.inference.featurizer import Featurizer
from kfp_lifecycle.components.shared.inference.plan import Plan
from kfp_lifecycle.components.shared.inference.schema import ROW_HASH, TableSchema
from kfp_lifecycle.components.shared.inference.transform import FeatureTransform
from kfp_lifecycle.components.shared.outputs import whole_folder
from kfp_lifecycle.components.train_gpu.hold_out import collect
from kfp_lifecycle.components.train_gpu.sides import AT, FIT, JUDGE, SIDE, Y, labelled, sided, spread

#: Columns of a feature table, beside ``n0``, ``n1``, … (float32) and ``c0``, ``c1``, … (int32): the target
#: (a class position, or float64), the row's number in the prepared split, and its hash.
TARGET, POSITION = "target", "position"
#: Bytes of a row group, which is the least that is read at once: large enough for a disk, small enough that
#: a shuffled window holds many.
ROW_GROUP_BYTES = 4 * 2**20


@dataclass(frozen=True)
class FeatureSpec:
    """Which features a network gets, and how.

    Args:
        numbers: Names of the features that are numbers, in the order of a batch's columns.
        codes: Names of those that are categories.
        cardinalities: How many codes each of those has: its slots, and 0 for a category without one.
    """

    numbers: tuple[str, ...]
    codes: tuple[str, ...]
    cardinalities: tuple[int, ...]

    @classmethod
    def of(cls, transform: FeatureTransform | Featurizer) -> "FeatureSpec":
        """The features of a fitted transform: those encoded as ``ordinal`` are codes."""
        fitted = _featurizer(transform)
        numbers, codes, cardinalities = [], [], []
        names = iter(fitted.names)
        for encoder in fitted.encoders or []:
            own = [next(names) for _ in encoder.features]
            if isinstance(encoder, CategoryEncoder) and encoder.encode == "ordinal":
                codes += own
                cardinalities.append(len(encoder.slots) + 1)
            else:
                numbers += own
        return cls(tuple(numbers), tuple(codes), tuple(cardinalities))

    @property
    def number_columns(self) -> list[str]:
        """The columns of a feature table that hold the numbers."""
        return [f"n{place}" for place in range(len(self.numbers))]

    @property
    def code_columns(self) -> list[str]:
        """The columns of a feature table that hold the codes."""
        return [f"c{place}" for place in range(len(self.codes))]


@dataclass(frozen=True)
class Tables:
    """What :func:`make_tables` has made.

    Args:
        fit: Folder of the feature table to fit on.
        judge: Folder of the held-out rows' feature table; None where none are held out.
        spec: The features.
        transform: The transform, fitted on the rows to fit on alone.
        fit_rows: Rows to fit on.
        judge_rows: Rows held out.
        class_counts: Rows to fit on of each class, by position; empty for regression.
        centre: For regression, the mean of the target in the rows to fit on; else 0.
        scale: For regression, its standard deviation there (1 where it is constant); else 1.
    """

    fit: Path
    judge: Path | None
    spec: FeatureSpec
    transform: FeatureTransform
    fit_rows: int
    judge_rows: int
    class_counts: tuple[int, ...] = ()
    centre: float = 0.0
    scale: float = 1.0

    @classmethod
    def load(cls, scratch: Path) -> "Tables":
        """The tables that :func:`make_tables` left in ``scratch``, for the other processes of a machine."""
        told = json.loads((scratch / "tables.json").read_text(encoding="utf-8"))
        transform = FeatureTransform.load(scratch / "transform.json")
        judge = scratch / "judge" if told["judge_rows"] else None
        told["class_counts"] = tuple(told["class_counts"])
        return cls(scratch / "fit", judge, FeatureSpec.of(transform), transform, **told)

    def judged_sample(self, rows: Path, count: int, seed: int) -> tuple[pl.DataFrame, pl.DataFrame]:
        """At most ``count`` held-out rows at random, as prepare wrote them and as features, in one order.

        Without held-out rows, rows to fit on. Reads no more of either table than these rows and a column.

        Args:
            rows: Folder of the prepared training split that the tables come from.
            count: The most rows.
            seed: Seed of the choice.
        """
        table = pl.scan_parquet((self.judge or self.fit) / "*.parquet")
        among = self.judge_rows or self.fit_rows
        chosen = np.sort(np.random.default_rng(seed).choice(among, min(count, among), replace=False))
        features = _take(table, chosen)
        return _take(scan(rows), features[POSITION].to_numpy()), features


def make_tables(
    rows: Path,
    schema: TableSchema,
    plan: FeatureTransform,
    validation_share: float,
    seed: int,
    scratch: Path,
) -> Tables:
    """Holds rows out as prepare split the table, fits the plan on the others, writes both feature tables.

    Rows stream from Parquet to Parquet and need not fit in memory. Which rows are held out depends on them
    and the seed alone. A held-out row of a class that no other row has cannot be judged and is left out,
    with a line in the log.

    Args:
        rows: Folder of the prepared training split.
        schema: Its schema.
        plan: The unfitted transform.
        validation_share: Share of rows to hold out, from 0 (none) to below 1.
        seed: Seed of the choice.
        scratch: A folder on local disk to write to.

    Raises:
        ParameterError: ``validation_share`` is out of range.
        SplitError: No row can be held out, or none is left to fit on.
        TargetError: The rows to fit on have one class only, or a target is no finite number.
        SchemaError: The rows are not those of the schema or the plan.
        StorageError: A table cannot be read or written.
    """
    if not 0 <= validation_share < 1:
        raise ParameterError(
            f"Parameter 'validation_share' is {validation_share}.", "Give a share from 0 to below 1."
        )
    table = labelled(scan(rows), schema)
    marked, counts = sided(table, schema, validation_share, seed)
    keep = (ROW_HASH, Y, AT)
    fit_rows = marked.filter(pl.col(SIDE) == FIT)
    fitted, features = Featurizer(Plan.from_dict(plan.plan), plan.seed).fit_transform(fit_rows, keep)
    _write(features, fitted, scratch / "fit")
    if counts["judge_rows"]:
        judged = fitted.transform(marked.filter(pl.col(SIDE) == JUDGE), keep)
        _write(judged, fitted, scratch / "judge")
    fitted.save(scratch / "transform.json")
    told = {**counts, **spread(fit_rows, schema)}
    (scratch / "tables.json").write_text(json.dumps(told), encoding="utf-8")
    return Tables.load(scratch)


def _featurizer(transform: FeatureTransform | Featurizer) -> Featurizer:
    if isinstance(transform, Featurizer):
        return transform
    return Featurizer.from_dict(transform.to_dict())


def _write(features: pl.LazyFrame, fitted: Featurizer, path: Path) -> None:
    spec = FeatureSpec.of(fitted)
    numbers = [
        # A value that stays missing is NaN, which needs no mask beside it.
        pl.col(name).cast(pl.Float32).fill_null(float("nan")).alias(column)
        for name, column in zip(spec.numbers, spec.number_columns, strict=True)
    ]
    codes = [
        (pl.col(name) + 1).cast(pl.Int32).alias(column)
        for name, column in zip(spec.codes, spec.code_columns, strict=True)
    ]
    own = [pl.col(Y).alias(TARGET), pl.col(AT).cast(pl.Int64).alias(POSITION), pl.col(ROW_HASH)]
    row_bytes = 4 * (len(numbers) + len(codes)) + 24
    with whole_folder(path) as folder, running(fitted.plan.derive):
        features.select(*numbers, *codes, *own).sink_parquet(
            folder / "part-0.parquet",
            compression="uncompressed",
            statistics=False,
            row_group_size=max(1024, ROW_GROUP_BYTES // row_bytes),
            mkdir=True,
        )


def _take(table: pl.LazyFrame, positions: npt.NDArray[Any]) -> pl.DataFrame:
    """The rows at these numbers, which are sorted."""
    at = pl.DataFrame({AT: positions}, schema={AT: pl.UInt32})
    numbered = table.with_row_index(AT)
    return collect(numbered.join(at.lazy(), on=AT, how="semi").sort(AT).drop(AT))
