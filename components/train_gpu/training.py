"""A training in this process: feature tables, the network, the Model artifact, the report, the MLflow run.

As one of several processes (torchrun), all compute and the first one writes.
"""

import logging
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from mlflow.tracking import MlflowClient

from kfp_lifecycle.components.shared.dataset import scan
from kfp_lifecycle.components.shared.errors import EstimatorError
from kfp_lifecycle.components.shared.inference.predict import (
    most_probable,
    predict_probabilities,
    predict_values,
)
from kfp_lifecycle.components.shared.inference.schema import ROW_HASH, TableSchema
from kfp_lifecycle.components.shared.inference.transform import FeatureTransform
from kfp_lifecycle.components.shared.model_format import save_model
from kfp_lifecycle.components.shared.outputs import whole_file, whole_folder
from kfp_lifecycle.components.shared.storage import check_writable
from kfp_lifecycle.components.shared.tracking import tracked_run
from kfp_lifecycle.components.train.log_run import (
    log_dataset,
    log_metrics,
    log_model,
    log_parameters,
    run_tags,
)
from kfp_lifecycle.components.train.reference import out_of_fold
from kfp_lifecycle.components.train.weights import parse_class_weight
from kfp_lifecycle.components.train_gpu.device import Device, choose_device
from kfp_lifecycle.components.train_gpu.distributed import Group, join, local_rank
from kfp_lifecycle.components.train_gpu.epoch_log import epoch_log
from kfp_lifecycle.components.train_gpu.export import NetworkFiles
from kfp_lifecycle.components.train_gpu.features import Tables, make_tables
from kfp_lifecycle.components.train_gpu.fitting import fit_tables, layout
from kfp_lifecycle.components.train_gpu.loop import Fitted, Watcher
from kfp_lifecycle.components.train_gpu.network import OWN
from kfp_lifecycle.components.train_gpu.options import NetworkOptions
from kfp_lifecycle.components.train_gpu.report import Told, render_report
from kfp_lifecycle.components.train_gpu.result import Result

log = logging.getLogger(__name__)

#: What the component is called where parameters of several are side by side.
NAME = "train-gpu"


@dataclass(frozen=True)
class Inputs:
    """Where the inputs of a training are.

    Args:
        rows: Folder of the prepared training split.
        schema: File of the schema.
        plan: File of the unfitted transform.
    """

    rows: Path
    schema: Path
    plan: Path


@dataclass(frozen=True)
class Job:
    """What is trained: the same in every process of a training."""

    inputs: Inputs
    options: NetworkOptions
    schema: TableSchema
    plan: FeatureTransform
    device: Device
    group: Group

    @property
    def estimator(self) -> str:
        """Dotted path of the network's class."""
        own = OWN.get(self.options.network)
        return f"{own.__module__}.{own.__qualname__}" if own else self.options.network

    @property
    def tags(self) -> dict[str, str]:
        """The tags of the MLflow run and of its model."""
        return {**run_tags(self.schema, self.estimator), "kfp_lifecycle.device": self.device.name}


def train_network(
    inputs: Inputs, model: Path, report: Path, options: NetworkOptions, watchers: Sequence[Watcher] = ()
) -> Result | None:
    """Trains on the rows that are not held out, writes the Model artifact and logs it all to MLflow.

    Args:
        inputs: What prepare and featurize wrote.
        model: The folder to write the Model artifact to; it appears when all is done.
        report: The file to write the HTML report to.
        options: How to train. ``devices`` and ``nodes`` do not count here: torchrun has decided.
        watchers: Told of each epoch.

    Returns:
        What was found; None in all processes but the first.

    Raises:
        ParameterError: An option does not fit the task.
        EstimatorError: The network cannot be imported, built, trained or exported.
        DeviceError: A GPU is required and there is none, or memory is too small.
        SplitError: No rows can be held out.
        TargetError: The rows have one class only.
        SchemaError: The inputs do not belong together.
        CheckpointError: The checkpoints are of another training, or none can be read.
        TrackingError: MLflow fails or cannot be reached.
        StorageError: An output or a checkpoint cannot be written.
    """
    schema = TableSchema.load(inputs.schema)
    options.check_task(schema.task)
    parse_class_weight(options.class_weight, schema)  # raises before anything is read
    plan = FeatureTransform.load(inputs.plan)
    device = choose_device(options, local_rank())
    if options.checkpoint_uri and local_rank() == 0:
        check_writable(options.checkpoint_uri)
    with join(device.torch) as group, _scratch(group) as scratch:
        job = Job(inputs, options, schema, plan, device, group)
        if not group.is_main:
            _fit(job, scratch, [])
            return None
        with tracked_run(options.experiment, options.run_name, job.tags) as run_id:
            return _tracked(job, scratch, model, report, run_id, watchers)


