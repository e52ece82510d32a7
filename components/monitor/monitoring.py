"""One look at a window: everything that is found."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import polars as pl

from kfp_lifecycle.components.monitor.drift import Compared, compare
from kfp_lifecycle.components.monitor.findings import ColumnDrift, Findings, Performance, Problem, Quality
from kfp_lifecycle.components.monitor.options import Options
from kfp_lifecycle.components.monitor.performance import has_out_of_fold, main_metric, performance
from kfp_lifecycle.components.monitor.quality import (
    column_problems,
    column_quality,
    duplicate_problems,
    duplicate_share,
    time_problems,
    volume_problems,
)
from kfp_lifecycle.components.monitor.scored import has_predictions, join_labels, own_labels, predict
from kfp_lifecycle.components.monitor.summary import Summary, summarize
from kfp_lifecycle.components.monitor.tables import (
    Place,
    Table,
    ahead,
    hashed_columns,
    newest,
    of_version,
    read_table,
)
from kfp_lifecycle.components.monitor.watched import OpenModel, reference_sample
from kfp_lifecycle.components.monitor.windows import Window
from kfp_lifecycle.components.shared.errors import MonitorError, ParameterError, did_you_mean, redact
from kfp_lifecycle.components.shared.inference.columns import PREDICTION, probability_column
from kfp_lifecycle.components.shared.inference.schema import ROW_HASH, Column

log = logging.getLogger(__name__)

#: The share of a log's rows by other versions from which it is said.
OTHERS = 0.01


@dataclass(frozen=True)
class Request:
    """What is looked at.

    Args:
        place: Where current data is.
        window: The window.
        now: The present.
        reference: URI of a table to compare with; empty is the model's sample.
        season: Compare with the window so long before; None does not.
        labels: URI of a table of labels; empty for none.
        label_keys: What they are joined by; empty is a log's request and row.
        label_window: Length of the window that labels are looked for; None is the window.
        usual_rows: Rows that windows before had; None where there were none.
    """

    place: Place
    window: Window
    now: datetime
    reference: str = ""
    season: timedelta | None = None
    labels: str = ""
    label_keys: Sequence[str] = ()
    label_window: timedelta | None = None
    usual_rows: float | None = None


@dataclass(frozen=True)
class Samples:
    """Random rows of both sides, settled, for pictures."""

    reference: pl.DataFrame
    current: pl.DataFrame


@dataclass(frozen=True)
class _Side:
    """One of the two sides: its summary, that of its predictions, and what to call it."""

    summary: Summary
    predictions: Summary | None
    name: str


def look(model: OpenModel, request: Request, options: Options) -> tuple[Findings, Samples]:
    """Compares a window with the reference.

    Args:
        model: The model.
        request: What is looked at.
        options: How it is compared.

    Returns:
        What was found, and a sample of the rows on both sides.

    Raises:
        MonitorError: The model has no reference, or the window lies before it was made.
        ParameterError: A column, key or metric is not known.
        SourceError: A table is missing, damaged or not readable.
        StorageError: A place cannot be listed.
    """
    columns = _columns(model, options)
    main_metric(options, model.schema.task)
    _check_season(request)
    table = request.place.read(request.window)
    _check_time(table, request.window, model)
    table, others = of_version(table, model.watched.version)
    hashed = hashed_columns(table, columns)
    columns = [column for column in columns if column.name not in hashed]
    current = _side(table.rows, model, columns, options, table.uri)
    reference = _reference(request, model, columns, options)
    pairs = _pairs(columns, reference.summary, current.summary)
    drift = compare(pairs, options)
    predictions, unpredicted = _prediction_drift(model, reference, current, options)
    judged, about_labels = _performance(table, request, model, options)
    quality = _quality(table, request, columns, current.summary, reference.summary)
    quality = replace(quality, other_versions=others)
    problems = [
        *_table_problems(table, model, columns, hashed, current.summary),
        *_value_problems(quality, reference.summary, current.summary),
        *duplicate_problems(current.summary, reference.summary, quality.duplicates, options.seed),
        *volume_problems(quality.rows, request.usual_rows),
        *_times(table, request, quality.newest),
        *_versions(others, quality.rows, model),
        *unpredicted,
        *about_labels,
    ]
    problems.sort(key=lambda problem: not problem.broken)
    quality = replace(quality, problems=problems)
    found = (quality, drift, predictions, judged)
    about = (model.watched, request.window, request.now, table.uri, reference.name)
    return Findings(*about, *found, timed=bool(table.time)), Samples(
        reference.summary.sample, current.summary.sample
    )


def _quality(
    table: Table, request: Request, columns: Sequence[Column], current: Summary, reference: Summary
) -> Quality:
    at = newest(table)
    return Quality(
        rows=current.rows,
        reference_rows=reference.rows,
        duplicates=duplicate_share(current.hashes),
        duplicates_reference=duplicate_share(reference.hashes),
        newest=at,
        age_hours=(min(request.window.end, request.now) - at).total_seconds() / 3600 if at else None,
        columns=[
            column_quality(current.columns[column.name], reference.columns.get(column.name))
            for column in columns
            if column.name in current.columns
        ],
    )


def _columns(model: OpenModel, options: Options) -> list[Column]:
    inputs = model.inputs
    names = [column.name for column in inputs]
    for parameter, given in (
        ("columns", options.columns),
        ("column_methods", options.column_methods),
        ("column_thresholds", options.column_thresholds),
    ):
        for name in given:
            if name not in names:
                raise ParameterError(
                    f"Parameter {parameter!r} names {name!r}, which is no input column of the model.",
                    did_you_mean(name, names),
                )
    return [column for column in inputs if not options.columns or column.name in options.columns]


def _check_season(request: Request) -> None:
    if request.season and request.reference:
        raise ParameterError(
            "Both 'reference' and 'season' are given.", "Compare with a table or with an earlier window."
        )


def _check_time(table: Table, window: Window, model: OpenModel) -> None:
    made = model.watched.made
    if table.is_log and made is not None and window.end <= made:
        raise MonitorError(
            f"The window {window} lies before version {model.watched.version} of {model.watched.name!r} was "
            f"made ({made:%Y-%m-%d %H:%M} UTC): it has no predictions there.",
            "Choose a later window_end, or the version that was served then.",
        )


def _side(rows: pl.LazyFrame, model: OpenModel, columns: list[Column], options: Options, name: str) -> _Side:
    """A pass over the rows, and the predictions: those in the rows, or the model's own of the sample."""
    names = [column.name for column in columns]
    predicted = model.predictions if has_predictions(rows, model) else []
    rest = [column for column in model.inputs if column.name not in names]
    summary = summarize(
        rows,
        model.schema,
        [*columns, *predicted],
        beside=[column.name for column in rest],
        hashed=names,
        seed=options.seed,
    )
    if predicted:
        return _Side(summary, summary, name)
    complete = all(column in summary.sample.columns for column in model.description.input_columns)
    if not complete or summary.sample.is_empty():
        return _Side(summary, None, name)
    own = predict(model, summary.sample)
    return _Side(summary, summarize(own.lazy(), model.schema, model.predictions), name)


