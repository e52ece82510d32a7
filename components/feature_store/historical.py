"""Features of the past: to each row the values that were known at its event time."""

import datetime as dt
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from kfp_lifecycle.components.feature_store.references import Feature, Selection
from kfp_lifecycle.components.feature_store.repository import Repository, feast_errors
from kfp_lifecycle.components.shared.errors import FeatureStoreError, ParameterError, did_you_mean
from kfp_lifecycle.components.shared.inference.schema import Column, FeatureSource, TableSchema
from kfp_lifecycle.components.shared.inference.settle import DTYPES
from kfp_lifecycle.components.shared.outputs import whole_folder

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

#: Rows that are joined at once: the entity rows, and what the store finds for them, are in memory.
CHUNK = 1_000_000
#: Text features with more values do not have them listed in the schema, as in prepare.
LISTED_CATEGORIES = 1000
#: By how much the clock that wrote the rows may be ahead of this one's.
CLOCK_SKEW = dt.timedelta(minutes=5)
#: What Feast calls the event time of an entity row.
EVENT_TIMESTAMP = "event_timestamp"
_ENTITY_ROW = "entity_row_number"


def check_rows(schema: TableSchema, selection: Selection, event_time: str) -> None:
    """Checks that rows have what the join needs: the entity columns, request columns and the event time.

    Raises:
        ParameterError: There is no event time, or it is no column or no time.
        FeatureStoreError: An entity or request column is missing or of another type.
    """
    known = [column.name for column in schema.columns]
    if not event_time:
        raise ParameterError(
            "Parameter 'event_time' is empty: features of the past need the time of each row.",
            "Name the column that says when the row's features were needed.",
        )
    if event_time not in known:
        raise ParameterError(
            f"Parameter 'event_time' names {event_time!r}, which is no column of the prepared rows.",
            did_you_mean(event_time, known),
        )
    if (kind := schema.column(event_time).type) not in ("date", "timestamp"):
        raise ParameterError(
            f"Parameter 'event_time' names {event_time!r}, which is {kind} and no time.",
            "Give it the type timestamp in prepare (column_types), or name another column.",
        )
    for what, columns in (("entity key", selection.entities), ("request column", selection.request)):
        for name, wanted in columns.items():
            _check_column(schema, what, name, wanted)


def _check_column(schema: TableSchema, what: str, name: str, wanted: str) -> None:
    known = [column.name for column in schema.columns]
    if name not in known:
        dropped = f" (dropped: {schema.dropped[name]})" if name in schema.dropped else ""
        raise FeatureStoreError(
            f"The rows have no column {name!r}{dropped}, the {what} of features that are asked for.",
            f"Keep it in prepare (key_columns for a key). {did_you_mean(name, known)}",
        )
    found = schema.column(name).type
    if found != wanted and not (wanted == "number" and found == "integer"):
        raise FeatureStoreError(
            f"Column {name!r} is {found} in the rows, but the {what} is {wanted} in the feature store.",
            f"Give it the type {wanted} in prepare (column_types), or change the repository.",
        )


def join_features(
    rows: pl.LazyFrame,
    repository: Repository,
    selection: Selection,
    event_time: str,
    columns: Mapping[str, Feature],
    output: Path,
) -> int:
    """Writes ``rows`` with the features as further columns to a folder, in the same order.

    Args:
        rows: Settled rows, checked by :func:`check_rows`.
        repository: The feature repository.
        selection: What to join.
        event_time: The rows' column of their event time; dates count from midnight UTC.
        columns: Name of each new column to its feature (:meth:`.references.Selection.columns`).
        output: The folder to write.

    Returns:
        The number of rows.

    Raises:
        ParameterError: A row has no event time, or one in the future.
        FeatureStoreError: The store fails, or gives no answer for some rows.
        StorageError: The folder cannot be written.
    """
    _check_times(rows, event_time)
    total = int(rows.select(pl.len()).collect().item())
    with whole_folder(output) as folder:
        for part, start in enumerate(range(0, max(total, 1), CHUNK)):
            chunk = rows.slice(start, CHUNK).collect()
            found = retrieve(chunk, repository, selection, event_time, columns)
            joined = pl.concat([chunk, found], how="horizontal")
            joined.write_parquet(folder / f"part-{part:05d}.parquet", compression="lz4")
    return total


def retrieve(
    rows: pl.DataFrame,
    repository: Repository,
    selection: Selection,
    event_time: str,
    columns: Mapping[str, Feature],
) -> pl.DataFrame:
    """The features of ``rows``: as many rows in the same order, the columns named as in ``columns``."""
    keys = [*selection.entities, *(name for name in selection.request if name not in selection.entities)]
    entity_rows = rows.select(
        *keys, pl.col(event_time).cast(pl.Datetime("us")).dt.replace_time_zone("UTC").alias(EVENT_TIMESTAMP)
    )
    # Each question once: what is asked twice has one answer, and some of Feast's stores lose the second.
    distinct = entity_rows.unique(maintain_order=True).with_row_index(_ENTITY_ROW)
    with feast_errors(repository.uri):
        job = repository.store.get_historical_features(
            entity_df=_pandas(distinct), features=selection.wanted, full_feature_names=True
        )
        answer = pl.from_arrow(job.to_arrow())
    assert isinstance(answer, pl.DataFrame)
    answer = _typed(answer, columns).unique(_ENTITY_ROW, keep="last")
    # Feast's store of files leaves out rows of which all values have expired.
    _check_lost(distinct.join(answer, on=_ENTITY_ROW, how="anti"), distinct, selection, repository.uri)
    numbered = distinct.join(answer, on=_ENTITY_ROW, how="left", maintain_order="left")
    on = [*keys, EVENT_TIMESTAMP]
    found = entity_rows.join(numbered, on=on, how="left", maintain_order="left", nulls_equal=True)
    return found.select(*columns)