def _tracked(
    job: Job, scratch: Path, model: Path, report: Path, run_id: str, watchers: Sequence[Watcher]
) -> Result:
    client = MlflowClient()
    parameters = _parameters(job)
    log_parameters(client, run_id, parameters)
    with epoch_log(client, run_id) as epochs:
        tables, fitted = _fit(job, scratch, [epochs, *watchers])
    log_dataset(client, run_id, job.schema, tables.fit_rows + tables.judge_rows)
    metrics = {f"validation_{name}": value for name, value in fitted.metrics.items()}
    files = NetworkFiles(fitted.network, layout(tables, job.schema), job.estimator)
    with whole_folder(model) as folder:
        save_model(
            folder,
            estimator=files,
            estimator_path=job.estimator,
            transform=tables.transform,
            schema=job.schema,
            reference=_reference(job, tables, files),
            row_hashes=scan(job.inputs.rows).select(ROW_HASH).collect()[ROW_HASH].to_numpy(),
            parameters=parameters,
            metrics=metrics,
        )
        model_id = log_model(client, run_id, folder, job.tags)
    about = {
        "best_epoch": float(fitted.best),
        "epochs": float(len(fitted.history)),
        "rows_per_second": float(np.median([record.rows_per_second for record in fitted.history])),
    }
    # The curves of the epochs have the plain names.
    best = {f"best_{name}": value for name, value in metrics.items()}
    log_metrics(client, run_id, [], {**best, "best_epoch": about["best_epoch"]}, model_id)
    _write_report(job, tables, fitted, report, run_id)
    log.info("MLflow run %s", run_id)
    return Result(run_id, model_id, job.estimator, job.device.name, {**metrics, **about})


def _write_report(job: Job, tables: Tables, fitted: Fitted, report: Path, run_id: str) -> None:
    lineage = {"Source": job.schema.source_uri, "Digest": job.schema.source_digest, "MLflow run": run_id}
    told = Told(
        schema=job.schema,
        spec=tables.spec,
        options=job.options,
        device=job.device,
        world=job.group.world,
        fit_rows=tables.fit_rows,
        judge_rows=tables.judge_rows,
        lineage=lineage,
    )
    with whole_file(report) as file:
        file.write_text(render_report(fitted, told), encoding="utf-8")


def _fit(job: Job, scratch: Path, watchers: Sequence[Watcher]) -> tuple[Tables, Fitted]:
    """Makes the tables, once on each machine, and trains the network on them."""
    job.group.once_per_node(lambda: _make_tables(job, scratch))
    tables = Tables.load(scratch)
    return tables, fit_tables(tables, job.schema, job.options, job.device, job.group, watchers)


def _make_tables(job: Job, scratch: Path) -> None:
    options = job.options
    make_tables(job.inputs.rows, job.schema, job.plan, options.validation_share, options.seed, scratch)


def _reference(job: Job, tables: Tables, files: NetworkFiles) -> pl.DataFrame:
    """Held-out rows with what the network says of them; without, rows that it has learned, with nulls."""
    schema = job.schema
    rows, _ = tables.judged_sample(job.inputs.rows, job.options.reference_rows, job.options.seed)
    columns = [column.name for column in schema.columns if column.role != "key"]
    features = np.asarray(tables.transform.transform(rows), dtype=np.float64)
    network = files.estimator(len(schema.classes))
    if schema.task == "regression":
        predicted, probabilities = predict_values(network, features), np.zeros((len(features), 0))
    else:
        probabilities = predict_probabilities(network, features, schema.classes)
        predicted = most_probable(probabilities).astype(np.float64)
    if not (np.isfinite(predicted).all() and np.isfinite(probabilities).all()):
        raise EstimatorError(
            f"{job.estimator} predicts values that are not finite numbers.",
            "Set learning_rate or clip_norm lower.",
        )
    if tables.judge is None:
        predicted, probabilities = np.full_like(predicted, np.nan), np.full_like(probabilities, np.nan)
    return rows.select(*columns, ROW_HASH).with_columns(out_of_fold(predicted, probabilities, schema))


def _parameters(job: Job) -> dict[str, dict[str, Any]]:
    """By component, the parameters that the model comes from."""
    return {
        "prepare": job.schema.parameters,
        "featurize": job.plan.plan["parameters"],
        NAME: {**asdict(job.options), "world_size": job.group.world},
    }


@contextmanager
def _scratch(group: Group) -> Iterator[Path]:
    """A folder on the local disk of each machine, of one name for all processes."""
    made = tempfile.mkdtemp(prefix="train-gpu-tables-") if group.is_main else ""
    place = Path(group.broadcast(made))
    place.mkdir(exist_ok=True)
    try:
        yield place
    finally:
        if group.local_rank == 0:
            shutil.rmtree(place, ignore_errors=True)