def _reference(request: Request, model: OpenModel, columns: list[Column], options: Options) -> _Side:
    if request.reference:
        rows = read_table(request.reference, "reference", model.schema, request.place.folder / "reference")
        return _side(rows, model, columns, options, f"the table {redact(request.reference)}")
    if request.season is not None:
        window = request.window.before(request.season)
        table = request.place.read(window)
        _, others = of_version(table, model.watched.version)
        side = _side(table.rows, model, columns, options, f"the rows of {window}")
        # Another version's predictions differ for reasons of their own.
        return _Side(side.summary, None if others else side.predictions, side.name)
    sample = reference_sample(model)
    name = f"{sample.height:,} rows that the model was trained on"
    summary = summarize(
        sample.lazy().drop(ROW_HASH, strict=False),
        model.schema,
        [*columns, *(model.predictions if has_out_of_fold(sample) else [])],
        hashed=[column.name for column in columns],
        seed=options.seed,
    )
    return _Side(summary, summary if has_out_of_fold(sample) else None, name)


def _pairs(columns: Sequence[Column], reference: Summary, current: Summary) -> list[Compared]:
    return [
        Compared(column.name, reference.columns[column.name], current.columns[column.name])
        for column in columns
        if column.name in reference.columns and column.name in current.columns
    ]


