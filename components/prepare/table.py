"""``prepare`` from source to splits: what each part of this package does, in order.

The table need not fit in memory. Every pass over it is a streaming query of Polars; what is held is 17 to 40
bytes a row (its hash, its class or moment, its side) and the hash set that finds duplicates.
"""

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from kfp_lifecycle.components.prepare.columns import Plan, plan_columns
from kfp_lifecycle.components.prepare.options import Options
from kfp_lifecycle.components.prepare.profile import profile_page
from kfp_lifecycle.components.prepare.reading import RawTable, read, whole_source
from kfp_lifecycle.components.prepare.rows import Rows, place_rows
from kfp_lifecycle.components.prepare.rules import check_rules
from kfp_lifecycle.components.prepare.sources import fetch
from kfp_lifecycle.components.prepare.summaries import Summary, summarize
from kfp_lifecycle.components.shared.errors import LifecycleError, StorageError, redact
from kfp_lifecycle.components.shared.inference.schema import ROW_HASH, Split, TableSchema
from kfp_lifecycle.components.shared.outputs import storage_problem, whole_file, whole_folder


@dataclass(frozen=True)
class Prepared:
    """What ``prepare`` made.

    Args:
        schema: The columns as they are in both splits.
        summaries: What they hold, in the schema's order.
        rows_read: Rows in the source.
        rows_without_target: Of these, dropped for a missing target.
        duplicates: Of the others, dropped as repeated.
        train_rows: Rows in the training split.
        test_rows: Rows in the test split.
    """

    schema: TableSchema
    summaries: list[Summary]
    rows_read: int
    rows_without_target: int
    duplicates: int
    train_rows: int
    test_rows: int


def prepare_table(options: Options, *, train: Path, test: Path, schema: Path, profile: Path) -> Prepared:
    """Reads a table, settles and checks it, splits it, and writes both splits, the schema and the profile.

    Args:
        options: What to read and how.
        train: Folder for the training split, Parquet files with the schema's columns and ``_row_hash``.
        test: Folder for the test split, likewise.
        schema: File for the schema, JSON.
        profile: File for the profile, HTML.

    Returns:
        What was made. The outputs are whole, or, on any error, not there.

    Raises:
        SourceError: The source is missing, empty, damaged or cannot be reached.
        SchemaError: Column names or values that cannot be settled.
        ParameterError: A parameter names no column, or contradicts the data.
        ExpressionError: ``target_expression`` does not parse or reaches outside the row.
        TargetError: The target is missing, constant, or does not fit the task.
        SplitError: The table cannot be split as asked.
        RuleError: The data breaks a declared rule, or there are too few rows or too many categories.
        StorageError: The disk is full.
    """
    with _working_folder() as folder:
        fetched = fetch(options, folder)
        with whole_source(fetched.uri):
            raw = read(fetched, options, folder)
            plan = plan_columns(raw, options)
            rows = place_rows(plan, options)
            with (
                whole_folder(train) as train_part,
                whole_folder(test) as test_part,
                whole_file(schema) as schema_part,
                whole_file(profile) as profile_part,
            ):
                _write(raw, plan, rows, train_part, is_test=False)
                _write(raw, plan, rows, test_part, is_test=True)
                table = pl.scan_parquet([train_part / "*.parquet", test_part / "*.parquet"])
                summaries = summarize(table, plan.columns, rows.kept, plan.few)
                check_rules(table, plan.columns, options.rules, plan.missing_shares, plan.dropped)
                settled = _schema(plan, rows, summaries, options, fetched.uri, fetched.digest())
                prepared = Prepared(
                    settled,
                    summaries,
                    raw.rows,
                    rows.without_target,
                    rows.duplicates,
                    rows.train,
                    rows.test,
                )
                settled.save(schema_part)
                splits = {"train": train_part, "test": test_part}
                profile_part.write_text(profile_page(prepared, splits), encoding="utf-8")
    return prepared


@contextmanager
def _working_folder() -> Iterator[Path]:
    """A temporary folder; a full disk under it is a declared error."""
    try:
        folder = Path(tempfile.mkdtemp(prefix="prepare-"))
        try:
            yield folder
        finally:
            _clear(folder)
    except LifecycleError:
        raise
    except Exception as error:
        if (said := storage_problem(error)) is None:
            raise
        raise StorageError(
            f"The temporary folder {tempfile.gettempdir()} cannot be written: {said}.",
            "Free space there (about the size of the source), or set TMPDIR to another folder.",
        ) from error


def _clear(folder: Path) -> None:
    # A sink that Polars breaks off may still be opening its file while the error is on its way.
    for _ in range(20):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.05)


def _write(raw: RawTable, plan: Plan, rows: Rows, folder: Path, *, is_test: bool) -> None:
    """Writes one split. Rows of the other are filtered out before they are settled."""
    source = raw.frame.drop(rows.frame.columns, strict=False)
    together = pl.concat([source, rows.frame.lazy()], how="horizontal")
    chosen = together.filter(pl.col(rows.side) == is_test)
    names = [column.name for column in plan.columns]
    # Not compressed: the next steps read it right back, and columns that repeat are dictionaries anyway.
    plan.settled(chosen, ROW_HASH).select(*names, ROW_HASH).sink_parquet(
        folder / "part-00000.parquet", compression="uncompressed"
    )


def _schema(
    plan: Plan, rows: Rows, summaries: list[Summary], options: Options, uri: str, digest: str
) -> TableSchema:
    return TableSchema(
        columns=[summary.column for summary in summaries],
        target=options.target,
        task=plan.target.task,
        classes=plan.target.classes,
        positive_class=plan.target.positive_class,
        missing_values=list(options.missing_values),
        split=Split(rows.method, options.test_size, options.seed, options.split_column, rows.boundary),
        source_uri=uri,
        source_digest=digest,
        dropped=plan.dropped,
        parameters=options.to_dict() | {"source": redact(options.source)},
    )
