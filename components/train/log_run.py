"""What a training run leaves in MLflow: parameters, metrics, the dataset, the model."""

import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from mlflow.entities import (
    Dataset,
    DatasetInput,
    InputTag,
    LoggedModelOutput,
    LoggedModelStatus,
    Metric,
    Param,
)
from mlflow.models import Model
from mlflow.tracking import MlflowClient

from kfp_lifecycle.components.shared.errors import StorageError, redact
from kfp_lifecycle.components.shared.inference.schema import TableSchema
from kfp_lifecycle.components.shared.model_format import library_version
from kfp_lifecycle.components.shared.outputs import storage_problem

log = logging.getLogger(__name__)

Entry = TypeVar("Entry", Param, Metric)

#: The model's name in its run, so that ``runs:/<run id>/model`` resolves.
MODEL_NAME = "model"

#: MLflow's limits: entries in one request, characters of a parameter's value, of a dataset's digest.
_BATCH, _VALUE, _DIGEST = 100, 6000, 36


def run_tags(schema: TableSchema, estimator: str) -> dict[str, str]:
    """The tags of a training run and of its logged model: what was trained on what, by which version."""
    return {
        "kfp_lifecycle.version": library_version(),
        "kfp_lifecycle.task": schema.task,
        "kfp_lifecycle.target": schema.target,
        "kfp_lifecycle.estimator": estimator,
        "kfp_lifecycle.source_uri": schema.source_uri,
        "kfp_lifecycle.source_digest": schema.source_digest,
    }


def log_parameters(client: MlflowClient, run_id: str, parameters: Mapping[str, Mapping[str, Any]]) -> None:
    """Logs ``component.parameter`` for each; lists and objects as JSON.

    MLflow never changes a parameter. Where the run (one that Kubeflow's plugin has opened, which a retried
    step joins again) has one of the name already, that one stays, with a line in the log.
    """
    there = client.get_run(run_id).data.params
    found = {
        f"{component}.{key}": _text(value)
        for component, own in parameters.items()
        for key, value in own.items()
    }
    if changed := [key for key in found if there.get(key, found[key]) != found[key]]:
        log.warning("the MLflow run has other values already for: %s", ", ".join(changed))
    new = [Param(key, value) for key, value in found.items() if key not in there]
    for some in _batches(new):
        client.log_batch(run_id, params=some)


def log_metrics(
    client: MlflowClient,
    run_id: str,
    folds: Sequence[Mapping[str, float]],
    summary: Mapping[str, float],
    model_id: str,
) -> None:
    """Logs ``cv_<metric>`` of each fold, with the fold as its step, and the summary, the model's as well."""
    now = int(time.time() * 1000)
    each = [
        Metric(f"cv_{name}", value, now, number)
        for number, fold in enumerate(folds)
        for name, value in fold.items()
    ]
    overall = [
        Metric(name, value, now, 0, model_id=model_id, run_id=run_id) for name, value in summary.items()
    ]
    for some in _batches([*each, *overall]):
        client.log_batch(run_id, metrics=some)


def log_dataset(client: MlflowClient, run_id: str, schema: TableSchema, rows: int) -> None:
    """Logs where the training rows come from, with the source's digest; not the rows themselves."""
    uri = redact(schema.source_uri)
    kind = uri.partition("://")[0] if "://" in uri else "local"
    key = "url" if kind in ("http", "https") else "uri"
    dataset = Dataset(
        name=uri.rstrip("/").rpartition("/")[2][:500] or "table",
        # MLflow holds 36 characters; the whole digest is in the run's tags and in the model.
        digest=schema.source_digest.rpartition(":")[2][:_DIGEST] or "unknown",
        source_type="http" if key == "url" else kind,
        source=json.dumps({key: uri}),
        profile=json.dumps({"num_rows": rows}),
    )
    client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])


def log_model(client: MlflowClient, run_id: str, folder: Path, tags: Mapping[str, str]) -> str:
    """Logs the model folder under the name ``model``, and writes run and model id into its ``MLmodel``.

    Returns:
        The id of the logged model.

    Raises:
        StorageError: A local artifact store cannot be written.
    """
    experiment = client.get_run(run_id).info.experiment_id
    logged = client.create_logged_model(experiment, MODEL_NAME, run_id, tags=dict(tags))
    about = Model.load(str(folder))
    about.run_id, about.model_id, about.artifact_path = run_id, logged.model_id, logged.artifact_location
    about.save(str(folder / "MLmodel"))
    client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
    try:
        client.log_model_artifacts(logged.model_id, str(folder))
    except BaseException as error:
        client.finalize_logged_model(logged.model_id, LoggedModelStatus.FAILED)
        if (said := storage_problem(error)) is not None:
            raise StorageError(
                f"MLflow's artifact store at {redact(logged.artifact_location)} cannot be written: {said}.",
                "Free space there, or name another store with MLFLOW_TRACKING_URI.",
            ) from error
        raise
    client.finalize_logged_model(logged.model_id, LoggedModelStatus.READY)
    return str(logged.model_id)


def _batches(entries: list[Entry]) -> Iterator[list[Entry]]:
    return (entries[start : start + _BATCH] for start in range(0, len(entries), _BATCH))


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return redact(text)[:_VALUE]