def _prediction_drift(
    model: OpenModel, reference: _Side, current: _Side, options: Options
) -> tuple[list[ColumnDrift], list[Problem]]:
    schema = model.schema
    if not current.summary.rows:
        return [], []
    if reference.predictions is None or current.predictions is None:
        side = "The reference has" if reference.predictions is None else "The current rows have"
        return [], [Problem("no predictions", f"{side} no predictions to compare.")]
    if schema.task == "binary":
        names = [probability_column(schema.positive_class)]
    else:
        names = [probability_column(label) for label in schema.classes] or [PREDICTION]
    columns = [column for column in model.predictions if column.name in names]
    pairs = _pairs(columns, reference.predictions, current.predictions)
    found = compare(pairs, _for_predictions(options), options.prediction_threshold)
    return found, []


def _for_predictions(options: Options) -> Options:
    return Options(false_discovery_rate=options.false_discovery_rate)


def _performance(
    table: Table, request: Request, model: OpenModel, options: Options
) -> tuple[Performance | None, list[Problem]]:
    target, window = model.schema.target, request.window if table.time else None
    if request.labels:
        if request.label_window is not None and table.time:
            window = Window(request.window.end - request.label_window, request.window.end)
            table, _ = of_version(request.place.read(window), model.watched.version)
        folder = request.place.folder / "labels"
        labels = read_table(request.labels, "labels", model.schema, folder)
        keys = request.label_keys or table.keys
        labelled = join_labels(table.rows, labels, keys, model, options.seed)
    elif target in table.rows.collect_schema():
        labelled = own_labels(table.rows, model, options.seed)
    else:
        return None, []
    return performance(labelled, window, model, _sample_or_none(model), options)


def _sample_or_none(model: OpenModel) -> pl.DataFrame | None:
    try:
        return reference_sample(model)
    except MonitorError:
        return None


def _table_problems(
    table: Table, model: OpenModel, columns: Sequence[Column], hashed: Sequence[str], current: Summary
) -> Iterator[Problem]:
    yield from table.problems
    there = set(table.rows.collect_schema())
    for name in hashed:
        yield Problem("hashed", f"Column {name!r} is hashed in the log, and cannot be compared.", name)
    for column in columns:
        if column.name not in there and current.rows:
            text = f"Column {column.name!r} is missing from the current data."
            if table.is_log:
                text = f"Column {column.name!r} is not in the log, and cannot be compared."
            yield Problem("missing column", text, column.name, broken=not table.is_log)
    for name, said in current.retyped.items():
        yield Problem("retyped", said, name, broken=True)
    known = {column.name for column in (*model.schema.columns, *model.predictions)} | {*model.schema.dropped}
    extra = sorted(name for name in there - known if not name.startswith("_"))
    if extra and not table.is_log:
        names = ", ".join(map(repr, extra[:5])) + (", …" if len(extra) > 5 else "")
        yield Problem(
            "extra column", f"The model does not know {len(extra)} columns of the current data: {names}."
        )


def _value_problems(quality: Quality, reference: Summary, current: Summary) -> Iterator[Problem]:
    for one in quality.columns:
        before = reference.columns.get(one.name)
        if current.rows:
            yield from column_problems(one, current.columns[one.name], before)


def _times(table: Table, request: Request, at: datetime | None) -> Iterator[Problem]:
    if table.is_log:
        later = ahead(request.place.uri, request.now)
        yield from time_problems(at, request.window, request.now, later)


def _versions(others: dict[str, int], rows: int, model: OpenModel) -> Iterator[Problem]:
    count = sum(others.values())
    if count and count >= OTHERS * (count + rows):
        names = ", ".join(sorted(others)[:5])
        yield Problem(
            "other versions",
            f"{count:,} rows of the window were answered by other versions ({names}) and do not count; "
            f"{rows:,} by version {model.watched.version}.",
        )
