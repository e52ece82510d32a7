"""From the prepared training split to the feature tables that a network is fitted and judged on."""

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from kfp_lifecycle.components.shared.dataset import scan
from kfp_lifecycle.components.shared.errors import ParameterError, SchemaError, SplitError, TargetError
from kfp_lifecycle.components.shared.inference.encoders import CategoryEncoder
from kfp_lifecycle.components.shared.inference.expressions import running
from kfp_lifecycle.components.shared.inference.featurizer import Featurizer
from kfp_lifecycle.components.shared.inference.labels import label_codes
from kfp_lifecycle.components.shared.inference.plan import Plan
from kfp_lifecycle.components.shared.inference.schema import ROW_HASH, TableSchema
from kfp_lifecycle.components.shared.inference.transform import FeatureTransform
from kfp_lifecycle.components.shared.outputs import whole_folder
from kfp_lifecycle.components.train.folds import Fold, hold_out

log = logging.getLogger(__name__)

#: Columns of a feature table, beside ``n0``, ``n1``, … (float32) and ``c0``, ``c1``, … (int32): the target
#: (a class position, or float64), the row's number in the prepared split, and its hash.
TARGET, POSITION = "target", "position"
#: Bytes of a row group, which is the least that is read at once: large enough for a disk, small enough that
#: a shuffled window holds many.
ROW_GROUP_BYTES = 4 * 2**20

_SIDE, _Y, _AT = "\0side", "\0y", "\0position"


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

    Rows stream from Parquet to Parquet and need not fit in memory; the target and the split's column do.
    Which rows are held out depends on them and the seed alone. A held-out row of a class that no other row
    has cannot be judged and is left out, with a line in the log.

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
    table = scan(rows)
    _check_columns(table, schema)
    y = _target(table, schema)
    sides = _sides(table, y, schema, validation_share, seed)
    marked = pl.concat([table, sides.lazy()], how="horizontal")
    fit_rows = marked.filter(pl.col(_SIDE) == 0)
    keep = (ROW_HASH, _Y, _AT)
    fitted, features = Featurizer(Plan.from_dict(plan.plan), plan.seed).fit_transform(fit_rows, keep)
    _write(features, fitted, scratch / "fit")
    if (sides[_SIDE] == 1).any():
        judged = fitted.transform(marked.filter(pl.col(_SIDE) == 1), keep)
        _write(judged, fitted, scratch / "judge")
    fitted.save(scratch / "transform.json")
    told = _tell(sides, schema)
    (scratch / "tables.json").write_text(json.dumps(told), encoding="utf-8")
    return Tables.load(scratch)


def _featurizer(transform: FeatureTransform | Featurizer) -> Featurizer:
    if isinstance(transform, Featurizer):
        return transform
    return Featurizer.from_dict(transform.to_dict())


def _check_columns(table: pl.LazyFrame, schema: TableSchema) -> None:
    have = table.collect_schema().names()
    for name in (schema.target, ROW_HASH, schema.split.column):
        if name and name not in have:
            raise SchemaError(
                f"The training rows have no column {name!r}.", "Pass the train output of prepare."
            )


def _target(table: pl.LazyFrame, schema: TableSchema) -> npt.NDArray[Any]:
    """Class positions (int32), or the target's values (float64), shape ``(n,)``."""
    values = table.select(schema.target).collect(engine="streaming").to_series()
    if not len(values):
        raise SchemaError("There is no row to train on.", "Pass a training split with rows.")
    if schema.task != "regression":
        return label_codes(values, schema).astype(np.int32)
    y = values.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    if wrong := int((~np.isfinite(y)).sum()):
        raise TargetError(
            f"The target {schema.target!r} is missing or infinite in {wrong:,} rows.",
            "Drop these rows first.",
        )
    return y