def extended_schema(
    schema: TableSchema,
    train: pl.LazyFrame,
    columns: Mapping[str, Feature],
    source: FeatureSource,
) -> TableSchema:
    """The schema of the joined rows: the features' ranges and categories are those of the training rows.

    Args:
        schema: The schema of the rows before.
        train: The joined training rows.
        columns: Name of each new column to its feature.
        source: The feature store.
    """
    added = [_column(name, feature, train) for name, feature in columns.items()]
    return replace(schema, columns=[*schema.columns, *added], feature_source=source)


def feature_source(repository: Repository, selection: Selection, event_time: str, uri: str) -> FeatureSource:
    """What a schema and a model say of the feature store.

    Args:
        repository: The open repository.
        selection: The features.
        event_time: The column of the rows' event time.
        uri: The repository's URI as it is to be found again, without credentials.
    """
    return FeatureSource(
        repository=uri,
        project=repository.project,
        service=selection.service,
        version=selection.version,
        registry_digest=repository.digest(),
        entities=list(selection.entities),
        event_time=event_time,
        request=list(selection.request),
    )


def _check_times(rows: pl.LazyFrame, event_time: str) -> None:
    time = pl.col(event_time).cast(pl.Datetime("us"))
    latest = dt.datetime.now(dt.UTC).replace(tzinfo=None) + CLOCK_SKEW
    facts = rows.select(missing=time.null_count(), future=(time > latest).sum(), last=time.max())
    missing, future, last = facts.collect(engine="streaming").row(0)
    if missing:
        raise ParameterError(
            f"Column {event_time!r}, the event time, is empty in {missing:,} rows.",
            "Fill it, or drop these rows in the source: without a time nothing is known to have come before.",
        )
    if future:
        raise ParameterError(
            f"Column {event_time!r}, the event time, is in the future in {future:,} rows, up to {last} UTC.",
            "Mend the times; those without an offset are taken as UTC.",
        )


def _check_lost(lost: pl.DataFrame, asked: pl.DataFrame, selection: Selection, uri: str) -> None:
    """Refuses an answer in which a row was taken for another one, of the same keys and time."""
    who = [*selection.entities, EVENT_TIMESTAMP]
    twins = asked.group_by(who).len().filter(pl.col("len") > 1)
    if lost.join(twins, on=who, how="semi", nulls_equal=True).height:
        raise FeatureStoreError(
            f"The offline store of {uri} takes rows that differ in a request column alone for one.",
            "Use PolarsOfflineStore (docs/feature-store.md), or features without a request column.",
        )


def _pandas(rows: pl.DataFrame) -> "pd.DataFrame":
    """Entity rows as Feast takes them; whole numbers with gaps stay whole numbers."""
    frame = rows.to_pandas()
    for name, dtype in rows.schema.items():
        if dtype.is_integer() and rows[name].null_count():
            frame[name] = rows[name].to_pandas(use_pyarrow_extension_array=True).astype("Int64")
    return frame


def _typed(answer: pl.DataFrame, columns: Mapping[str, Feature]) -> pl.DataFrame:
    """The answer's columns by our names and in the schema's types."""
    expressions = [pl.col(_ENTITY_ROW).cast(pl.UInt32)]
    for name, feature in columns.items():
        value: Any = pl.col(feature.full_name)
        dtype = answer.schema[feature.full_name]
        if dtype.is_float():
            value = value.fill_nan(None)
        if isinstance(dtype, pl.Datetime) and dtype.time_zone:
            value = value.dt.convert_time_zone("UTC")
        elif isinstance(dtype, (pl.Date, pl.Datetime)):
            value = value.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
        expressions.append(value.cast(DTYPES[feature.type]).alias(name))
    return answer.select(expressions)


def _column(name: str, feature: Feature, rows: pl.LazyFrame) -> Column:
    value = pl.col(name)
    ordered = feature.type in ("integer", "number", "date", "timestamp")
    facts = (
        rows.select(
            rows=pl.len(),
            missing=value.null_count(),
            low=value.min() if ordered else None,
            high=value.max() if ordered else None,
            distinct=value.n_unique() if feature.type == "string" else None,
        )
        .collect(engine="streaming")
        .row(0, named=True)
    )
    categories: Sequence[str] | None = None
    if feature.type == "string" and facts["distinct"] <= LISTED_CATEGORIES + 1:
        found = rows.select(value.drop_nulls().unique()).collect(engine="streaming").to_series()
        categories = sorted(found) if len(found) <= LISTED_CATEGORIES else None
    return Column(
        name,
        feature.type,
        source_type=feature.type,
        # A new entity has no values yet, whatever the training rows were like.
        nullable=True,
        missing_share=facts["missing"] / facts["rows"] if facts["rows"] else 0.0,
        minimum=_bound(facts["low"]),
        maximum=_bound(facts["high"]),
        categories=list(categories) if categories is not None else None,
        reference=feature.reference,
    )


def _bound(value: Any) -> float | str | None:
    return value.isoformat() if isinstance(value, (dt.date, dt.datetime)) else value
