"""Feast's offline store on Polars: the point-in-time join of Parquet files.

Chosen in ``feature_store.yaml`` by ``offline_store: {type: …engine.offline.PolarsOfflineStore}``. What
it does not do itself (writing logged features, validation) is inherited from Feast's own store of files.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
from feast.feature_view import DUMMY_ENTITY_ID, FeatureView
from feast.infra.offline_stores.dask import DaskOfflineStore, DaskOfflineStoreConfig, DaskRetrievalJob
from feast.infra.offline_stores.offline_store import RetrievalJob, RetrievalMetadata
from feast.infra.registry.base_registry import BaseRegistry
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.repo_config import RepoConfig
from feast.utils import _get_requested_feature_views_to_features_dict

from kfp_lifecycle.components.feature_store.engine.sources import (
    CREATED,
    TIME,
    Columns,
    is_readable,
    moment,
    scan,
)

EVENT_TIMESTAMP = "event_timestamp"
_ROW = "\0row"


class PolarsOfflineStoreConfig(DaskOfflineStoreConfig):
    """Configuration: nothing but the type."""

    type: str = "kfp_lifecycle.components.feature_store.engine.offline.PolarsOfflineStore"  # type: ignore[assignment]


class PolarsRetrievalJob(DaskRetrievalJob):
    """A retrieval that runs when its rows are asked for; on-demand views are Feast's, on top of it."""

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        rows: pl.DataFrame = self.evaluation_function()
        return rows.to_arrow()

    def _to_df_internal(self, timeout: int | None = None) -> pd.DataFrame:
        frame: pd.DataFrame = self._to_arrow_internal().to_pandas()
        return frame


class PolarsOfflineStore(DaskOfflineStore):
    """Point-in-time joins of Parquet files by Polars."""

    @staticmethod
    def get_historical_features(
        config: RepoConfig,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: Any,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,
        filter_by_created_timestamp: bool = False,
        **kwargs: Any,
    ) -> RetrievalJob:
        """The entity rows, in their order, with the features; see Feast's ``OfflineStore``.

        Each value is the newest one at or before the row's event time that is not older than the view's TTL
        (both ends included); of values of one time the one created last, then the source's last.
        """
        # Rows of no entity, columns of Feast's own sources, and the cut by time of creation are Feast's.
        special = entity_df is None or filter_by_created_timestamp
        if special or not all(is_readable(view.batch_source) for view in feature_views):
            given = (config, feature_views, feature_refs, entity_df, registry, project, full_feature_names)
            return DaskOfflineStore.get_historical_features(*given, filter_by_created_timestamp, **kwargs)
        if not isinstance(entity_df, pd.DataFrame) or EVENT_TIMESTAMP not in entity_df.columns:
            raise ValueError(f"The entity rows are no pandas table with a column {EVENT_TIMESTAMP!r}.")
        on_demand = OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry)
        by_view, _ = _get_requested_feature_views_to_features_dict(feature_refs, feature_views, on_demand)

        def evaluate() -> pl.DataFrame:
            rows = _entity_rows(entity_df)
            for view, names in by_view.items():
                rows = _joined(rows, view, names, config, full_feature_names)
            return rows.drop(_ROW)

        times = entity_df[EVENT_TIMESTAMP]
        metadata = RetrievalMetadata(
            features=feature_refs,
            keys=[name for name in entity_df.columns if name != EVENT_TIMESTAMP],
            min_event_timestamp=times.min(),
            max_event_timestamp=times.max(),
        )
        return PolarsRetrievalJob(evaluate, full_feature_names, str(config.repo_path), on_demand, metadata)


def _entity_rows(entity_df: pd.DataFrame) -> pl.DataFrame:
    rows = pl.from_pandas(entity_df, nan_to_null=True)
    when = rows.schema[EVENT_TIMESTAMP]
    if when == pl.String:
        rows = rows.with_columns(pl.col(EVENT_TIMESTAMP).str.to_datetime(time_zone="UTC"))
        when = rows.schema[EVENT_TIMESTAMP]
    return rows.with_columns(moment(pl.col(EVENT_TIMESTAMP), when)).with_row_index(_ROW)


def _joined(
    rows: pl.DataFrame, view: Any, names: Sequence[str], config: RepoConfig, full_names: bool
) -> pl.DataFrame:
    """``rows`` with the features ``names`` of one view, in the same order."""
    columns = view_columns(view, names, full_names)
    if not rows.height:
        return rows.with_columns(pl.lit(None).alias(name) for name in columns.features)
    values = scan(view.batch_source, config.repo_path, columns)
    ttl = view.ttl if view.ttl and view.ttl > timedelta(0) else None
    first, last = rows[EVENT_TIMESTAMP].min(), rows[EVENT_TIMESTAMP].max()
    assert isinstance(first, datetime)
    assert isinstance(last, datetime)
    values = values.filter(pl.col(TIME) <= last)
    if ttl is not None:
        values = values.filter(pl.col(TIME) >= first - ttl)
    keys = list(columns.keys)
    values = values.filter(pl.all_horizontal(pl.col(key).is_not_null() for key in keys)) if keys else values
    order = [TIME, CREATED] if columns.created else [TIME]
    history = values.sort(order, maintain_order=True, nulls_last=False).collect().drop(order[1:])
    left = rows.with_columns(pl.col(key).cast(history.schema[key], strict=False) for key in keys)
    left = left.select(_ROW, EVENT_TIMESTAMP, *keys).sort(EVENT_TIMESTAMP)
    found = left.join_asof(
        history,
        left_on=EVENT_TIMESTAMP,
        right_on=TIME,
        by=keys or None,
        strategy="backward",
        tolerance=ttl,
        check_sortedness=False,
    )
    return pl.concat([rows, found.sort(_ROW).select(*columns.features)], how="horizontal")


def view_columns(view: Any, names: Sequence[str], full_names: bool = False) -> Columns:
    """What to read of a view's source for the features ``names``.

    Args:
        view: The feature view.
        names: Its features.
        full_names: Whether each is called ``view__feature``.
    """
    source = view.batch_source
    in_source = {feast: own for own, feast in (source.field_mapping or {}).items()}
    mapped = view.projection.join_key_map or {}
    entities = [entity for entity in view.entity_columns if entity.name != DUMMY_ENTITY_ID]
    keys = {mapped.get(one.name, one.name): in_source.get(one.name, one.name) for one in entities}
    types = {mapped.get(one.name, one.name): one.dtype.to_value_type().name for one in entities}
    declared = {field.name: field.dtype.to_value_type().name for field in view.features}
    features = {}
    for name in names:
        called = f"{view.projection.name_to_use()}__{name}" if full_names else name
        features[called] = in_source.get(name, name)
        types[called] = declared.get(name, "")
    return Columns(keys, features, source.timestamp_field, source.created_timestamp_column or "", types)