def _sides(
    table: pl.LazyFrame, y: npt.NDArray[Any], schema: TableSchema, share: float, seed: int
) -> pl.DataFrame:
    """For each row its side (0 to fit, 1 to judge, 2 neither), target and number."""
    side = np.zeros(len(y), dtype=np.int8)
    if share:
        fold = _hold_out(table, y, schema, share, seed)
        side[fold.judge] = 1
    if schema.task != "regression":
        _check_classes(side, y, schema)
    return pl.DataFrame({_SIDE: side, _Y: y, _AT: np.arange(len(y), dtype=np.int64)})


def _hold_out(table: pl.LazyFrame, y: npt.NDArray[Any], schema: TableSchema, share: float, seed: int) -> Fold:
    needed = [schema.split.column] if schema.split.column else []
    columns = table.select(*needed, ROW_HASH).collect(engine="streaming")
    try:
        return hold_out(columns, y, schema, share, seed)
    except (SplitError, ValueError) as error:  # ValueError is scikit-learn's, for too few rows
        why = error.problem if isinstance(error, SplitError) else f"there are {len(y):,} rows"
        raise SplitError(
            f"No rows can be held out to validate on ({share:g} of them): {why.rstrip('.')}.",
            "Set validation_share to 0, or train on more data.",
        ) from error


def _check_classes(side: npt.NDArray[np.int8], y: npt.NDArray[np.int32], schema: TableSchema) -> None:
    """Refuses one class alone; what cannot be judged is put on neither side."""
    counts = np.bincount(y[side == 0], minlength=len(schema.classes))
    if (counts > 0).sum() < 2:
        only = schema.classes[int(counts.argmax())]
        raise TargetError(
            f"The rows to fit on have one class of {schema.target!r} only, {only!r}.",
            "Give more data, or set validation_share lower.",
        )
    unknown = (side == 1) & (counts[y] == 0)
    if not unknown.any():
        return
    names = ", ".join(repr(schema.classes[code]) for code in np.unique(y[unknown]))
    log.warning("%d held-out rows are not judged: no row to fit on has the class %s", unknown.sum(), names)
    side[unknown] = 2
    if not (side == 1).any():
        raise SplitError(
            f"Every held-out row is of a class that no other row has: {names}.",
            "Set validation_share to 0, or give more data of that class.",
        )


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
    own = [pl.col(_Y).alias(TARGET), pl.col(_AT).alias(POSITION), pl.col(ROW_HASH)]
    row_bytes = 4 * (len(numbers) + len(codes)) + 24
    with whole_folder(path) as folder, running(fitted.plan.derive):
        features.select(*numbers, *codes, *own).sink_parquet(
            folder / "part-0.parquet",
            compression="uncompressed",
            statistics=False,
            row_group_size=max(1024, ROW_GROUP_BYTES // row_bytes),
            mkdir=True,
        )


def _tell(sides: pl.DataFrame, schema: TableSchema) -> dict[str, Any]:
    fit = sides.filter(pl.col(_SIDE) == 0)[_Y].to_numpy()
    told: dict[str, Any] = {
        "fit_rows": len(fit),
        "judge_rows": int((sides[_SIDE] == 1).sum()),
        "class_counts": [],
        "centre": 0.0,
        "scale": 1.0,
    }
    if schema.task != "regression":
        return {**told, "class_counts": np.bincount(fit, minlength=len(schema.classes)).tolist()}
    # By way of the largest, so that no sum or square overflows.
    largest = float(np.abs(fit).max()) or 1.0
    spread = float((fit / largest).std()) * largest
    told["centre"] = float((fit / largest).mean()) * largest
    return {**told, "scale": spread if spread > 1e-12 * largest else 1.0}


def _take(table: pl.LazyFrame, positions: npt.NDArray[Any]) -> pl.DataFrame:
    """The rows at these numbers, which are sorted."""
    at = pl.DataFrame({_AT: positions}, schema={_AT: pl.UInt32})
    numbered = table.with_row_index(_AT)
    return numbered.join(at.lazy(), on=_AT, how="semi").sort(_AT).drop(_AT).collect(engine="streaming")
