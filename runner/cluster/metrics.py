"""The metrics of a run on the cluster, from MLflow.

The API of Kubeflow Pipelines gives none: of a task's outputs it has the ids of artifacts, whose values are
in its metadata store, which has no REST interface. Runs of this library's pipelines leave what they measure
in MLflow anyway: the model version that ``register`` made carries the run's id and the test metrics, and the
server's MLflow plugin names the MLflow run that belongs to a run.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

#: Tags that ``register`` puts on a model version (components/register/lineage.py).
_RUN_TAG, _METRIC_PREFIX = "pipeline_run_id", "test_"
#: Where the server's MLflow plugin says which run is its own (KFP 2.16 and later).
_PLUGIN, _PLUGIN_RUN = "mlflow", "root_run_id"
_PARENT = "tags.`mlflow.parentRunId` = '{}'"


@dataclass(frozen=True)
class Measured:
    """What MLflow knows of a run.

    Args:
        metrics: Metric to value.
        model: The registered model version, ``name version 3``; empty for none.
        mlflow_run_id: The MLflow run; empty where there is none.
    """

    metrics: dict[str, float] = field(default_factory=dict)
    model: str = ""
    mlflow_run_id: str = ""


def tracking_there(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether there is a tracking store to ask: a named one, or the default file in this folder."""
    return bool(environment.get("MLFLOW_TRACKING_URI", "").strip()) or Path("mlflow.db").is_file()


def measured(run: Any) -> Measured:
    """The metrics of a run of the API.

    Raises:
        TrackingError: MLflow does not answer.
        ImportError: MLflow is not installed.
    """
    from kfp_lifecycle.components.shared.tracking import connect, tracking_errors

    client = connect()
    with tracking_errors():
        versions = client.search_model_versions(f"tags.{_RUN_TAG} = '{run.run_id}'")
        if versions:
            newest = max(versions, key=lambda version: int(version.version))
            metrics = _floats({k: v for k, v in newest.tags.items() if k.startswith(_METRIC_PREFIX)})
            return Measured(metrics, f"{newest.name} version {newest.version}", newest.run_id or "")
        plugin = (run.plugins_output or {}).get(_PLUGIN)
        entry = (plugin.entries or {}).get(_PLUGIN_RUN) if plugin else None
        if entry is None or not entry.value:
            return Measured()
        return Measured(_of_run(client, str(entry.value)), "", str(entry.value))


def _of_run(client: Any, run_id: str) -> dict[str, float]:
    """The metrics of an MLflow run and of those directly under it: the plugin opens one for each task."""
    root = client.get_run(run_id)
    nested = client.search_runs([root.info.experiment_id], _PARENT.format(run_id), max_results=200)
    found: dict[str, float] = {}
    for run in [*reversed(nested), root]:
        found |= run.data.metrics
    return found


def _floats(tags: Mapping[str, str]) -> dict[str, float]:
    found = {}
    for name, text in tags.items():
        try:
            found[name] = float(text)
        except ValueError:
            continue
    return found
