"""Feast's compute engine on Polars: materialization in chunks.

Its memory hardly grows with the number of entities.

Chosen in ``feature_store.yaml`` by ``batch_engine: {type: …engine.compute.PolarsComputeEngine}``. Views
with a transformation, an aggregation or another source than Parquet files go the way of Feast's own engine.
"""

import tempfile
from pathlib import Path
from typing import Any

import polars as pl
from feast.infra.common.materialization_job import MaterializationJobStatus, MaterializationTask
from feast.infra.compute_engines.local.compute import LocalComputeEngine, LocalComputeEngineConfig
from feast.infra.compute_engines.local.job import LocalMaterializationJob
from feast.infra.registry.base_registry import BaseRegistry
from feast.utils import _convert_arrow_to_proto

from kfp_lifecycle.components.feature_store.engine.offline import view_columns
from kfp_lifecycle.components.feature_store.engine.sources import CREATED, TIME, is_readable, latest, scan

#: Entities that are written at once. Feast's messages take about 1 kB a value while they are.
CHUNK = 10_000
#: What a feature view may ask for beyond its newest rows in the online store.
_MORE = ("feature_transformation", "aggregations", "source_views", "offline")


class PolarsComputeEngineConfig(LocalComputeEngineConfig):
    """Configuration of the engine.

    Args:
        chunk: Entities that are written at once.
    """

    type: str = "kfp_lifecycle.components.feature_store.engine.compute.PolarsComputeEngine"  # type: ignore[assignment]
    chunk: int = CHUNK


class PolarsComputeEngine(LocalComputeEngine):
    """Materializes Parquet files by Polars, chunk by chunk."""

    def _materialize_one(
        self, registry: BaseRegistry, task: MaterializationTask, **kwargs: Any
    ) -> LocalMaterializationJob:
        view = task.feature_view
        is_more = any(getattr(view, name, None) for name in _MORE)
        if is_more or not is_readable(view.batch_source):
            return super()._materialize_one(registry, task, **kwargs)
        job_id = f"{view.name}-{task.start_time}-{task.end_time}"
        try:
            self._write(task)
        except Exception as error:  # Feast raises what the job says, after it has set its states back
            return LocalMaterializationJob(job_id, MaterializationJobStatus.ERROR, error)
        return LocalMaterializationJob(job_id, MaterializationJobStatus.SUCCEEDED)

    def _write(self, task: MaterializationTask) -> None:
        """Writes the newest row of each entity within the task's window, both ends included."""
        view: Any = task.feature_view
        if not view.online:
            return
        columns = view_columns(view, [field.name for field in view.features])
        in_window = pl.col(TIME).is_between(task.start_time, task.end_time)
        keys = list(columns.keys)
        rows = scan(view.batch_source, self.repo_config.repo_path, columns).filter(in_window)
        rows = rows.filter(pl.all_horizontal(pl.col(key).is_not_null() for key in keys)) if keys else rows
        rows = latest(rows, keys, bool(columns.created)).rename(_back(columns.time, columns.created))
        if not keys:
            rows = rows.with_columns(pl.lit("").alias("__dummy_id"))
        types = {entity.name: entity.dtype.to_value_type() for entity in view.entity_columns}
        size = int((self.repo_config.batch_engine_config or {}).get("chunk", CHUNK))
        with tempfile.TemporaryDirectory(prefix="kfp-lifecycle-materialize-") as place:
            # By way of the disk: the newest rows of all entities need not fit in memory beside the messages.
            file = Path(place) / "latest.parquet"
            rows.sink_parquet(file, compression="lz4", row_group_size=size)
            for start in range(0, pl.scan_parquet(file).select(pl.len()).collect().item(), size):
                chunk = pl.scan_parquet(file).slice(start, size).collect().to_arrow()
                self.online_store.online_write_batch(
                    self.repo_config, view, _convert_arrow_to_proto(chunk, view, types), progress=None
                )


def _back(time: str, created: str) -> dict[str, str]:
    """The names that Feast's conversion looks for."""
    return {TIME: time, **({CREATED: created} if created else {})}
